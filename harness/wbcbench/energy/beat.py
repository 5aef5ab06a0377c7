"""Loads that switch in step with how they are looked at; pure.

Where each edge of a periodic load falls between two looks is usually chance, and the errors of many
edges cancel. If a period lasts a whole number of looks (or a half, or a third of one), every edge
is cut at the same place and the errors add up instead. The trace shows that: its rising edges are
evenly spaced, and their spacing is in step with the looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, pstdev

from wbcbench.energy.budget import TRIANGULAR_95

_FEWEST_EDGES = 5
_EVEN = 0.75  # spacings of a periodic load differ by less than this many looks: rounding and jitter
_ORDERS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class _Turns:
    """A load's periods: how long in looks, how many, and how unevenly spaced."""

    look_s: float
    period: float
    count: int
    spread: float


def beat_j(times: Sequence[float], power_w: Sequence[float]) -> float:
    """Half-width at 95 % of the joules that edges in step may add or hide; 0.0 if there are none.

    Args:
        times: Seconds of each look, increasing, shape ``[n]``.
        power_w: What was seen, same shape.
    """
    rises = _rises(power_w)
    if len(rises) < _FEWEST_EDGES:
        return 0.0
    turns = _turns(times, rises)
    if turns.spread > _EVEN:
        return 0.0
    height_w = fmean(power_w[i + 1] - power_w[i] for i in rises)
    return TRIANGULAR_95 * height_w * turns.count * turns.look_s * _in_step(turns)


def _rises(power_w: Sequence[float]) -> list[int]:
    """Places where the power crosses the middle of its range upwards."""
    middle_w = (max(power_w) + min(power_w)) / 2 if power_w else 0.0
    return [i for i, (a, b) in enumerate(pairwise(power_w)) if a <= middle_w < b]


def _turns(times: Sequence[float], rises: Sequence[int]) -> _Turns:
    """The period of a load from its rising edges; an edge that was missed makes two periods one."""
    steps = [b - a for a, b in pairwise(times)]
    usual_s = median(steps)
    look_s = fmean(step for step in steps if step < 3 * usual_s)
    spacings = [(times[b] - times[a]) / look_s for a, b in pairwise(rises)]
    usual = median(spacings)
    counts = [max(round(spacing / usual), 1) for spacing in spacings]
    period = sum(spacings) / sum(counts)
    spread = pstdev(s - n * period for s, n in zip(spacings, counts, strict=True))
    return _Turns(look_s, period, sum(counts), spread)


def _in_step(turns: _Turns) -> float:
    """The share of the edges' errors that adds up instead of cancelling, from 0 to 1.

    Edges that return to the same place after ``order`` periods are cut at ``order`` places whose
    errors cancel in part; edges that drift by several looks over the window are cut everywhere.
    The first and the last edge are seen up to half a look off, so half a look of drift is nothing.
    """
    shares = list[float]()
    for order in _ORDERS:
        off = abs(order * turns.period - round(order * turns.period)) / order
        shares.append(1 / (order * max(off * turns.count - 0.5, 1.0)))
    return max(shares)
