"""An external meter's log → a ``system`` channel of a finished run, on the run's own clock.

The record has one pair of readings of the wall clock and the monotonic clock, which converts the
log's times. A log that cannot be of this run is found by what no machine can do: draw less than its
own components.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import compress
from pathlib import Path

from wbcbench.core.errors import UsageError
from wbcbench.core.quality import QualityWarning
from wbcbench.core.record import Attachment, RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window, unix_s, utc_now
from wbcbench.energy import thresholds
from wbcbench.energy.appraise import Appraisal, appraise_run
from wbcbench.energy.checks import list_some
from wbcbench.energy.faults import review_sensors
from wbcbench.energy.integrate import find_gaps, longest_step_s, window_energy
from wbcbench.energy.renewals import list_moves, median_step_s
from wbcbench.energy.source import choose_source, find_window_energy
from wbcbench.energy.wall_logs import LogOptions, WallLog, read_wall_log
from wbcbench.energy.wall_logs.times import MIDNIGHT
from wbcbench.energy.warnings import make_warning

METER = "wall"
MARGIN_S = 60.0  # of the log, kept on both sides of the run
CLOCK_SLACK_S = 30.0  # the record is written within this time of the last window
QUARTER_HOUR_S = 900.0  # zones differ by multiples of it
ZONE_QUARTERS = range(-4 * 14, 4 * 14 + 1)
MOST_OFFSET_S = 1e10  # epoch seconds of the log's start, for one that counts from there


@dataclass(frozen=True, slots=True)
class LogReading:
    """One reading of a log.

    Attributes:
        t_s: Epoch seconds, or those since the log's own start.
        utc: The same as ISO 8601; empty without a date.
        value: Watts, or cumulative joules.
    """

    t_s: float
    utc: str
    value: float


@dataclass(frozen=True, slots=True)
class LogPreview:
    """How a log was understood, beside the run that it is for.

    Attributes:
        read_as: What was decided of it; see ``WallLog``.
        kind: ``sampled`` for watts, ``counter`` for joules.
        first, last: Its readings at both ends.
        span_s: From the first to the last.
        readings: Number of its rows.
        without_reading: How many of them have no reading.
        gaps: Stretches without a reading.
        mean_power_w: Over the whole log; ``None`` if it does not say.
        window_power_w: Mean of each window of the run; ``None`` where the log does not reach.
        notes: What had to be assumed, as whole sentences.
        warnings: What ``attach`` would warn of besides.
        source_sha256: Digest of the log.
        refusal: Why ``attach`` would not take it; empty if it would.
    """

    read_as: dict[str, str]
    kind: Kind
    first: LogReading
    last: LogReading
    span_s: float
    readings: int
    without_reading: int
    gaps: int
    mean_power_w: float | None
    window_power_w: dict[str, float | None]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    source_sha256: str
    refusal: str


def attach_wall_meter(
    run: RunDir, log: Path, options: LogOptions | None = None, *, offset_s: float = 0.0
) -> Attachment:
    """Read a log and store it with a finished run.

    Args:
        run: The run; its record is left as it is.
        log: The meter's file or a pipe; see ``wall_logs``.
        options: What the log itself leaves open.
        offset_s: Added to the log's times: positive if the meter's clock is slow.

    Raises:
        UsageError: The log cannot be understood, does not overlap with the run or cannot be of
            this machine; the run has an attachment or no clock pair.
    """
    if run.has_attachment:
        raise UsageError(
            f"{run.run_id} has a wall meter attached, and it is never overwritten. To attach "
            f"another, delete {run.attachment_path} first."
        )
    record, readings = _read_for_run(run, log, options, offset_s)
    attachment, trace = _derive_energies(record, readings, log.name, offset_s)
    run.write_attachment(attachment, trace)
    return attachment


def preview_wall_meter(
    run: RunDir, log: Path, options: LogOptions | None = None, *, offset_s: float = 0.0
) -> LogPreview:
    """The same up to storing it; raises alike for what cannot be read, not for what is refused."""
    record, readings = _read_for_run(run, log, options, offset_s)
    windows, refusal = dict.fromkeys((w.name for w in record.windows), None), ""
    details = list[str]()
    try:
        attachment = _derive_energies(record, readings, log.name, offset_s)[0]
        windows |= {energy.window: energy.mean_power_w for energy in attachment.energies}
        details += [w.detail for w in attachment.warnings if w.detail not in readings.notes]
    except UsageError as error:
        refusal = str(error)
    trace = Trace(_make_channel(readings), readings.utc_s, readings.value)
    times, values = trace.good
    sound = review_sensors([trace]).traces[0]  # without the readings that attaching drops
    sound_s = sound.good[0] or times
    is_dated = bool(offset_s) or not readings.relative_to
    first, last = (
        LogReading(times[i], _format_utc(times[i] + offset_s) if is_dated else "", values[i])
        for i in (0, -1)
    )
    return LogPreview(
        read_as=readings.read_as,
        kind=readings.kind,
        first=first,
        last=last,
        span_s=last.t_s - first.t_s,
        readings=len(readings.utc_s),
        without_reading=len(readings.utc_s) - len(times),
        gaps=len(find_gaps(times)),
        mean_power_w=window_energy(sound, Window("log", sound_s[0], sound_s[-1])).mean_power_w,
        window_power_w=windows,
        notes=readings.notes,
        warnings=tuple(details),
        source_sha256=readings.sha256,
        refusal=refusal,
    )


def _read_for_run(
    run: RunDir, log: Path, options: LogOptions | None, offset_s: float
) -> tuple[RunRecord, WallLog]:
    record = run.read_own_record()
    if not math.isfinite(offset_s) or abs(offset_s) > MOST_OFFSET_S:
        raise UsageError(f"--offset must be a number of seconds; it is {offset_s}.")
    clock_s = _find_clock_offset_s(record)
    if not record.windows:
        raise UsageError(f"{record.run_id} has no measured windows.")
    start_s = min(window.start_s for window in record.windows) + clock_s
    end_s = max(window.end_s for window in record.windows) + clock_s
    return record, read_wall_log(log, options, (start_s - offset_s, end_s - offset_s))


def _derive_energies(
    record: RunRecord, readings: WallLog, source: str, offset_s: float
) -> tuple[Attachment, Trace]:
    """The attachment and its trace; raises ``UsageError`` if they cannot be of this run."""
    clock_s = _find_clock_offset_s(record)
    trace = _align_log(readings, record, clock_s - offset_s)
    appraisal = appraise_run([trace], record)
    energies = appraisal.energies
    if all(energy.energy_j is None for energy in energies):
        reasons = ", ".join(sorted({energy.reason for energy in energies}))
        raise UsageError(
            f"{source} covers no window of {record.run_id}: {reasons}. Use a log that begins "
            "before the run and ends after it."
        )
    warnings = _find_warnings(record, trace, readings, appraisal, clock_s)
    attachment = Attachment(
        source=source,
        source_sha256=readings.sha256,
        column=readings.read_as["power-column"],
        offset_s=offset_s,
        utc_minus_monotonic_s=clock_s - offset_s,
        attached_utc=utc_now(),
        channel=trace.channel,
        energies=energies,
        budgets=appraisal.budgets,
        warnings=tuple(warnings),
        options=readings.read_as,
    )
    _refuse_impossible(record, attachment)
    return attachment, trace


def _find_clock_offset_s(record: RunRecord) -> float:
    """Epoch seconds at zero of the run's monotonic clock."""
    match record.provenance.get("clock_pair"):
        case {"utc_s": int() | float() as utc_s, "monotonic_s": int() | float() as monotonic_s}:
            return utc_s - monotonic_s
    raise UsageError(
        f"The record of {record.run_id} does not say what the wall clock read when the run began, "
        "so a log cannot be aligned with it. Repeat the run."
    )


