"""How much configurations scatter by themselves, and whether one scatters more than others.

Neither the sign-flip test nor Student's t is made for noise that is wider in one configuration and
skewed, too: the differences are then skewed where nothing differs on average.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wbcbench.stats.intervals import LEAST_FOR_T, Floats

LARGEST_FACTOR = 3.0
ALARM_LEVEL = 0.10
RELABELLINGS = 499
RELABELLING_SEED = 20_260_305
# The same numbers in another order give the same share up to rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class UnequalSpreads:
    """Two configurations that scatter differently.

    Attributes:
        widest, narrowest: Their places.
        factor: The standard deviation of the one over that of the other.
    """

    widest: int
    narrowest: int
    factor: float


def find_unequal_spreads(values: Floats) -> UnequalSpreads | None:
    """The widest and narrowest configuration, where they differ by more than chance and 3 ×.

    Args:
        values: ``[blocks, configurations]``, on the scale on which differences are taken.

    Returns:
        ``None`` where they do not, or with fewer than three blocks or two known spreads.
    """
    if len(values) < LEAST_FOR_T or values.shape[1] < 2:
        return None
    variances = estimate_variances(values)
    # An estimate that is not above zero says nothing of how small the spread is.
    known = np.flatnonzero(variances > _ROUNDING * np.max(variances))
    if len(known) < 2:
        return None
    widest, narrowest = (int(known[pick(variances[known])]) for pick in (np.argmax, np.argmin))
    factor = math.sqrt(variances[widest] / variances[narrowest])
    if factor <= LARGEST_FACTOR or _test_widest(values) > ALARM_LEVEL:
        return None
    return UnequalSpreads(widest, narrowest, factor)


# Grubbs (1948): with three or more configurations what a block shares cancels in the covariance of
# the differences to two others, (x_i - x_j, x_i - x_l), and the mean over all such pairs estimates
# the variance of x_i alone. It is the same as this function of the residuals from the blocks'
# means. Of two configurations the shared part cannot be told from their own: variance minus
# covariance is so unsure that unequal spreads are found less often than by the plain variances,
# whose quotient is nearer to 1 than the truth, so that they warn too rarely, not too often.
def estimate_variances(values: Floats) -> Floats:
    """``[configurations]`` variances within ``[blocks, configurations]``, without the shared part.

    May be negative from three configurations on, as differences of estimates are.
    """
    k = values.shape[-1]
    variances = np.var(_remove_shared(values), axis=-2, ddof=1)
    if k < 3:
        return np.asarray(variances)
    total = variances.sum(axis=-1, keepdims=True)
    return np.asarray(k / (k - 2) * (variances - total / (k * (k - 1))))


def _remove_shared(values: Floats) -> Floats:
    if values.shape[-1] < 3:
        return values
    return np.asarray(values - values.mean(axis=-1, keepdims=True))


# Where spreads are equal, values of one block that lie at their configurations' centres may change
# places. Medians as centres: around a mean, one far run would move all the others of its
# configuration, and skewed noise would look unequal.
def _test_widest(values: Floats) -> float:
    """P of the widest configuration's share of all variance, by exchange within blocks."""
    centred = values - np.median(_remove_shared(values), axis=0)
    rng = np.random.default_rng(RELABELLING_SEED)
    drawn = (rng.permuted(centred, axis=-1) for _ in range(RELABELLINGS))
    least = _find_largest_share(centred) * (1 - _ROUNDING)
    at_least = sum(_find_largest_share(table) >= least for table in drawn)
    return float((1 + at_least) / (1 + RELABELLINGS))


def _find_largest_share(values: Floats) -> Floats:
    variances = np.var(_remove_shared(values), axis=-2, ddof=1)
    return np.asarray(variances.max(axis=-1) / variances.sum(axis=-1))
