"""From a trace to the joules of a window: counters joined, power integrated, edges cut.

One rule for every sensor: a trace is a sequence of polls with their own monotonic times; the energy
of a window is the difference of one cumulative curve at its two edges. Windows that share an edge
therefore add up, and a sampler never has to start or stop with a window. Pure Python on purpose:
the recorder that uses it stays small.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from statistics import median
from weakref import WeakKeyDictionary

from wbcbench.core.trace import Kind, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.counter import Break, Cause, unwrap_counter
from wbcbench.energy.metrics import ratio
from wbcbench.energy.renewals import (
    Span,
    find_renewals,
    list_moves,
    median_step_s,
    place_renewals,
    tell_moves,
)

STEP_SHARE = 0.05  # of the highest power: a smaller step shows nothing
FLAT_SHARE, FEWEST_STEPS = 0.1, 5  # of a step: as near to its start, or to its end, is there
LEAST_DUTY = 0.6  # a mean of all of the period has 0.8, of half of it 0.4, a look none
RENEWED = 1.1  # periods after a renewal there has been another, though the value is the same
FOLLOWED = 1.2  # periods from poll to poll: with fewer polls renewals are missed
LONG = 4.0  # times the mean time between polls: knots are not further apart for being unsure
BLURRED = 3.0  # times the usual half-width
STEADY_CELLS, STEADY_SHARE = 4, 0.3  # beside a cut cell: how far power may vary before a load

_CURVES: WeakKeyDictionary[Trace, WeakKeyDictionary[Trace, EnergyCurve]] = WeakKeyDictionary()

_HOW = {
    Cause.RESET: "the counter went backwards inside the window",
    Cause.JUMP: "the counter jumped inside the window",
    Cause.FROZEN: "the counter stood still inside the window",
}


def energy_curve(trace: Trace, pair: Trace | None = None) -> EnergyCurve:
    """Cumulative joules over time since the first good reading, worked out once a trace.

    Args:
        trace: A counter or a power reading.
        pair: The power reading of the same part: by it a counter's breaks are found and bridged.
    """
    curves = _CURVES.setdefault(trace, WeakKeyDictionary())
    beside = pair or trace
    if beside not in curves:
        if trace.channel.sparse:
            curves[beside] = EnergyCurve(*trace.good, None, half_s=[0.0] * len(trace.good[0]))
        elif trace.channel.kind is Kind.SAMPLED:
            curves[beside] = _integrate_power(trace)
        else:
            curves[beside] = _join_counter_moves(trace, pair)
    return curves[beside]


def window_energy(trace: Trace, window: Window, pair: Trace | None = None) -> WindowEnergy:
    """Joules of ``window`` on ``trace``; the uncertainty comes later.

    The cell at each edge is cut where a load may step in it, or evenly.

    ``energy_j`` is ``None`` with a reason when the trace does not reach over both edges or is of a
    counter that broke inside the window where no power bridges it.

    Args:
        trace: A counter or a power reading.
        window: The span.
        pair: The power reading of the same part as a counter.
    """
    times, _ = trace.good
    reason = _describe_unknown(trace, window, pair)
    curve = energy_curve(trace, pair)
    energy_j = None if reason else curve.at(window.end_s) - curve.at(window.start_s)
    return WindowEnergy(
        window=window.name,
        channel=trace.channel.name,
        energy_j=energy_j,
        uncertainty_j=None,
        mean_power_w=ratio(energy_j, window.duration_s),
        samples=bisect_right(times, window.end_s) - bisect_right(times, window.start_s),
        max_gap_s=max_gap(times, window),
        reason=reason,
    )


def _describe_unknown(trace: Trace, window: Window, pair: Trace | None) -> str:
    """Why this trace cannot state this window's joules; empty when it can."""
    times, _ = trace.good
    if len(times) < 2:
        return "fewer than two good readings"
    if times[0] > window.start_s:
        return "its good readings begin after the window does"
    if times[-1] < window.end_s:
        return "its good readings end before the window does"
    if trace.channel.sparse and not _is_read_at_edges(times, window):
        return "it is read at the edges of the run and of its phases only"
    for gap in energy_curve(trace, pair).breaks:
        if window.start_s < gap.after_s and gap.before_s < window.end_s:
            return _HOW[gap.cause]
    return ""


