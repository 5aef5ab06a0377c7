"""An external meter's log → a ``system`` channel of a finished run, on the run's own clock.

The record has one pair of readings of the wall clock and the monotonic clock, which converts the
log's times. A log that cannot be of this run is found by what no machine can do: draw less than its
own components.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path

from wbcbench.core.errors import UsageError
from wbcbench.core.quality import QualityWarning
from wbcbench.core.record import Attachment, RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window, WindowEnergy, unix_s, utc_now
from wbcbench.energy import thresholds
from wbcbench.energy.appraise import appraise_run
from wbcbench.energy.checks import list_some
from wbcbench.energy.faults import Fault
from wbcbench.energy.integrate import longest_step_s
from wbcbench.energy.renewals import list_moves, median_step_s
from wbcbench.energy.source import choose_source, find_window_energy
from wbcbench.energy.wall_log import WallLog, read_wall_log
from wbcbench.energy.warnings import make_warning

METER = "wall"
MARGIN_S = 60.0  # of the log, kept on both sides of the run
CLOCK_SLACK_S = 30.0  # the record is written within this time of the last window
QUARTER_HOUR_S = 900.0  # zones differ by multiples of it


def attach_wall_meter(
    run: RunDir,
    log: Path,
    *,
    time_column: str | None = None,
    value_column: str | None = None,
    offset_s: float = 0.0,
) -> Attachment:
    """Read a log and store it with a finished run.

    Args:
        run: The run; its record is left as it is.
        log: The meter's CSV file; see ``wall_log``.
        time_column: Name of the column of times; ``None`` finds it.
        value_column: Name of the column of power or energy; ``None`` finds it.
        offset_s: Added to the log's times: positive if the meter's clock is slow.

    Raises:
        UsageError: The log cannot be understood, does not overlap with the run or cannot be of
            this machine; the run has an attachment or no clock pair.
    """
    record = run.read_own_record()
    if run.has_attachment:
        raise UsageError(
            f"{run.run_id} has a wall meter attached, and it is never overwritten. To attach "
            f"another, delete {run.attachment_path} first."
        )
    if not math.isfinite(offset_s):
        raise UsageError(f"--offset must be a number of seconds; it is {offset_s}.")
    readings = read_wall_log(log, time_column=time_column, value_column=value_column)
    clock_s = _find_clock_offset_s(record)
    trace = _align_log(readings, record, clock_s - offset_s)
    appraisal = appraise_run([trace], record.windows, record.spec, None)
    energies = appraisal.energies
    if all(energy.energy_j is None for energy in energies):
        reasons = ", ".join(sorted({energy.reason for energy in energies}))
        raise UsageError(
            f"{log} covers no window of {record.run_id}: {reasons}. Use a log that begins before "
            "the run and ends after it."
        )
    attachment = Attachment(
        source=log.name,
        source_sha256=hashlib.sha256(log.read_bytes()).hexdigest(),
        column=readings.column,
        offset_s=offset_s,
        utc_minus_monotonic_s=clock_s - offset_s,
        attached_utc=utc_now(),
        channel=trace.channel,
        energies=energies,
        budgets=appraisal.budgets,
        warnings=tuple(
            _find_warnings(record, trace, readings, energies, appraisal.faults, clock_s)
        ),
    )
    _refuse_impossible(record, attachment)
    run.write_attachment(attachment, trace)
    return attachment


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
    if not record.windows:
        raise UsageError(f"{record.run_id} has no measured windows.")
    start_s = min(window.start_s for window in record.windows)
    end_s = max(window.end_s for window in record.windows)
    times = [utc_s - shift_s for utc_s in log.utc_s]
    if times[-1] <= start_s or times[0] >= end_s:
        raise UsageError(_describe_no_overlap(record, times, start_s, end_s, shift_s))
    near = slice(bisect_left(times, start_s - MARGIN_S), bisect_right(times, end_s + MARGIN_S))
    name = f"{METER}/system/{'counter' if log.kind is Kind.COUNTER else 'power'}"
    channel = Channel(name, log.kind, Origin.MEASURED, Domain.SYSTEM, f"{METER}_meter")
    trace = Trace(channel, times[near], log.value[near])
    if log.kind is Kind.SAMPLED:
        return trace
    # A kilowatt-hour counter stands still for long: its pace is the time between two moves.
    moves_s = [*compress(trace.good[0], list_moves(trace.good[1]))][1:]
    return replace(trace, channel=replace(channel, update_s=median_step_s(moves_s) or None))


def _find_warnings(
    record: RunRecord,
    trace: Trace,
    log: WallLog,
    energies: Sequence[WindowEnergy],
    faults: Iterable[Fault],
    clock_s: float,
) -> Iterator[QualityWarning]:
    details = [("wall-log-assumed", note) for note in log.notes]
    details += [(fault.flaw, f"{fault.channel}: {fault.detail}.") for fault in faults]
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
    energies = {energy.window: energy for energy in attachment.energies}
    known = [window for window in record.windows if energies[window.name].energy_j is not None]
    window = max(known, key=lambda window: window.duration_s)
    energy = energies[window.name]
    if energy.mean_power_w is not None and energy.mean_power_w > thresholds.CEILING_W:
        raise UsageError(
            f"In {window.name} the log has a mean of {energy.mean_power_w:,.0f} W, which no "
            "machine draws. Check the unit of the column. Nothing was attached."
        )
    least_j = _find_least_j(record, window)
    most_j = (energy.energy_j or 0.0) + (energy.uncertainty_j or 0.0)
    if least_j is not None and most_j < least_j:
        raise UsageError(
            f"In {window.name} the log has {energy.energy_j:.0f} J for the whole machine, but its "
            f"own sensors measured at least {least_j:.0f} J. Check the column's unit, the machine "
            "and --offset. Nothing was attached."
        )


def _find_least_j(record: RunRecord, window: Window) -> float | None:
    """The least joules that the run's own sensors leave possible; ``None`` if there is none."""
    least_j = list[float]()
    for domain in (Domain.GPU, Domain.CPU):
        source = choose_source(record, domain, window.name)
        energy = find_window_energy(record, source, window.name)
        if energy.energy_j is not None and energy.status == Origin.MEASURED:
            widths_j = energy.uncertainty_j or 0.0, energy.board_uncertainty_j or 0.0
            least_j.append(energy.energy_j - sum(widths_j))
    return sum(least_j) if least_j else None


def _describe_no_overlap(
    record: RunRecord, times: Sequence[float], start_s: float, end_s: float, shift_s: float
) -> str:
    edges = (times[0], times[-1], start_s, end_s)
    dates = [f"{datetime.fromtimestamp(t_s + shift_s, UTC):%Y-%m-%d %H:%M:%S}" for t_s in edges]
    off_s = round((start_s - times[0]) / QUARTER_HOUR_S) * QUARTER_HOUR_S
    would_fit = times[0] + off_s < end_s and times[-1] + off_s > start_s
    hint = (
        f"If the meter's clock keeps another zone, --offset {off_s:g} brings it there."
        if off_s and would_fit
        else "Use the log of that time, or correct its clock with --offset."
    )
    return (
        f"The log (UTC {dates[0]} to {dates[1]}) does not overlap with the run {record.run_id} "
        f"({dates[2]} to {dates[3]}). {hint}"
    )
