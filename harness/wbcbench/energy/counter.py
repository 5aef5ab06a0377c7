"""An energy counter's readings as one rising count: wraps undone, breaks and strays found.

A counter breaks where it falls, rises by more than is possible, stands still, or steps away from
the power reading beside it. Before and after a break it counts; what was drawn in between it does
not know (``energy.integrate`` bridges it with power). A break reaches from the last move before it
to the first after it, for only a move says up to when a count belongs.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import accumulate, compress, pairwise
from statistics import median, quantiles
from typing import Protocol

from wbcbench.core.trace import Channel, Domain, Trace
from wbcbench.energy import thresholds
from wbcbench.energy.renewals import (
    Span,
    find_slow_pace_s,
    list_moves,
    median_step_s,
    place_renewals,
)

LOOK_AHEAD = 3  # a reading is astray if one of so many next ones continues the count without it
NEAR_S = 2.0  # how far on both sides of a moment the usual power is looked for
BESIDE = "the power reading"
FEWEST_STILL = 3  # equal readings between two moves: fewer polls show no standing still

# A step of the counter away from the integral is the difference of two means, of so many moves
# before and after it, of counter less integral.
FEWEST_MOVES, MOST_MOVES = 3, 10
USUAL_SPREADS, OWN_SPREADS = 6.0, 4.0  # it lies so many standard deviations outside
SD_OF_MEDIAN = 1.4826  # standard deviation over median deviation, of normal errors
LAG_S = 0.25  # an edge of the load may be that late in a power reading

# A single move of more than the highest power that was read, or of less than the lowest. Where
# more than a few are, the power reading does not see what the load does.
MOST_OVER_READ, LEAST_OVER_READ = 1.15, 0.8
MOST_ODD, MOST_ODD_SHARE = 2, 0.01
NEAR_MOVES = 3  # before and after it, one of which may make up for it


class Integral(Protocol):
    """Cumulative joules of the power reading beside a counter: an ``EnergyCurve``."""

    @property
    def t_s(self) -> Sequence[float]:
        """Times of its readings."""

    @property
    def power_w(self) -> Sequence[float] | None:
        """What was read."""

    def at(self, t_s: float) -> float:
        """Joules accumulated at a time."""


class Cause(StrEnum):
    """How a counter broke."""

    RESET = "reset"
    JUMP = "jump"
    FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class Break:
    """A stretch whose joules the counter does not know.

    Attributes:
        before_s: Time of its last move before.
        after_s: Time of its first move after, or of the last reading.
        cause: How it broke.
        detail: What was observed, with numbers, as a clause that can follow a colon.
    """

    before_s: float
    after_s: float
    cause: Cause
    detail: str


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """A counter that only grows.

    Attributes:
        t_s: Times of the readings that were believed, shape ``[n]``.
        total_j: Joules since the first of them, never falling, shape ``[n]``.
        breaks: Where the count starts anew; ``total_j`` goes on unchanged across a break.
        strays_s: Times of single readings that fit neither neighbour; they were left out.
    """

    t_s: list[float]
    total_j: list[float]
    breaks: tuple[Break, ...] = ()
    strays_s: tuple[float, ...] = ()


def unwrap_counter(
    trace: Trace, integral: Integral | None = None, averaging_s: float = 0.0
) -> Unwrapped:
    """A counter's readings as one rising count.

    Args:
        trace: The counter's.
        integral: The power reading of the same part, by which the count is judged; ``None``
            without one.
        averaging_s: The time of which that reading is a mean.
    """
    count = _believe(trace, integral, averaging_s)
    breaks = _merge([*_find_anew(count), *_find_frozen(count)])
    breaks = _merge([*breaks, *_find_steps(count, breaks, trace.channel, averaging_s)])
    times_s, totals_j, first, lost_j = list[float](), list[float](), 0, 0.0
    for gap in breaks:
        last = bisect_right(count.t_s, gap.before_s)
        times_s += count.t_s[first:last]
        totals_j += [total_j - lost_j for total_j in count.total_j[first:last]]
        first = bisect_left(count.t_s, gap.after_s)
        lost_j = count.total_j[first] - totals_j[-1]
    times_s += count.t_s[first:]
    totals_j += [total_j - lost_j for total_j in count.total_j[first:]]
    return Unwrapped(times_s, totals_j, breaks, count.strays_s)


def ceiling_w(channel: Channel) -> float:
    """More power than the part can draw: a step of its counter that needs more is a jump."""
    if channel.limit_w is None:
        return thresholds.CEILING_W
    is_gpu = channel.domain is Domain.GPU
    factor = thresholds.GPU_CEILING_OVER_LIMIT if is_gpu else thresholds.CPU_CEILING_OVER_LIMIT
    return channel.limit_w * factor


def _merge(breaks: Sequence[Break]) -> tuple[Break, ...]:
    """The breaks by time; those that overlap are one."""
    merged = list[Break]()
    for gap in sorted(breaks, key=lambda gap: (gap.before_s, gap.after_s)):
        if merged and gap.before_s < merged[-1].after_s:
            merged[-1] = replace(merged[-1], after_s=max(merged[-1].after_s, gap.after_s))
        else:
            merged.append(gap)
    return tuple(merged)


# --- reading by reading --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Count:
    """The readings that were believed, one by one.

    Attributes:
        t_s: Their times, shape ``[n]``.
        total_j: Joules since the first, wraps undone, shape ``[n]``.
        moves: Places at which the counter moved, and the first.
        anew: Places at which the count starts anew, with the step that was observed there.
        strays_s: Times of readings that were left out.
        update_s: Usual time between moves.
        integral: The power reading beside it.
    """

    t_s: list[float]
    total_j: list[float]
    moves: list[int]
    anew: dict[int, float]
    strays_s: tuple[float, ...]
    update_s: float
    integral: Integral | None

    def find_span_s(self, place: int) -> tuple[float, float]:
        """From the last move before a place to the first after it."""
        i = bisect_left(self.moves, place)
        later = self.moves[bisect_right(self.moves, place) :]
        return self.t_s[self.moves[max(i - 1, 0)]], self.t_s[later[0] if later else -1]

    def estimate_j(self, start: int, end: int) -> tuple[float, str]:
        """Joules between two places, by the power beside it or by the power around them."""
        start_s, end_s = self.t_s[start], self.t_s[end]
        beside_j = _integrate(self.integral, start_s, end_s)
        if beside_j is not None:
            return beside_j, BESIDE
        first = bisect_left(self.t_s, start_s - NEAR_S)
        last = bisect_right(self.t_s, end_s + NEAR_S) - 1
        for a, b in ((first, last), (0, len(self.t_s) - 1)):
            rest_s = self.t_s[b] - self.t_s[a] - (end_s - start_s)
            rest_j = self.total_j[b] - self.total_j[a] - (self.total_j[end] - self.total_j[start])
            if rest_s > 0 and rest_j > 0:
                return rest_j / rest_s * (end_s - start_s), "the power around"
        return end_s - start_s, "a watt"  # real parts draw power, even if nothing says how much


def _integrate(integral: Integral | None, start_s: float, end_s: float) -> float | None:
    """Joules of the power reading; ``None`` if it has no readings for most of the time."""
    if integral is None or not integral.t_s:
        return None
    times = integral.t_s
    if times[0] > start_s or times[-1] < end_s:
        return None
    around = times[bisect_right(times, start_s) - 1 : bisect_left(times, end_s) + 1]
    if max(b - a for a, b in pairwise(around)) > thresholds.GAP_LEAST_S + (end_s - start_s) / 2:
        return None
    return integral.at(end_s) - integral.at(start_s)


@dataclass(frozen=True, slots=True)
class _Readings:
    """The good readings of a counter, and what it can have counted between two of them."""

    t_s: list[float]
    value_j: list[float]
    channel: Channel
    integral: Integral | None
    peak_w: float
    averaging_s: float

    def find_step_j(self, last: int, place: int, moved_s: float) -> float | None:
        """Joules between two readings, a wrap undone; ``None`` if they are impossible.

        What was drawn since the counter last moved may all be in this step, and it may have moved
        up to one update before that was seen.
        """
        step_j = self.value_j[place] - self.value_j[last]
        step_j = step_j if step_j >= 0 else step_j + (self.channel.wrap_j or 0.0)
        update_s = self.channel.update_s or thresholds.COUNTER_UPDATE_S
        since_s = self.t_s[place] - moved_s + update_s
        most_w = ceiling_w(self.channel)
        if not 0 <= step_j <= most_w * since_s:
            return None
        beside_j = _integrate(self.integral, self.t_s[last], self.t_s[place])
        if beside_j is None or step_j <= thresholds.PEAK_OVER_READ * self.peak_w * since_s:
            return step_j
        # A burst that fell between two power readings, or that their mean hides, is real.
        unread_s = max(self.t_s[place] - self.t_s[last], self.averaging_s)
        burst_j = most_w * min(update_s, unread_s)
        return step_j if step_j - beside_j <= burst_j else None

    def is_stray(self, last: int, place: int, moved_s: float) -> bool:
        """Whether the count goes on as if an impossible reading had not been."""
        straying_j, breaking_j = 0.0, 0.0
        usual_w = self._find_usual_w(last)
        for later in range(place + 1, min(place + 1 + LOOK_AHEAD, len(self.t_s))):
            on_j = self.find_step_j(last, later, moved_s)
            anew_j = self.find_step_j(place, later, self.t_s[place])
            if on_j is not None and anew_j is None:
                return True
            if on_j is not None and anew_j is not None:
                straying_j += abs(on_j - usual_w * (self.t_s[later] - self.t_s[last]))
                breaking_j += abs(anew_j - usual_w * (self.t_s[later] - self.t_s[place]))
        # Where both fit, the break is the safe guess: it is bridged, and right either way.
        return 2 * straying_j < breaking_j

    def _find_usual_w(self, place: int) -> float:
        """Mean power by the readings before a place, or else after it."""
        before = bisect_left(self.t_s, self.t_s[place] - NEAR_S), place
        after = place + 1 + LOOK_AHEAD, bisect_right(self.t_s, self.t_s[place] + NEAR_S) - 1
        for first, last in (before, after):
            if first < last and self.value_j[last] > self.value_j[first]:
                rise_j = self.value_j[last] - self.value_j[first]
                return rise_j / (self.t_s[last] - self.t_s[first])
        return 0.0


def _believe(trace: Trace, integral: Integral | None, averaging_s: float) -> _Count:
    """Believe each reading, leave it out as a stray, or begin the count anew there.

    A wrap differs from a reset, and a step from a jump, by power: more joules than the part can
    draw since the counter last moved cannot have been drawn, whatever it says. One failed read
    taken for a wrap once turned 400 J into 262,544 J.
    """
    times_s, values_j = trace.good
    # A pace too slow for the probe is the channel's if the polls show it.
    pace_s = trace.channel.update_s or find_slow_pace_s(times_s, list_moves(values_j))
    channel = replace(trace.channel, update_s=pace_s)
    peak_w = _find_peak_w(times_s, values_j, pace_s, integral)
    readings = _Readings(times_s, values_j, channel, integral, peak_w, averaging_s)
    places, steps_j = [0] if times_s else [], [0.0] if times_s else []
    anew, strays_s, moved_s = dict[int, float](), list[float](), times_s[0] if times_s else 0.0
    for place in range(1, len(times_s)):
        last = places[-1]
        step_j = readings.find_step_j(last, place, moved_s)
        if step_j is None and readings.is_stray(last, place, moved_s):
            strays_s.append(times_s[place])
            continue
        if step_j is None:
            anew[len(places)] = values_j[place] - values_j[last]
        if step_j != 0.0:
            moved_s = times_s[place]
        places.append(place)
        steps_j.append(step_j or 0.0)
    moves = [i for i, step_j in enumerate(steps_j) if step_j or not i]
    times = [times_s[place] for place in places]
    usual_s = max(pace_s or median_step_s([times[i] for i in moves]), median_step_s(times))
    totals_j = list(accumulate(steps_j))
    return _Count(times, totals_j, moves, anew, tuple(strays_s), usual_s, integral)


def _find_peak_w(
    times_s: list[float], values_j: list[float], pace_s: float | None, integral: Integral | None
) -> float:
    """The highest power that was read beside the counter, or that it usually counted itself.

    A power reading in step with the load may never show the peaks that the counter counts.
    """
    update_s = pace_s or thresholds.COUNTER_UPDATE_S
    moves = [*compress(zip(times_s, values_j, strict=True), list_moves(values_j))][1:]
    own_w = [(j - i) / (t - s + update_s) for (s, i), (t, j) in pairwise(moves)]
    usual_w = quantiles(own_w, n=20)[-1] if len(own_w) > 1 else 0.0
    return max(usual_w, *(integral.power_w or () if integral else ()), 0.0)


def _find_anew(count: _Count) -> Iterator[Break]:
    """Breaks at the readings at which the count had to start anew."""
    for place, step_j in count.anew.items():
        before_s, after_s = count.find_span_s(place)
        poll_s = count.t_s[place] - count.t_s[place - 1]
        detail = f"the counter moved by {step_j:,.0f} J in {poll_s:.2f} s"
        yield Break(before_s, after_s, Cause.RESET if step_j < 0 else Cause.JUMP, detail)


def _find_frozen(count: _Count) -> Iterator[Break]:
    """Stretches in which a counter that was read did not move, and which it did not make up for."""
    least_s = max(thresholds.FROZEN_S, thresholds.FROZEN_UPDATES * count.update_s)
    ends = [*count.moves[1:], len(count.t_s)] if count.moves else []
    befores = count.moves[:1] + count.moves
    for before, start, until in zip(befores, count.moves, ends, strict=False):
        still_s = count.t_s[until - 1] - count.t_s[start]
        is_anew = any(start < place <= until for place in count.anew)
        if still_s <= least_s or until - start <= FEWEST_STILL or is_anew:
            continue
        end = min(until, len(count.t_s) - 1)
        moved_j = count.total_j[end] - count.total_j[start]
        expected_j, source = count.estimate_j(start, end)
        length_s = count.t_s[end] - count.t_s[start]
        is_read = source == BESIDE
        share = thresholds.CAUGHT_UP_SHARE if is_read else thresholds.CAUGHT_UP_ALONE_SHARE
        if expected_j < length_s or moved_j >= share * expected_j:
            continue
        detail = (
            f"the counter stood still for {still_s:.1f} s and then moved by {moved_j:,.1f} J; "
            f"{source} says {expected_j:,.0f} J"
        )
        # The last move may hold what was counted before it stopped, and less than its due.
        yield Break(count.t_s[before], count.t_s[end], Cause.FROZEN, detail)


# --- against the integral ------------------------------------------------------------------------


def _find_steps(
    count: _Count, breaks: Sequence[Break], channel: Channel, averaging_s: float
) -> Iterator[Break]:
    """Moves at which the counter leaves the integral by more than the errors of both explain."""
    integral = count.integral
    if integral is None or len(integral.t_s) < 2:
        return
    starts_s = [integral.t_s[0], *(gap.after_s for gap in breaks)]
    ends_s = [*(gap.before_s for gap in breaks), integral.t_s[-2]]
    for start_s, end_s in zip(starts_s, ends_s, strict=True):
        polls = [i for i, t in enumerate(count.t_s) if start_s <= t <= end_s]
        counted_j = [count.total_j[i] for i in polls]
        has_moved = list_moves(counted_j)
        if sum(has_moved) <= 2 * FEWEST_MOVES:
            continue
        times = [count.t_s[i] for i in polls]
        _, spans = place_renewals(times, has_moved, channel.update_s)
        # The first reading of all is no move: it may be of any time in the period before.
        moves = [k for k, moved in enumerate(has_moved) if moved and polls[k]]
        run = _Run([spans[k] for k in moves], [counted_j[k] for k in moves], integral)
        odd = set(run.find_outliers(LAG_S + averaging_s))
        odd |= set(run.find_impossible()) if averaging_s <= LAG_S else set()
        for move in sorted(odd):
            detail = (
                f"the counter moved by {run.counted_j[move] - run.counted_j[move - 1]:,.0f} J "
                f"where the power reading says {run.read_j[move] - run.read_j[move - 1]:,.0f} J"
            )
            yield Break(*count.find_span_s(polls[moves[move]]), Cause.JUMP, detail)


class _Run:
    """Moves of a counter between two breaks, beside the integral.

    Attributes:
        spans: When it moved, as an earliest and a latest time, shape ``[n]``.
        counted_j, read_j: What it counted and what the integral says, since any moment, ``[n]``.
    """

    def __init__(self, spans: list[Span], counted_j: list[float], integral: Integral) -> None:
        """Compare the moves with the integral."""
        self.spans, self.counted_j, self._integral = spans, counted_j, integral
        self.t_s = [0.5 * sum(span) for span in spans]
        self.read_j = [integral.at(t) for t in self.t_s]
        length_s = (self.t_s[-1] - self.t_s[0]) / (len(spans) - 1)
        self._half = min(max(round(1.0 / length_s), FEWEST_MOVES), MOST_MOVES)

    def find_impossible(self) -> Iterator[int]:
        """Moves of more power than was ever read, or of less, where that is an exception.

        A poll that is stamped late makes one move seem slow and another one near it fast: what
        neighbours make up for is no exception.
        """
        read_w, last = self._integral.power_w or (), len(self.spans) - 1
        moves = pairwise(zip(self.t_s, self.counted_j, strict=True))
        usual_w = quantiles([(j - i) / (t - s) for (s, i), (t, j) in moves if t > s], n=20)
        most_w = MOST_OVER_READ * max([usual_w[-1], *read_w])
        least_w = LEAST_OVER_READ * min([usual_w[0], *read_w])
        signs = [self._compare(i, least_w, most_w) for i in range(1, last + 1)]
        for sign in (1, -1):
            alike = (i for i, own in enumerate(signs, start=1) if own == sign)
            odd = [i for i in alike if not self._is_made_up_for(i, signs)]
            if len(odd) <= max(MOST_ODD, MOST_ODD_SHARE * last):
                yield from odd

    def _compare(self, place: int, least_w: float, most_w: float) -> int:
        """1 for a move of more than ``most_w``, -1 for one of less than ``least_w``, else 0."""
        before, after = self.spans[place - 1], self.spans[place]
        # The spans hold 95 % of all renewals: half as much again holds all.
        blur_s = 1.5 * (before[1] - before[0] + after[1] - after[0]) / 2
        length_s = self.t_s[place] - self.t_s[place - 1]
        step_j = self.counted_j[place] - self.counted_j[place - 1]
        return (step_j > most_w * (length_s + blur_s)) - (step_j < least_w * (length_s - blur_s))

    def _is_made_up_for(self, place: int, signs: Sequence[int]) -> bool:
        """Whether the moves beside it, or those up to an odd one near it, make up for a move."""
        residual_j = [c - r for c, r in zip(self.counted_j, self.read_j, strict=True)]
        own_j = residual_j[place] - residual_j[place - 1]
        near = signs[max(place - 1 - NEAR_MOVES, 0) : place + NEAR_MOVES]
        reach = 1 + NEAR_MOVES if -signs[place - 1] in near else 2
        return any(
            abs(after_j - before_j) < abs(own_j) / 2
            for before_j in residual_j[max(place - reach, 0) : place]
            for after_j in residual_j[place : place + reach]
        )

    def find_outliers(self, lag_s: float) -> Iterator[int]:
        """Places at which means of residuals step by more than is usual and than errors explain."""
        gain = _find_gain(self.counted_j, self.read_j, self._half)
        # A poll that is stamped late is off by itself: not so the count before and after it.
        residual_j = _drop_spikes(
            [c - gain * b for c, b in zip(self.counted_j, self.read_j, strict=True)]
        )
        steps_j = _compare_means(residual_j, self._half)
        usual_j = USUAL_SPREADS * SD_OF_MEDIAN * median(map(abs, steps_j.values() or [0.0]))
        for place, step_j in steps_j.items():
            own_j = residual_j[place] - residual_j[place - 1]
            if abs(step_j) <= usual_j or 2 * own_j / step_j < 1:
                continue  # common, or not from one move to the next
            near = range(place - self._half, place + self._half + 1)
            is_peak = abs(step_j) == max(abs(steps_j[i]) for i in near if i in steps_j)
            if is_peak and abs(step_j) > self._find_slack_j(place, lag_s):
                yield place

    def _find_slack_j(self, place: int, lag_s: float) -> float:
        """By how much the means around a place may differ where nothing is wrong."""
        times = self._integral.t_s
        start_s = self.t_s[max(place - self._half, 0)]
        end_s = self.t_s[min(place + self._half, len(self.t_s)) - 1]
        near = slice(bisect_left(times, start_s - lag_s), bisect_right(times, end_s + lag_s))
        power_w = (self._integral.power_w or ())[near]
        if len(power_w) < 2:
            return math.inf
        polls = pairwise(zip(times[near], power_w, strict=True))
        changes_j = [(b - a) * (w - v) for (a, v), (b, w) in polls]
        mean_w = sum(power_w) / len(power_w)
        unread_j = math.sqrt(sum(change_j**2 for change_j in changes_j) / 2)
        blur_s = median(latest_s - earliest_s for earliest_s, latest_s in self.spans)
        when_j = mean_w * blur_s / math.sqrt(6 * self._half)  # anywhere in its span
        late_j = lag_s * (max(power_w) - min(power_w))
        gain_j = thresholds.AGREE_PCT / 100 * mean_w * (end_s - start_s) / 2
        # A burst or a dip of the load may lie between two readings, and be counted.
        every_w = self._integral.power_w or ()
        burst_j = (times[-1] - times[0]) / len(times) * (max(every_w) - min(every_w))
        return OWN_SPREADS * math.hypot(unread_j, when_j) + late_j + gain_j + burst_j


def _find_gain(counted_j: Sequence[float], beside_j: Sequence[float], half: int) -> float:
    """The usual ratio of counter and integral, from one stretch of moves to the next."""
    ends = pairwise(zip(counted_j[::half], beside_j[::half], strict=True))
    ratios = [(d - c) / (b - a) for (c, a), (d, b) in ends if b > a]
    return median(ratios) if ratios else 1.0


def _drop_spikes(values: Sequence[float]) -> list[float]:
    """Each value the median of itself and its neighbours: a lone spike goes, a step stays."""
    inner = (sorted(values[i - 1 : i + 2])[1] for i in range(1, len(values) - 1))
    return [values[0], *inner, values[-1]]


def _compare_means(values: Sequence[float], half: int) -> dict[int, float]:
    """Mean of ``half`` values from a place on, less that of as many before it."""
    sums = [0.0, *accumulate(values)]
    steps = dict[int, float]()
    for place in range(half, len(values) - half + 1):
        first, last = place - half, place + half
        steps[place] = (sums[last] - 2 * sums[place] + sums[first]) / half
    return steps
