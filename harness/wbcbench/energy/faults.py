"""Sensor faults: counters that break; power readings that are stuck, zero or absurdly high.

A fault is a stretch of one channel's trace. A power reading that is none leaves a gap in the
integral, and a counter that breaks is bridged (``energy.integrate``); all faults become warnings
(``checks``). What was read is never changed.

Faults of power are looked for first, for by what is left of it a counter is judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from statistics import quantiles
from weakref import WeakKeyDictionary

from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.integrate import EnergyCurve, energy_curve, find_unread_s, window_energy
from wbcbench.energy.uncertainty import describe_sensor, with_uncertainty

# Whether equal readings are stuck: a sensor that repeats itself now and then does so by chance,
# and one that was quiet for as long before may be quiet again.
FEWEST_RENEWALS = 10  # besides the equal ones, if no probe says how often it repeats itself
QUIET_SHARE = 0.9
LONGER_RUN = 3  # times the longest other run of equal readings, if the probe does not tell
TRIM_S = 0.25  # of each end, before a counter is asked; less than half of the shortest
LATENESSES_S = (1.0, 2.0, 3.0, 4.0)  # that a power reading may have, and then shows an edge so late
SLICES = 4  # of a stretch, by which a counter shows that power changed


class Flaw(StrEnum):
    """What is wrong; also the code of the warning."""

    FROZEN = "counter-frozen"
    RESET = "counter-reset"
    JUMP = "counter-jump"
    OUTLIER = "counter-outlier"
    ZERO = "power-zero"
    STUCK = "power-stuck"
    SPIKE = "power-spike"
    HIGH = "power-over-limit"
    LATE = "power-late"


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


@dataclass(frozen=True, slots=True)
class SensorReview:
    """What is wrong with the traces of a measurement, and what is left of them.

    Attributes:
        traces: The traces in their order, with ``None`` for readings that are none.
        within_limit: The same with ``None`` for those above the limit, too.
        faults: Every fault of power readings, by channel and time.
    """

    traces: tuple[Trace, ...]
    within_limit: tuple[Trace, ...]
    faults: tuple[Fault, ...]


def review_sensors(traces: Sequence[Trace]) -> SensorReview:
    """Find every fault of power readings, and leave out the readings that are none."""
    powers = {
        trace: _inspect_power(trace, find_pair(trace, traces))
        for trace in traces
        if trace.channel.kind is Kind.SAMPLED
    }
    sound = tuple(powers[trace].sound or trace if trace in powers else trace for trace in traces)
    within_limit = tuple(
        powers[trace].within_limit or sound[i] if trace in powers else trace
        for i, trace in enumerate(traces)
    )
    faults = (fault for power in powers.values() for fault in _sort(power.faults))
    return SensorReview(sound, within_limit, tuple(faults))


def find_breaks(traces: Sequence[Trace]) -> Iterator[Fault]:
    """The breaks of every counter and the readings that it left out, by channel and time."""
    for trace in traces:
        if trace.channel.kind is Kind.COUNTER:
            yield from _sort(_list_breaks(energy_curve(trace, find_pair(trace, traces)), trace))


def _sort(faults: Iterable[Fault]) -> list[Fault]:
    return sorted(faults, key=lambda fault: fault.start_s)


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


def refuse_unread(
    energy: WindowEnergy,
    trace: Trace,
    window: Window,
    pair: Trace | None,
    share: float = thresholds.COVERED_SHARE,
) -> WindowEnergy:
    """The joules of a window; unknown if more than a share of it was not read, and never 0."""
    reason, unread_s = energy.reason, find_unread_s(trace, window, pair)
    if window.duration_s <= 0:
        reason = "nothing was read after it began"
    elif energy.energy_j is not None and energy.energy_j <= 0:
        reason = "the reading did not move in this window, but every running part draws power"
    elif unread_s > share * window.duration_s:
        reason = (
            f"the sensor gave no good reading for {unread_s:.1f} s of {window.duration_s:.1f} s"
        )
        bridges = energy_curve(trace, pair).bridges
        reason = bridges[0].detail if bridges else reason
    if energy.energy_j is None or not reason:
        return energy
    return replace(energy, energy_j=None, uncertainty_j=None, mean_power_w=None, reason=reason)


def _list_breaks(curve: EnergyCurve, trace: Trace) -> Iterator[Fault]:
    name = trace.channel.name
    for gap in (*curve.breaks, *curve.bridges):
        flaw = Flaw(f"counter-{gap.cause}")
        yield Fault(flaw, name, gap.before_s, gap.after_s, gap.detail)
    for t_s in curve.strays_s:
        detail = "a single reading fitted neither neighbour and was left out"
        yield Fault(Flaw.OUTLIER, name, t_s, t_s, detail)


# --- power readings ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Power:
    """Faults of a power reading, and what is left of its trace; ``None`` if that is all of it."""

    faults: tuple[Fault, ...]
    sound: Trace | None
    within_limit: Trace | None


_POWERS: WeakKeyDictionary[Trace, WeakKeyDictionary[Trace, _Power]] = WeakKeyDictionary()


def _inspect_power(trace: Trace, counter: Trace | None) -> _Power:
    """Look for the faults of a power reading, once for each trace and counter beside it."""
    known = _POWERS.setdefault(trace, WeakKeyDictionary())
    beside = counter or trace
    if beside not in known:
        faults, lost_s, high_s = _find_absurd(trace)
        sound = _leave_out(trace, lost_s)
        if trace.channel.origin is Origin.MEASURED:
            stuck, stuck_s = _find_stuck(sound or trace, counter)
            faults, sound = [*faults, *stuck], _leave_out(sound or trace, stuck_s) or sound
        known[beside] = _Power(tuple(faults), sound, _leave_out(sound or trace, high_s))
    return known[beside]


def _leave_out(trace: Trace, lost_s: set[float]) -> Trace | None:
    """The trace without the readings of some times; ``None`` if there are none."""
    if not lost_s:
        return None
    polls = zip(trace.t_s, trace.value, strict=True)
    return Trace(trace.channel, trace.t_s, [None if t in lost_s else v for t, v in polls])


def _find_absurd(trace: Trace) -> tuple[list[Fault], set[float], set[float]]:
    """Readings of nothing and above the limit: faults, times of what is none, and of the high."""
    (times, values), channel = trace.good, trace.channel
    high_w, most_w = _find_limits_w(channel, values)
    flaws = [_name_flaw(channel, value, high_w, most_w) for value in values]
    faults, lost_s, high_s = list[Fault](), set[float](), set[float]()
    for flaw, group in groupby(range(len(times)), key=flaws.__getitem__):
        places = list(group)
        if flaw is None:
            continue
        before, after = max(places[0] - 1, 0), min(places[-1] + 1, len(times) - 1)
        read = [values[i] for i in places]
        if flaw is Flaw.ZERO:
            detail = f"{len(read)} readings of {min(read):g} W, which no running part draws"
        else:
            limit_w = most_w if flaw is Flaw.SPIKE else high_w
            detail = f"{max(read):,.0f} W were read where at most {limit_w:,.0f} W are plausible"
        faults.append(Fault(flaw, channel.name, times[before], times[after], detail))
        (high_s if flaw is Flaw.HIGH else lost_s).update(times[i] for i in places)
    return faults, lost_s, high_s


def _find_limits_w(channel: Channel, values: Sequence[float]) -> tuple[float, float]:
    """The power above which a reading is high, and the one above which it is none."""
    if channel.limit_w is not None and channel.domain is Domain.GPU:
        high_w = thresholds.HIGH_OVER_LIMIT * channel.limit_w
        return high_w, thresholds.SPIKE_OVER_LIMIT * channel.limit_w
    if channel.limit_w is not None:
        most_w = thresholds.CPU_CEILING_OVER_LIMIT * channel.limit_w
    else:
        is_part = channel.domain is not Domain.SYSTEM
        ceiling_w = thresholds.CEILING_W if is_part else math.inf
        possible_w = [value for value in values if value <= ceiling_w]
        usual_w = quantiles(possible_w, n=20)[-1] if len(possible_w) > 1 else math.inf
        most_w = min(thresholds.SPIKE_OVER_USUAL * max(usual_w, 1.0), ceiling_w)
    return most_w, most_w


def _name_flaw(channel: Channel, value_w: float, high_w: float, most_w: float) -> Flaw | None:
    if value_w <= 0 and channel.origin is Origin.MEASURED:
        return Flaw.ZERO
    if value_w > most_w:
        return Flaw.SPIKE
    return Flaw.HIGH if value_w > high_w else None


def _find_stuck(trace: Trace, counter: Trace | None) -> tuple[list[Fault], set[float]]:
    """Stretches of equal readings that neither chance nor the counter explains."""
    times, values = trace.good
    faults, lost_s = list[Fault](), set[float]()
    runs = [list(group) for _, group in groupby(range(len(times)), key=values.__getitem__)]
    sensor = describe_sensor(trace)
    pace_s = max(sensor.update_s, sensor.poll_s) or 1.0
    # Equal readings within one update are one reading.
    repeats = [int((times[run[-1]] - times[run[0]]) / pace_s + 0.01) for run in runs]
    for place, (run, own) in enumerate(zip(runs, repeats, strict=True)):
        window = Window("", times[run[0]], times[run[-1]])
        if window.duration_s < thresholds.STUCK_S or own < thresholds.STUCK_UPDATES:
            continue
        value_w = values[run[0]]
        is_wrong = _ask_counter(trace, counter, window, value_w) if counter else None
        alike = [n for i, n in enumerate(repeats) if values[runs[i][0]] == value_w and i != place]
        is_odd = _is_improbable(own, repeats, alike, trace.channel.repeat_share)
        if is_wrong or (is_odd and is_wrong is None):
            why = "the counter says otherwise" if is_wrong else "it varied before or after"
            detail = f"exactly {value_w:g} W for {window.duration_s:.1f} s; {why}"
            faults.append(
                Fault(Flaw.STUCK, trace.channel.name, window.start_s, window.end_s, detail)
            )
            lost_s.update(times[i] for i in run[1:])
    return faults, lost_s


def _is_improbable(
    own: int, repeats: Sequence[int], alike: Sequence[int], probed_share: float | None
) -> bool:
    """Whether chance hardly ever repeats a reading ``own`` times.

    Args:
        own: How often a reading repeated itself.
        repeats: The same for all runs of equal readings of the trace, ``[n]``.
        alike: The same for other runs of the very same reading, ``[m]``.
        probed_share: Share of successive readings that were equal in the probe.
    """
    others = sum(repeats) - own
    renewals = others + len(repeats) - 1
    share = max((others + 1) / (renewals + 2), probed_share or 0.0)
    if len(alike) > 1:  # a coarse sensor comes back to its middle level, and stays there longest
        share = max(share, (sum(alike) + 1) / (sum(alike) + len(alike) + 1))
    longest = sorted(repeats)[-2] if len(repeats) > 1 else own
    is_quiet = own < LONGER_RUN * longest if probed_share is None else probed_share > QUIET_SHARE
    is_rare = share**own * (renewals + own) < thresholds.STUCK_CHANCE
    is_known = probed_share is not None or renewals >= FEWEST_RENEWALS
    return is_known and is_rare and not is_quiet


def _ask_counter(trace: Trace, counter: Trace, window: Window, value_w: float) -> bool | None:
    """Whether a counter contradicts a power that does not change; ``None`` if unknown.

    A gain error of either, which the rest of the trace has too, is no contradiction.
    """
    # An edge of the load is seen by the counter first.
    window = Window("", window.start_s + TRIM_S, window.end_s - TRIM_S)
    energy = with_uncertainty(counter, window, window_energy(counter, window))
    if energy.energy_j is None or energy.uncertainty_j is None:
        return None
    stuck_j = value_w * window.duration_s
    slack_j = energy.uncertainty_j + thresholds.DISAGREE_PCT / 100 * energy.energy_j
    gain = _find_gain(trace, counter, window)
    off_j = [abs(energy.energy_j - factor * stuck_j) for factor in (1.0, gain or 1.0)]
    if min(off_j) <= slack_j:
        return False if min(off_j) == off_j[0] or gain else None
    if _was_counted_before(counter, window, value_w, slack_j):
        return None
    if gain is not None:
        return True
    step_s = window.duration_s / SLICES
    edges_s = [window.start_s + i * step_s for i in range(SLICES)]
    parts = [window_energy(counter, Window("", t, t + step_s)).energy_j or 0.0 for t in edges_s]
    return max(parts) - min(parts) > slack_j or None


def _was_counted_before(counter: Trace, window: Window, value_w: float, slack_j: float) -> bool:
    """Whether a late reading shows what the counter counted some time before."""
    first_s = counter.good[0][0]
    for late_s in LATENESSES_S:
        span = Window("", max(window.start_s - late_s, first_s), window.end_s - late_s)
        counted_j = window_energy(counter, span).energy_j if span.duration_s > 0 else None
        if counted_j is not None and abs(counted_j - value_w * span.duration_s) <= slack_j:
            return True
    return False


def _find_gain(trace: Trace, counter: Trace, window: Window) -> float | None:
    """Counter over integral outside of a window; ``None`` if there is too little of it."""
    curves = energy_curve(counter), energy_curve(trace)
    start_s = max(counter.good[0][0], trace.good[0][0])
    end_s = min(counter.good[0][-1], trace.good[0][-1])
    if end_s - start_s - window.duration_s < thresholds.FROZEN_S or curves[0].breaks:
        return None
    counted_j, read_j = (
        c.at(end_s) - c.at(window.end_s) + c.at(window.start_s) - c.at(start_s) for c in curves
    )
    return counted_j / read_j if counted_j > 0 and read_j > 0 else None
