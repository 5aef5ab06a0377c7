"""Contrasts of a 2 × 2 design as weights on its four arms.

With arms ``(a0 b0, a0 b1, a1 b0, a1 b1)``: the effect of a factor is the mean of the two arms with
its upper level minus the mean of the two with its lower level, taken inside each block; the
interaction is the effect of b where a is upper minus the effect of b where a is lower. On
logarithms these are ratios and a ratio of ratios.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Weights = tuple[float, ...]

FIRST: Weights = (-0.5, -0.5, 0.5, 0.5)
SECOND: Weights = (-0.5, 0.5, -0.5, 0.5)
INTERACTION: Weights = (1.0, -1.0, -1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Decomposition:
    """A difference of log energy split exactly: log energy = log time + log mean power.

    Attributes:
        time: ``[n]`` differences of log seconds.
        power: ``[n]`` differences of log watts; the two add up to those of log joules.
    """

    time: Floats
    power: Floats


def contrast(values: Floats, weights: Weights) -> Floats:
    """``[blocks]`` differences: the weighted sum over the arms of ``[blocks, arms]`` values."""
    return np.asarray(values @ np.asarray(weights), dtype=np.float64)


def pair(candidate: int, baseline: int, arms: int) -> Weights:
    """Weights of one arm minus another."""
    return tuple(float(i == candidate) - float(i == baseline) for i in range(arms))


def decompose(log_energy: Floats, log_time: Floats, weights: Weights) -> Decomposition:
    """Split a contrast of log joules ``[blocks, arms]`` by log seconds of the same shape."""
    return Decomposition(
        time=contrast(log_time, weights), power=contrast(log_energy - log_time, weights)
    )
