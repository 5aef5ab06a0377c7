"""From a trace to the joules of a window: counters unwrapped, power integrated, edges cut.

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

from wbcbench.core.trace import Channel, Domain, Kind, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy import thresholds

_UNWRAPPED: WeakKeyDictionary[Trace, Unwrapped] = WeakKeyDictionary()
_CURVES: WeakKeyDictionary[Trace, EnergyCurve] = WeakKeyDictionary()

# A stray reading is believed to be one when one of this many next readings takes up the count.
_LOOK_AHEAD = 3


def unwrapped(trace: Trace) -> Unwrapped:
    """A counter's readings made whole, worked out once a trace; of no meaning for power."""
    if trace not in _UNWRAPPED:
        channel = trace.channel
        slack_s = 2 * (channel.update_s or thresholds.COUNTER_UPDATE_S)
        plausible = Plausible(channel.wrap_j, ceiling_w(channel), slack_s)
        _UNWRAPPED[trace] = unwrap(*trace.good, plausible)
    return _UNWRAPPED[trace]


def energy_curve(trace: Trace) -> EnergyCurve:
    """Cumulative joules over time since the first good reading, worked out once a trace."""
    if trace not in _CURVES:
        if trace.channel.kind is Kind.SAMPLED:
            age_s = _reading_age_s(trace.channel)
            _CURVES[trace] = _integrate_power(*_recentred(*trace.good, age_s))
        else:
            _CURVES[trace] = _counter_curve(unwrapped(trace), _count_age_s(trace))
    return _CURVES[trace]


def _reading_age_s(channel: Channel) -> float:
    """How long ago, on average, a power reading was true; 0.0 where its pace is not known.

    A mean over ``averaging_s`` speaks of the middle of that time, and a value that is renewed
    every ``update_s`` has been standing for half of it when it is polled. Left out, a one-second
    average would lose the first half second of a load and be 4 % low over ten seconds.
    """
    return 0.5 * ((channel.averaging_s or 0.0) + (channel.update_s or 0.0))


def _count_age_s(trace: Trace) -> float:
    """How long ago, on average, a counter had moved when it was first seen to have.

    It moved at any moment since the poll before, or, if it moves faster than it is polled, since
    its last update: half of the shorter. Left out, each edge of a load would seem that much
    late, always to the same side. 0.0 where its pace is not known or too fast to matter.
    """
    times, _ = trace.good
    if not trace.channel.update_s or len(times) < 2:
        return 0.0
    age_s = 0.5 * min(trace.channel.update_s, median([b - a for a, b in pairwise(times)]))
    return age_s if age_s > thresholds.STAMP_S else 0.0


def _recentred(
    times: list[float], power_w: list[float], age_s: float
) -> tuple[list[float], list[float]]:
    """Readings at the times they speak of; the last one stands for the time up to its poll."""
    if not times or age_s == 0.0:
        return times, power_w
    return [t - age_s for t in times] + [times[-1]], [*power_w, power_w[-1]]


def ceiling_w(channel: Channel) -> float:
    """More power than the part can draw, for telling a step of its counter from a jump."""
    if channel.limit_w is None:
        return thresholds.CEILING_W
    if channel.domain is Domain.GPU:
        return channel.limit_w * thresholds.GPU_CEILING_OVER_LIMIT
    return channel.limit_w * thresholds.CPU_CEILING_OVER_LIMIT


def window_energy(trace: Trace, window: Window) -> WindowEnergy:
    """Joules of ``window`` on ``trace``, edges interpolated; uncertainty is left to its module.

    ``energy_j`` is ``None`` with a reason when the trace does not reach over both edges or a
    counter was reset inside the window.
    """
    times, _ = trace.good
    reason = _why_unknown(trace, window)
    inside = bisect_right(times, window.end_s) - bisect_right(times, window.start_s)
    energy_j = (
        None
        if reason
        else energy_curve(trace).at(window.end_s) - energy_curve(trace).at(window.start_s)
    )
    has_power = energy_j is not None and window.duration_s > 0
    return WindowEnergy(
        window=window.name,
        channel=trace.channel.name,
        energy_j=energy_j,
        uncertainty_j=None,
        mean_power_w=energy_j / window.duration_s if has_power and energy_j is not None else None,
        samples=inside,
        max_gap_s=max_gap(times, window),
        reason=reason,
    )


