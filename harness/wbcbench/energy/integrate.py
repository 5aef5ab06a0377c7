"""From a trace to the joules of a window: counters joined, power integrated, edges cut.

One rule for every sensor: a trace is a sequence of polls with their own monotonic times; the energy
of a window is the difference of one cumulative curve at its two edges. Windows that share an edge
therefore add up, and a sampler never has to start or stop with a window. Curves are worked out as
arrays; the recorder that uses them loads ``numpy`` at its end alone.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

from wbcbench.core.arrays import Floats, Places, as_array, np, to_floats
from wbcbench.core.trace import Kind, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.counter import Break, Cause, unwrap_counter
from wbcbench.energy.metrics import ratio
from wbcbench.energy.phase import (
    are_among,
    find_moves,
    find_renewals,
    place_renewals,
    tell_moves,
)
from wbcbench.energy.renewals import median_step_s

STEP_SHARE = 0.05  # of the highest power: a smaller step shows nothing
FLAT_SHARE, FEWEST_STEPS = 0.1, 5  # of a step: as near to its start, or to its end, is there
LEAST_DUTY = 0.6  # a mean of all of the period has 0.8, of half of it 0.4, a look none
RENEWED = 1.1  # periods after a renewal there has been another, though the value is the same
FOLLOWED = 1.2  # periods from poll to poll: with fewer polls renewals are missed
LONG = 4.0  # times the mean time between polls: knots are not further apart for being unsure
BLURRED = 3.0  # times the usual half-width
STEADY_CELLS, STEADY_SHARE = 4, 0.3  # beside a cut cell: how far power may vary before a load

AT_ONCE = 65_536

_CURVES: WeakKeyDictionary[Trace, WeakKeyDictionary[Trace, EnergyCurve]] = WeakKeyDictionary()
_GAPS: WeakKeyDictionary[Trace, list[tuple[float, float]]] = WeakKeyDictionary()

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
        lost = list_gaps(trace)
    else:
        lost = [(gap.before_s, gap.after_s) for gap in energy_curve(trace, pair).bridges]
    return sum(max(min(b, window.end_s) - max(a, window.start_s), 0.0) for a, b in lost)


def list_gaps(trace: Trace) -> list[tuple[float, float]]:
    """``find_gaps`` of its good readings, worked out once a trace."""
    if trace not in _GAPS:
        _GAPS[trace] = find_gaps(trace.good[0])
    return _GAPS[trace]


def find_gaps(times: Sequence[float]) -> list[tuple[float, float]]:
    """Where good readings, at ``[n]`` times, are further apart than ``thresholds`` allow."""
    steps_s = np.diff(as_array(times))
    places = np.flatnonzero(steps_s > longest_step_s(times)).tolist()
    return [(times[place], times[place + 1]) for place in places]


def longest_step_s(times: Sequence[float]) -> float:
    """The longest time between two good readings that is no gap."""
    return max(thresholds.GAP_PERIODS * median_step_s(times), thresholds.GAP_LEAST_S)


def max_gap(times: Sequence[float], window: Window) -> float | None:
    """Longest time between successive readings that overlaps the window, in seconds."""
    first = max(bisect_right(times, window.start_s) - 1, 0)
    last = min(bisect_right(times, window.end_s) + 1, len(times))
    steps_s = np.diff(as_array(times[first:last]))
    return float(steps_s.max()) if len(steps_s) else None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
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

    t_s: Sequence[float]
    energy_j: Sequence[float]
    power_w: Sequence[float] | None
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

    def at_all(self, t_s: Floats) -> Floats:
        """The same at many times: where a load begins or ends in a cell, they go one by one."""
        if self.breaks or len(self.t_s) < 2 * STEADY_CELLS + 2:
            return np.array([self.at(each) for each in t_s.tolist()])
        times, energy_j = as_array(self.t_s), as_array(self.energy_j)
        cells_w = np.diff(energy_j) / np.diff(times)
        total_j = np.empty(len(t_s))
        for first in range(0, len(t_s), AT_ONCE):  # so that what is in between needs little memory
            some = slice(first, first + AT_ONCE)
            total_j[some] = self._at_some(t_s[some], times, energy_j, cells_w)
        return total_j

    def _at_some(
        self,
        t_s: Floats,
        times: Floats,
        energy_j: Floats,
        cells_w: Floats,
    ) -> Floats:
        i = np.searchsorted(times, t_s, side="right") - 1
        is_plain = (i >= STEADY_CELLS) & (i < len(cells_w) - STEADY_CELLS)
        k = np.where(is_plain, i, STEADY_CELLS)
        into_s, length_s, mean_w = t_s - times[k], times[k + 1] - times[k], cells_w[k]
        if self.power_w is not None and not self.is_held:
            power_w = as_array(self.power_w)
            slope = (power_w[k + 1] - power_w[k]) / length_s
            part_j = into_s * (power_w[k] + 0.5 * slope * into_s)
        else:
            before_w, after_w = cells_w[k - 1], cells_w[k + 1]
            spreads_w = [
                np.ptp([cells_w[k + sign * cell] for cell in range(1, STEADY_CELLS + 1)], axis=0)
                for sign in (-1, 1)
            ]
            steady = np.where(spreads_w[0] <= spreads_w[1], before_w, after_w)
            is_plain &= ~(np.minimum(*spreads_w) < STEADY_SHARE * (mean_w - steady))
            half_s = as_array(self.half_s)
            step_w, blur_s = after_w - before_w, half_s[k] + half_s[k + 1]
            part_j = into_s / length_s * (energy_j[k + 1] - energy_j[k])
            is_step = np.abs(step_w) * length_s > blur_s * mean_w
            with np.errstate(divide="ignore", invalid="ignore"):
                step_s = length_s * (after_w - mean_w) / step_w
                is_step &= (step_s > 0) & (step_s < length_s)
                cut_j = before_w * np.minimum(into_s, step_s)
                cut_j += after_w * np.maximum(into_s - step_s, 0.0)
            part_j = np.where(is_step, cut_j, part_j)
        total_j: Floats = energy_j[k] + part_j
        total_j[~is_plain] = [self.at(each) for each in t_s[~is_plain].tolist()]
        return total_j

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
        times, power_w = self.beside.good if self.beside else ((), ())
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
    times, power_w = (as_array(each) for each in trace.good)
    averaging_s, update_s = trace.channel.averaging_s, trace.channel.update_s or 0.0
    age_s = 0.5 * ((averaging_s or 0.0) + update_s)
    (places, spans), duty = _place_readings(trace, update_s), None
    if len(places):
        power_w = power_w[places]
        duty = find_duty(power_w)
        is_whole = averaging_s is None and (duty is None or duty >= LEAST_DUTY)
        if is_whole or trace.channel.is_known_mean:
            return _join_periods(trace, places, spans, update_s, duty)
        renewed_s = 0.5 * (spans[:, 0] + spans[:, 1]) - 0.5 * (averaging_s or 0.0)
    else:
        renewed_s = times - age_s
    if len(times) and renewed_s[-1] < times[-1]:
        renewed_s, power_w = np.append(renewed_s, times[-1]), np.append(power_w, power_w[-1])
    steps_j = 0.5 * np.diff(renewed_s) * (power_w[:-1] + power_w[1:])
    energy_j = np.cumsum(np.append(0.0, steps_j)) if len(times) else steps_j
    times_s, joules, watts = map(to_floats, (renewed_s, energy_j, power_w))
    return EnergyCurve(times_s, joules, watts, duty=duty)


def _place_readings(trace: Trace, period_s: float) -> tuple[Places, Floats]:
    """The places of the readings that are new ones, and the renewals they are of; none if unknown.

    A reading that did not move is a new one, of the same power, once its period is over.
    """
    times, values = trace.good
    is_prompt = 0.0 < period_s <= thresholds.PROMPT_COUNTER_S
    if len(times) < 2 or not is_prompt or median_step_s(times) > FOLLOWED * period_s:
        return np.empty(0, np.int64), np.empty((0, 2))
    moves, times_s = tell_moves(times, values, period_s), as_array(times)
    spans = find_renewals(times_s, moves, period_s)
    middles = 0.5 * (spans[:, 0] + spans[:, 1])
    has_moved = moves > 0
    latest_s = middles[np.flatnonzero(has_moved)[np.cumsum(has_moved) - 1]]
    some = np.flatnonzero(has_moved | ((moves < 0) & (times_s - latest_s > RENEWED * period_s)))
    # Where all have moved, one after the other, each is a new one; the others go one by one.
    is_new, spans, middles = has_moved[some], spans[some], middles[some]
    rest, k = np.flatnonzero(~is_new | (np.diff(middles, prepend=-math.inf) <= 0)).tolist(), 0
    for place in rest:
        if place < k:
            continue
        before = place - 1
        while before >= 0 and not is_new[before]:
            before -= 1
        last_s, k, is_regular = float(middles[before]) if before >= 0 else -math.inf, place, False
        while k < len(some) and not (is_regular and is_new[k] and middles[k] > last_s):
            is_regular = bool(has_moved[some[k]])
            is_new[k] = is_regular or times_s[some[k]] - last_s > RENEWED * period_s
            if not is_regular:
                periods = round(float(times_s[some[k]] - last_s) / period_s - 0.5)
                spans[k] = last_s + periods * period_s
            is_new[k] &= spans[k, 0] + spans[k, 1] > 2 * last_s
            is_regular &= bool(is_new[k])
            last_s = 0.5 * float(spans[k, 0] + spans[k, 1]) if is_new[k] else last_s
            middles[k] = last_s if is_new[k] else middles[k]
            k += 1
    return some[is_new], spans[is_new]


def find_duty(power_w: Sequence[float] | Floats) -> float | None:
    """How often a step of the load shows a value in between; ``None`` if there are few steps.

    A mean of all of a period does so in nearly every step between flat stretches, a look at its end
    in none.

    Args:
        power_w: Each renewal's value, once, shape ``[n]``.
    """
    power = as_array(power_w)
    v, a, b, c, d = (power[i : max(len(power) - 4, 0) + i] for i in range(5))
    least_w, step_w = STEP_SHARE * power.max(initial=0.0), c - a
    is_step = (np.abs(step_w) >= least_w) & (np.abs(a - v) < FLAT_SHARE * np.abs(step_w))
    is_step &= np.abs(d - c) < FLAT_SHARE * np.abs(step_w)
    # From ``a`` to ``c``, at once or by ``b``; the step from ``b`` to ``c`` alone comes next.
    shares = (b - a)[is_step] / step_w[is_step]
    shares = shares[shares >= FLAT_SHARE]
    between = int((shares <= 1 - FLAT_SHARE).sum())
    return between / len(shares) if len(shares) >= FEWEST_STEPS else None


def _join_periods(
    trace: Trace,
    places: Places,
    spans: Floats,
    period_s: float,
    duty: float | None,
) -> EnergyCurve:
    """Knots at the renewals of a power that is the mean of each period.

    Of periods that no poll saw the last is known by the reading after them.
    """
    last_s = trace.good[0][-1]
    power_w = as_array(trace.good[1])[places]
    renewed_s = 0.5 * (spans[:, 0] + spans[:, 1])
    knots_s = np.append(renewed_s[0] - period_s, renewed_s)
    lengths_s, befores_w = np.diff(knots_s), np.append(power_w[0], power_w[:-1])
    unseen_s = np.where(lengths_s > 1.5 * period_s, lengths_s - period_s, 0.0)
    mean_w = 0.5 * (befores_w + power_w)
    parts_j = np.column_stack((unseen_s * mean_w, (lengths_s - unseen_s) * power_w))
    energy_j = np.cumsum(np.append(0.0, parts_j))[::2]
    halves_s = 0.5 * (spans[:, 1] - spans[:, 0])
    halves_s, power_w = np.append(halves_s[0], halves_s), np.append(power_w[0], power_w)
    if knots_s[-1] < last_s:
        energy_j = np.append(energy_j, energy_j[-1] + (last_s - knots_s[-1]) * power_w[-1])
        knots_s, halves_s = np.append(knots_s, last_s), np.append(halves_s, 0.0)
        power_w = np.append(power_w, power_w[-1])
    times, joules, watts, half_s = map(to_floats, (knots_s, energy_j, power_w, halves_s))
    return EnergyCurve(times, joules, watts, half_s=half_s, is_held=True, duty=duty)


def _join_counter_moves(trace: Trace, pair: Trace | None) -> EnergyCurve:
    """Knots where the counter moved, each at the time of its renewal.

    Joining moves instead of polls spreads each step over the time it was collected in. Both sides
    of a break are knots, so that no joule is spread across it. A counter of unknown pace moved just
    before or, if it is slow, some time before its poll.
    """
    averaging_s = pair.channel.averaging_s if pair else None
    counter = unwrap_counter(trace, energy_curve(pair) if pair else None, averaging_s or 0.0)
    times, total_j = (as_array(each) for each in (counter.t_s, counter.total_j))
    if len(times) < 2:
        return EnergyCurve(counter.t_s, counter.total_j, None, half_s=[0.0] * len(times))
    restarts = np.array([gap.after_s for gap in counter.breaks])
    moves = find_moves(total_j) | are_among(times, restarts)
    period_s, spans = place_renewals(counter.t_s, moves, trace.channel.update_s)
    halves_s = 0.5 * (spans[:, 1] - spans[:, 0])
    # A renewal that may have come just before its poll or a period earlier is better left out, but
    # not at a break, across which its joules would be counted twice, and not for long.
    moved = np.flatnonzero(moves)
    most_s = BLURRED * float(np.median(halves_s[moved]))
    longest_s = LONG * (times[-1] - times[0]) / (len(times) - 1)
    kept_s = np.append(restarts, [gap.before_s for gap in counter.breaks])
    is_kept = (halves_s[moved] <= most_s) | are_among(times[moved], kept_s)
    is_kept[[0, -1]] = True
    for k in np.flatnonzero(~is_kept).tolist():
        before = k - 1
        while not is_kept[before]:
            before -= 1
        is_kept[k] = times[moved[k + 1]] - times[moved[before]] > longest_s
    knots = moved[is_kept]
    knots_s, polled_s = 0.5 * (spans[knots, 0] + spans[knots, 1]), times[knots]
    breaks = tuple(
        replace(gap, before_s=float(knots_s[place - 1]), after_s=float(knots_s[place]))
        for gap in counter.breaks
        for place in (int(np.searchsorted(polled_s, gap.after_s)),)
    )
    knots_j, half_s = to_floats(total_j[knots]), to_floats(halves_s[knots])
    curve = EnergyCurve(to_floats(knots_s), knots_j, None, breaks, half_s, beside=pair)
    curve = _continue_counter(curve, float(times[-1]), period_s)
    curve = replace(curve, strays_s=counter.strays_s)
    return _bridge_breaks(curve, pair) if pair and breaks else curve


def _continue_counter(curve: EnergyCurve, polled_s: float, period_s: float) -> EnergyCurve:
    """Until a counter moves again, power goes on as before, for one period at most."""
    end_s = min(polled_s, curve.t_s[-1] + period_s)
    power_w = curve.cell_w(len(curve.t_s) - 2)
    if power_w is None or end_s <= curve.t_s[-1]:
        return curve
    added_j = power_w * (end_s - curve.t_s[-1])
    return replace(
        curve,
        t_s=to_floats(np.append(curve.t_s, end_s)),
        energy_j=to_floats(np.append(curve.energy_j, curve.energy_j[-1] + added_j)),
        half_s=to_floats(np.append(curve.half_s, curve.half_s[-1])),
    )


def _bridge_breaks(curve: EnergyCurve, pair: Trace) -> EnergyCurve:
    """A counter's curve, carried on across its breaks by the joules of the power beside it."""
    path = energy_curve(pair)
    knots = np.column_stack((curve.t_s, curve.energy_j, curve.half_s))
    beside = np.column_stack((path.t_s, path.energy_j, np.zeros(len(path.t_s))))
    parts: list[Floats] = []
    breaks, bridges, first, added_j = list[Break](), list[Break](), 0, 0.0
    for gap in curve.breaks:
        last = bisect_left(curve.t_s, gap.after_s)
        parts.append(np.add(knots[first:last], (0.0, added_j, 0.0)))
        first = last
        window = Window("", gap.before_s, gap.after_s)
        bridge_j = window_energy(pair, window).energy_j
        is_read = find_unread_s(pair, window) <= thresholds.COVERED_SHARE * window.duration_s
        if bridge_j is None or not is_read:
            breaks.append(gap)
            continue
        inside = slice(bisect_right(path.t_s, gap.before_s), bisect_left(path.t_s, gap.after_s))
        start_j = added_j + curve.energy_j[last - 1] - path.at(gap.before_s)
        parts.append(np.add(beside[inside], (0.0, start_j, 0.0)))
        added_j += bridge_j
        bridges.append(gap)
    whole = np.concatenate((*parts, np.add(knots[first:], (0.0, added_j, 0.0))))
    times, energy_j, half_s = map(to_floats, whole.T)
    return replace(
        curve,
        t_s=times,
        energy_j=energy_j,
        half_s=half_s,
        breaks=tuple(breaks),
        bridges=tuple(bridges),
    )
