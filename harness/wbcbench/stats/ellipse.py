"""The joint 95 % region of the mean of two quantities: Hotelling's ellipse."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from wbcbench.stats.intervals import LEVEL

LEAST_FOR_ELLIPSE = 10
_CORNERS = 73

Floats = NDArray[np.float64]


def ellipse(points: Sequence[tuple[float, float]]) -> Floats | None:
    """Outline ``[n, 2]`` of the joint 95 % region of a mean; ``None`` with fewer than ten points.

    With fewer points the two variances and their covariance are too unsure to be worth drawing.
    """
    n = len(points)
    if n < LEAST_FOR_ELLIPSE:
        return None
    values = np.asarray(points, dtype=np.float64)
    quantile = special.fdtri(2, n - 2, LEVEL)
    radius = math.sqrt(2 * (n - 1) / (n * (n - 2)) * quantile)
    sizes, axes = np.linalg.eigh(np.cov(values.T))
    angle = np.linspace(0.0, 2 * math.pi, _CORNERS)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    outline = axes @ (np.sqrt(np.maximum(sizes, 0.0))[:, None] * circle) * radius
    return np.asarray(values.mean(axis=0) + outline.T)