def _align_log(log: WallLog, record: RunRecord, shift_s: float) -> Trace:
    """The part of the log around the run, on the run's clock."""
    start_s = min(window.start_s for window in record.windows)
    end_s = max(window.end_s for window in record.windows)
    times = [utc_s - shift_s for utc_s in log.utc_s]
    if times[-1] <= start_s or times[0] >= end_s:
        edges_s = [t_s + shift_s for t_s in (times[0], times[-1], start_s, end_s)]
        raise UsageError(_describe_no_overlap(record.run_id, log, edges_s))
    near = slice(bisect_left(times, start_s - MARGIN_S), bisect_right(times, end_s + MARGIN_S))
    trace = Trace(_make_channel(log), times[near], log.value[near])
    if log.kind is Kind.SAMPLED:
        return trace
    # A kilowatt-hour counter stands still for long: its pace is the time between two moves.
    moves_s = [*compress(trace.good[0], list_moves(trace.good[1]))][1:]
    return replace(trace, channel=replace(trace.channel, update_s=median_step_s(moves_s) or None))


def _make_channel(log: WallLog) -> Channel:
    name = f"{METER}/system/{'counter' if log.kind is Kind.COUNTER else 'power'}"
    return Channel(name, log.kind, Origin.MEASURED, Domain.SYSTEM, f"{METER}_meter")


