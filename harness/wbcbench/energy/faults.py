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
from weakref import WeakKeyDictionary

from wbcbench.core.arrays import Floats, Places, as_array, np, to_floats
from wbcbench.core.trace import Channel, Domain, Kind, Origin, PollValues, Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.counter import vigintile
from wbcbench.energy.integrate import EnergyCurve, energy_curve, find_unread_s, window_energy
from wbcbench.energy.phase import are_among, find_moves
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
        and first.part == second.part
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


def _leave_out(trace: Trace, lost_s: Sequence[float]) -> Trace | None:
    """The trace without the readings of some times; ``None`` if there are none."""
    if not lost_s:
        return None
    is_lost = are_among(as_array(trace.t_s), lost_s)
    values = np.where(is_lost, math.nan, as_array(trace.value))
    return Trace(trace.channel, trace.t_s, PollValues(to_floats(values)))


def _find_absurd(trace: Trace) -> tuple[list[Fault], list[float], list[float]]:
    """PollValues of nothing and above the limit: faults, times of what is none, and of the high."""
    (times, values), channel = trace.good, trace.channel
    power_w = as_array(values)
    high_w, most_w = _find_limits_w(channel, power_w)
    is_zero = (power_w <= 0) & (channel.origin is Origin.MEASURED)
    flaws = np.select([is_zero, power_w > most_w, power_w > high_w], [1, 2, 3])
    starts = np.flatnonzero(find_moves(flaws))
    faults, lost_s, high_s = list[Fault](), list[float](), list[float]()
    for first, end in zip(starts.tolist(), [*starts[1:].tolist(), len(flaws)], strict=False):
        if not flaws[first]:
            continue
        flaw, read = (Flaw.ZERO, Flaw.SPIKE, Flaw.HIGH)[flaws[first] - 1], power_w[first:end]
        if flaw is Flaw.ZERO:
            detail = f"{len(read)} readings of {read.min():g} W, which no running part draws"
        else:
            limit_w = most_w if flaw is Flaw.SPIKE else high_w
            detail = f"{read.max():,.0f} W were read where at most {limit_w:,.0f} W are plausible"
        around_s = times[max(first - 1, 0)], times[min(end, len(times) - 1)]
        faults.append(Fault(flaw, channel.name, *around_s, detail))
        (high_s if flaw is Flaw.HIGH else lost_s).extend(times[first:end])
    return faults, lost_s, high_s


def _find_limits_w(channel: Channel, power_w: Floats) -> tuple[float, float]:
    """The power above which a reading is high, and the one above which it is none."""
    if channel.limit_w is not None and channel.domain is Domain.GPU:
        high_w = thresholds.HIGH_OVER_LIMIT * channel.limit_w
        return high_w, thresholds.SPIKE_OVER_LIMIT * channel.limit_w
    if channel.limit_w is not None:
        most_w = thresholds.CPU_CEILING_OVER_LIMIT * channel.limit_w
    else:
        is_part = channel.domain is not Domain.SYSTEM
        ceiling_w = thresholds.CEILING_W if is_part else math.inf
        possible_w = power_w[power_w <= ceiling_w]
        usual_w = vigintile(possible_w, 19) if len(possible_w) > 1 else math.inf
        most_w = min(thresholds.SPIKE_OVER_USUAL * max(usual_w, 1.0), ceiling_w)
    return most_w, most_w


def _find_stuck(trace: Trace, counter: Trace | None) -> tuple[list[Fault], list[float]]:
    """Stretches of equal readings that neither chance nor the counter explains."""
    times, values = (as_array(each) for each in trace.good)
    faults, lost_s = list[Fault](), list[float]()
    firsts = np.flatnonzero(find_moves(values))
    lasts = np.append(firsts[1:], len(values))[: len(firsts)] - 1
    sensor = describe_sensor(trace)
    pace_s = max(sensor.update_s, sensor.poll_s) or 1.0
    lengths_s, levels_w = times[lasts] - times[firsts], values[firsts]
    # Equal readings within one update are one reading.
    repeats = np.floor(lengths_s / pace_s + 0.01).astype(np.int64)
    is_long = (lengths_s >= thresholds.STUCK_S) & (repeats >= thresholds.STUCK_UPDATES)
    for place in np.flatnonzero(is_long).tolist():
        first, last = int(firsts[place]), int(lasts[place])
        window, value_w = Window("", float(times[first]), float(times[last])), float(values[first])
        is_wrong = _ask_counter(trace, counter, window, value_w) if counter else None
        alike = levels_w == value_w
        alike[place] = False
        probed_share = trace.channel.repeat_share
        is_odd = _is_improbable(int(repeats[place]), repeats, repeats[alike], probed_share)
        if is_wrong or (is_odd and is_wrong is None):
            why = "the counter says otherwise" if is_wrong else "it varied before or after"
            detail = f"exactly {value_w:g} W for {window.duration_s:.1f} s; {why}"
            faults.append(
                Fault(Flaw.STUCK, trace.channel.name, window.start_s, window.end_s, detail)
            )
            lost_s += times[first + 1 : last + 1].tolist()
    return faults, lost_s


def _is_improbable(own: int, repeats: Places, alike: Places, probed_share: float | None) -> bool:
    """Whether chance hardly ever repeats a reading ``own`` times.

    Args:
        own: How often a reading repeated itself.
        repeats: The same for all runs of equal readings of the trace, ``[n]``.
        alike: The same for other runs of the very same reading, ``[m]``.
        probed_share: Share of successive readings that were equal in the probe.
    """
    others, again = int(repeats.sum()) - own, int(alike.sum())
    renewals = others + len(repeats) - 1
    share = max((others + 1) / (renewals + 2), probed_share or 0.0)
    if len(alike) > 1:  # a coarse sensor comes back to its middle level, and stays there longest
        share = max(share, (again + 1) / (again + len(alike) + 1))
    longest = int(np.partition(repeats, -2)[-2]) if len(repeats) > 1 else own
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
