"""A mean over runs with what it leaves open, and how both are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wbcbench.core.text import UNKNOWN
from wbcbench.stats.intervals import t_interval

T_INTERVAL = "95 % t"
EXTREMES = "lowest–highest"
_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Mean:
    """Over runs.

    Attributes:
        n: How many.
        mean: Of them.
        low, high: 95 % t interval from three runs on, else the lowest and highest.
    """

    n: int
    mean: float
    low: float
    high: float

    @property
    def how(self) -> str:
        """What ``low`` and ``high`` are; empty for a single run."""
        return "" if self.n < 2 else T_INTERVAL if self.n > 2 else EXTREMES


def mean_of(values: Sequence[float]) -> Mean | None:
    """The mean of finite values; ``None`` if there is none."""
    found = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    if not len(found):
        return None
    interval = t_interval(found)
    low, high = (interval.low, interval.high) if interval else (found.min(), found.max())
    return Mean(len(found), float(found.mean()), float(low), float(high))


def told(found: Mean | None, divisor: float = 1.0) -> str:
    """``41.2 [40.6, 41.8]``; of two runs ``41.2 (40.9–41.5)``, of one ``41.2``."""
    if found is None:
        return UNKNOWN
    values = [value / divisor for value in (found.mean, found.low, found.high)]
    digits = _decimals(*values)
    mean, low, high = (f"{value:.{digits}f}" for value in values)
    if found.n < 2:
        return mean
    return f"{mean} [{low}, {high}]" if found.how == T_INTERVAL else f"{mean} ({low}–{high})"


def _decimals(mean: float, low: float, high: float) -> int:
    """Three digits of the mean, or two of the half-width where that is finer; at most one more."""
    usual = _DIGITS - 1 - (math.floor(math.log10(abs(mean))) if mean else 0)
    half = (high - low) / 2
    finer = 1 - math.floor(math.log10(half)) if half > 0 else usual
    return max(min(max(usual, finer), usual + 1), 0)
