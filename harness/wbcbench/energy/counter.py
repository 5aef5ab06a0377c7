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
from itertools import pairwise
from typing import Protocol

from wbcbench.core.arrays import Flags, Floats, Places, as_array, np, to_floats
from wbcbench.core.trace import Channel, Domain, Trace
from wbcbench.energy import thresholds
from wbcbench.energy.phase import find_moves, place_renewals
from wbcbench.energy.renewals import find_slow_pace_s, median_step_s

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

    def at_all(self, t_s: Floats) -> Floats:
        """The same at many times."""


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

    t_s: Sequence[float]
    total_j: Sequence[float]
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
    times_s: list[Floats] = []
    totals_j: list[Floats] = []
    first, lost_j = 0, 0.0
    for gap in breaks:
        last = int(np.searchsorted(count.t_s, gap.before_s, side="right"))
        times_s.append(count.t_s[first:last])
        totals_j.append(count.total_j[first:last] - lost_j)
        first = int(np.searchsorted(count.t_s, gap.after_s))
        lost_j = count.total_j[first] - (count.total_j[last - 1] - lost_j)
    times_s.append(count.t_s[first:])
    totals_j.append(count.total_j[first:] - lost_j)
    whole = to_floats(np.concatenate(times_s)), to_floats(np.concatenate(totals_j))
    return Unwrapped(*whole, breaks, count.strays_s)


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

    t_s: Floats
    total_j: Floats
    moves: Places
    anew: dict[int, float]
    strays_s: tuple[float, ...]
    update_s: float
    integral: Integral | None

    def find_span_s(self, place: int) -> tuple[float, float]:
        """From the last move before a place to the first after it."""
        before = max(int(np.searchsorted(self.moves, place)) - 1, 0)
        after = int(np.searchsorted(self.moves, place, side="right"))
        end = self.moves[after] if after < len(self.moves) else -1
        return float(self.t_s[self.moves[before]]), float(self.t_s[end])

    def estimate_j(self, start: int, end: int) -> tuple[float, str]:
        """Joules between two places, by the power beside it or by the power around them."""
        start_s, end_s = float(self.t_s[start]), float(self.t_s[end])
        beside_j = _integrate(self.integral, start_s, end_s)
        if beside_j is not None:
            return beside_j, BESIDE
        first = int(np.searchsorted(self.t_s, start_s - NEAR_S))
        last = int(np.searchsorted(self.t_s, end_s + NEAR_S, side="right")) - 1
        for a, b in ((first, last), (0, len(self.t_s) - 1)):
            rest_s = self.t_s[b] - self.t_s[a] - (end_s - start_s)
            rest_j = self.total_j[b] - self.total_j[a] - (self.total_j[end] - self.total_j[start])
            if rest_s > 0 and rest_j > 0:
                return float(rest_j / rest_s * (end_s - start_s)), "the power around"
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

    t_s: Sequence[float]
    value_j: Sequence[float]
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

    def list_plain_steps(self) -> tuple[Floats, Flags]:
        """The steps to each reading if the one before it is believed; and which surely are."""
        times, values_j = (as_array(each) for each in (self.t_s, self.value_j))
        steps_j = np.diff(values_j, prepend=values_j[:1])
        steps_j = np.where(steps_j >= 0, steps_j, steps_j + (self.channel.wrap_j or 0.0))
        # Since the last move before each reading.
        moved = np.maximum.accumulate(np.where(find_moves(values_j), np.arange(len(times)), 0))
        update_s = self.channel.update_s or thresholds.COUNTER_UPDATE_S
        since_s = times - times[np.append(moved[:1], moved[:-1])] + update_s
        most_w = ceiling_w(self.channel)
        if self.integral is not None:
            most_w = min(most_w, thresholds.PEAK_OVER_READ * self.peak_w)
        return steps_j, (steps_j >= 0) & (steps_j <= most_w * since_s)

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
    times, has_moved = as_array(times_s), find_moves(values_j)
    # A pace too slow for the probe is the channel's if the polls show it.
    pace_s = trace.channel.update_s or find_slow_pace_s(times.tolist(), has_moved.tolist())
    channel = replace(trace.channel, update_s=pace_s)
    peak_w = _find_peak_w(trace, pace_s, integral)
    readings = _Readings(times_s, values_j, channel, integral, peak_w, averaging_s)
    steps_j, is_plain = readings.list_plain_steps()
    moves, odd = np.flatnonzero(has_moved), np.flatnonzero(~is_plain)
    is_believed, anew, strays_s = np.ones(len(times), np.bool_), dict[int, float](), list[float]()
    place, last, moved_s = 1, 0, times_s[0] if times_s else 0.0
    while place < len(times):
        if (
            last == place - 1
            and is_plain[place]
            # Else a stray that was left out moved last, and more may have been drawn since it.
            and moved_s <= times_s[moves[np.searchsorted(moves, last, side="right") - 1]]
        ):  # and so is all up to the next that is odd
            following = int(np.searchsorted(odd, place))
            begin, place = place, int(odd[following]) if following < len(odd) else len(times)
            last = place - 1
            move = int(moves[np.searchsorted(moves, last, side="right") - 1])
            moved_s = times_s[move] if move >= begin else moved_s
            continue
        step_j = readings.find_step_j(last, place, moved_s)
        if step_j is None and readings.is_stray(last, place, moved_s):
            strays_s.append(times_s[place])
            is_believed[place] = False
            place += 1
            continue
        if step_j is None:
            anew[place] = values_j[place] - values_j[last]
        if step_j != 0.0:
            moved_s = times_s[place]
        steps_j[place] = step_j or 0.0
        last, place = place, place + 1
    ranks = np.cumsum(is_believed) - 1
    times, steps_j = times[is_believed], steps_j[is_believed]
    anew = {int(ranks[place]): step_j for place, step_j in anew.items()}
    moves = np.flatnonzero((steps_j != 0.0) | (np.arange(len(times)) == 0))
    usual_s = max(pace_s or median_step_s(to_floats(times[moves])), median_step_s(to_floats(times)))
    return _Count(times, np.cumsum(steps_j), moves, anew, tuple(strays_s), usual_s, integral)


