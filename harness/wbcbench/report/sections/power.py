"""From the polls of a channel to what a picture of its power shows: readings, steps and gaps; pure.

A picture holds a few hundred points, a run thousands of polls. What is drawn for several of them
is said to be: lowest and highest for readings, the mean for steps of a counter. Nothing is drawn
across a gap, for nobody knows what happened there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from wbcbench.core.trace import Trace
from wbcbench.energy.checks.sensors import gaps
from wbcbench.energy.integrate import energy_curve

MOST = 200
"""Strokes or steps in one picture; more would not be seen on a page and weigh on it."""

Span = tuple[float, float]
Stroke = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of power.

    Attributes:
        strokes: Time, lowest and highest of each group of readings; equal for a single one.
        each: How many readings one stroke stands for; 1 = every reading is drawn.
        total: How many readings there were.
    """

    strokes: list[Stroke]
    each: int
    total: int


@dataclass(frozen=True, slots=True)
class Steps:
    """Mean power between moves of a counter.

    Attributes:
        t_s: Edges, ``[n]``.
        power_w: Mean power from an edge to the next, ``[n]``; not a number where a gap begins and
            at the end.
        each: How many moves one step stands for.
        total: How many moves there were.
    """

    t_s: list[float]
    power_w: list[float]
    each: int
    total: int


def readings(trace: Trace, most: int = MOST) -> Readings:
    """What to draw of a sampled channel: every reading, or lowest and highest of a few."""
    times, power_w = trace.good
    each = -(-len(times) // most) or 1
    strokes = [
        _stroke(times[i:j], power_w[i:j])
        for start, end in _stretches(times)
        for i, j in _groups(start, end, each)
    ]
    return Readings(strokes, each, len(times))


def steps(trace: Trace, most: int = MOST) -> Steps:
    """What to draw of a counter: joules over seconds between moves, or over a few of them."""
    curve = energy_curve(trace)
    moves = max(len(curve.t_s) - 1, 0)
    each = -(-moves // most) or 1
    torn = [*gaps(trace.good[0]), *((b.before_s, b.after_s) for b in curve.breaks)]
    edges, power_w = list[float](), list[float]()
    for start, end in _whole(curve.t_s, torn):
        knots = [*range(start, end - 1, each), end - 1]
        for i, j in pairwise(knots):
            edges.append(curve.t_s[i])
            power_w.append((curve.energy_j[j] - curve.energy_j[i]) / (curve.t_s[j] - curve.t_s[i]))
        edges.append(curve.t_s[end - 1])
        power_w.append(float("nan"))
    return Steps(edges, power_w, each, moves)


def _stroke(times: Sequence[float], power_w: Sequence[float]) -> Stroke:
    return (times[0] + times[-1]) / 2, min(power_w), max(power_w)


def _groups(start: int, end: int, each: int) -> Iterator[tuple[int, int]]:
    return ((i, min(i + each, end)) for i in range(start, end, each))


def _stretches(times: Sequence[float]) -> Iterator[tuple[int, int]]:
    """First and one past the last reading of each stretch without a gap."""
    return _whole(times, gaps(times))


def _whole(times: Sequence[float], torn: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """The times in stretches that no torn span reaches into, as first and one past the last."""
    spans = sorted(torn)
    start, at = 0, 0
    for i in range(1, len(times)):
        while at < len(spans) and spans[at][1] <= times[i - 1]:
            at += 1
        if at < len(spans) and spans[at][0] < times[i]:
            yield start, i
            start = i
    if times:
        yield start, len(times)