def _why_unknown(trace: Trace, window: Window) -> str:
    """Why this trace cannot state this window's joules; empty when it can."""
    times, _ = trace.good
    if len(times) < 2:
        return "fewer than two good readings"
    if times[0] > window.start_s:
        return "the trace starts after the window"
    if times[-1] < window.end_s:
        return "the trace ends before the window"
    for each in energy_curve(trace).breaks:
        if window.start_s < each.after_s and each.before_s < window.end_s:
            how = "went backwards" if each.step_j < 0 else "jumped"
            return f"the counter {how} inside the window"
    return ""


def max_gap(times: Sequence[float], window: Window) -> float | None:
    """Longest time between successive readings that overlaps the window, in seconds."""
    first = max(bisect_right(times, window.start_s) - 1, 0)
    last = min(bisect_right(times, window.end_s) + 1, len(times))
    steps = [times[i + 1] - times[i] for i in range(first, last - 1)]
    return max(steps, default=None)


# What tells a wrap from a reset and a step from a jump is power: more joules than the part can draw
# in the time cannot have been drawn, whatever the counter says. One failed read taken for a wrap
# has been seen to turn 400 J into 262,544 J.
@dataclass(frozen=True, slots=True)
class Break:
    """A place where the count starts anew: what was drawn in between is unknown.

    Attributes:
        before_s: Time of the last reading of the old count.
        after_s: Time of the first reading of the new count.
        step_j: By how much the counter moved: negative for a reset, positive for a jump.
    """

    before_s: float
    after_s: float
    step_j: float


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """A counter that only grows.

    Attributes:
        t_s: Times of the readings that were believed, shape ``[n]``.
        total_j: Joules since the first of them, never falling, shape ``[n]``.
        breaks: Where the count starts anew; ``total_j`` goes on unchanged across a break.
        strays_s: Times of single readings that fit neither before nor after; they were left out.
    """

    t_s: list[float]
    total_j: list[float]
    breaks: tuple[Break, ...] = ()
    strays_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Plausible:
    """What a counter can do.

    Attributes:
        wrap_j: Where it starts again at zero; ``None`` if it never does.
        ceiling_w: More power than the part can draw.
        slack_s: How far a reading may lag behind: energy of that long before may be in a step.
    """

    wrap_j: float | None
    ceiling_w: float
    slack_s: float

    def step_j(self, difference_j: float, elapsed_s: float) -> float | None:
        """Joules between two readings, a wrap undone; ``None`` if no power explains them."""
        most_j = self.ceiling_w * (elapsed_s + self.slack_s)
        wrapped_j = difference_j if difference_j >= 0 else difference_j + (self.wrap_j or 0.0)
        return wrapped_j if 0 <= wrapped_j <= most_j else None


def unwrap(times_s: Sequence[float], values_j: Sequence[float], can: Plausible) -> Unwrapped:
    """Joules since the first reading.

    Args:
        times_s: Monotonic seconds of each good reading, strictly increasing, shape ``[n]``.
        values_j: What the counter said, same shape.
        can: What the counter can do.

    Returns:
        The believed readings with their totals, the breaks and the strays.
    """
    walk = _Walk(times_s, values_j, can)
    for place in range(1, len(times_s)):
        walk.enter(place)
    return walk.done()