def _is_read_at_edges(times: Sequence[float], window: Window) -> bool:
    """Whether there is a reading close to both edges: nothing is interpolated over a long time."""
    most_s = max(thresholds.SPARSE_SHARE * window.duration_s, thresholds.SPARSE_EDGE_S)
    return all(
        any(abs(t - edge_s) <= most_s for t in times) for edge_s in (window.start_s, window.end_s)
    )


def find_unread_s(trace: Trace, window: Window, pair: Trace | None = None) -> float:
    """Seconds of a window without readings of power, or across which a counter is bridged."""
    if trace.channel.kind is Kind.SAMPLED:
        lost = find_gaps(trace.good[0])
    else:
        lost = [(gap.before_s, gap.after_s) for gap in energy_curve(trace, pair).bridges]
    return sum(max(min(b, window.end_s) - max(a, window.start_s), 0.0) for a, b in lost)


def find_gaps(times: Sequence[float]) -> list[tuple[float, float]]:
    """Where good readings, at ``[n]`` times, are further apart than ``thresholds`` allow."""
    least_s = longest_step_s(times)
    return [(a, b) for a, b in pairwise(times) if b - a > least_s]


def longest_step_s(times: Sequence[float]) -> float:
    """The longest time between two good readings that is no gap."""
    return max(thresholds.GAP_PERIODS * median_step_s(times), thresholds.GAP_LEAST_S)


def max_gap(times: Sequence[float], window: Window) -> float | None:
    """Longest time between successive readings that overlaps the window, in seconds."""
    first = max(bisect_right(times, window.start_s) - 1, 0)
    last = min(bisect_right(times, window.end_s) + 1, len(times))
    steps = [times[i + 1] - times[i] for i in range(first, last - 1)]
    return max(steps, default=None)


