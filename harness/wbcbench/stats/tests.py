"""Exact tests and what follows from them: correction, equivalence, power, thresholds."""

from __future__ import annotations

import math
from bisect import bisect_left
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from wbcbench.stats.intervals import LEAST_FOR_T, Floats, Interval, standard_error, t_quantile

EXACT_UP_TO = 16
SIGN_RESAMPLES = 2**EXACT_UP_TO
PERMUTATION_SEED = 20_260_302
# Sums of the same numbers in another order differ by rounding; equal ones must count as equal.
_ROUNDING = 1e-12

ALPHA = 0.05

Bits = NDArray[np.uint8]
Weights = tuple[float, ...]

FIRST: Weights = (-0.5, -0.5, 0.5, 0.5)
SECOND: Weights = (-0.5, 0.5, -0.5, 0.5)
INTERACTION: Weights = (1.0, -1.0, -1.0, 1.0)

MOST_BLOCKS_TO_SETTLE = 1_000

TARGET_POWER = 0.80
SIMULATED_STUDIES = 5_000
POWER_SEED = 20_260_304
LARGEST_EFFECT = 20.0
SPREAD_STEPS = 2_000  # quantiles of the spread over which the chance of equivalence is averaged
EFFECT_STEPS = 100  # the resolution of the detectable effect: steps in one standard deviation
# To try all patterns of thousands of studies takes too long beyond twelve blocks: then so many
# random ones stand for all, and beyond sixteen the t test does, to within a point.
SIGN_PATTERNS = 2**12


# With n blocks there are 2ⁿ equally likely sets of signs, so p cannot be smaller than 2 / 2ⁿ
# however large the effect: 0.0625 for five blocks, 0.0078 for eight. The p are those of
# ``scipy.stats.permutation_test(permutation_type="samples")``, as a test checks; that function is
# not called because importing ``scipy.stats`` takes longer than all the rest.
def describe_sign_flips(n: int) -> str:
    """``Exact sign-flip test``, or over how many of the patterns of ``n`` signs."""
    if 2**n <= SIGN_RESAMPLES:
        return "Exact sign-flip test"
    return f"Sign-flip test over {SIGN_RESAMPLES:,} random patterns"


def sign_flip_p(differences: Floats, resamples: int = SIGN_RESAMPLES) -> Floats:
    """Two-sided p of each row of ``[..., n]`` differences; all sign patterns up to sixteen blocks.

    Where 2ⁿ exceeds ``resamples``, that many patterns are drawn with a fixed seed instead, and the
    observed one is counted among them. Rows share the patterns.
    """
    n = differences.shape[-1]
    is_exact = 2**n <= resamples
    minus = _generate_minus(n) if is_exact else _draw_minus(n, resamples)
    at_once = _count_at_once(n)
    parts = (minus[i : i + at_once] for i in range(0, len(minus), at_once))
    sums = np.concatenate(
        [differences @ (1.0 - 2.0 * np.unpackbits(part, axis=1, count=n)).T for part in parts],
        axis=-1,
    )
    observed = differences.sum(axis=-1, keepdims=True)
    rounding = _ROUNDING * np.abs(differences).sum(axis=-1, keepdims=True)
    above = (sums >= observed - rounding).sum(axis=-1)
    below = (sums <= observed + rounding).sum(axis=-1)
    added = 0 if is_exact else 1
    one_sided = (np.minimum(above, below) + added) / (len(minus) + added)
    return np.asarray(np.minimum(2 * one_sided, 1.0), dtype=np.float64)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided exact p of McNemar's test: discordant predictions are a fair coin's tosses."""
    tosses = only_first + only_second
    return min(1.0, 2.0 * float(special.bdtr(min(only_first, only_second), tosses, 0.5)))


def p_floor(n: int) -> float:
    """The smallest attainable p with ``n`` blocks."""
    return min(1.0, 2.0 / 2.0**n) if n <= EXACT_UP_TO else 2.0 / (SIGN_RESAMPLES + 1)


def find_least_blocks(level: float) -> int | None:
    """The fewest blocks whose smallest attainable p is not above ``level``; ``None`` if none is."""
    return next((n for n in range(1, EXACT_UP_TO + 1) if p_floor(n) <= level), None)


# A bit a sign, and few at once as numbers: of ten thousand runs all would take more than 1 GB.
@cache
def _generate_minus(n: int) -> Bits:
    """Which signs of every pattern are negative: the binary digits of 0 … 2ⁿ − 1."""
    return np.packbits(np.arange(2**n)[:, None] >> np.arange(n) & 1, axis=1)


@cache
def _draw_minus(n: int, patterns: int) -> Bits:
    rng, at_once = np.random.default_rng(PERMUTATION_SEED), _count_at_once(n)
    counts = (min(at_once, patterns - i) for i in range(0, patterns, at_once))
    drawn = (rng.choice((-1, 1), (count, n)) < 0 for count in counts)
    return np.concatenate([np.packbits(part, axis=1) for part in drawn])


def _count_at_once(n: int) -> int:
    """How many patterns of ``n`` signs are held as numbers at a time."""
    return max(2**17 // n, 1)  # fit the processor's cache: more take twenty times as long


# ``statsmodels.stats.multitest.multipletests`` gives the same, as a test checks; importing it takes
# longer than a comparison.
def adjust_holm(p: Floats) -> Floats:
    """Adjusted p of each of ``[m]`` tests, in their order (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)


