"""An energy counter's readings as one rising count: wraps undone, breaks and strays found.

A counter breaks where it falls, rises by more than is possible, stands still, or steps away from
the power reading beside it. Before and after a break it counts; what was drawn in between it does
not know (``energy.integrate`` bridges it with power). A break reaches from the last move before it
to the first after it, for only a move says up to when a count belongs.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import accumulate, pairwise
from statistics import median, quantiles
from typing import Protocol

from wbcbench.core.trace import Channel, Domain, Trace
from wbcbench.energy import thresholds

LOOK_AHEAD = 3  # a reading is astray if one of so many next ones continues the count without it
NEAR_S = 2.0  # how far on both sides of a moment the usual power is looked for
FEWEST_STILL = 3  # equal readings between two moves: fewer polls show no standing still

# A step of the counter away from the integral is the difference of two means, of so many moves
# before and after it, of counter less integral.
FEWEST_MOVES, MOST_MOVES = 3, 10
USUAL_SPREADS, OWN_SPREADS = 6.0, 4.0  # it lies so many standard deviations outside
SD_OF_MEDIAN = 1.4826  # standard deviation over median deviation, of normal errors
LAG_S = 0.25  # an edge of the load may be that late in a power reading


class Integral(Protocol):
    """Cumulative joules of the power reading beside a counter: an ``EnergyCurve``."""

    @property
    def t_s(self) -> Sequence[float]:
        """Times of its readings."""
        ...

    @property
    def power_w(self) -> Sequence[float] | None:
        """What was read."""
        ...

    def at(self, t_s: float) -> float:
        """Joules accumulated at a time."""
        ...


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


def unwrap_counter(trace: Trace, integral: Integral | None = None) -> Unwrapped:
    """A counter's readings as one rising count.

    Args:
        trace: The counter's.
        integral: The power reading of the same part, by which the count is judged; ``None``
            without one.
    """
    count = _believe(trace, integral)
    breaks = _merge([*_find_anew(count), *_find_frozen(count)])
    breaks = _merge([*breaks, *_find_steps(count, breaks)])
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
            return beside_j, "the power reading"
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
        # A burst that fell between two power readings is real.
        burst_j = most_w * min(update_s, self.t_s[place] - self.t_s[last])
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


def _believe(trace: Trace, integral: Integral | None) -> _Count:
    """Believe each reading, leave it out as a stray, or begin the count anew there.

    A wrap differs from a reset, and a step from a jump, by power: more joules than the part can
    draw since the counter last moved cannot have been drawn, whatever it says. One failed read
    taken for a wrap once turned 400 J into 262,544 J.
    """
    times_s, values_j = trace.good
    peak_w = _find_peak_w(trace, integral)
    readings = _Readings(times_s, values_j, trace.channel, integral, peak_w)
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
    paces_s = [times[b] - times[a] for a, b in pairwise(moves)]
    polls_s = [b - a for a, b in pairwise(times)]
    pace_s = trace.channel.update_s or (median(paces_s) if paces_s else 0.0)
    usual_s = max(pace_s, median(polls_s) if polls_s else 0.0)
    totals_j = list(accumulate(steps_j))
    return _Count(times, totals_j, moves, anew, tuple(strays_s), usual_s, integral)


def _find_peak_w(trace: Trace, integral: Integral | None) -> float:
    """The highest power that was read beside the counter, or that it usually counted itself.

    A power reading in step with the load may never show the peaks that the counter counts.
    """
    update_s = trace.channel.update_s or thresholds.COUNTER_UPDATE_S
    readings = [*zip(*trace.good, strict=True)]
    moves = [after for before, after in pairwise(readings) if after[1] != before[1]]
    own_w = [
        (j - before_j) / (t - before_t + update_s)
        for (before_t, before_j), (t, j) in pairwise(moves)
    ]
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
    for start, until in zip(count.moves, ends, strict=True):
        still_s = count.t_s[until - 1] - count.t_s[start]
        is_anew = any(start < place <= until for place in count.anew)
        if still_s <= least_s or until - start <= FEWEST_STILL or is_anew:
            continue
        end = min(until, len(count.t_s) - 1)
        moved_j = count.total_j[end] - count.total_j[start]
        expected_j, source = count.estimate_j(start, end)
        length_s = count.t_s[end] - count.t_s[start]
        if expected_j < length_s or moved_j >= thresholds.CAUGHT_UP_SHARE * expected_j:
            continue
        detail = (
            f"the counter stood still for {still_s:.1f} s and then moved by {moved_j:,.1f} J; "
            f"{source} says {expected_j:,.0f} J"
        )
        yield Break(count.t_s[start], count.t_s[end], Cause.FROZEN, detail)


# --- against the integral ------------------------------------------------------------------------


def _find_steps(count: _Count, breaks: Sequence[Break]) -> Iterator[Break]:
    """Moves at which the counter leaves the integral by more than the errors of both explain."""
    integral = count.integral
    if integral is None or len(integral.t_s) < 2:
        return
    half = min(max(round(1.0 / count.update_s), FEWEST_MOVES), MOST_MOVES)
    starts_s = [integral.t_s[0], *(gap.after_s for gap in breaks)]
    ends_s = [*(gap.before_s for gap in breaks), integral.t_s[-1]]
    for start_s, end_s in zip(starts_s, ends_s, strict=True):
        moves = [i for i in count.moves if start_s <= count.t_s[i] <= end_s]
        if len(moves) < 2 * FEWEST_MOVES:
            continue
        counted_j = [count.total_j[i] for i in moves]
        beside_j = [integral.at(count.t_s[i]) for i in moves]
        gain = _find_gain(counted_j, beside_j, half)
        residual_j = [c - gain * b for c, b in zip(counted_j, beside_j, strict=True)]
        steps_j = _compare_means(residual_j, half)
        for i in _find_outliers(steps_j, residual_j, half):
            around = (
                count.t_s[moves[max(i - half, 0)]],
                count.t_s[moves[min(i + half, len(moves)) - 1]],
            )
            if abs(steps_j[i]) > _find_slack_j(integral, *around, count.update_s, half):
                detail = (
                    f"the counter moved by {counted_j[i] - counted_j[i - 1]:,.0f} J where the "
                    f"power reading says {beside_j[i] - beside_j[i - 1]:,.0f} J"
                )
                yield Break(*count.find_span_s(moves[i]), Cause.JUMP, detail)


def _find_gain(counted_j: Sequence[float], beside_j: Sequence[float], half: int) -> float:
    """The usual ratio of counter and integral, from one stretch of moves to the next."""
    places = range(0, len(counted_j), half)
    ratios = [
        (counted_j[b] - counted_j[a]) / (beside_j[b] - beside_j[a])
        for a, b in pairwise(places)
        if beside_j[b] > beside_j[a]
    ]
    return median(ratios) if ratios else 1.0


def _compare_means(values: Sequence[float], half: int) -> dict[int, float]:
    """Mean of up to ``half`` values from a place on, less that of the values before it."""
    sums = [0.0, *accumulate(values)]
    steps = dict[int, float]()
    for place in range(FEWEST_MOVES, len(values) - FEWEST_MOVES + 1):
        first, last = max(place - half, 0), min(place + half, len(values))
        before = (sums[place] - sums[first]) / (place - first)
        steps[place] = (sums[last] - sums[place]) / (last - place) - before
    return steps


def _find_outliers(steps: Mapping[int, float], values: Sequence[float], half: int) -> Iterator[int]:
    """Places at which means step by more than is usual, most of it between two values."""
    usual = USUAL_SPREADS * SD_OF_MEDIAN * median(map(abs, steps.values()))
    for place, step in steps.items():
        if abs(step) <= usual or 2 * (values[place] - values[place - 1]) / step < 1:
            continue
        near = range(place - half, place + half + 1)
        if abs(step) == max(abs(steps[i]) for i in near if i in steps):
            yield place


def _find_slack_j(
    integral: Integral, start_s: float, end_s: float, update_s: float, half: int
) -> float:
    """By how much two means of counter less integral may differ where nothing is wrong."""
    first, last = bisect_left(integral.t_s, start_s), bisect_right(integral.t_s, end_s)
    times, power_w = integral.t_s[first:last], (integral.power_w or ())[first:last]
    if len(times) < 2:
        return math.inf
    changes_j = [(b - a) * (w - v) for (a, v), (b, w) in pairwise(zip(times, power_w, strict=True))]
    length_s, mean_w = end_s - start_s, sum(power_w) / len(power_w)
    unread_j = math.sqrt(sum(change_j**2 for change_j in changes_j) / 2)
    when_j = mean_w * update_s / math.sqrt(6 * half)  # each move was anywhen in its update
    late_j = LAG_S * (max(power_w) - min(power_w))
    gain_j = thresholds.AGREE_PCT / 100 * mean_w * length_s / 2
    return OWN_SPREADS * math.hypot(unread_j, when_j) + late_j + gain_j
