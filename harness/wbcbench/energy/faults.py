"""Sensor faults: frozen, reset and jumping counters; stuck, zero and absurd power readings.

A fault is a stretch of one channel's trace. Some spoil the joules of every window they touch
(``refuse_spoilt``); all of them become warnings (``checks``). The trace itself is never changed.

A fault is proved by the *second reading* of the same part by the same meter: power for a counter
and counter for power. Without one, only what no part can do is a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby, pairwise

from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.counter import ceiling_w, unwrap_counter
from wbcbench.energy.integrate import energy_curve, window_energy
from wbcbench.energy.uncertainty import with_uncertainty


class Flaw(StrEnum):
    """What is wrong; also the code of the warning."""

    FROZEN = "counter-frozen"
    RESET = "counter-reset"
    JUMP = "counter-jump"
    OUTLIER = "counter-outlier"
    ZERO = "power-zero"
    STUCK = "power-stuck"
    SPIKE = "power-spike"


@dataclass(frozen=True, slots=True)
class Fault:
    """One flaw of one channel from ``start_s`` to ``end_s`` on the monotonic clock.

    ``detail`` says what was observed, with numbers, as a clause that can follow a colon.
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
    faults = list[Fault]()
    for trace in traces:
        pair = find_pair(trace, traces)
        if len(trace.good[0]) < 2:
            continue
        if trace.channel.kind is Kind.COUNTER:
            own = [*_find_breaks(trace), *_find_frozen(trace, pair)]
        else:
            own = [*_find_spikes(trace)]
            if trace.channel.origin is Origin.MEASURED:
                own += [*_find_zeros(trace), *_find_stuck(trace, pair)]
        faults += sorted(own, key=lambda fault: fault.start_s)
    return tuple(faults)


def find_pair(trace: Trace, traces: Iterable[Trace]) -> Trace | None:
    """The second reading of the same part by the same meter; ``None`` if there is none."""
    return next((other for other in traces if is_pair(trace.channel, other.channel)), None)


def is_pair(first: Channel, second: Channel) -> bool:
    """Whether two channels are counter and power of the same part from the same meter."""
    return (
        {first.kind, second.kind} == {Kind.COUNTER, Kind.SAMPLED}
        and first.domain is second.domain
        and first.device == second.device
        and first.name.rpartition("/")[0] == second.name.rpartition("/")[0]
    )


# --- counters ----------------------------------------------------------------------------------


def _find_breaks(trace: Trace) -> Iterator[Fault]:
    name = trace.channel.name
    for gap in unwrap_counter(trace).breaks:
        flaw = Flaw.RESET if gap.step_j < 0 else Flaw.JUMP
        detail = f"the counter moved by {gap.step_j:,.0f} J in {gap.after_s - gap.before_s:.2f} s"
        yield Fault(flaw, name, gap.before_s, gap.after_s, detail)
    for t_s in unwrap_counter(trace).outliers_s:
        detail = "a single reading fitted neither neighbour and was left out"
        yield Fault(Flaw.OUTLIER, name, t_s, t_s, detail)


def _find_frozen(trace: Trace, pair: Trace | None) -> Iterator[Fault]:
    """Stretches in which a counter that was read did not move."""
    times, _ = trace.good
    curve = energy_curve(trace)
    knots = [*zip(curve.t_s, curve.energy_j, strict=True), (times[-1], curve.energy_j[-1])]
    least_s = max(thresholds.FROZEN_S, 10 * (trace.channel.update_s or 0.0))
    for (start_s, before_j), (end_s, after_j) in pairwise(knots):
        if end_s - start_s < least_s or sum(start_s < t < end_s for t in times) < 3:
            continue
        window, moved_j = Window("", start_s, end_s), after_j - before_j
        expected_j, reference = _estimate_stretch(trace, pair, window, moved_j)
        if expected_j is None or moved_j >= thresholds.CAUGHT_UP_SHARE * expected_j:
            continue
        detail = (
            f"the counter stood still for {window.duration_s:.1f} s and then moved by "
            f"{moved_j:,.1f} J; {reference} says {expected_j:,.0f} J"
        )
        yield Fault(Flaw.FROZEN, trace.channel.name, start_s, end_s, detail)


def _estimate_stretch(
    trace: Trace, pair: Trace | None, window: Window, moved_j: float
) -> tuple[float | None, str]:
    """Joules the stretch should hold, and by what reading; ``None`` if unknown."""
    pair_j = window_energy(pair, window).energy_j if pair else None
    if pair is not None and pair_j is not None:
        return (pair_j if pair_j > window.duration_s else None), pair.channel.name
    if window.duration_s < thresholds.FROZEN_ALONE_S:
        return None, ""
    times, _ = trace.good
    rest_s = times[-1] - times[0] - window.duration_s
    rest_j = energy_curve(trace).energy_j[-1] - moved_j
    rest_w = rest_j / rest_s if rest_s > 0 and rest_j > 0 else 1.0
    return rest_w * window.duration_s, "the rest of the trace"