# Two one-sided t tests (Schuirmann 1987). A region of practical equivalence is fixed before the
# first run. "Equivalent" is stated only when both the hypothesis that the difference lies below the
# region and the one that it lies above are rejected at 5 %, which is the same as the 90 % interval
# lying inside. A difference that is not significant is not thereby equivalent.
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
    if error == 0:  # the same in every block, of which the signs say all there is to know
        return p_floor(n) if low < mean < high else 1.0
    return float(special.stdtr(n - 1, -min(mean - low, high - mean) / error))


def claim_p(differences: Floats, low: float | None, high: float | None) -> float | None:
    """Two-sided p of the claim that the mean lies in a range; ``None`` below three blocks.

    Twice the larger p of the one-sided t tests against the range's ends, so that it is at most 5 %
    just where the 95 % interval lies inside. Where nothing varies it is that of the signs.

    Args:
        differences: ``[n]``, within blocks.
        low: Lower end of the range, in the same unit; ``None`` where it is open.
        high: Upper end.
    """
    one_sided = equivalence_p(
        differences, -math.inf if low is None else low, math.inf if high is None else high
    )
    if one_sided is None:
        return None
    if _is_constant(differences):
        return p_floor(len(differences)) if one_sided < 0.5 else 1.0
    return min(2 * one_sided, 1.0)


def lacks_spread(differences: Floats) -> bool:
    """Whether ``[n]`` differences are all equal and too few to show anything by their signs.

    The t interval of equal numbers has no width and would decide whatever it is asked. What counts
    then is the exact sign-flip test, whose p cannot fall below ``p_floor(n)``.
    """
    return _is_constant(differences) and p_floor(len(differences)) > ALPHA


def _is_constant(differences: Floats) -> bool:
    return float(np.ptp(differences)) <= _ROUNDING * float(np.max(np.abs(differences)))


# Contrasts of a 2 × 2 design with configurations ``(a0 b0, a0 b1, a1 b0, a1 b1)``: the effect of a
# factor is the mean of the two with its upper level minus the mean of the two with its lower level,
# taken inside each block; the interaction is the effect of b where a is upper minus the effect of b
# where a is lower. On logarithms these are ratios and a ratio of ratios.
def compute_contrast(values: Floats, weights: Weights) -> Floats:
    """``[blocks]`` differences: the weighted sum of ``[blocks, configurations]`` values."""
    return np.asarray(values @ np.asarray(weights), dtype=np.float64)


def build_pair_weights(variant: int, baseline: int, size: int) -> Weights:
    """Weights of one configuration minus another."""
    return tuple(float(i == variant) - float(i == baseline) for i in range(size))


class ThresholdOutcome(StrEnum):
    """How an interval lies to a limit."""

    NOT_WORSE = "not worse"
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"


def evaluate_limit(
    interval: Interval | None, limit: float, *, above_is_worse: bool
) -> ThresholdOutcome:
    """Wholly inside the limit, wholly beyond it, or astride; an interval ending on it is inside."""
    if interval is None:
        return ThresholdOutcome.INCONCLUSIVE
    low, high = interval.low, interval.high
    if not above_is_worse:
        low, high, limit = -high, -low, -limit
    if high <= limit:
        return ThresholdOutcome.NOT_WORSE
    return ThresholdOutcome.WORSE if low > limit else ThresholdOutcome.INCONCLUSIVE


def count_blocks_to_settle(differences: Floats, limit: float) -> int | None:
    """How many more blocks would settle it, were mean and spread to stay as they are.

    ``None`` where no number up to a thousand would, or where one block shows no spread.
    """
    n = len(differences)
    if n < 2:
        return None
    distance = abs(float(np.mean(differences)) - limit)
    spread = float(np.std(differences, ddof=1))
    for blocks in range(max(n + 1, LEAST_FOR_T), MOST_BLOCKS_TO_SETTLE + 1):
        if t_quantile(blocks) * spread / math.sqrt(blocks) < distance:
            return blocks - n
    return None


