"""When a sensor renewed its value, from polls that show only whether it moved since the one before.

A sensor renews its value at an even pace and at a phase of its own. Two polls less than a period
apart that differ enclose a renewal; two that agree enclose none. Each pair thus leaves the phase
only a part of the period, and polls at random places leave a few hundredths of it within seconds.
One tracker follows the phase from poll to poll, while the sampler polls (``power.pacer``) and
afterwards, then from the end of the trace, too. Where the pairs contradict an even pace, each
renewal is known only to its own pair.

Values of a power may be renewed and stay as they were; a counter that is renewed moves. Of a power,
polls that agree tell something only where renewals nearly always show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, compress, pairwise
from statistics import fmean, linear_regression, median
from typing import NamedTuple

from wbcbench.core.arrays import as_array, np
from wbcbench.energy import thresholds

MOST_CONTRADICTED = 0.02  # pairs, as a share of those that enclose one renewal
SLOW_POLLS = 4  # fewer from move to move are as slow as the polls, at most

FEWEST_MOVES = 8
FEWEST_EVEN_MOVES, EVENLY = 3, 0.1  # fewer moves show a pace if their intervals are as equal
LOOSELY, CLOSELY = 0.2, 0.05  # mean distance from whole renewals; by chance it is 0.25
MOST_PACE_PARTS = 5
MOST_PERIODS = 20  # between two moves, to count them by a pace that is not refined yet

MANY = 10_000  # values, for which numpy is worth its memory beside what is measured

Span = tuple[float, float]


class Looseness(NamedTuple):
    """How unevenly a sensor may renew its value, in shares of the period."""

    drift: float  # from one renewal to the next
    slack: float  # of each renewal by itself
    steady: float  # the drift once the polls have shown the period


# A quartz, read at the middle of a call that takes its time; and a busy microcontroller.
LOOSENESSES = (Looseness(1e-3, 0.005, 1e-4), Looseness(5e-3, 0.05, 5e-3))
ANCHORED = 0.25  # of a period: two places of the phase that are no more open than that, together
SURER = 0.5  # of the drift that was allowed before: less is worth a correction


def list_moves(values: Sequence[float]) -> list[bool]:
    """Whether each reading differs from the one before; the first counts as a move."""
    return [i == 0 or values[i] != values[i - 1] for i in range(len(values))]


def median_step_s(times_s: Sequence[float]) -> float:
    """Median time between readings; 0.0 with fewer than two."""
    return median_move(times_s) if len(times_s) > 1 else 0.0


def median_move(values: Sequence[float]) -> float:
    """Median of how far each value is from the one before."""
    if len(values) > MANY:
        return float(np.median(np.abs(np.diff(as_array(values)))))
    return median(abs(b - a) for a, b in pairwise(values))


def find_pace_s(moves_s: Sequence[float]) -> float | None:
    """Time between renewals, from the times at which a value moved; ``None`` if they show none.

    A value that happens to stay the same makes several renewals look like one, so the pace is the
    time of which all intervals are whole multiples: a short interval, or a part of it if they
    are very nearly multiples of that. Loads that switch at random times show none.
    """
    intervals = sorted(b - a for a, b in pairwise(moves_s))
    if len(moves_s) < FEWEST_MOVES:
        is_even = len(moves_s) >= FEWEST_EVEN_MOVES and intervals[-1] < (1 + EVENLY) * intervals[0]
        return fmean(intervals) if is_even else None
    short_s = intervals[len(intervals) // 5]
    for parts in range(1, MOST_PACE_PARTS + 1):
        counts = [interval * parts / short_s for interval in intervals]
        off = fmean(abs(count - max(round(count), 1)) for count in counts)
        if off <= (LOOSELY if parts == 1 else CLOSELY):
            return refine_pace(moves_s, short_s / parts)
    return None


def refine_pace(moves_s: Sequence[float], pace_s: float) -> float:
    """A pace by intervals of whole multiples of it, the shortest first: each makes it surer.

    Where no interval is so long that its number of periods is unsure, the slope of all moves.
    """
    intervals = [b - a for a, b in pairwise(moves_s)]
    total_s, renewals = 0.0, 0
    for interval_s in sorted(intervals):
        renewals += max(round(interval_s / pace_s), 1)
        total_s += interval_s
        pace_s = total_s / renewals
    periods = [0, *accumulate(max(round(interval_s / pace_s), 1) for interval_s in intervals)]
    is_sure = max(intervals) < MOST_PERIODS * pace_s
    return linear_regression(periods, moves_s).slope if is_sure else pace_s


def find_slow_pace_s(times_s: Sequence[float], moves: Sequence[bool]) -> float | None:
    """The pace of a counter that moves once in many polls; ``None`` if it is faster."""
    moved_s = [*compress(times_s[1:], moves[1:])]
    if not 2 <= len(moved_s) < len(times_s) / 2:
        return None
    pace_s, polls_s = median_step_s(moved_s), SLOW_POLLS * median_step_s(times_s)
    return pace_s if pace_s > max(thresholds.PROMPT_COUNTER_S, polls_s) else None


class RenewalTracker:
    """Where the last renewal of a sensor lies, give or take whole periods.

    Two places of the phase that lie far apart tell the period better than any probe.

    Attributes:
        period_s: Time between renewals, in seconds, as known by now.
        telling: Polls so far that enclosed one renewal.
        contradicted: Polls so far that no phase explains together with those before.
        drift: By how much of a period it may be off, each time.
        slack_s: By how much each renewal may be off by itself.
    """

    def __init__(self, period_s: float, at_s: float, looseness: Looseness) -> None:
        """Begin at ``at_s`` with no idea of the phase."""
        self.period_s, self.telling, self.contradicted = period_s, 0, 0
        self._low_s, self._high_s = at_s - period_s, at_s
        self.drift, self.slack_s = looseness.drift, looseness.slack * period_s
        self._looseness, self._anchor_s = looseness, (-math.inf, math.inf)

    @property
    def span(self) -> Span:
        """The earliest and the latest time, in seconds, as of the last polls that told it."""
        return self._low_s, self._high_s

    def is_even(self, spared: int = 0) -> bool:
        """Whether an even pace explains nearly all polls, and all but a few that are spared."""
        return self.contradicted <= spared + MOST_CONTRADICTED * self.telling

    @property
    def is_settled(self) -> bool:
        """Whether the period is corrected no more, until a poll contradicts those before."""
        return SURER * self.drift <= self._looseness.steady

    @property
    def is_fixed(self) -> bool:
        """Whether not even that corrects it."""
        return SURER * self._looseness.drift <= self._looseness.steady

    @property
    def anchor_width_s(self) -> float:
        """How open the phase was at the anchor."""
        return self._anchor_s[1] - self._anchor_s[0]

    def jump(self, span: Span, narrowest: Span, telling: int, contradicted: int) -> None:
        """Go on from polls that were followed elsewhere, and corrected nothing."""
        self._low_s, self._high_s = span
        if not self.is_settled and narrowest[1] - narrowest[0] < self.anchor_width_s:
            self._anchor_s = narrowest
        self.telling += telling
        self.contradicted += contradicted

    def carry(self, t_s: float) -> Span:
        """Where a renewal shortly before ``t_s`` lies, if nothing more is seen."""
        periods = math.floor((t_s - self._low_s) / self.period_s)
        low_s = self._low_s + periods * self.period_s * (1 - self.drift)
        high_s = self._high_s + periods * self.period_s * (1 + self.drift)
        # One that may be anywhere lies in the last period.
        is_open = high_s - low_s >= self.period_s
        return (t_s - self.period_s, t_s) if is_open else (low_s, high_s)

    def follow(self, before_s: float, t_s: float, moved: bool | None) -> None:
        """Enter two successive polls: whether the value moved, ``None`` if that tells nothing."""
        if t_s - before_s < self.period_s and moved is not None:
            self.telling += moved
            self.narrow((before_s, t_s) if moved else (t_s - self.period_s, before_s), t_s)

    def narrow(self, allowed_s: Span, t_s: float) -> None:
        """Enter, at ``t_s``, that a renewal lies in a span shortly before."""
        self._low_s, self._high_s = self.carry(t_s)
        allowed_s = allowed_s[0] - self.slack_s, allowed_s[1] + self.slack_s
        span = _intersect(self.span, allowed_s, self.period_s)
        self._low_s, self._high_s = span or allowed_s
        if span is None:
            self.contradicted += 1
            self.drift, self._anchor_s = self._looseness.drift, self.span
        else:
            self._correct_period()

    def _correct_period(self) -> None:
        """Work the period out of the phase now and at the anchor, if that is surer than before."""
        (first_low_s, first_high_s), (low_s, high_s) = self._anchor_s, self.span
        open_s = 0.5 * (first_high_s - first_low_s + high_s - low_s)
        if open_s > ANCHORED * self.period_s:
            if high_s - low_s < first_high_s - first_low_s:
                self._anchor_s = self.span
            return
        apart_s = 0.5 * (low_s + high_s - first_low_s - first_high_s)
        periods = round(apart_s / self.period_s)
        drift = max(open_s / max(apart_s, self.period_s), self._looseness.steady)
        unsure_s = periods * self.drift * self.period_s + open_s
        if unsure_s > 0.5 * self.period_s:  # so long ago that their number is unsure
            self._anchor_s = self.span
        elif periods > 0 and drift < SURER * self.drift:
            self.period_s, self.drift = apart_s / periods, drift


def _intersect(span: Span, other: Span, period_s: float) -> Span | None:
    """The part of ``span`` that lies in ``other`` or whole periods from it; ``None`` if none does.

    Where two parts do, they cannot be told apart: the narrower of both spans holds them.
    """
    (first_s, last_s), (earliest_s, latest_s) = span, other
    nearest = round((earliest_s + latest_s - first_s - last_s) / (2 * period_s))
    is_one = last_s - first_s + latest_s - earliest_s < period_s
    parts = list[Span]()
    for periods in (nearest,) if is_one else (nearest - 1, nearest, nearest + 1):
        shift_s = periods * period_s
        low_s, high_s = max(first_s, earliest_s - shift_s), min(last_s, latest_s - shift_s)
        if low_s <= high_s:
            parts.append((low_s, high_s))
    if len(parts) > 1:
        return min(span, other, key=lambda each: each[1] - each[0])
    return parts[0] if parts else None
