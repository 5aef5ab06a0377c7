"""Contradictions of a run's readings: with the meters that made them, and with each other.

What a channel is follows from its meter; a sensor's readings lie on its own grid; no machine gives
more processor time than it has; and a board that computes belongs into a window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbcbench.bundle.verify.training import CONTENDED
from wbcbench.core import window
from wbcbench.core.board_state import BoardSample
from wbcbench.core.cpu_load import CpuSample
from wbcbench.core.record import RunRecord, Sampling
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.units import j_from_mj, j_from_uj
from wbcbench.core.window import Window
from wbcbench.energy.source import CODECARBON
from wbcbench.power import codecarbon, pacer, rapl
from wbcbench.power.device import GAIN_ERRORS

_UNEVEN = 1e-3  # of a step: what binary fractions leave of a whole number of steps
_FEWEST_POLLS = 3  # that have a pace
_PLANNED_S, _LOST, _UNEVEN_S = 0.6, 2, 0.05
_PACE_S, _PACE_POLLS = 1.0, 6
_CPU_SHARE, _CPU_SLACK_S = 1.05, 2.0
_OWN_SHARE, _OWN_SLACK_S = 1.25, 10.0
_CONSTANT_SHARE, _CONSTANT_S = 0.01, 3.0
_GAP_EDGE_S, _GAP_LEAST_S = {Kind.COUNTER: 0.5, Kind.SAMPLED: 1.5}, 0.8
_LOADED, _LEAST_LOAD = 0.85, 0.3
_SHARED = frozenset({"foreign-process", "pids-hidden", "shared-board", "shared-machine"})


def find_in_readings(
    record: RunRecord,
    traces: Sequence[Trace],
    boards: Mapping[str, Sequence[BoardSample]],
    cpu: Sequence[CpuSample] | None,
) -> Iterator[str]:
    """What no meter can have read, as sentences without their subject and full stop."""
    for channel in record.channels if record.status == "done" else ():  # else half written
        yield from _check_channel(record, channel)
        if channel.domain is Domain.GPU and channel.device:
            yield from _check_limit(channel, boards.get(channel.device, ()))
    if record.status == "done":
        yield from _find_left_out(record)
    for trace in traces:
        yield from _check_grid(trace)
        yield from _check_constant(record, trace)
    if record.status == "done":
        yield from _check_polls(record, traces)
    yield from _check_processor(record, cpu or ())
    yield from _check_between(record, traces)


def _check_channel(record: RunRecord, channel: Channel) -> Iterator[str]:
    """A channel is what its meter makes of its name, and has what that meter says of itself."""
    vendor, part = channel.name.partition("/")[::2]
    meter = vendor if vendor in record.meters else channel.name.rpartition("/")[0]
    facts: Any = record.meters.get(meter)
    if not isinstance(facts, Mapping):
        yield f"{channel.name} belongs to no meter of the run"
        return
    is_rapl = vendor == "rapl" or (channel.domain, channel.origin) == (Domain.CPU, Origin.MEASURED)
    if is_rapl and any(absent.meter == "rapl" for absent in record.absent):
        yield f"{channel.name} was read, although the processor's counters could not be read"
    for name, expected in _describe_channel(vendor, part, facts).items():
        stated = getattr(channel, name)
        if stated != expected:
            yield f"{channel.name} has {name} {stated}, but {meter} makes it {expected}"
    for card in record.sensor_cards:
        if card.channel == channel.name and card.update_s not in (None, channel.update_s):
            yield f"{channel.name} has update_s {channel.update_s}, but a probe {card.update_s}"


def _find_left_out(record: RunRecord) -> Iterator[str]:
    """What a meter says it reads has a channel."""
    named = {channel.name for channel in record.channels}
    for meter, facts in record.meters.items():
        field, start = ("parts", f"{meter}/") if meter == CODECARBON else ("readings", "")
        reads = facts.get(field) if isinstance(facts, Mapping) else None
        for name in reads if isinstance(reads, Mapping) else ():
            if f"{start}{name}" not in named:
                yield f"{meter} reads {start}{name}, which is left out"


def _check_limit(channel: Channel, samples: Sequence[BoardSample]) -> Iterator[str]:
    """The board's log tells its limit, too; that of a laptop moves."""
    limits_w = {sample.power_limit_w for sample in samples} - {None}
    if channel.limit_w and len(limits_w) == 1 and channel.limit_w not in limits_w:
        yield (
            f"{channel.name} has the limit {channel.limit_w:g} W, but the board's log "
            f"{limits_w.pop():g} W throughout"
        )