class _Walk:
    """One pass over a counter's readings."""

    def __init__(self, times_s: Sequence[float], values_j: Sequence[float], can: Plausible) -> None:
        self._times_s, self._values_j, self._can = times_s, values_j, can
        self._kept = [0] if times_s else []
        self._totals = [0.0] if times_s else []
        self._breaks, self._strays = list[Break](), list[float]()
        self._moved_s = times_s[0] if times_s else 0.0

    def enter(self, place: int) -> None:
        """Believe one reading, leave it out as a stray, or begin the count anew there."""
        step_j, t_s = self._step_j(place), self._times_s[place]
        if step_j is None and self._is_taken_up_after(place):
            self._strays.append(t_s)
            return
        if step_j is None:
            last = self._kept[-1]
            difference_j = self._values_j[place] - self._values_j[last]
            self._breaks.append(Break(self._times_s[last], t_s, difference_j))
        if step_j != 0.0:
            self._moved_s = t_s
        self._kept.append(place)
        self._totals.append(self._totals[-1] + (step_j or 0.0))

    def done(self) -> Unwrapped:
        """What the pass came to."""
        times_s = [self._times_s[place] for place in self._kept]
        return Unwrapped(times_s, self._totals, tuple(self._breaks), tuple(self._strays))

    def _step_j(self, place: int) -> float | None:
        """Joules from the last believed reading; what was drawn since the last move counts."""
        difference_j = self._values_j[place] - self._values_j[self._kept[-1]]
        return self._can.step_j(difference_j, self._times_s[place] - self._moved_s)

    def _is_taken_up_after(self, odd: int) -> bool:
        """Whether a reading soon after goes on from the last believed one."""
        following = range(odd + 1, min(odd + 1 + _LOOK_AHEAD, len(self._times_s)))
        return any(self._step_j(place) is not None for place in following)


@dataclass(frozen=True, slots=True)
class EnergyCurve:
    """Cumulative energy at knots, with the power slope that joins them.

    ``power_w`` holds the power at each knot for a sampled channel (linear between knots) and is
    ``None`` for a counter (energy linear between knots). No window may reach into a break.
    """

    t_s: list[float]
    energy_j: list[float]
    power_w: list[float] | None
    breaks: tuple[Break, ...] = ()

    def at(self, t_s: float) -> float:
        """Joules accumulated at ``t_s``; constant beyond the last knot of a staircase."""
        i = bisect_right(self.t_s, t_s) - 1
        if i >= len(self.t_s) - 1:
            return self.energy_j[-1]
        step_s = self.t_s[i + 1] - self.t_s[i]
        into_s = t_s - self.t_s[i]
        if self.power_w is None:
            share = into_s / step_s
            return self.energy_j[i] + share * (self.energy_j[i + 1] - self.energy_j[i])
        slope = (self.power_w[i + 1] - self.power_w[i]) / step_s
        return self.energy_j[i] + into_s * (self.power_w[i] + 0.5 * slope * into_s)


def _integrate_power(times: list[float], power_w: list[float]) -> EnergyCurve:
    """Trapezoids between all good readings."""
    energy = [0.0] if times else []
    for i in range(1, len(times)):
        step_s = times[i] - times[i - 1]
        energy.append(energy[-1] + 0.5 * step_s * (power_w[i] + power_w[i - 1]))
    return EnergyCurve(times, energy, power_w)


def _counter_curve(counter: Unwrapped, age_s: float) -> EnergyCurve:
    """Knots where the counter moved: between two moves energy is taken to grow evenly.

    A counter polled faster than it updates repeats its value; joining the moves instead of the
    polls spreads each step over the time it was collected in. Both sides of a break are knots, so
    that no joule is spread across it.
    """
    edges = {t for each in counter.breaks for t in (each.before_s, each.after_s)}
    knots_t, knots_e = list[float](), list[float]()
    for t, total_j in zip(counter.t_s, counter.total_j, strict=True):
        if not knots_e or total_j != knots_e[-1] or t in edges:
            knots_t.append(t - age_s)
            knots_e.append(total_j)
    return EnergyCurve(knots_t, knots_e, None, counter.breaks)
