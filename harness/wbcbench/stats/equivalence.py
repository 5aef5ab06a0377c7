"""Whether a difference is small enough not to matter: two one-sided t tests (Schuirmann 1987).

A region of practical equivalence is fixed before the first run. "Same" is said only when both the
hypothesis that the difference lies below the region and the one that it lies above are rejected at
5 %, which is the same as the 90 % interval lying inside. A difference that is not significant is
not thereby the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from wbcbench.stats.intervals import LEAST_FOR_T, standard_error

Floats = NDArray[np.float64]

ALPHA = 0.05


def equivalence_p(differences: Floats, low: float, high: float) -> float | None:
    """The larger p of the two one-sided tests; ``None`` below three blocks.

    Args:
        differences: ``[n]``, within blocks.
        low: Lower edge of the region, in the same unit.
        high: Upper edge.
    """
    n = len(differences)
    if n < LEAST_FOR_T:
        return None
    mean, error = float(np.mean(differences)), standard_error(differences)
    if error == 0:
        return 0.0 if low < mean < high else 1.0
    nearest = min(mean - low, high - mean)
    return float(special.stdtr(n - 1, -nearest / error))
