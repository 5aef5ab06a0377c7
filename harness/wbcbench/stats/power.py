"""What a plan can promise before its first run.

The promise is for one primary contrast judged as ``compare`` judges it: the exact sign-flip test
below the first step of Holm's correction. The other tests of the family may only help.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import special

from wbcbench.stats.permutation import p_floor

Floats = NDArray[np.float64]

ALPHA = 0.05
PROMISE = 0.80
SIMULATED = 5_000
SEED = 20_260_304
LARGEST_EFFECT = 20.0
# The patterns of thousands of studies take too long to try from here on: a sample of them stands
# for all, and from the second number on the t test does, to within a point.
EXACT_UP_TO = 10
SAMPLED_UP_TO = 16
PATTERNS = 4_096


def power(effect: float, blocks: int, tests: int = 6, alpha: float = ALPHA) -> float:
    """The chance to find a difference of ``effect`` standard deviations between blocks.

    Args:
        effect: True mean of the within-block differences over their standard deviation (d_z).
        blocks: How many blocks the plan has.
        tests: Size of the primary family (three contrasts on two metrics are six).
        alpha: Level of the whole family.
    """
    level = alpha / tests
    if blocks < 2 or p_floor(blocks) > level:
        return 0.0
    if blocks > SAMPLED_UP_TO:
        return _t_power(effect, blocks, level)
    return _sign_flip_power(effect, blocks, level)


def detectable_effect(
    blocks: int, tests: int = 6, alpha: float = ALPHA, promise: float = PROMISE
) -> float | None:
    """The least effect (d_z) found with the promised chance; ``None`` where p cannot get there."""
    if power(LARGEST_EFFECT, blocks, tests, alpha) < promise:
        return None
    low, high = 0.0, LARGEST_EFFECT
    while high - low > 0.01:
        middle = (low + high) / 2
        if power(middle, blocks, tests, alpha) < promise:
            low = middle
        else:
            high = middle
    return high


def _t_power(effect: float, blocks: int, level: float) -> float:
    """Power of the two-sided t test: the noncentral t distribution beyond both quantiles."""
    reach = special.stdtrit(blocks - 1, 1 - level / 2)
    shift = effect * blocks**0.5
    above = 1 - special.nctdtr(blocks - 1, shift, reach)
    return float(above + special.nctdtr(blocks - 1, shift, -reach))


@cache
def _noise(blocks: int) -> Floats:
    return np.random.default_rng(SEED).standard_normal((SIMULATED, blocks))


@cache
def _signs(blocks: int) -> Floats:
    """Sign patterns, ``[patterns, blocks]``: all, or a sample that holds each with its mirror."""
    if blocks <= EXACT_UP_TO:
        return np.array(list(product((1.0, -1.0), repeat=blocks)))
    drawn = np.random.default_rng(SEED).choice((1.0, -1.0), (PATTERNS // 2, blocks))
    return np.vstack([drawn, -drawn])


def _sign_flip_power(effect: float, blocks: int, level: float) -> float:
    """Share of simulated studies whose sum of differences is among the most extreme patterns."""
    differences = _noise(blocks) + effect
    signs = _signs(blocks)
    # Of all sums, `allowed` may be as extreme on either side; the next one must stay below.
    allowed = int(level * len(signs) / 2)
    sums = differences @ signs.T
    sums.partition((allowed - 1, -allowed), axis=1)
    observed = differences.sum(axis=1)
    tolerance = 1e-9
    above = observed >= sums[:, -allowed] - tolerance
    below = observed <= sums[:, allowed - 1] + tolerance
    return float((above | below).mean())