def _describe_channel(vendor: str, part: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a channel that its meter fixes; those that it states itself where it did."""
    is_counter = part.endswith("counter")
    kind = Kind.COUNTER if is_counter else Kind.SAMPLED
    match vendor:
        case "nvml" | "amd":
            limits_w = [facts.get(f"power_limit_{name}_w") for name in ("enforced", "max")]
            return {
                "kind": kind,
                "origin": Origin.MEASURED,
                "domain": Domain.GPU,
                "gain_error": GAIN_ERRORS[vendor],
                "wrap_j": None,
                **({"device": facts["uuid"]} if "uuid" in facts else {}),
                **({"limit_w": limits_w[0] or limits_w[1]} if any(limits_w) else {}),
            }
        case "rapl":
            zone = part.partition("/")[0]
            domain = rapl.DOMAINS.get(zone.partition("-")[0])
            return {
                "kind": Kind.COUNTER,
                "origin": Origin.MEASURED,
                "domain": domain,
                "gain_error": None,
                "averaging_s": None,
            }
        case "codecarbon" if how := facts.get("parts", {}).get(part):
            reading, origin = codecarbon.find_reading(how["mode"])
            domain = codecarbon.DOMAINS.get(part)
            return {
                "kind": Kind.COUNTER,
                "origin": origin,
                "domain": domain,
                "reading": reading,
                "limit_w": how.get("tdp_w"),
                "gain_error": None,
                **({"update_s": facts["measure_power_s"]} if "measure_power_s" in facts else {}),
            }
        case "simulated":
            return {"kind": kind, "origin": Origin.SIMULATED, "domain": Domain.GPU}
    return {}


def _check_grid(trace: Trace) -> Iterator[str]:
    """NVML counts whole millijoules and tells whole milliwatts, RAPL whole microjoules."""
    vendor = trace.channel.name.partition("/")[0]
    step = {"nvml": j_from_mj(1.0), "rapl": j_from_uj(1.0)}.get(vendor)
    if step is None:
        return
    steps = np.asarray(trace.good[1]) / step
    uneven = int((np.abs(steps - np.round(steps)) > np.maximum(_UNEVEN, 1e-12 * steps)).sum())
    if uneven:
        unit = "J" if trace.channel.kind is Kind.COUNTER else "W"
        yield f"{uneven} readings of {trace.channel.name} are no multiple of {step:g} {unit}"


def _check_constant(record: RunRecord, trace: Trace) -> Iterator[str]:
    """A part that CodeCarbon takes for constant draws what it says, by its own clock."""
    vendor, part = trace.channel.name.partition("/")[::2]
    facts: Any = record.meters.get(vendor)
    if vendor != CODECARBON or not isinstance(facts, Mapping):
        return
    how, (times, values) = facts.get("parts", {}).get(part) or {}, trace.good
    power_w, most_w = how.get("power_w"), how.get("tdp_w")
    if len(times) < 2 or values[-1] < values[0]:
        return
    length_s, energy_j = times[-1] - times[0], values[-1] - values[0]
    slack_s = _CONSTANT_S + _CONSTANT_SHARE * length_s
    if power_w and abs(energy_j - power_w * length_s) > power_w * slack_s:
        yield f"{trace.channel.name} drew {energy_j / length_s:.2f} W, not its {power_w:g} W"
    if most_w and energy_j > most_w * (length_s + slack_s):
        yield f"{trace.channel.name} drew {energy_j / length_s:.2f} W, above its {most_w:g} W"


def _check_polls(record: RunRecord, traces: Sequence[Trace]) -> Iterator[str]:
    """The readings are those that the sampler counted.

    Where a driver hung at the end, the polls that were planned with its last may not be counted.
    """
    low_s, high_s = pacer.LEAST_PERIOD_S, pacer.MOST_PERIOD_S
    for sampling in record.sampling:
        own = [c for c in record.channels if c.name.startswith(f"{sampling.meter}/")]
        is_paced = any(
            channel.origin is Origin.MEASURED
            and (channel.kind is Kind.SAMPLED or low_s <= (channel.update_s or 0.0) <= high_s)
            for channel in own
        )
        for trace in traces:
            if not trace.channel.name.startswith(f"{sampling.meter}/") or sampling.period_s is None:
                continue
            t_s, count = trace.t_s, sampling.samples
            most = math.ceil(_PLANNED_S / sampling.interval_s)
            if not -_LOST <= len(t_s) - count <= most:
                yield f"{trace.channel.name} has {len(t_s):,} readings; {count:,} were made"
                continue
            if len(t_s) < _FEWEST_POLLS:
                continue
            longer_s = t_s[-1] - t_s[0] - sampling.period_s * (count - 1)
            if not -_UNEVEN_S <= longer_s <= _PLANNED_S + _UNEVEN_S:
                yield f"{trace.channel.name} was read {longer_s:+.1f} s longer than it was polled"
            gap_s = max(after - before for before, after in pairwise(t_s))
            if sampling.max_gap_s and len(t_s) == count and gap_s > sampling.max_gap_s + _UNEVEN_S:
                yield (
                    f"{trace.channel.name} has no reading for {gap_s:.1f} s; its longest gap was "
                    f"{sampling.max_gap_s:.1f} s"
                )
            if not is_paced:
                yield from _check_pace(trace, sampling)


def _check_pace(trace: Trace, sampling: Sampling) -> Iterator[str]:
    """Polls that follow no sensor come once in each interval, and each that did not is counted.

    What a last poll was late by is counted no more.
    """
    t_s, interval_s = np.asarray(trace.t_s, dtype=np.float64), sampling.interval_s
    ahead_s = interval_s * np.arange(len(t_s)) - t_s
    early_s = float((ahead_s - np.minimum.accumulate(ahead_s)).max())
    lost_s = float(t_s[-2] - t_s[0]) - interval_s * (len(t_s) - 2 + sampling.missed)
    slack_s = max(_PACE_S, _PACE_POLLS * interval_s)
    if early_s > slack_s:
        yield (
            f"{trace.channel.name} has polls in less time than one every {interval_s:g} s takes: "
            f"{early_s:.1f} s are missing"
        )
    if lost_s > slack_s:
        yield (
            f"{trace.channel.name} has no polls for {lost_s:.1f} s in all, but only "
            f"{sampling.missed:,} were missed"
        )


def _check_processor(record: RunRecord, samples: Sequence[CpuSample]) -> Iterator[str]:
    """No machine gives more processor time than it has cores for the time."""
    if len(samples) > 1:
        first, last = samples[0], samples[-1]
        cores = max(sample.cores for sample in samples)
        most_s = cores * (_CPU_SHARE * (last.t_s - first.t_s) + _CPU_SLACK_S)
        for name in ("busy_s", "own_s"):
            spent_s = getattr(last, name) - getattr(first, name)
            if spent_s > most_s:
                yield (
                    f"{spent_s:.0f} s of processor time ({name}) do not fit into "
                    f"{last.t_s - first.t_s:.0f} s of {cores:g} cores"
                )
    count = record.provenance.get("cpu_count")
    if record.trainer_cpu_s and record.windows and isinstance(count, int):
        length_s = max(w.end_s for w in record.windows) - min(w.start_s for w in record.windows)
        if record.trainer_cpu_s > count * (_CPU_SHARE * length_s + 10 * _CPU_SLACK_S):
            yield (
                f"the trainer's {record.trainer_cpu_s:.0f} s of processor time do not fit into "
                f"{length_s:.0f} s of {count} cores"
            )
        # In a container the log may be of processes of its host, elsewhere only of the run's own.
        is_alone = not any(warning.code in CONTENDED for warning in record.warnings)
        known_s = record.trainer_cpu_s + (record.recorder_cpu_s or 0.0)
        own_s = samples[-1].own_s - samples[0].own_s if samples else 0.0
        is_told = is_alone and record.provenance.get("in_container") is False
        if is_told and own_s > _OWN_SHARE * known_s + _OWN_SLACK_S:
            yield (
                f"trainer and recorder took {known_s:.0f} s of processor time, but {own_s:.0f} s "
                "by its log"
            )


def _check_between(record: RunRecord, traces: Sequence[Trace]) -> Iterator[str]:
    """A board that draws the power of training between two windows was training.

    Readings may follow late, power readings a second, so that the edges of a gap are left out.
    """
    train, idle = record.window(window.TRAIN), record.window(window.IDLE_CONTEXT)
    is_shared = any(warning.code in _SHARED for warning in record.warnings)
    if record.status != "done" or train is None or idle is None or is_shared:
        return
    left_out = (window.IDLE_COLD, window.IDLE_POST, window.TRAIN)  # its epochs say more
    loops = [Window("loops", loop.spans_s[0][0], loop.spans_s[-1][1]) for loop in record.loops[1:]]
    phases = sorted(
        (each for each in (*record.windows, *loops) if each.name not in left_out),
        key=lambda each: each.start_s,
    )
    for trace in traces:
        channel = trace.channel
        if channel.domain is not Domain.GPU or channel.origin is not Origin.MEASURED:
            continue
        edge_s = _GAP_EDGE_S[channel.kind]
        gaps = [
            Window(f"{a.name} and {b.name}", a.end_s + edge_s, b.start_s - edge_s)
            for a, b in pairwise(phases)
            if b.start_s - a.end_s >= 2 * edge_s + _GAP_LEAST_S
        ]
        idle_w, train_w = (find_power_w(trace, each) for each in (idle, train))
        if not gaps or idle_w is None or train_w is None or train_w < (1 + _LEAST_LOAD) * idle_w:
            continue
        for gap in gaps:
            power_w = find_power_w(trace, gap)
            if power_w is not None and power_w > idle_w + _LOADED * (train_w - idle_w):
                yield (
                    f"between {gap.name}, {channel.name} drew {power_w:.0f} W for "
                    f"{gap.duration_s:.0f} s, as in training"
                )


def find_power_w(trace: Trace, span: Window) -> float | None:
    """Mean power of a span by plain arithmetic; ``None`` where the readings do not tell."""
    times, values = (np.asarray(series, dtype=np.float64) for series in trace.good)
    inside: NDArray[np.bool_] = (times >= span.start_s) & (times <= span.end_s)
    if inside.sum() < 2:
        return None
    times, values = times[inside], values[inside]
    if trace.channel.kind is Kind.SAMPLED:
        power_w = float(np.median(values))
    elif (np.diff(values) < 0).any():
        return None
    else:
        power_w = float((values[-1] - values[0]) / (times[-1] - times[0]))
    return power_w if math.isfinite(power_w) else None