@dataclass(frozen=True, slots=True)
class EnergyCurve:
    """Cumulative energy at knots, with the power slope that joins them.

    Attributes:
        t_s, energy_j: The knots, shape ``[n]``; across a bridge those of the power beside it.
        power_w: Power at each knot of a sampled channel, linear in between; ``None`` for a counter,
            of which the joules between knots are known and not when they were drawn.
        is_held: Whether each power is the mean since the knot before, so that what is said of a
            counter is true of its joules, too.
        duty: ``find_duty`` of readings whose renewals are known.
        breaks: Where a count starts anew and nothing bridges it; no window may reach into one.
        half_s: By how much the time of each knot of a counter, or of a power that is held, may be
            off, shape ``[n]``.
        bridges: Breaks across which the power beside the counter counts.
        strays_s: Times of counter readings that were left out.
        beside: The power reading beside a counter.
    """

    t_s: list[float]
    energy_j: list[float]
    power_w: list[float] | None
    breaks: tuple[Break, ...] = ()
    half_s: Sequence[float] = ()
    bridges: tuple[Break, ...] = ()
    strays_s: tuple[float, ...] = ()
    is_held: bool = False
    duty: float | None = None
    beside: Trace | None = None

    def at(self, t_s: float) -> float:
        """Joules accumulated at ``t_s``; constant beyond the last knot of a staircase."""
        i = bisect_right(self.t_s, t_s) - 1
        if i >= len(self.t_s) - 1:
            return self.energy_j[-1]
        into_s = t_s - self.t_s[i]
        if self.power_w is None or self.is_held:
            return self.energy_j[i] + self._cut_cell(i, into_s)
        slope = (self.power_w[i + 1] - self.power_w[i]) / (self.t_s[i + 1] - self.t_s[i])
        return self.energy_j[i] + into_s * (self.power_w[i] + 0.5 * slope * into_s)

    def cell_w(self, i: int) -> float | None:
        """Mean power between knots ``i`` and ``i + 1``; ``None`` if there are none or a break."""
        if not 0 <= i < len(self.t_s) - 1:
            return None
        start_s, end_s = self.t_s[i], self.t_s[i + 1]
        if any(gap.before_s < end_s and start_s < gap.after_s for gap in self.breaks):
            return None
        return (self.energy_j[i + 1] - self.energy_j[i]) / (end_s - start_s)

    # Loads change in steps. A cell whose power lies between those of its neighbours holds the step
    # from the one to the other, at the one place that keeps its joules. Cut evenly instead, the
    # edge of a load would lose up to a quarter of a cell of the step, and always to the low side.
    def _cut_cell(self, i: int, into_s: float) -> float:
        """Joules in the first ``into_s`` seconds of a cell."""
        length_s = self.t_s[i + 1] - self.t_s[i]
        mean_w, (before_w, after_w) = self.cell_w(i), self._find_levels(i)
        even_j = into_s / length_s * (self.energy_j[i + 1] - self.energy_j[i])
        if before_w is None or mean_w is None or after_w is None:
            return even_j
        step_w, blur_s = after_w - before_w, sum(self.half_s[i : i + 2])
        if abs(step_w) * length_s <= blur_s * mean_w:
            return even_j  # no more than the knots' times explain
        step_s = length_s * (after_w - mean_w) / step_w
        if not 0 < step_s < length_s:
            return even_j
        return before_w * min(into_s, step_s) + after_w * max(into_s - step_s, 0.0)

    def _find_levels(self, i: int) -> tuple[float | None, float | None]:
        """Power before and after the step in a cell.

        Where it is steady on one side and varies on the other, a load begins or ends there, with
        the highest power near. Of a load that fills no cell, only a reading beside says how high.
        """
        places = range(i - 1, i - 1 - STEADY_CELLS, -1), range(i + 1, i + 1 + STEADY_CELLS)
        sides = [[w for k in side if (w := self.cell_w(k)) is not None] for side in places]
        mean_w = self.cell_w(i)
        if mean_w is None or min(map(len, sides)) < STEADY_CELLS:
            return self.cell_w(i - 1), self.cell_w(i + 1)
        levels = [side[0] for side in sides]
        spreads_w = [max(side) - min(side) for side in sides]
        steady = spreads_w.index(min(spreads_w))
        if spreads_w[steady] < STEADY_SHARE * (mean_w - levels[steady]):
            beyond = sides[1 - steady]
            is_load = beyond[0] - levels[steady] > STEADY_SHARE * (mean_w - levels[steady])
            is_short = is_load and beyond[1] < 0.5 * (beyond[0] + levels[steady])
            if is_short:
                first, last = sorted((i, places[1 - steady][0]))
                levels[1 - steady] = max((*beyond, *self._read_beside(first, last)))
            elif not min(levels) < mean_w < max(levels):
                levels[1 - steady] = max(beyond)
        return levels[0], levels[1]

    def _read_beside(self, first: int, last: int) -> Sequence[float]:
        """What the power beside a counter showed in some cells."""
        times, power_w = self.beside.good if self.beside else ([], [])
        return power_w[
            bisect_right(times, self.t_s[first]) : bisect_right(times, self.t_s[last + 1])
        ]


def _integrate_power(trace: Trace) -> EnergyCurve:
    """The joules between all good readings, each at the time it is true for.

    A mean over ``averaging_s`` is true for the middle of that time; left out, a one-second average
    would lose the first half second of a load and be 4 % low over ten seconds. A value that is
    renewed every ``update_s`` is placed at its renewal, or where those are not to be told, half of
    that before its poll. The last reading stands for the time up to its poll.
    """
    times, power_w = trace.good
    averaging_s, update_s = trace.channel.averaging_s, trace.channel.update_s or 0.0
    age_s = 0.5 * ((averaging_s or 0.0) + update_s)
    spans, duty = _place_readings(trace, update_s), None
    if spans:
        power_w = [power_w[i] for i in spans]
        duty = find_duty(power_w)
        if averaging_s is None and (duty is None or duty >= LEAST_DUTY):
            return _join_periods(trace, spans, update_s, duty)
        renewed_s = [0.5 * sum(span) - 0.5 * (averaging_s or 0.0) for span in spans.values()]
    else:
        renewed_s = [t - age_s for t in times]
    if times and renewed_s[-1] < times[-1]:
        renewed_s, power_w = [*renewed_s, times[-1]], [*power_w, power_w[-1]]
    polls = pairwise(zip(renewed_s, power_w, strict=True))
    steps_j = (0.5 * (b - a) * (v + w) for (a, v), (b, w) in polls)
    energy_j = [*accumulate(steps_j, initial=0.0)] if times else []
    return EnergyCurve(renewed_s, energy_j, power_w, duty=duty)


