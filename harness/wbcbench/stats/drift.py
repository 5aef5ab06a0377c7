"""How a quantity drifts with the place of a run in its study, whatever was run there.

One straight line for all groups, each group with its own level: ordinary least squares after the
mean of each group is taken away from both sides (the theorem of Frisch, Waugh and Lovell). What
is left of two groups that differ is therefore no drift.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wbcbench.stats.intervals import LEVEL, Interval, t_quantile

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drift:
    """A straight line through runs.

    Attributes:
        slope: Change of the quantity from one place to the next.
        interval: 95 % of it, by Student's t; ``None`` where no degree of freedom is left.
        runs, groups: How many there were.
    """

    slope: float
    interval: Interval | None
    runs: int
    groups: int


def drift(
    places: Sequence[float], values: Sequence[float], groups: Sequence[Hashable]
) -> Drift | None:
    """The drift of ``[n]`` values over their places.

    Args:
        places: ``[n]``, the place of each run.
        values: ``[n]``, finite.
        groups: ``[n]``, what was run; each has its own level.

    Returns:
        ``None`` where no group stands at two places, for then drift and difference are one.
    """
    labels = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    member = np.array([labels[group] for group in groups], dtype=np.int64)
    x, y = (_centred(np.asarray(each, dtype=np.float64), member) for each in (places, values))
    spread = float(x @ x)
    if spread <= 0:
        return None
    slope = float(x @ y) / spread
    freedom = len(x) - len(labels) - 1
    half = _half_width(y - slope * x, spread, freedom) if freedom > 0 else None
    interval = None if half is None else Interval(slope - half, slope + half, LEVEL, "t")
    return Drift(slope, interval, len(x), len(labels))


def _centred(values: Floats, member: NDArray[np.int64]) -> Floats:
    means = np.bincount(member, weights=values) / np.bincount(member)
    centred: Floats = values - means[member]
    return centred


def _half_width(residuals: Floats, spread: float, freedom: int) -> float:
    error = math.sqrt(float(residuals @ residuals) / freedom / spread)
    return t_quantile(LEVEL, freedom + 1) * error
