"""Channels and traces, and the joules of a window: pure arithmetic, no clocks, no files.

One rule for every sensor: a trace is a sequence of polls with their own monotonic times; the
energy of a window is the difference of one cumulative curve at its two edges. Windows that share
an edge therefore add up, and a sampler never has to start or stop with a window.

Knows nothing of how a value was read, of what a window means, or of how certain it is (see
``uncertainty`` and ``verdict``). Pure Python on purpose: the watcher that uses it stays small.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from statistics import median

from wbcbench import thresholds
from wbcbench.joules.counter import Break, Plausible, Unwrapped, unwrap


class Kind(StrEnum):
    """What one reading of a channel is."""

    COUNTER = "counter"  # cumulative joules
    SAMPLED = "sampled"  # watts, to be integrated


class Origin(StrEnum):
    """How far a number is from a sensor of that component."""

    MEASURED = "measured"  # a sensor of that component
    ESTIMATED = "estimated"  # derived from a sensor of something else
    MODELLED = "modelled"  # a model without a sensor, e.g. TDP × load
    SYNTHETIC = "synthetic"  # a known signal, for demonstrations and tests


class Domain(StrEnum):
    """Which part of the machine a channel speaks of."""

    GPU = "gpu"
    CPU = "cpu"
    DRAM = "dram"
    SYSTEM = "system"  # the whole machine; never added to the others


@dataclass(frozen=True, slots=True)
class Channel:
    """One quantity that is read again and again.

    Attributes:
        name: ``meter/part/reading``, e.g. ``nvml/gpu0/counter``; unique in a run.
        kind: Whether readings are cumulative joules or watts.
        origin: Measured, estimated, modelled or synthetic.
        domain: The part of the machine.
        reading: Which reading exactly, e.g. ``power_instant``, ``tdp_load``.
        wrap_j: Joules at which a counter starts again at zero; ``None`` if it does not wrap.
        update_s: How often the sensor renews its value; ``None`` if unknown.
        gain_error: Relative systematic error of the sensor, e.g. ``0.05``; ``None`` if unknown.
        limit_w: Power limit or TDP of the part, for sanity bounds; ``None`` if unknown.
        device: Stable identity of the part, e.g. a GPU's UUID; ``None`` if there is none.
        averaging_s: The time one power reading is the mean of: shorter than ``update_s`` for a
            sensor that looks only part of the time; ``None`` if unknown.
    """

    name: str
    kind: Kind
    origin: Origin
    domain: Domain
    reading: str = ""
    wrap_j: float | None = None
    update_s: float | None = None
    gain_error: float | None = None
    limit_w: float | None = None
    device: str | None = None
    averaging_s: float | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """A named span of the monotonic clock over which energy is stated."""

    name: str
    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class WindowEnergy:
    """The joules of one window on one channel; ``None`` is unknown, never zero.

    Attributes:
        window: Name of the window.
        channel: Name of the channel.
        energy_j: Joules, gross; ``None`` where the trace cannot say.
        uncertainty_j: Half-width of the stated interval at about 95 %; ``None`` if not worked out.
        mean_power_w: ``energy_j`` over the window's duration.
        samples: Good readings inside the window.
        max_gap_s: Longest time without a good reading that touches the window.
        reason: Why ``energy_j`` is ``None``; empty otherwise.
    """

    window: str
    channel: str
    energy_j: float | None
    uncertainty_j: float | None
    mean_power_w: float | None
    samples: int
    max_gap_s: float | None
    reason: str = ""


@dataclass(frozen=True)
class Trace:
    """Every poll of one channel, failed ones included.

    Attributes:
        channel: What was read.
        t_s: Monotonic seconds of each poll, strictly increasing, shape ``[n]``.
        value: Joules (counter) or watts (sampled) of each poll; ``None`` where the read failed.
    """

    channel: Channel
    t_s: Sequence[float]
    value: Sequence[float | None]

    @cached_property
    def good(self) -> tuple[list[float], list[float]]:
        """Times and values of the readings that succeeded; not-a-number is no reading."""
        pairs = [
            (t, v)
            for t, v in zip(self.t_s, self.value, strict=True)
            if v is not None and math.isfinite(v)
        ]
        return [t for t, _ in pairs], [v for _, v in pairs]

    @cached_property
    def unwrapped(self) -> Unwrapped:
        """A counter's readings made whole; of no meaning for a sampled channel."""
        times, values = self.good
        channel = self.channel
        slack_s = 2 * (channel.update_s or thresholds.COUNTER_UPDATE_S)
        return unwrap(times, values, Plausible(channel.wrap_j, ceiling_w(channel), slack_s))

    @cached_property
    def curve(self) -> Curve:
        """Cumulative joules over time since the first good reading."""
        if self.channel.kind is Kind.SAMPLED:
            return _integral(*_recentred(*self.good, reading_age_s(self.channel)))
        return _staircase(self.unwrapped, count_age_s(self))


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


@dataclass(frozen=True, slots=True)
class Curve:
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


def _integral(times: list[float], power_w: list[float]) -> Curve:
    """Trapezoids between all good readings."""
    energy = [0.0] if times else []
    for i in range(1, len(times)):
        step_s = times[i] - times[i - 1]
        energy.append(energy[-1] + 0.5 * step_s * (power_w[i] + power_w[i - 1]))
    return Curve(times, energy, power_w)


def _staircase(counter: Unwrapped, age_s: float) -> Curve:
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
    return Curve(knots_t, knots_e, None, counter.breaks)


def window_energy(trace: Trace, window: Window) -> WindowEnergy:
    """Joules of ``window`` on ``trace``, edges interpolated; uncertainty is left to its module.

    ``energy_j`` is ``None`` with a reason when the trace does not reach over both edges or a
    counter was reset inside the window.
    """
    times, _ = trace.good
    reason = why_unknown(trace, window)
    inside = bisect_right(times, window.end_s) - bisect_right(times, window.start_s)
    energy_j = None if reason else trace.curve.at(window.end_s) - trace.curve.at(window.start_s)
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
    for each in trace.curve.breaks:
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