def _place_readings(trace: Trace, period_s: float) -> dict[int, Span]:
    """The place of each reading that is a new one, and the renewal it is of; empty if unknown.

    A reading that did not move is a new one, of the same power, once its period is over.
    """
    times, values = trace.good
    is_prompt = 0.0 < period_s <= thresholds.PROMPT_COUNTER_S
    if len(times) < 2 or not is_prompt or median_step_s(times) > FOLLOWED * period_s:
        return {}
    moves = tell_moves(times, values, period_s)
    spans = dict[int, Span]()
    last_s = -math.inf
    for i, span in enumerate(find_renewals(times, moves, period_s)):
        renewed = span
        if not moves[i]:
            if moves[i] is False or times[i] - last_s <= RENEWED * period_s:
                continue
            renewed = (last_s + round((times[i] - last_s) / period_s - 0.5) * period_s,) * 2
        if sum(renewed) > 2 * last_s:
            spans[i], last_s = renewed, 0.5 * sum(renewed)
    return spans


def find_duty(power_w: Sequence[float]) -> float | None:
    """How often a step of the load shows a value in between; ``None`` if there are few steps.

    A mean of all of a period does so in nearly every step between flat stretches, a look at its end
    in none.

    Args:
        power_w: Each renewal's value, once, shape ``[n]``.
    """
    least_w, seen, between = STEP_SHARE * max(power_w, default=0.0), 0, 0
    for i in range(2, len(power_w) - 2):
        v, a, b, c, d = power_w[i - 2 : i + 3]
        is_after_flat = abs(a - v) < FLAT_SHARE * abs(c - a)
        if abs(c - a) < least_w or not is_after_flat or abs(d - c) >= FLAT_SHARE * abs(c - a):
            continue
        # From ``a`` to ``c``, at once or by ``b``; the step from ``b`` to ``c`` alone comes next.
        share = (b - a) / (c - a)
        if share >= FLAT_SHARE:
            seen += 1
            between += share <= 1 - FLAT_SHARE
    return between / seen if seen >= FEWEST_STEPS else None


def _join_periods(
    trace: Trace, spans: Mapping[int, Span], period_s: float, duty: float | None
) -> EnergyCurve:
    """Knots at the renewals of a power that is the mean of each period.

    Of periods that no poll saw the last is known by the reading after them.
    """
    times, values = trace.good
    places = list(spans)
    first_s = 0.5 * sum(spans[places[0]]) - period_s
    knots_s, energy_j = [first_s], [0.0]
    for before, place in pairwise([places[0], *places]):
        renewed_s = 0.5 * sum(spans[place])
        length_s = renewed_s - knots_s[-1]
        unseen_s = length_s - period_s if length_s > 1.5 * period_s else 0.0
        mean_w = 0.5 * (values[before] + values[place])
        energy_j.append(energy_j[-1] + unseen_s * mean_w + (length_s - unseen_s) * values[place])
        knots_s.append(renewed_s)
    halves_s = [0.5 * (high_s - low_s) for low_s, high_s in spans.values()]
    power_w = [values[place] for place in places]
    if knots_s[-1] < times[-1]:
        energy_j.append(energy_j[-1] + (times[-1] - knots_s[-1]) * power_w[-1])
        knots_s, halves_s = [*knots_s, times[-1]], [*halves_s, 0.0]
        power_w.append(power_w[-1])
    return EnergyCurve(
        knots_s,
        energy_j,
        [power_w[0], *power_w],
        half_s=[halves_s[0], *halves_s],
        is_held=True,
        duty=duty,
    )


