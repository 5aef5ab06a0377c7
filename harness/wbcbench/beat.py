"""Loads that switch in step with how they are looked at; pure.

Where each edge of a periodic load falls between two looks is usually chance, and the errors of many
edges cancel. If a period lasts a whole number of looks (or a half, or a third of one), every edge
is cut at the same place and the errors add up instead. The trace shows that: its rising edges are
evenly spaced, and their spacing is in step with the looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median, pstdev

from wbcbench.budget import TRIANGULAR_95

_FEWEST_EDGES = 5
_EVEN = 0.75  # spacings of a periodic load differ by less than this many looks: rounding and jitter
_ORDERS = (1, 2, 3)


def beat_j(times: Sequence[float], power_w: Sequence[float]) -> float:
    """Half-width at 95 % of the joules that edges in step may add or hide; 0.0 if there are none.

    Args:
        times: Seconds of each look, increasing, shape ``[n]``.
        power_w: What was seen, same shape.
    """
    rises = _rises(power_w)
    if len(rises) < _FEWEST_EDGES:
        return 0.0
    look_s = median([b - a for a, b in pairwise(times)])
    height_w = sum(power_w[i + 1] - power_w[i] for i in rises)
    return TRIANGULAR_95 * height_w * look_s * _in_step(_spacings(times, rises, look_s))


def _rises(power_w: Sequence[float]) -> list[int]:
    """Places where the power crosses the middle of its range upwards."""
    middle_w = (max(power_w) + min(power_w)) / 2 if power_w else 0.0
    return [i for i, (a, b) in enumerate(pairwise(power_w)) if a <= middle_w < b]


def _spacings(times: Sequence[float], rises: Sequence[int], look_s: float) -> list[float]:
    """Times between rising edges, counted in looks."""
    return [(times[b] - times[a]) / look_s for a, b in pairwise(rises)]


def _in_step(spacings: Sequence[float]) -> float:
    """The share of the edges' errors that adds up instead of cancelling, from 0 to 1.

    Edges that return to the same place after ``order`` periods are cut at ``order`` places whose
    errors cancel in part; edges that drift by several looks over the window are cut everywhere.
    The first and the last edge are seen up to half a look off, so half a look of drift is nothing.
    """
    if pstdev(spacings) > _EVEN:
        return 0.0
    period = sum(spacings) / len(spacings)
    shares = list[float]()
    for order in _ORDERS:
        off = abs(order * period - round(order * period)) / order
        shares.append(1 / (order * max(off * len(spacings) - 0.5, 1.0)))
    return max(shares)
