"""Channels and traces, and the joules of a window: pure arithmetic, no clocks, no files.

One rule for every sensor: a trace is a sequence of polls with their own monotonic times; the
energy of a window is the difference of one cumulative curve at its two edges. Windows that share
an edge therefore add up, and a sampler never has to start or stop with a window.

Knows nothing of how a value was read, of what a window means, or of how certain it is (see
``uncertainty`` and ``verdict``). Pure Python on purpose: the watcher that uses it stays small.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from weakref import WeakKeyDictionary

from wbcbench.core.trace import Channel, Domain, Kind, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.counter import Plausible, Unwrapped, unwrap
from wbcbench.energy.curve import EnergyCurve, integral, staircase

_UNWRAPPED: WeakKeyDictionary[Trace, Unwrapped] = WeakKeyDictionary()
_CURVES: WeakKeyDictionary[Trace, EnergyCurve] = WeakKeyDictionary()


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
            age_s = reading_age_s(trace.channel)
            _CURVES[trace] = integral(*_recentred(*trace.good, age_s))
        else:
            _CURVES[trace] = staircase(unwrapped(trace), count_age_s(trace))
    return _CURVES[trace]


def reading_age_s(channel: Channel) -> float:
    """How long ago, on average, a power reading was true; 0.0 where its pace is not known.

    A mean over ``averaging_s`` speaks of the middle of that time, and a value that is renewed
    every ``update_s`` has been standing for half of it when it is polled. Left out, a one-second
    average would lose the first half second of a load and be 4 % low over ten seconds.
    """
    return 0.5 * ((channel.averaging_s or 0.0) + (channel.update_s or 0.0))


def count_age_s(trace: Trace) -> float:
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
    reason = why_unknown(trace, window)
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


def why_unknown(trace: Trace, window: Window) -> str:
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