def _find_peak_w(trace: Trace, pace_s: float | None, integral: Integral | None) -> float:
    """The highest power that was read beside the counter, or that it usually counted itself.

    A power reading in step with the load may never show the peaks that the counter counts.
    """
    times, values_j = (as_array(each) for each in trace.good)
    moved = np.flatnonzero(find_moves(values_j))[1:]
    update_s = pace_s or thresholds.COUNTER_UPDATE_S
    own_w = np.diff(values_j[moved]) / (np.diff(times[moved]) + update_s)
    usual_w = vigintile(own_w, 19) if len(own_w) > 1 else 0.0
    read_w = as_array(integral.power_w or () if integral else ())
    return max(usual_w, float(read_w.max(initial=0.0)), 0.0)


def vigintile(values: Floats, rank: int) -> float:
    """What ``rank`` of 20 of the values keep below, as ``statistics.quantiles`` has it."""
    last = len(values) - 1
    place = min(max(rank * (last + 2) // 20, 1), last)
    share = rank * (last + 2) - 20 * place
    low, high = np.partition(values, [place - 1, place])[[place - 1, place]].tolist()
    return float((low * (20 - share) + high * share) / 20)


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
    if not len(count.moves):
        return
    ends = np.append(count.moves[1:], len(count.t_s))
    befores = np.append(count.moves[:1], count.moves[:-1])
    stills_s = count.t_s[ends - 1] - count.t_s[count.moves]
    is_still = (stills_s > least_s) & (ends - count.moves > FEWEST_STILL)
    rows = (each[is_still].tolist() for each in (befores, count.moves, ends, stills_s))
    for before, start, until, still_s in zip(*rows, strict=True):
        if any(start < place <= until for place in count.anew):
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
        yield Break(float(count.t_s[before]), float(count.t_s[end]), Cause.FROZEN, detail)


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
        first = int(np.searchsorted(count.t_s, start_s))
        last = int(np.searchsorted(count.t_s, end_s, side="right"))
        counted_j = count.total_j[first:last]
        has_moved = find_moves(counted_j)
        if has_moved.sum() <= 2 * FEWEST_MOVES:
            continue
        times = to_floats(count.t_s[first:last])
        _, spans = place_renewals(times, has_moved, channel.update_s)
        # The first reading of all is no move: it may be of any time in the period before.
        moves = np.flatnonzero(has_moved & (np.arange(first, last) > 0))
        run = _Run(spans[moves], counted_j[moves], integral)
        odd = set(run.find_outliers(LAG_S + averaging_s))
        odd |= set(run.find_impossible()) if averaging_s <= LAG_S else set()
        for move in sorted(odd):
            detail = (
                f"the counter moved by {run.counted_j[move] - run.counted_j[move - 1]:,.0f} J "
                f"where the power reading says {run.read_j[move] - run.read_j[move - 1]:,.0f} J"
            )
            yield Break(*count.find_span_s(first + int(moves[move])), Cause.JUMP, detail)


class _Run:
    """Moves of a counter between two breaks, beside the integral.

    Attributes:
        spans: When it moved, as an earliest and a latest time, shape ``[n]``.
        counted_j, read_j: What it counted and what the integral says, since any moment, ``[n]``.
    """

    def __init__(self, spans: Floats, counted_j: Floats, integral: Integral) -> None:
        """Compare the moves with the integral."""
        self.spans, self.counted_j, self._integral = spans, counted_j, integral
        self.t_s = 0.5 * (spans[:, 0] + spans[:, 1])
        self.read_j = integral.at_all(self.t_s)
        self._read_w = as_array(integral.power_w or ())
        self._blur_s = float(np.median(spans[:, 1] - spans[:, 0]))
        length_s = float(self.t_s[-1] - self.t_s[0]) / (len(spans) - 1)
        self._half = min(max(round(1.0 / length_s), FEWEST_MOVES), MOST_MOVES)

    def find_impossible(self) -> Iterator[int]:
        """Moves of more power than was ever read, or of less, where that is an exception.

        A poll that is stamped late makes one move seem slow and another one near it fast: what
        neighbours make up for is no exception.
        """
        steps_s, steps_j = np.diff(self.t_s), np.diff(self.counted_j)
        powers_w = steps_j[steps_s > 0] / steps_s[steps_s > 0]
        read_w = (self._read_w.max(), self._read_w.min()) if len(self._read_w) else ()
        most_w = MOST_OVER_READ * max([vigintile(powers_w, 19), *read_w])
        least_w = LEAST_OVER_READ * min([vigintile(powers_w, 1), *read_w])
        # The spans hold 95 % of all renewals: half as much again holds all.
        low_s, high_s = self.spans.T
        blurs_s = 1.5 * (high_s[:-1] - low_s[:-1] + high_s[1:] - low_s[1:]) / 2
        signs = (steps_j > most_w * (steps_s + blurs_s)).astype(np.int64)
        signs -= steps_j < least_w * (steps_s - blurs_s)
        residual_j = self.counted_j - self.read_j
        for sign in (1, -1):
            alike = (np.flatnonzero(signs == sign) + 1).tolist()
            odd = [i for i in alike if not _is_made_up_for(residual_j, i, signs)]
            if len(odd) <= max(MOST_ODD, MOST_ODD_SHARE * len(signs)):
                yield from odd

    def find_outliers(self, lag_s: float) -> Iterator[int]:
        """Places at which means of residuals step by more than is usual and than errors explain."""
        gain = _find_gain(self.counted_j, self.read_j, self._half)
        # A poll that is stamped late is off by itself: not so the count before and after it.
        residual_j = _drop_spikes(self.counted_j - gain * self.read_j)
        half, steps_j = self._half, _compare_means(residual_j, self._half)
        sizes_j = np.abs(steps_j)
        if not len(sizes_j):
            return
        usual_j = USUAL_SPREADS * SD_OF_MEDIAN * float(np.median(sizes_j))
        for k in np.flatnonzero(sizes_j > usual_j).tolist():  # others are common
            place = half + k
            own_j = residual_j[place] - residual_j[place - 1]
            # From one move to the next, and more than those near it.
            is_peak = sizes_j[k] == sizes_j[max(k - half, 0) : k + half + 1].max()
            is_odd = 2 * own_j / steps_j[k] >= 1 and is_peak
            if is_odd and sizes_j[k] > self._find_slack_j(place, lag_s):
                yield place

    def _find_slack_j(self, place: int, lag_s: float) -> float:
        """By how much the means around a place may differ where nothing is wrong."""
        times = as_array(self._integral.t_s)
        start_s = float(self.t_s[max(place - self._half, 0)])
        end_s = float(self.t_s[min(place + self._half, len(self.t_s)) - 1])
        first = int(np.searchsorted(times, start_s - lag_s))
        last = int(np.searchsorted(times, end_s + lag_s, side="right"))
        power_w = self._read_w[first:last]
        if len(power_w) < 2:
            return math.inf
        changes_j = np.diff(times[first:last]) * np.diff(power_w)
        mean_w = float(np.cumsum(power_w)[-1]) / len(power_w)
        unread_j = math.sqrt(float(np.cumsum(changes_j**2)[-1]) / 2)
        when_j = mean_w * self._blur_s / math.sqrt(6 * self._half)  # anywhere in its span
        late_j = lag_s * float(np.ptp(power_w))
        gain_j = thresholds.AGREE_PCT / 100 * mean_w * (end_s - start_s) / 2
        # A burst or a dip of the load may lie between two readings, and be counted.
        burst_j = float(times[-1] - times[0]) / len(times) * float(np.ptp(self._read_w))
        return OWN_SPREADS * math.hypot(unread_j, when_j) + late_j + gain_j + burst_j


def _is_made_up_for(residual_j: Floats, place: int, signs: Places) -> bool:
    """Whether the moves beside it, or those up to an odd one near it, make up for a move."""
    own_j = residual_j[place] - residual_j[place - 1]
    near = signs[max(place - 1 - NEAR_MOVES, 0) : place + NEAR_MOVES]
    reach = 1 + NEAR_MOVES if (near == -signs[place - 1]).any() else 2
    before_j, after_j = residual_j[max(place - reach, 0) : place], residual_j[place : place + reach]
    return bool((np.abs(after_j - before_j[:, None]) < abs(own_j) / 2).any())


def _find_gain(counted_j: Floats, beside_j: Floats, half: int) -> float:
    """The usual ratio of counter and integral, from one stretch of moves to the next."""
    counts_j, reads_j = np.diff(counted_j[::half]), np.diff(beside_j[::half])
    ratios = counts_j[reads_j > 0] / reads_j[reads_j > 0]
    return float(np.median(ratios)) if len(ratios) else 1.0


def _drop_spikes(values: Floats) -> Floats:
    """Each value the median of itself and its neighbours: a lone spike goes, a step stays."""
    low, high = np.minimum(values[:-2], values[2:]), np.maximum(values[:-2], values[2:])
    inner = np.minimum(np.maximum(values[1:-1], low), high)
    return np.concatenate((values[:1], inner, values[-1:]))


def _compare_means(values: Floats, half: int) -> Floats:
    """Mean of ``half`` values from a place on, less that of as many before it: from ``half`` on."""
    sums = np.cumsum(np.append(0.0, values))
    later, middle, earlier = sums[2 * half :], sums[half : len(sums) - half], sums[: -2 * half]
    steps: Floats = (later - 2 * middle + earlier) / half
    return steps
