"""Confidence intervals of a mean difference within blocks, labelled with how they were made.

At five blocks percentile and BCa bootstrap intervals cover the truth in about 83 % of studies and
the t interval in about 94 %, hence: t from three blocks on, the bootstrap only from fifteen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

Method = Literal["t", "bootstrap"]
Floats = NDArray[np.float64]

LEVEL = 0.95
LEAST_FOR_T = 3
LEAST_FOR_BOOTSTRAP = 15
RESAMPLES = 9_999
SEED = 20_260_301
"""Fixed: an interval is a function of the runs alone."""


@dataclass(frozen=True, slots=True)
class Interval:
    """What the data leave open at a stated level.

    Attributes:
        low, high: In the unit of what it is an interval of.
        level: 0.95 or 0.9.
        method: How it was made.
    """

    low: float
    high: float
    level: float
    method: Method

    def mapped(self, function: Callable[[float], float]) -> Interval:
        """The interval of a rising function of the same quantity."""
        return Interval(function(self.low), function(self.high), self.level, self.method)

    def excludes(self, value: float) -> bool:
        """Whether ``value`` lies outside."""
        return not self.low <= value <= self.high


def standard_error(differences: Floats) -> float:
    """Standard error of the mean of ``[n]`` differences, n ≥ 2."""
    return float(np.std(differences, ddof=1)) / math.sqrt(len(differences))


def t_quantile(level: float, n: int) -> float:
    """How many standard errors a two-sided t interval of ``n`` differences reaches."""
    return float(special.stdtrit(n - 1, (1 + level) / 2))


def t_interval(differences: Floats, level: float = LEVEL) -> Interval | None:
    """Student's interval of the mean of ``[n]`` differences; ``None`` below three."""
    n = len(differences)
    if n < LEAST_FOR_T:
        return None
    half = t_quantile(level, n) * standard_error(differences)
    mean = float(np.mean(differences))
    return Interval(mean - half, mean + half, level, "t")


def bootstrap_interval(differences: Floats, level: float = LEVEL) -> Interval | None:
    """BCa bootstrap interval of the mean of ``[n]`` differences; ``None`` below fifteen."""
    from scipy import stats

    if len(differences) < LEAST_FOR_BOOTSTRAP:
        return None
    mean = float(np.mean(differences))
    if np.ptp(differences) == 0:  # nothing to resample, and BCa would divide by zero
        return Interval(mean, mean, level, "bootstrap")
    found = stats.bootstrap(
        (differences,),
        np.mean,
        confidence_level=level,
        n_resamples=RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return Interval(float(found.low), float(found.high), level, "bootstrap")


def interval(differences: Floats, method: Method = "t", level: float = LEVEL) -> Interval | None:
    """The interval by the method asked for; ``None`` where there are too few blocks for it."""
    made = bootstrap_interval if method == "bootstrap" else t_interval
    return made(differences, level)
