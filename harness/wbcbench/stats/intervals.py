"""Intervals of means and ratios, effect sizes, censored costs and the Pareto front.

At five blocks percentile and BCa bootstrap intervals cover the truth in about 83 % of studies and
the t interval in about 94 %, hence: t from three blocks on, the bootstrap only from fifteen. Each
interval is labelled with how it was made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

Method = Literal["t", "bootstrap", "stein"]
Scale = Literal["ratio", "share", "plain"]
"""What a quantity can be: above zero and compared as a ratio, within 0 and 1, or any number."""

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

LEVEL = 0.95
LEAST_FOR_T = 3
LEAST_FOR_SKEWNESS = 5
LEAST_FOR_BOOTSTRAP = 15
BOOTSTRAP_RESAMPLES = 9_999
BOOTSTRAP_SEED = 20_260_301
"""Fixed: an interval is a function of the runs alone."""

LEAST_FOR_ELLIPSE = 10
_ELLIPSE_CORNERS = 73

FRONT_RESAMPLES = 2_000
_FRONTS_AT_ONCE = 100
FRONT_SEED = 20_260_303

# A share such as 1 − 5/10 comes out of a product of fractions: equal up to rounding.
_ROUNDING = 1e-12
_LEAST_SKEWNESS = 1e-6


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval.

    Attributes:
        low, high: In the unit of what it is an interval of.
        method: How it was made.
    """

    low: float
    high: float
    method: Method

    def transform(self, function: Callable[[float], float]) -> Interval:
        """The interval of a rising function of the same quantity."""
        return Interval(function(self.low), function(self.high), self.method)

    def excludes(self, value: float) -> bool:
        """Whether ``value`` lies outside."""
        return not self.low <= value <= self.high


def standard_error(differences: Floats) -> float:
    """Standard error of the mean of ``[n]`` differences, n ≥ 2."""
    return float(np.std(differences, ddof=1)) / math.sqrt(len(differences))


def t_quantile(n: int, tests: int = 1) -> float:
    """How many standard errors the 95 % interval of ``n`` differences reaches to either side.

    Where there are several ``tests``, so far that all of them together hold at 95 %.
    """
    level = 1 - (1 - LEVEL) / tests
    return float(special.stdtrit(n - 1, (1 + level) / 2))


def t_interval(differences: Floats) -> Interval | None:
    """Student's interval of the mean of ``[n]`` differences; ``None`` below three."""
    n = len(differences)
    if n < LEAST_FOR_T:
        return None
    half = t_quantile(n) * standard_error(differences)
    mean = float(np.mean(differences))
    return Interval(mean - half, mean + half, "t")


# The t interval of eight exponential values lies wholly below their true mean in 10 % of samples
# instead of 2.5 %. Hall's cubic transformation of the t statistic (1992) takes the skewness out of
# it and can be inverted; that brings it to 5 % and leaves symmetric values as they are. It is for
# quantities that lie on one side of zero, not for differences, whose skewness pairing takes away:
# of values that lie in two heaps it makes too little.
def skewness_t_interval(values: Floats) -> Interval | None:
    """Student's interval of the mean of ``[n]`` values, corrected for skewness from five on.

    ``None`` below three.
    """
    n, interval = len(values), t_interval(values)
    if n < LEAST_FOR_SKEWNESS or np.ptp(values) == 0:
        return interval
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    skewness = n / ((n - 1) * (n - 2)) * float(np.sum(((values - mean) / spread) ** 3))
    if abs(skewness) < _LEAST_SKEWNESS:  # the transformation divides by it
        return interval

    def find_bound(t: float) -> float:
        cubed = 1 + skewness * (t / math.sqrt(n) - skewness / (6 * n))
        return mean - 3 * spread / skewness * (float(np.cbrt(cubed)) - 1)

    return Interval(find_bound(t_quantile(n)), find_bound(-t_quantile(n)), "t")


def mean_interval(differences: Floats, method: Method) -> Interval | None:
    """95 % interval of the mean of ``[n]`` differences, by Student's t or the BCa bootstrap.

    ``None`` where there are too few: below three for t, below fifteen for the bootstrap.
    """
    if method == "t":
        return t_interval(differences)
    if len(differences) < LEAST_FOR_BOOTSTRAP:
        return None
    from scipy import stats

    mean = float(np.mean(differences))
    if np.ptp(differences) == 0:  # nothing to resample, and BCa would divide by zero
        return Interval(mean, mean, "bootstrap")
    bounds = stats.bootstrap(
        (differences,),
        np.mean,
        confidence_level=LEVEL,
        n_resamples=BOOTSTRAP_RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    ).confidence_interval
    return Interval(float(bounds.low), float(bounds.high), "bootstrap")


# A mean of positive quantities lies above zero, and so must its interval; Student's reaches below
# where few runs differ widely. On the logarithm of the mean its half-width is the standard error
# over the mean times t (delta method), and going back gives mean · e^∓half (Meeker and Escobar,
# Statistical Methods for Reliability Data, 1998). With a half-width of 10 % the ends are those of
# Student's t to half a per cent. An interval of a share loses no coverage by being cut at 0 and 1,
# because no true share lies beyond.
def level_interval(values: Floats, scale: Scale) -> Interval | None:
    """95 % interval of the arithmetic mean of ``[n]`` values; ``None`` below three.

    It stays where the quantity can be: above zero for ratios, within 0 and 1 for shares. Joules
    above idle may be negative; where one is, Student's t stands as it is.
    """
    interval = t_interval(values)
    if interval is None or scale == "plain":
        return interval
    if scale == "share":
        return interval.transform(lambda end: min(max(end, 0.0), 1.0))
    return interval.transform(keep_positive(values)) if values.min() > 0 else interval


