"""From a trace to the joules of a window: counters joined, power integrated, edges cut.

One rule for every sensor: a trace is a sequence of polls with their own monotonic times; the energy
of a window is the difference of one cumulative curve at its two edges. Windows that share an edge
therefore add up, and a sampler never has to start or stop with a window. Pure Python on purpose:
the recorder that uses it stays small.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from weakref import WeakKeyDictionary

from wbcbench.core.trace import Kind, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy.counter import Break, unwrap_counter
from wbcbench.energy.metrics import ratio
from wbcbench.energy.renewals import estimate_period_s, find_renewals

BLURRED = 3.0  # times the usual half-width
FEWEST_STRETCHES = 2  # without a move: fewer show no pace

_CURVES: WeakKeyDictionary[Trace, EnergyCurve] = WeakKeyDictionary()


def energy_curve(trace: Trace) -> EnergyCurve:
    """Cumulative joules over time since the first good reading, worked out once a trace."""
    if trace not in _CURVES:
        is_power = trace.channel.kind is Kind.SAMPLED
        _CURVES[trace] = _integrate_power(trace) if is_power else _join_counter_moves(trace)
    return _CURVES[trace]


def window_energy(trace: Trace, window: Window) -> WindowEnergy:
    """Joules of ``window`` on ``trace``, edges interpolated; the uncertainty comes later.

    ``energy_j`` is ``None`` with a reason when the trace does not reach over both edges or a
    counter was reset inside the window.
    """
    times, _ = trace.good
    reason = _describe_unknown(trace, window)
    curve = energy_curve(trace)
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


def _describe_unknown(trace: Trace, window: Window) -> str:
    """Why this trace cannot state this window's joules; empty when it can."""
    times, _ = trace.good
    if len(times) < 2:
        return "fewer than two good readings"
    if times[0] > window.start_s:
        return "the trace starts after the window"
    if times[-1] < window.end_s:
        return "the trace ends before the window"
    for gap in energy_curve(trace).breaks:
        if window.start_s < gap.after_s and gap.before_s < window.end_s:
            how = "went backwards" if gap.step_j < 0 else "jumped"
            return f"the counter {how} inside the window"
    return ""


def median_step_s(times: Sequence[float]) -> float:
    """Median time between readings; 0.0 with fewer than two."""
    return median(b - a for a, b in pairwise(times)) if len(times) > 1 else 0.0


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
        t_s, energy_j: The knots, shape ``[n]``.
        power_w: Power at each knot of a sampled channel, linear in between; ``None`` for a counter,
            of which the joules between knots are known and not when they were drawn.
        breaks: Where a count starts anew; no window may reach into one.
        half_s: By how much the time of each knot of a counter may be off, shape ``[n]``.
    """

    t_s: list[float]
    energy_j: list[float]
    power_w: list[float] | None
    breaks: tuple[Break, ...] = ()
    half_s: Sequence[float] = ()

    def at(self, t_s: float) -> float:
        """Joules accumulated at ``t_s``; constant beyond the last knot of a staircase."""
        i = bisect_right(self.t_s, t_s) - 1
        if i >= len(self.t_s) - 1:
            return self.energy_j[-1]
        into_s = t_s - self.t_s[i]
        if self.power_w is None:
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
        before_w, mean_w, after_w = (self.cell_w(i + k) for k in (-1, 0, 1))
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


def _integrate_power(trace: Trace) -> EnergyCurve:
    """Trapezoids between all good readings, each at the time it is true for.

    A mean over ``averaging_s`` is true for the middle of that time, and a value that is renewed
    every ``update_s`` is half of that old, on average, when it is polled. Left out, a one-second
    average would lose the first half second of a load and be 4 % low over ten seconds. The last
    reading stands for the time up to its poll.
    """
    times, power_w = trace.good
    age_s = 0.5 * ((trace.channel.averaging_s or 0.0) + (trace.channel.update_s or 0.0))
    if times and age_s:
        times, power_w = [t - age_s for t in times] + [times[-1]], [*power_w, power_w[-1]]
    energy_j = [0.0] if times else []
    for i in range(1, len(times)):
        step_s = times[i] - times[i - 1]
        energy_j.append(energy_j[-1] + 0.5 * step_s * (power_w[i] + power_w[i - 1]))
    return EnergyCurve(times, energy_j, power_w)


def _join_counter_moves(trace: Trace) -> EnergyCurve:
    """Knots where the counter moved, each at the time of its renewal.

    Joining moves instead of polls spreads each step over the time it was collected in. Both sides
    of a break are knots, so that no joule is spread across it.
    """
    counter = unwrap_counter(trace)
    breaks = {t for gap in counter.breaks for t in (gap.before_s, gap.after_s)}
    moves = [True, *(a != b for a, b in pairwise(counter.total_j))]
    if len(moves) < 2:
        return EnergyCurve(counter.t_s, counter.total_j, None, counter.breaks, [0.0] * len(moves))
    period_s, stretches = trace.channel.update_s, FEWEST_STRETCHES
    if period_s is None:
        period_s, stretches = estimate_period_s(counter.t_s, moves)
    spans = find_renewals(counter.t_s, moves, period_s)
    if stretches < FEWEST_STRETCHES:  # it moved whenever it was polled
        spans = [(t - period_s / 2, t + period_s / 2) for t in counter.t_s]
    halves_s = [0.5 * (latest_s - earliest_s) for earliest_s, latest_s in spans]
    moved_s = [half_s for half_s, moved in zip(halves_s, moves, strict=True) if moved]
    # A renewal that may have come just before its poll or a period earlier is better left out.
    most_s = BLURRED * median(moved_s) if moved_s else 0.0
    last = max((i for i, moved in enumerate(moves) if moved), default=0)
    knots = [
        i
        for i, t in enumerate(counter.t_s)
        if t in breaks or (moves[i] and (halves_s[i] <= most_s or i in (0, last)))
    ]
    knots_s, knots_j = [0.5 * sum(spans[i]) for i in knots], [counter.total_j[i] for i in knots]
    halves_s = [halves_s[i] for i in knots]
    # Until it moves again, power goes on as before, for one period at most.
    end_s = min(counter.t_s[-1], knots_s[-1] + period_s)
    if len(knots) > 1 and end_s > knots_s[-1]:
        power_w = (knots_j[-1] - knots_j[-2]) / (knots_s[-1] - knots_s[-2])
        knots_j.append(knots_j[-1] + power_w * (end_s - knots_s[-1]))
        knots_s.append(end_s)
        halves_s.append(halves_s[-1])
    return EnergyCurve(knots_s, knots_j, None, counter.breaks, halves_s)