def _find_warnings(
    record: RunRecord, trace: Trace, log: WallLog, appraisal: Appraisal, clock_s: float
) -> Iterator[QualityWarning]:
    details, energies = [("wall-log-assumed", note) for note in log.notes], appraisal.energies
    details += [(fault.flaw, f"{fault.channel}: {fault.detail}.") for fault in appraisal.faults]
    unknown = [energy for energy in energies if energy.energy_j is None]
    if unknown:
        names = list_some(f"{energy.window} ({energy.reason})" for energy in unknown)
        detail = f"The log does not cover {len(unknown)} of {len(energies)} windows: {names}."
        details.append(("wall-log-short", detail))
    worst = max(energies, key=lambda energy: energy.max_gap_s or 0.0)
    if (worst.max_gap_s or 0.0) > longest_step_s(trace.good[0]):
        detail = f"The log has no reading for up to {worst.max_gap_s:.0f} s ({worst.window})."
        details.append(("wall-log-gap", detail))
    # The end of the run by the wall clock must be where the monotonic clock puts it.
    end_s = max(window.end_s for window in record.windows) + clock_s
    if not -1.0 <= unix_s(record.ended_utc) - end_s <= CLOCK_SLACK_S:
        detail = "The machine's wall clock was set during the run: the log may be misaligned."
        details.append(("wall-clock-stepped", detail))
    for code, detail in details:
        yield make_warning(code, detail, channel=trace.channel.name)


def _refuse_impossible(record: RunRecord, attachment: Attachment) -> None:
    """A machine cannot draw less than its components, nor as much as a house for hours."""
    windows = {window.name: window for window in record.windows}
    known = [energy for energy in attachment.energies if energy.energy_j is not None]
    energy = max(known, key=lambda energy: windows[energy.window].duration_s)
    if (energy.mean_power_w or 0.0) > thresholds.CEILING_W:
        raise UsageError(
            f"In {energy.window} the log has a mean of {energy.mean_power_w:,.0f} W, which no "
            "machine draws. Check the unit of the column. Nothing was attached."
        )
    least_j = _find_least_j(record, energy.window)
    if (energy.energy_j or 0.0) + (energy.uncertainty_j or 0.0) < least_j:
        raise UsageError(
            f"In {energy.window} the log has {energy.energy_j:.0f} J for the machine, but its "
            f"own sensors measured at least {least_j:.0f} J. Check the column's unit, the machine "
            "and --offset. Nothing was attached."
        )


def _find_least_j(record: RunRecord, window: str) -> float:
    """The least joules that the run's own sensors leave possible; 0 where they say nothing."""
    least_j = 0.0
    for domain in (Domain.GPU, Domain.CPU):
        energy = find_window_energy(record, choose_source(record, domain, window), window)
        if energy.energy_j is not None and energy.status == Origin.MEASURED:
            widths_j = energy.uncertainty_j or 0.0, energy.board_uncertainty_j or 0.0
            least_j += energy.energy_j - sum(widths_j)
    return least_j


def _describe_no_overlap(run_id: str, log: WallLog, edges_s: Sequence[float]) -> str:
    """What a log and a run have not in common, and the way out.

    Args:
        run_id: The run's.
        log: The log.
        edges_s: Epoch seconds of the log's first and last reading, and of the run's start and end.
    """
    first_s, last_s, start_s, end_s = edges_s
    run = f"the run {run_id} ({_format_utc(start_s)} to {_format_utc(end_s)})"
    if log.relative_to:
        start = "like 2026-12-31T23:59:00+01:00"
        start = _format_utc(start_s)[:10] if log.relative_to == MIDNIGHT else start
        return (
            f"The log's times count from {log.relative_to}, without a date. Say when that was "
            f"with --start {start}, for {run}."
        )
    zones_s = sorted((quarter * QUARTER_HOUR_S for quarter in ZONE_QUARTERS), key=abs)
    fits_s = [z for z in zones_s if first_s - z <= start_s and last_s - z >= end_s] or [
        z for z in zones_s if first_s - z < end_s and last_s - z > start_s
    ]
    hint = "Use the log of that time, or correct its clock with --offset."
    if fits_s and not log.has_zone:
        zone = timezone(timedelta(seconds=fits_s[0])).tzname(None).removeprefix("UTC") or "UTC"
        hint = f"If its clock keeps local time, use --zone {zone}."
    return (
        f"The log ({_format_utc(first_s)} to {_format_utc(last_s)}) does not overlap with "
        f"{run}. {hint}"
    )


def _format_utc(utc_s: float) -> str:
    """UTC in whole seconds; a time that no calendar has as seconds."""
    try:
        return f"{datetime.fromtimestamp(utc_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return f"{utc_s:.0f} s"