def keep_positive(values: Floats) -> Callable[[float], float]:
    """What takes a point around the mean of ``[n]`` positive values to one above zero."""
    mean = float(np.mean(values))
    return lambda point: mean * math.exp(point / mean - 1.0)


def ellipse(points: Sequence[tuple[float, float]]) -> Floats | None:
    """Outline ``[n, 2]`` of the joint 95 % region of a mean; ``None`` with fewer than ten points.

    With fewer points the two variances and their covariance are too unsure to be worth drawing.
    """
    n = len(points)
    if n < LEAST_FOR_ELLIPSE:
        return None
    values = np.asarray(points, dtype=np.float64)
    radius = math.sqrt(2 * (n - 1) / (n * (n - 2)) * special.fdtri(2, n - 2, LEVEL))
    sizes, axes = np.linalg.eigh(np.cov(values.T))
    angle = np.linspace(0.0, 2 * math.pi, _ELLIPSE_CORNERS)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    outline = axes @ (np.sqrt(np.maximum(sizes, 0.0))[:, None] * circle) * radius
    return np.asarray(values.mean(axis=0) + outline.T)


def d_z(differences: Floats) -> float | None:
    """Mean over standard deviation of ``[n]`` paired differences (Cohen's d_z).

    ``None`` where there is no spread to measure by: one block, or equal differences.
    """
    if len(differences) < 2 or np.ptp(differences) == 0:
        return None
    return float(np.mean(differences) / np.std(differences, ddof=1))


def compute_win_rate(differences: Floats, *, lower_is_better: bool) -> float | None:
    """Share of blocks in which the difference goes the better way; a tie is half a win."""
    if len(differences) == 0:
        return None
    better = -differences if lower_is_better else differences
    return float(np.mean((better > 0) + 0.5 * (better == 0)))


# Clopper and Pearson's bounds are quantiles of beta distributions, which take parts of a hit, too.
# So a seed whose runs disagree counts in part: where the runs of a seed always agree the interval
# is the exact one of so many seeds, and where they do not it is wider than it need be.
def share_interval(hits: float, units: int) -> tuple[float, float]:
    """95 % interval of a share (Clopper and Pearson).

    Args:
        hits: Sum over units of the share of each that has the property, from 0 to ``units``.
        units: How many independent ones there are, at least 1.
    """
    tail, misses = (1 - LEVEL) / 2, units - hits
    low = special.betaincinv(hits, misses + 1, tail) if hits > 0 else 0.0
    high = special.betaincinv(hits + 1, misses, 1 - tail) if misses > 0 else 1.0
    return float(low), float(high)


# A run that stops at 40 kJ without reaching the target says that its cost lies above 40 kJ. Leaving
# it out would flatter the configuration, an invented value would be invented; so it is counted as
# censored there.
@dataclass(frozen=True, slots=True)
class Censored:
    """Costs of reaching a target, some of them only known from below.

    Attributes:
        reached: How many runs reached it.
        runs: How many there were.
        median: Kaplan–Meier median; ``None`` where fewer than half of the runs reached it.
    """

    reached: int
    runs: int
    median: float | None


def compute_censored_median(costs: Sequence[float], reached: Sequence[bool]) -> Censored:
    """Kaplan and Meier's median (1958) of ``costs``, those not ``reached`` being lower bounds.

    The median is the least cost by which at least half of all runs have reached the target.
    """
    hits = np.asarray(reached, dtype=bool)
    values = np.asarray(costs, dtype=np.float64)
    median = None
    if len(hits) and hits.all():
        median = float(np.quantile(values, 0.5, method="inverted_cdf"))
    elif hits.any():
        from scipy import stats

        data = stats.CensoredData(uncensored=values[hits], right=values[~hits])
        curve = stats.ecdf(data).sf
        at_most_half = curve.quantiles[curve.probabilities <= 0.5 + _ROUNDING]
        median = float(at_most_half[0]) if len(at_most_half) else None
    return Censored(int(hits.sum()), len(hits), median)


def on_front(energy_j: Floats, accuracy: Floats) -> NDArray[np.bool_]:
    """Which configurations are on the Pareto front, for means of shape ``[..., configurations]``.

    One is beaten when another needs no more joules and is no less accurate, and is better in one
    of the two; equal ones do not beat each other.
    """
    own_j, other_j = energy_j[..., :, None], energy_j[..., None, :]
    own_share, other_share = accuracy[..., :, None], accuracy[..., None, :]
    no_worse = (other_j <= own_j) & (other_share >= own_share)
    better = (other_j < own_j) | (other_share > own_share)
    return np.asarray(~(no_worse & better).any(axis=-1))


def resample_front(energy_j: Floats, accuracy: Floats) -> Floats:
    """Share of resampled sets of blocks in which each configuration is on the Pareto front.

    Args:
        energy_j: ``[blocks, configurations]``; whole blocks are drawn with replacement.
        accuracy: The same shape.

    Returns:
        ``[configurations]``.
    """
    blocks = len(energy_j)
    rng, even = np.random.default_rng(FRONT_SEED), np.full(blocks, 1 / blocks)
    fronts = []
    for _ in range(FRONT_RESAMPLES // _FRONTS_AT_ONCE):
        weights = rng.multinomial(blocks, even, size=_FRONTS_AT_ONCE) / blocks
        fronts.append(on_front(weights @ energy_j, weights @ accuracy))
    return np.asarray(np.concatenate(fronts).mean(axis=0))
