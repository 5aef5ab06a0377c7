"""Checks of the sensors: faults, weak checks, failed reads, gaps, a trace that ends early."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import attrgetter

from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Evidence, list_some
from wbcbench.energy.cross_check import deepest_check
from wbcbench.energy.faults import Flaw, is_pair
from wbcbench.energy.source import device_label, is_codecarbon, meter_of
from wbcbench.energy.warnings import make_warning


def check_sensor_faults(evidence: Evidence) -> Iterator[QualityWarning]:
    """Counters that froze, fell or jumped; power readings stuck, zero or impossibly high."""
    ordered = sorted(evidence.faults, key=attrgetter("channel", "flaw", "start_s"))
    for (channel, flaw), group in groupby(ordered, key=attrgetter("channel", "flaw")):
        faults = list(group)
        windows = evidence.list_touched([(fault.start_s, fault.end_s) for fault in faults])
        longest = max(faults, key=lambda fault: fault.end_s - fault.start_s)
        more = f" (the longest of {len(faults)})" if len(faults) > 1 else ""
        worst = [name for name in windows if name == evidence.window_name] or windows or [""]
        yield make_warning(
            flaw,
            f"{channel}: {longest.detail}{more}. Windows: {list_some(windows) or 'none'}.",
            _grade_fault(evidence, channel, flaw, windows),
            window=worst[0],
            channel=channel,
        )


def _grade_fault(evidence: Evidence, channel: str, flaw: Flaw, windows: list[str]) -> Severity:
    part = device_label(channel)
    has_pair = sum(device_label(c.name) == part for c in evidence.channels) > 1
    is_decided = flaw in {Flaw.HIGH, Flaw.LATE} and has_pair
    is_counted = channel in evidence.counted_channels and windows
    return Severity.SUSPECT if is_counted and not is_decided else Severity.INFO


def check_depth(evidence: Evidence) -> Iterator[QualityWarning]:
    """Boards whose reading no second one checks, or checks too weakly."""
    boards = dict[str, dict[Kind, str]]()
    meters = {meter_of(name) for name in evidence.counted_channels}
    for channel in evidence.channels:
        is_board = channel.domain is Domain.GPU and channel.origin is Origin.MEASURED
        if is_board and meter_of(channel.name) in meters and not is_codecarbon(channel.name):
            boards.setdefault(device_label(channel.name), {})[channel.kind] = channel.name
    for readings in boards.values():
        yield from _judge_depth(evidence, readings)


def _judge_depth(evidence: Evidence, readings: Mapping[Kind, str]) -> Iterator[QualityWarning]:
    """A warning where nothing checks a board's joules, or not deeply enough."""
    counter, power = readings.get(Kind.COUNTER), readings.get(Kind.SAMPLED)
    window = evidence.window_name
    if counter is None or power is None:
        severity = Severity.INFO if counter is None else Severity.SUSPECT
        detail = f"{counter or power} is the only reading of its board: nothing checks it."
        yield make_warning("check-depth", detail, severity, window=window)
        return
    energy, integral = evidence.energy(window, counter), evidence.energy(window, power)
    if integral is None or (integral.energy_j is None and (not energy or energy.energy_j is None)):
        return
    check = deepest_check(evidence.agreements, counter, window)
    if energy is None or energy.energy_j is None:
        detail = f"Nothing checks {power}, for {counter} has no joules."
        yield make_warning("check-depth", detail, window=window)
    elif check is None or check.depth_pct is None:
        detail = f"{counter} could not be checked by {power}."
        yield make_warning("check-depth", detail, window=window)
    elif check.depth_pct > thresholds.DISAGREE_PCT or check.status == "inconclusive":
        detail = (
            f"{counter} is {check.difference_pct:+.1f} % off {power}; {check.readings:,} readings "
            f"could show no less than {check.depth_pct:.1f} %."
        )
        width_pct = check.depth_pct / thresholds.DISAGREE_DEPTHS
        is_unlikely = abs(check.difference_pct) > min(width_pct, thresholds.DISAGREE_PCT)
        severity = Severity.SUSPECT if is_unlikely else Severity.INFO
        yield make_warning("check-depth", detail, severity, window=window)


