"""When a counter moved, from polls that show only whether it did since the poll before.

A sensor renews its value at an even pace and at a phase of its own. Two polls less than a period
apart that differ enclose a renewal; two that agree enclose none. Each pair thus leaves the phase
only a part of the period, and polls at random places leave a few hundredths of it within seconds.
The phase is followed from poll to poll, may drift on the way, and is followed from the end of the
trace, too. Where the pairs contradict an even pace, each move is known only to its own pair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from wbcbench.energy import thresholds

MOST_CONTRADICTED = 0.02  # pairs, as a share of those that enclose one renewal
LEAST_TELLING = 0.05  # of all moves
SLOW_POLLS = 4  # fewer from move to move are as slow as the polls, at most

Span = tuple[float, float]


class Looseness(NamedTuple):
    """How unevenly a sensor may renew its value, in shares of the period."""

    drift: float  # from one renewal to the next
    slack: float  # of each renewal by itself


# A quartz, read at the middle of a call that takes its time; and a busy microcontroller.
LOOSENESSES = (Looseness(1e-3, 0.005), Looseness(5e-3, 0.05))


def place_renewals(
    times_s: Sequence[float], moves: Sequence[bool], update_s: float | None
) -> tuple[float, list[Span]]:
    """A counter's pace, and where the renewal before each poll lies.

    Args:
        times_s: Seconds of each poll, as in ``find_renewals``.
        moves: Whether the value differs, as there.
        update_s: The pace; ``None`` if unknown: it is then taken to move about its polls, or where
            they show that it is slow, between them.
    """
    if update_s:
        return update_s, find_renewals(times_s, moves, update_s)
    slow_s = find_slow_pace_s(times_s, moves)
    if slow_s is None:
        half_s = thresholds.COUNTER_UPDATE_S / 2
        return thresholds.COUNTER_UPDATE_S, [(t_s - half_s, t_s + half_s) for t_s in times_s]
    # What the first poll read is of one period before the first move.
    first_s = next(t for t, moved in zip(times_s[1:], moves[1:], strict=True) if moved) - slow_s
    first_s = min(first_s, times_s[0])
    return slow_s, [(first_s, first_s), *pairwise(times_s)]


def find_slow_pace_s(times_s: Sequence[float], moves: Sequence[bool]) -> float | None:
    """The pace of a counter that moves once in many polls; ``None`` if it is faster."""
    moved_s = [t_s for t_s, moved in zip(times_s[1:], moves[1:], strict=True) if moved]
    if not 2 <= len(moved_s) < len(times_s) / 2:
        return None
    pace_s = median(b - a for a, b in pairwise(moved_s))
    poll_s = median(b - a for a, b in pairwise(times_s))
    return pace_s if pace_s > max(thresholds.PROMPT_COUNTER_S, SLOW_POLLS * poll_s) else None


def find_renewals(times_s: Sequence[float], moves: Sequence[bool], period_s: float) -> list[Span]:
    """Where the last renewal before each poll lies, as an earliest and a latest time (95 %).

    Args:
        times_s: Seconds of each poll, strictly increasing, shape ``[n]``.
        moves: Whether the value differs from that of the poll before, shape ``[n]``; the first
            counts for nothing, and so does what comes out for polls without a move.
        period_s: Time between renewals, right within a thousandth or so.
    """
    earliest_s = [t_s - period_s for t_s in times_s]
    for place in range(1, len(times_s)):
        earliest_s[place] = max(earliest_s[place], times_s[place - 1])
    pairs = list(zip(earliest_s, times_s, strict=True))
    mirrored_s = [-t_s for t_s in reversed(times_s)]
    mirrored = [False, *reversed(moves[1:])]
    for looseness in LOOSENESSES:
        forward = _follow_phase(times_s, moves, period_s, looseness)
        backward = _follow_phase(mirrored_s, mirrored, period_s, looseness)
        if forward and backward:
            spans = [
                _intersect(span, (-high_s, -low_s), period_s) or span
                for span, (low_s, high_s) in zip(forward, reversed(backward), strict=True)
            ]
            slack_s = looseness.slack * period_s
            return [
                _place_renewal(span, pair, period_s, slack_s)
                for span, pair in zip(spans, pairs, strict=True)
            ]
    return pairs


def _follow_phase(
    times_s: Sequence[float], moves: Sequence[bool], period_s: float, looseness: Looseness
) -> list[Span]:
    """Where a renewal lies near each poll, give or take periods; empty if polls contradict."""
    slack_s = looseness.slack * period_s
    low_s, high_s = times_s[0] - period_s, times_s[0]
    spans, telling, contradicted = [(low_s, high_s)], 0, 0
    for place in range(1, len(times_s)):
        before_s, t_s = times_s[place - 1], times_s[place]
        periods = math.floor((t_s - low_s) / period_s)
        low_s += periods * period_s * (1 - looseness.drift)
        high_s += periods * period_s * (1 + looseness.drift)
        if t_s - before_s < period_s:
            telling += moves[place]
            allowed_s = (before_s, t_s) if moves[place] else (t_s - period_s, before_s)
            allowed_s = allowed_s[0] - slack_s, allowed_s[1] + slack_s
            span = _intersect((low_s, high_s), allowed_s, period_s)
            contradicted += span is None
            low_s, high_s = span or allowed_s
        spans.append((low_s, high_s))
    is_even = contradicted <= MOST_CONTRADICTED * telling
    return spans if is_even and telling >= LEAST_TELLING * sum(moves) else []


def _intersect(span: Span, other: Span, period_s: float) -> Span | None:
    """The part of ``span`` that lies in ``other`` or whole periods from it; ``None`` if none does.

    Where two parts do, they cannot be told apart: the narrower of both spans holds them.
    """
    periods = round((sum(other) - sum(span)) / (2 * period_s))
    parts = list[Span]()
    for shift_s in ((periods + k) * period_s for k in (-1, 0, 1)):
        low_s, high_s = max(span[0], other[0] - shift_s), min(span[1], other[1] - shift_s)
        if low_s <= high_s:
            parts.append((low_s, high_s))
    if len(parts) > 1:
        return min(span, other, key=lambda each: each[1] - each[0])
    return parts[0] if parts else None


def _place_renewal(span: Span, pair: Span, period_s: float, slack_s: float) -> Span:
    """The last renewal of a phase in ``span`` before a poll, within what its own pair allows."""
    middle_s = 0.5 * sum(span)
    shift_s = math.floor((pair[1] + slack_s - middle_s) / period_s) * period_s
    low_s, high_s = span[0] + shift_s - slack_s, span[1] + shift_s + slack_s
    # Where the phase leaves open whether it has renewed just before the poll, the pair decides.
    is_sure = high_s <= pair[1] + 3 * slack_s and low_s + period_s >= pair[1] - 3 * slack_s
    low_s, high_s = max(low_s, pair[0]), min(high_s, pair[1])
    if not is_sure or low_s > high_s:
        return pair
    # All that is possible if the sensor drifts as far as it may; likely is the middle half.
    quarter_s = 0.25 * (high_s - low_s)
    return low_s + quarter_s, high_s - quarter_s
