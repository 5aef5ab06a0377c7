"""How large a difference is, apart from whether it is certain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def d_z(differences: Floats) -> float | None:
    """Mean over standard deviation of ``[n]`` paired differences (Cohen's d_z).

    ``None`` where there is no spread to measure by: one block, or equal differences.
    """
    if len(differences) < 2 or np.ptp(differences) == 0:
        return None
    return float(np.mean(differences) / np.std(differences, ddof=1))


def share_won(differences: Floats, *, lower_is_better: bool) -> float | None:
    """Share of blocks in which the difference goes the better way; a tie is half a win."""
    if len(differences) == 0:
        return None
    better = -differences if lower_is_better else differences
    return float(np.mean((better > 0) + 0.5 * (better == 0)))
