"""Where a sensor lied: frozen, reset and jumping counters; stuck, zero and absurd power readings.

A fault is a stretch of one channel's trace. Some spoil the joules of every window they touch
(``refuse_spoilt``); all of them become cautions (``checks``). The trace itself is never changed.

What proves a fault is a *witness*: the other reading of the same part by the same meter, counter
for power and power for counter. Without one, only what no part can do is a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby, pairwise

from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.integrate import ceiling_w, energy_curve, unwrapped, window_energy
from wbcbench.energy.uncertainty import with_uncertainty


class Flaw(StrEnum):
    """What is wrong; also the code of the caution."""

    FROZEN = "counter-frozen"
    RESET = "counter-reset"
    JUMP = "counter-jump"
    STRAY = "counter-stray"
    ZERO = "power-zero"
    STUCK = "power-stuck"
    SPIKE = "power-spike"


@dataclass(frozen=True, slots=True)
class Fault:
    """One flaw of one channel from ``start_s`` to ``end_s`` on the monotonic clock.

    ``detail`` says what was seen, with numbers, as a clause that can follow a colon.
    """

    flaw: Flaw
    channel: str
    start_s: float
    end_s: float
    detail: str

    def overlap_s(self, window: Window) -> float:
        """Seconds of the window that the fault takes; negative if they do not touch."""
        return min(self.end_s, window.end_s) - max(self.start_s, window.start_s)


def find_faults(traces: Sequence[Trace]) -> tuple[Fault, ...]:
    """Every fault of every trace, by channel and time."""
    return tuple(
        fault
        for trace in traces
        for fault in sorted(
            _faults_of(trace, witness(trace, traces)), key=lambda each: each.start_s
        )
    )


def witness(trace: Trace, traces: Iterable[Trace]) -> Trace | None:
    """The other kind of reading of the same part by the same meter; ``None`` if there is none."""
    return next((other for other in traces if is_pair(trace.channel, other.channel)), None)


def is_pair(one: Channel, other: Channel) -> bool:
    """Whether two channels are counter and power of the same part from the same meter."""
    return (
        {one.kind, other.kind} == {Kind.COUNTER, Kind.SAMPLED}
        and one.domain is other.domain
        and one.device == other.device
        and one.name.rpartition("/")[0] == other.name.rpartition("/")[0]
    )


def _faults_of(trace: Trace, other: Trace | None) -> Iterator[Fault]:
    if len(trace.good[0]) < 2:
        return
    if trace.channel.kind is Kind.COUNTER:
        yield from _breaks(trace)
        yield from _strays(trace)
        yield from _frozen(trace, other)
    else:
        yield from _spikes(trace)
        yield from _zeros(trace)
        yield from _stuck(trace, other)


# --- counters ----------------------------------------------------------------------------------


def _breaks(trace: Trace) -> Iterator[Fault]:
    for each in unwrapped(trace).breaks:
        flaw = Flaw.RESET if each.step_j < 0 else Flaw.JUMP
        detail = (
            f"the counter moved by {each.step_j:,.0f} J in {each.after_s - each.before_s:.2f} s"
        )
        yield Fault(flaw, trace.channel.name, each.before_s, each.after_s, detail)


def _strays(trace: Trace) -> Iterator[Fault]:
    for t_s in unwrapped(trace).strays_s:
        detail = "one reading fitted neither the one before nor the one after; it was left out"
        yield Fault(Flaw.STRAY, trace.channel.name, t_s, t_s, detail)


def _frozen(trace: Trace, other: Trace | None) -> Iterator[Fault]:
    for start_s, end_s, moved_j in _stands(trace):
        window = Window("", start_s, end_s)
        expected_j, source = _expected(trace, other, window, moved_j)
        if expected_j is None or moved_j >= thresholds.CAUGHT_UP_SHARE * expected_j:
            continue
        detail = (
            f"the counter stood still for {window.duration_s:.1f} s and then moved by "
            f"{moved_j:,.1f} J; {source} says {expected_j:,.0f} J"
        )
        yield Fault(Flaw.FROZEN, trace.channel.name, start_s, end_s, detail)


def _stands(trace: Trace) -> Iterator[tuple[float, float, float]]:
    """Stretches in which a counter that was read did not move, and by how much it then did."""
    times, _ = trace.good
    curve = energy_curve(trace)
    knots = [*zip(curve.t_s, curve.energy_j, strict=True), (times[-1], curve.energy_j[-1])]
    least_s = max(thresholds.FROZEN_S, 10 * (trace.channel.update_s or 0.0))
    for (start_s, before_j), (end_s, after_j) in pairwise(knots):
        if end_s - start_s >= least_s and sum(start_s < t < end_s for t in times) >= 3:
            yield start_s, end_s, after_j - before_j


def _expected(
    trace: Trace, other: Trace | None, window: Window, moved_j: float
) -> tuple[float | None, str]:
    """Joules the stretch should hold and who says so; ``None`` if nobody can tell."""
    seen_j = window_energy(other, window).energy_j if other else None
    if other is not None and seen_j is not None:
        return (seen_j if seen_j > window.duration_s else None), other.channel.name
    if window.duration_s < thresholds.FROZEN_ALONE_S:
        return None, ""
    times, _ = trace.good
    rest_s = times[-1] - times[0] - window.duration_s
    rest_j = energy_curve(trace).energy_j[-1] - moved_j
    rest_w = rest_j / rest_s if rest_s > 0 and rest_j > 0 else 1.0
    return rest_w * window.duration_s, "the rest of the trace"


# --- power readings ----------------------------------------------------------------------------


def _most_w(channel: Channel) -> float:
    """The highest reading that is believed: transients are real, more is a spike."""
    if channel.limit_w is None or channel.domain is not Domain.GPU:
        return ceiling_w(channel)
    is_mean = "average" in channel.reading
    factor = thresholds.AVERAGE_OVER_LIMIT if is_mean else thresholds.INSTANT_OVER_LIMIT
    return factor * channel.limit_w


def _spikes(trace: Trace) -> Iterator[Fault]:
    most = _most_w(trace.channel)
    for start_s, end_s, values in _runs(trace, lambda value: value > most):
        detail = f"{max(values):,.0f} W were read where at most {most:,.0f} W are plausible"
        yield Fault(Flaw.SPIKE, trace.channel.name, start_s, end_s, detail)


def _zeros(trace: Trace) -> Iterator[Fault]:
    if trace.channel.origin is not Origin.MEASURED:
        return
    for start_s, end_s, values in _runs(trace, lambda value: value <= 0.0):
        detail = f"{len(values)} readings of {min(values):g} W, which no running part draws"
        yield Fault(Flaw.ZERO, trace.channel.name, start_s, end_s, detail)


def _runs(
    trace: Trace, is_odd: Callable[[float], bool]
) -> Iterator[tuple[float, float, list[float]]]:
    """Stretches of odd readings, from the reading before to the one after."""
    times, values = trace.good
    for odd, group in groupby(range(len(times)), key=lambda i: is_odd(values[i])):
        if odd:
            places = list(group)
            before, after = max(places[0] - 1, 0), min(places[-1] + 1, len(times) - 1)
            yield times[before], times[after], [values[i] for i in places]


def _stuck(trace: Trace, other: Trace | None) -> Iterator[Fault]:
    if trace.channel.origin is not Origin.MEASURED:
        return
    times, values = trace.good
    for value, group in groupby(range(len(times)), key=lambda i: values[i]):
        places = list(group)
        if len(places) < thresholds.STUCK_SAMPLES or value <= 0:
            continue
        window = Window("", times[places[0]], times[places[-1]])
        doubt = _disbelief(value, other, window)
        if doubt:
            detail = f"exactly {value:g} W for {window.duration_s:.1f} s; {doubt}"
            yield Fault(Flaw.STUCK, trace.channel.name, window.start_s, window.end_s, detail)


def _disbelief(value_w: float, other: Trace | None, window: Window) -> str:
    """Why a power reading that does not change is not believed; empty if it may be true."""
    if other is not None:
        seen = with_uncertainty(other, window, window_energy(other, window))
        if seen.energy_j is not None and window.duration_s >= thresholds.FROZEN_S:
            apart_j = abs(seen.energy_j - value_w * window.duration_s) - (seen.uncertainty_j or 0.0)
            wrong = apart_j > thresholds.DISAGREE_PCT / 100 * abs(seen.energy_j)
            return f"{other.channel.name} says {seen.mean_power_w:.0f} W" if wrong else ""
    long = window.duration_s >= thresholds.STUCK_S
    return "real readings vary, and there is no witness" if long else ""


# --- what the faults do to joules --------------------------------------------------------------


def refuse_spoilt(
    energies: Iterable[WindowEnergy], windows: Sequence[Window], found: Sequence[Fault]
) -> list[WindowEnergy]:
    """The joules, with those that a fault spoils made unknown: never 0 for unknown."""
    named = {window.name: window for window in windows}
    return [_refused(energy, named[energy.window], found) for energy in energies]


def _refused(energy: WindowEnergy, window: Window, found: Sequence[Fault]) -> WindowEnergy:
    reason = energy.reason or _why_spoilt(energy, window, found)
    if energy.energy_j is None or not reason:
        return energy
    return replace(energy, energy_j=None, uncertainty_j=None, mean_power_w=None, reason=reason)


def _why_spoilt(energy: WindowEnergy, window: Window, found: Sequence[Fault]) -> str:
    own = [f for f in found if f.channel == energy.channel and f.overlap_s(window) > 0]
    frozen = next((f for f in own if f.flaw is Flaw.FROZEN), None)
    if frozen is not None:
        return frozen.detail
    zero_s = sum(f.overlap_s(window) for f in own if f.flaw is Flaw.ZERO)
    if zero_s > thresholds.ZERO_SHARE * window.duration_s:
        return f"the sensor read no power for {zero_s:.1f} s of {window.duration_s:.1f} s"
    if energy.energy_j is not None and energy.energy_j <= 0 and window.duration_s > 0:
        return "the reading did not move in this window, and no running part draws nothing"
    return ""