def _join_counter_moves(trace: Trace, pair: Trace | None) -> EnergyCurve:
    """Knots where the counter moved, each at the time of its renewal.

    Joining moves instead of polls spreads each step over the time it was collected in. Both sides
    of a break are knots, so that no joule is spread across it. A counter of unknown pace moved just
    before or, if it is slow, some time before its poll.
    """
    averaging_s = pair.channel.averaging_s if pair else None
    counter = unwrap_counter(trace, energy_curve(pair) if pair else None, averaging_s or 0.0)
    times = counter.t_s
    restarts = {gap.after_s for gap in counter.breaks}
    polls = zip(times, list_moves(counter.total_j), strict=True)
    moves = [has_moved or t_s in restarts for t_s, has_moved in polls]
    if len(times) < 2:
        return EnergyCurve(times, counter.total_j, None, half_s=[0.0] * len(times))
    period_s, spans = place_renewals(times, moves, trace.channel.update_s)
    halves_s = [0.5 * (latest_s - earliest_s) for earliest_s, latest_s in spans]
    # A renewal that may have come just before its poll or a period earlier is better left out, but
    # not at a break, across which its joules would be counted twice, and not for long.
    kept_s = restarts.union(gap.before_s for gap in counter.breaks)
    moved = [i for i, has_moved in enumerate(moves) if has_moved]
    most_s, longest_s = (
        BLURRED * median(halves_s[i] for i in moved),
        LONG * (times[-1] - times[0]) / (len(times) - 1),
    )
    knots = moved[:1]
    for i, after in zip(moved[1:], [*moved[2:], moved[-1]], strict=False):
        is_long = times[after] - times[knots[-1]] > longest_s
        if halves_s[i] <= most_s or i == moved[-1] or times[i] in kept_s or is_long:
            knots.append(i)
    knots_s, knots_j = [0.5 * sum(spans[i]) for i in knots], [counter.total_j[i] for i in knots]
    polled_s = [times[i] for i in knots]
    breaks = tuple(
        replace(gap, before_s=knots_s[place - 1], after_s=knots_s[place])
        for gap in counter.breaks
        for place in (bisect_left(polled_s, gap.after_s),)
    )
    curve = EnergyCurve(knots_s, knots_j, None, breaks, [halves_s[i] for i in knots], beside=pair)
    curve = replace(_continue_counter(curve, times[-1], period_s), strays_s=counter.strays_s)
    return _bridge_breaks(curve, pair) if pair and breaks else curve


def _continue_counter(curve: EnergyCurve, polled_s: float, period_s: float) -> EnergyCurve:
    """Until a counter moves again, power goes on as before, for one period at most."""
    end_s = min(polled_s, curve.t_s[-1] + period_s)
    power_w = curve.cell_w(len(curve.t_s) - 2)
    if power_w is None or end_s <= curve.t_s[-1]:
        return curve
    return replace(
        curve,
        t_s=[*curve.t_s, end_s],
        energy_j=[*curve.energy_j, curve.energy_j[-1] + power_w * (end_s - curve.t_s[-1])],
        half_s=[*curve.half_s, curve.half_s[-1]],
    )


def _bridge_breaks(curve: EnergyCurve, pair: Trace) -> EnergyCurve:
    """A counter's curve, carried on across its breaks by the joules of the power beside it."""
    path = energy_curve(pair)
    times, energy_j, half_s = list[float](), list[float](), list[float]()
    breaks, bridges = list[Break](), list[Break]()
    first, added_j = 0, 0.0
    for gap in curve.breaks:
        last = bisect_left(curve.t_s, gap.after_s)
        times += curve.t_s[first:last]
        half_s += curve.half_s[first:last]
        energy_j += [added_j + value_j for value_j in curve.energy_j[first:last]]
        first = last
        window = Window("", gap.before_s, gap.after_s)
        bridge_j = window_energy(pair, window).energy_j
        is_read = find_unread_s(pair, window) <= thresholds.COVERED_SHARE * window.duration_s
        if bridge_j is None or not is_read:
            breaks.append(gap)
            continue
        inside = slice(bisect_right(path.t_s, gap.before_s), bisect_left(path.t_s, gap.after_s))
        start_j = energy_j[-1] - path.at(gap.before_s)
        times += path.t_s[inside]
        half_s += [0.0] * len(path.t_s[inside])
        energy_j += [start_j + value_j for value_j in path.energy_j[inside]]
        added_j += bridge_j
        bridges.append(gap)
    return replace(
        curve,
        t_s=[*times, *curve.t_s[first:]],
        energy_j=[*energy_j, *(added_j + value_j for value_j in curve.energy_j[first:])],
        half_s=[*half_s, *curve.half_s[first:]],
        breaks=tuple(breaks),
        bridges=tuple(bridges),
    )
