"""Holm's correction: the chance of even one false alarm in a family of tests stays at its level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def holm(p: Floats) -> Floats:
    """Adjusted p of each of ``[m]`` tests, in their order (Holm 1979, "A simple sequentially …").

    Equal to ``statsmodels.stats.multitest.multipletests(p, method="holm")``, as a test checks.
    """
    m = len(p)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (m - np.arange(m)))
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