# Stein's two stages (1945): the spread of the first blocks alone decides how many blocks there are,
# and the interval keeps that spread and its degrees of freedom. Looking at the interval after every
# block and stopping when it is narrow enough stops too often where the spread looks small by luck.
def count_stein_blocks(first: Floats, half_width: float) -> int:
    """The blocks in all for a 95 % interval of the mean that reaches ``half_width`` to each side.

    Args:
        first: ``[n]`` differences of the first stage, n ≥ 2.
        half_width: Above zero, in their unit.
    """
    n = len(first)
    reach = t_quantile(n) * float(np.std(first, ddof=1))
    return max(n, math.ceil((reach / half_width) ** 2))


def stein_interval(differences: Floats, first: int) -> Interval:
    """The 95 % interval of the mean of ``[n]`` differences after two stages.

    Args:
        differences: ``[n]``, those of the first stage first.
        first: How many these are, two at least.
    """
    reach = t_quantile(first) * float(np.std(differences[:first], ddof=1))
    mean, half = float(np.mean(differences)), reach / math.sqrt(len(differences))
    return Interval(mean - half, mean + half, "stein")


# The power of a plan is that of one primary contrast judged as ``compare`` judges it: the exact
# sign-flip test below the first step of Holm's correction. The other tests of the family may only
# help.
def compute_power(effect: float, blocks: int, tests: int = 6) -> float:
    """The chance to find a difference of ``effect`` standard deviations between blocks.

    Args:
        effect: True mean of the within-block differences over their standard deviation (d_z).
        blocks: How many blocks the plan has.
        tests: Size of the primary family (three contrasts on two metrics are six), which is
            tested at 5 % as a whole.
    """
    level = ALPHA / tests
    if blocks < 2 or p_floor(blocks) > level:
        return 0.0
    if blocks > EXACT_UP_TO:
        from statsmodels.stats.power import TTestPower

        return float(TTestPower().power(effect, blocks, level))
    return float((sign_flip_p(_draw_noise(blocks) + effect, SIGN_PATTERNS) <= level).mean())


def find_detectable_effect(blocks: int, tests: int = 6) -> float | None:
    """The least effect (d_z) found with a power of 80 %; ``None`` where p cannot get there."""
    steps = range(round(LARGEST_EFFECT * EFFECT_STEPS) + 1)
    step = bisect_left(
        steps, TARGET_POWER, key=lambda i: compute_power(i / EFFECT_STEPS, blocks, tests)
    )
    return step / EFFECT_STEPS if step < len(steps) else None


# The mean and the spread of normal differences are independent, so the chance is the mean, over the
# distribution of the spread, of the chance that the mean then lies near enough to zero.
def compute_equivalence_power(spread: float, blocks: int, tests: int = 6) -> float:
    """The chance to show equivalence where nothing differs, at the first step of Holm's correction.

    The other tests of the family may only help.

    Args:
        spread: Standard deviation of the within-block differences, in half-widths of the region.
        blocks: How many blocks the plan has.
        tests: Size of the primary family.
    """
    if blocks < LEAST_FOR_T:
        return 0.0
    shares = (np.arange(SPREAD_STEPS) + 0.5) / SPREAD_STEPS
    spreads = spread * np.sqrt(special.chdtri(blocks - 1, shares) / (blocks - 1))
    errors = spreads / math.sqrt(blocks)
    room = 1.0 - special.stdtrit(blocks - 1, 1 - ALPHA / tests) * errors
    reach = np.maximum(room, 0.0) / (spread / math.sqrt(blocks))
    return float((2 * special.ndtr(reach) - 1).mean())


def find_equivalence_blocks(spread: float, tests: int = 6) -> int | None:
    """The fewest blocks with a power of 80 % to show equivalence; ``None`` above a thousand."""
    steps = range(MOST_BLOCKS_TO_SETTLE + 1)
    blocks = bisect_left(
        steps, TARGET_POWER, key=lambda n: compute_equivalence_power(spread, n, tests)
    )
    return blocks if blocks < len(steps) else None


def find_equivalence_spread(power: float, blocks: int, tests: int = 6) -> float:
    """The largest spread, in half-widths of the region, at which equivalence has this power."""
    steps = range(1, round(LARGEST_EFFECT * EFFECT_STEPS))
    step = bisect_left(
        steps,
        -power,
        key=lambda i: -compute_equivalence_power(i / EFFECT_STEPS, blocks, tests),
    )
    return step / EFFECT_STEPS


@cache
def _draw_noise(blocks: int) -> Floats:
    return np.random.default_rng(POWER_SEED).standard_normal((SIMULATED_STUDIES, blocks))