# --- power readings ----------------------------------------------------------------------------


def _find_spikes(trace: Trace) -> Iterator[Fault]:
    """Readings above the highest that is believed: transients are real, more is a spike."""
    channel = trace.channel
    most_w = ceiling_w(channel)
    if channel.limit_w is not None and channel.domain is Domain.GPU:
        is_mean = "average" in channel.reading
        factor = thresholds.AVERAGE_OVER_LIMIT if is_mean else thresholds.INSTANT_OVER_LIMIT
        most_w = factor * channel.limit_w
    for start_s, end_s, values in _find_stretches(trace, lambda value: value > most_w):
        detail = f"{max(values):,.0f} W were read where at most {most_w:,.0f} W are plausible"
        yield Fault(Flaw.SPIKE, channel.name, start_s, end_s, detail)


def _find_zeros(trace: Trace) -> Iterator[Fault]:
    for start_s, end_s, values in _find_stretches(trace, lambda value: value <= 0.0):
        detail = f"{len(values)} readings of {min(values):g} W, which no running part draws"
        yield Fault(Flaw.ZERO, trace.channel.name, start_s, end_s, detail)


def _find_stretches(
    trace: Trace, is_odd: Callable[[float], bool]
) -> Iterator[tuple[float, float, list[float]]]:
    """Stretches of odd readings, from the reading before to the one after."""
    times, values = trace.good
    for odd, group in groupby(range(len(times)), key=lambda i: is_odd(values[i])):
        if odd:
            places = list(group)
            before, after = max(places[0] - 1, 0), min(places[-1] + 1, len(times) - 1)
            yield times[before], times[after], [values[i] for i in places]


def _find_stuck(trace: Trace, pair: Trace | None) -> Iterator[Fault]:
    times, values = trace.good
    for value, group in groupby(range(len(times)), key=lambda i: values[i]):
        places = list(group)
        if len(places) < thresholds.STUCK_SAMPLES or value <= 0:
            continue
        window = Window("", times[places[0]], times[places[-1]])
        why = _describe_stuck(value, pair, window)
        if why:
            detail = f"exactly {value:g} W for {window.duration_s:.1f} s; {why}"
            yield Fault(Flaw.STUCK, trace.channel.name, window.start_s, window.end_s, detail)


def _describe_stuck(value_w: float, pair: Trace | None, window: Window) -> str:
    """Why a power reading that does not change is not believed; empty if it may be true."""
    if pair is not None:
        energy = with_uncertainty(pair, window, window_energy(pair, window))
        if energy.energy_j is not None and window.duration_s >= thresholds.FROZEN_S:
            off_j = abs(energy.energy_j - value_w * window.duration_s)
            most_j = thresholds.DISAGREE_PCT / 100 * abs(energy.energy_j)
            is_wrong = off_j - (energy.uncertainty_j or 0.0) > most_j
            return f"{pair.channel.name} says {energy.mean_power_w:.0f} W" if is_wrong else ""
    is_long = window.duration_s >= thresholds.STUCK_S
    return "real readings vary, and no second reading confirms it" if is_long else ""


# --- what the faults do to joules --------------------------------------------------------------


def refuse_spoilt(energy: WindowEnergy, window: Window, faults: Iterable[Fault]) -> WindowEnergy:
    """The joules of a window, unknown and never 0 if a fault spoils them."""
    reason = energy.reason or _describe_spoilt(energy, window, faults)
    if energy.energy_j is None or not reason:
        return energy
    return replace(energy, energy_j=None, uncertainty_j=None, mean_power_w=None, reason=reason)


def _describe_spoilt(energy: WindowEnergy, window: Window, faults: Iterable[Fault]) -> str:
    own = [f for f in faults if f.channel == energy.channel and f.overlap_s(window) > 0]
    frozen = next((f for f in own if f.flaw is Flaw.FROZEN), None)
    if frozen is not None:
        return frozen.detail
    zero_s = sum(f.overlap_s(window) for f in own if f.flaw is Flaw.ZERO)
    if zero_s > thresholds.ZERO_SHARE * window.duration_s:
        return f"the sensor read no power for {zero_s:.1f} s of {window.duration_s:.1f} s"
    if energy.energy_j is not None and energy.energy_j <= 0 and window.duration_s > 0:
        return "the reading did not move in this window, but every running part draws power"
    return ""