def check_failed_reads(evidence: Evidence) -> Iterator[QualityWarning]:
    """Reads that gave no value, and polls that came too late."""
    for trace in evidence.traces:
        lost = trace.lost_s
        windows = evidence.list_touched([(t, t) for t in lost])
        work = [*filter(evidence.is_work, windows)]
        name = trace.channel.name
        is_counted = name in evidence.counted_channels
        if lost:
            yield make_warning(
                "reads-failed",
                f"{name}: {len(lost)} of {trace.polls} reads failed. "
                f"Windows: {list_some(windows) or 'none'}.",
                Severity.SUSPECT if work and is_counted else Severity.INFO,
                window=next(iter([*work, *windows]), ""),
                channel=name,
            )
    for meter in evidence.sampling:
        polls = meter.samples + meter.missed
        if polls and meter.missed > thresholds.MISSED_SHARE * polls:
            detail = (
                f"{meter.meter} missed {meter.missed} of {polls} polls at an interval of "
                f"{meter.interval_s:g} s."
            )
            yield make_warning("polls-missed", detail)


def check_gaps(evidence: Evidence) -> Iterator[QualityWarning]:
    """Stretches without a good reading."""
    parts = {window.name: evidence.list_parts(window) for window in evidence.windows}
    for trace in evidence.sampled_traces:
        breaks, channel = trace.gaps, trace.channel
        lost_s = {
            name: sum(
                max(min(end, part.end_s) - max(start, part.start_s), 0.0)
                for start, end in breaks
                for part in parts[name]
            )
            for name in parts
        }
        names = [name for name in parts if lost_s[name] > 0]
        if not names:
            continue
        is_work = evidence.is_work
        worst = max(names, key=lambda n: (n == evidence.window_name, is_work(n), lost_s[n]))
        share = lost_s[worst] / sum(part.duration_s for part in parts[worst])
        severity = Severity.INFO
        if channel.name in evidence.counted_channels and is_work(worst):
            is_lost = channel.kind is Kind.SAMPLED and share > thresholds.COVERED_SHARE
            is_measured = worst == evidence.window_name
            is_only = is_measured and not _has_other_reading(evidence, channel)
            severity = Severity.INVALID if is_lost and is_only else Severity.SUSPECT
        yield make_warning(
            "sampling-gap",
            f"{channel.name} gave no good reading for up to "
            f"{max(end - start for start, end in breaks):.1f} s; {100 * (1 - share):.0f} % of "
            f"`{worst}` are covered. Windows with gaps: {list_some(names)}.",
            severity,
            window=worst,
            channel=channel.name,
        )


def _has_other_reading(evidence: Evidence, channel: Channel) -> bool:
    """Whether the counter beside a power reading has the joules of the checked window."""
    others = (c.name for c in evidence.channels if is_pair(c, channel))
    energies = (evidence.energy(evidence.window_name, name) for name in others)
    return any(energy is not None and energy.energy_j is not None for energy in energies)


def check_heartbeat(evidence: Evidence) -> Iterator[QualityWarning]:
    """Meters that stopped being sampled before the run ended."""
    end_s = max((window.end_s for window in evidence.windows), default=0.0)
    for trace in evidence.sampled_traces if evidence.windows else ():
        early_s = math.inf if trace.last_s is None else end_s - trace.last_s
        if early_s <= max(thresholds.HEARTBEAT_S, 3 * trace.step_s):
            continue
        name = trace.channel.name
        is_counted = name in evidence.counted_channels
        when = f"was last polled {early_s:.1f} s before the last window ended"
        when = when if trace.polls else "was never polled"
        yield make_warning(
            "heartbeat-lost",
            f"{name} {when}.",
            Severity.INVALID if is_counted else Severity.INFO,
            channel=name,
        )
