"""When a study stops: Stein's two stages, as `until` has it, beside stopping at first sight.

Differences of two configurations in joules are drawn block by block, as in
``benchmarks.simulated_studies``; the functions of ``wbcbench.stats`` decide how many there are and
make the interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.simulated_studies import (
    ENERGY,
    PAIR,
    Rng,
    Truth,
    World,
    draw_places,
    draw_values,
    make_runs,
)
from wbcbench.compare.analysis import compare
from wbcbench.compare.metric import Settings, TwoStages
from wbcbench.stats.intervals import Floats, Interval, t_interval
from wbcbench.stats.tests import count_stein_blocks, stein_interval

FIRST_STAGE = 8
MOST_BLOCKS = 400  # of a study that stops at first sight
WIDTHS = {8: 1.4, 11: 0.76, 20: 0.535, 40: 0.375}
"""Blocks that Stein's rule carries out on average → half-width, in s.d. of the differences."""

Stopping = Callable[[Callable[[int], Floats], float], tuple[int, Interval | None]]
"""Takes a source of so many further differences and a half-width; gives blocks and interval."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a rule came to: its mean number of blocks, and how often its interval held the truth."""

    blocks: float
    coverage: float


def stop_in_two_stages(draw: Callable[[int], Floats], half_width: float) -> tuple[int, Interval]:
    """Stein's rule: the first stage's spread decides how many blocks there are."""
    first = draw(FIRST_STAGE)
    blocks = count_stein_blocks(first, half_width)
    differences = np.concatenate([first, draw(blocks - FIRST_STAGE)])
    return blocks, stein_interval(differences, FIRST_STAGE)


def stop_at_first_sight(
    draw: Callable[[int], Floats], half_width: float
) -> tuple[int, Interval | None]:
    """Look after every block, and stop as soon as the interval is narrow enough."""
    differences = draw(MOST_BLOCKS)
    for blocks in range(FIRST_STAGE, MOST_BLOCKS):
        interval = t_interval(differences[:blocks])
        if interval is None or interval.high - interval.low <= 2 * half_width:
            return blocks, interval
    return MOST_BLOCKS, t_interval(differences)


def count_stopped(rule: Stopping, world: World, wanted: int, studies: int, seed: int) -> Stopped:
    """Carry out a rule in so many studies without a difference.

    Args:
        rule: When to stop.
        world: How runs scatter.
        wanted: One of ``WIDTHS``.
        studies: How many.
        seed: Of the drawing.
    """
    rng = np.random.default_rng(seed)
    half_width = WIDTHS[wanted] * world.sd * math.hypot(world.wide, 1.0)
    outcomes = [
        rule(lambda n: _draw_differences(world, rng, n), half_width) for _ in range(studies)
    ]
    held = [interval is not None and not interval.excludes(0.0) for _, interval in outcomes]
    return Stopped(float(np.mean([blocks for blocks, _ in outcomes])), float(np.mean(held)))


def compare_in_two_stages(wanted: int, seed: int) -> float:
    """The larger deviation of the ends that ``compare`` gives from Stein's, in log joules.

    The study is of ``PAIR`` and has as many blocks as its first ones ask for.
    """
    world, rng = World(), np.random.default_rng(seed)
    half_width = WIDTHS[wanted] * world.sd * math.sqrt(2)
    places = draw_places("balanced", replace(PAIR, blocks=MOST_BLOCKS), rng)
    log_j, share = draw_values(world, places, rng, Truth())
    differences = log_j[:, 1] - log_j[:, 0]
    blocks = count_stein_blocks(differences[:FIRST_STAGE], half_width)
    design = replace(PAIR, blocks=blocks)
    pair = PAIR.specs[1].variant, PAIR.specs[0].variant
    width_pct = 100 * math.expm1(2 * half_width)
    stages = TwoStages(*pair, (ENERGY,), width_pct, FIRST_STAGE, MOST_BLOCKS)
    runs = make_runs(design, places, log_j, share)
    interval = compare(runs, Settings(two_stages=stages), ["simulated"]).effects[0].interval
    stein = stein_interval(differences[:blocks], FIRST_STAGE)
    assert interval is not None
    ends = ((interval.low, stein.low), (interval.high, stein.high))
    return max(abs(math.log1p(found / 100) - end) for found, end in ends)


def _draw_differences(world: World, rng: Rng, blocks: int) -> Floats:
    places = np.zeros((blocks, 2), dtype=np.int64)
    log_j, _ = draw_values(world, places, rng, Truth())
    return log_j[:, 1] - log_j[:, 0]
