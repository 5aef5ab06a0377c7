"""An external meter's log → a ``system`` channel of a finished run, on the run's own clock.

The record holds one pair of readings of the wall clock and the monotonic clock; it carries the
log's times over. Whether the log can be of this run is checked by what no machine can do: draw less
than its own parts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

from wbcbench.core.errors import UsageError
from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.record import Attachment, RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window, WindowEnergy, unix_s, utc_now
from wbcbench.energy import thresholds
from wbcbench.energy.appraise import appraise, budgets_without_validation, without_validation
from wbcbench.energy.source import EnergySource, rank_sources, source_energy_j, source_uncertainty_j
from wbcbench.energy.wall_log import WallLog, read_wall_log

METER = "wall"
MARGIN_S = 60.0  # of the log, kept on both sides of the run
CLOCK_SLACK_S = 30.0  # the record is written within this time of the last window
QUARTER_HOUR_S = 900.0  # zones differ by multiples of it
ADVICE = "Log with epoch seconds or a zone, and with the unit in the column's name."


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
            f"{run.run_id} has a wall meter attached already. It is never overwritten; to attach "
            f"another, delete {run.attachment_path} first."
        )
    if not math.isfinite(offset_s):
        raise UsageError(f"--offset must be a number of seconds; it is {offset_s}.")
    read = read_wall_log(log, time_column=time_column, value_column=value_column)
    shift_s = utc_minus_monotonic_s(record) - offset_s
    trace = _trace(read, record, shift_s)
    attachment = _attachment(record, trace, read, log, offset_s, shift_s)
    _refuse_impossible(record, attachment)
    run.write_attachment(attachment, trace)
    return attachment


def utc_minus_monotonic_s(record: RunRecord) -> float:
    """Epoch seconds at zero of the run's monotonic clock.

    Raises:
        UsageError: The record does not say.
    """
    pair = record.provenance.get("clock_pair")
    if isinstance(pair, dict):
        utc_s, monotonic_s = pair.get("utc_s"), pair.get("monotonic_s")
        if isinstance(utc_s, int | float) and isinstance(monotonic_s, int | float):
            return utc_s - monotonic_s
    raise UsageError(
        f"The record of {record.run_id} does not say what the wall clock read when the run began "
        "(an older wbcbench wrote it), so no log can be laid beside it. Repeat the run."
    )


def _trace(log: WallLog, record: RunRecord, shift_s: float) -> Trace:
    """The part of the log around the run, on the run's clock."""
    if not record.windows:
        raise UsageError(f"{record.run_id} has no window, so nothing can be said of any.")
    start_s = min(window.start_s for window in record.windows)
    end_s = max(window.end_s for window in record.windows)
    times = [utc_s - shift_s for utc_s in log.utc_s]
    if times[-1] <= start_s or times[0] >= end_s:
        raise UsageError(_no_overlap(record, times, start_s, end_s, shift_s))
    near = [
        (t_s, value)
        for t_s, value in zip(times, log.value, strict=True)
        if start_s - MARGIN_S <= t_s <= end_s + MARGIN_S
    ]
    channel = _channel(log, near)
    return Trace(channel, [t_s for t_s, _ in near], [value for _, value in near])


def _channel(log: WallLog, near: list[tuple[float, float | None]]) -> Channel:
    return Channel(
        name=f"{METER}/system/{'counter' if log.kind is Kind.COUNTER else 'power'}",
        kind=log.kind,
        origin=Origin.MEASURED,
        domain=Domain.SYSTEM,
        reading=f"{METER}_meter",
        update_s=_update_s(near) if log.kind is Kind.COUNTER else None,
    )


def _update_s(near: list[tuple[float, float | None]]) -> float | None:
    """Median time between moves of the value: a kilowatt-hour counter stands still for long."""
    good = [(t_s, value) for t_s, value in near if value is not None]
    moves = [after[0] for before, after in pairwise(good) if after[1] != before[1]]
    return median([b - a for a, b in pairwise(moves)]) if len(moves) > 1 else None


def _attachment(
    record: RunRecord, trace: Trace, log: WallLog, path: Path, offset_s: float, shift_s: float
) -> Attachment:
    found = appraise([trace], record.windows)
    # As in the record: what validation cost is not training's.
    energies = without_validation(found.energies, record.windows)
    told = [each for each in energies if each.energy_j is not None]
    if not told:
        reasons = ", ".join(sorted({each.reason for each in energies}))
        raise UsageError(
            f"{path} tells the joules of no window of {record.run_id}: {reasons}. Use a log that "
            "reaches over the run."
        )
    return Attachment(
        source=path.name,
        source_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        column=log.column,
        offset_s=offset_s,
        utc_minus_monotonic_s=shift_s,
        attached_utc=utc_now(),
        channel=trace.channel,
        energies=energies,
        budgets=budgets_without_validation(found.budgets, record.windows),
        warnings=tuple(_cautions(record, trace, log, energies, shift_s + offset_s)),
    )


def _cautions(
    record: RunRecord,
    trace: Trace,
    log: WallLog,
    energies: tuple[WindowEnergy, ...],
    clock_s: float,
) -> Iterator[QualityWarning]:
    def doubt(code: str, detail: str, advice: str = ADVICE) -> QualityWarning:
        return QualityWarning(code, Severity.INFO, detail, advice, channel=trace.channel.name)

    for note in log.notes:
        yield doubt("wall-log-assumed", note)
    unknown = [each for each in energies if each.energy_j is None]
    if unknown:
        names = ", ".join(f"{each.window} ({each.reason})" for each in unknown[:4])
        yield doubt(
            "wall-log-short",
            f"The log does not tell {len(unknown)} of {len(energies)} windows: {names}.",
            "Start the meter's log before the run and end it after.",
        )
    gaps = [each for each in energies if (each.max_gap_s or 0.0) > _long_gap_s(trace)]
    if gaps:
        worst = max(gaps, key=lambda each: each.max_gap_s or 0.0)
        yield doubt(
            "wall-log-gap",
            f"The log has no reading for up to {worst.max_gap_s:.0f} s ({worst.window}).",
            "The ± is widened for it. Look why the meter lost readings.",
        )
    if _clock_stepped(record, clock_s):
        yield doubt(
            "wall-clock-stepped",
            "The machine's wall clock was set during the run: the log may lie beside it wrongly.",
            "Check the alignment against a marked rise of power, and correct it with --offset.",
        )


def _long_gap_s(trace: Trace) -> float:
    times, _ = trace.good
    steps = [b - a for a, b in pairwise(times)]
    usual_s = median(steps) if steps else 0.0
    return max(thresholds.GAP_PERIODS * usual_s, thresholds.GAP_LEAST_S)


def _clock_stepped(record: RunRecord, clock_s: float) -> bool:
    """Whether the end of the run by the wall clock is not where the monotonic clock puts it."""
    end_s = max(window.end_s for window in record.windows) + clock_s
    late_s = unix_s(record.ended_utc) - end_s
    return not -1.0 <= late_s <= CLOCK_SLACK_S


def _refuse_impossible(record: RunRecord, attachment: Attachment) -> None:
    """A machine cannot draw less than its parts, nor as much as a house for hours."""
    for window in sorted(record.windows, key=lambda each: -each.duration_s):
        whole = next(e for e in attachment.energies if e.window == window.name)
        if whole.energy_j is None:
            continue
        _refuse_excess(whole)
        parts_j = _parts_j(record, window)
        if parts_j is not None and whole.energy_j + (whole.uncertainty_j or 0.0) < parts_j:
            raise UsageError(
                f"In {window.name} the log has {whole.energy_j:.0f} J for the whole machine, but "
                f"its own sensors measured at least {parts_j:.0f} J in parts of it. The unit, the "
                "zone or the machine is another: check the column's unit, and --offset. Nothing "
                "was attached."
            )
        return


def _refuse_excess(whole: WindowEnergy) -> None:
    if whole.mean_power_w is not None and whole.mean_power_w > thresholds.CEILING_W:
        raise UsageError(
            f"In {whole.window} the log has a mean of {whole.mean_power_w:,.0f} W, which no "
            "machine draws. Check the unit of the column. Nothing was attached."
        )


def _parts_j(record: RunRecord, window: Window) -> float | None:
    """The least joules that the run's own sensors leave possible; ``None`` if there is none."""
    least = list[float]()
    for domain in (Domain.GPU, Domain.CPU):
        measured = [s for s in rank_sources(record.channels, domain) if s.status is Origin.MEASURED]
        for who in measured[:1]:
            energy_j = source_energy_j(record, who, window.name)
            gain_j = _gain_error(record, who) * (energy_j or 0.0)
            width_j = source_uncertainty_j(record, who, window.name) or 0.0
            least += [energy_j - width_j - gain_j] if energy_j is not None else []
    return sum(least) if least else None


def _gain_error(record: RunRecord, who: EnergySource) -> float:
    """How far the speaker's sensors may be off, as a share."""
    gains = (c.gain_error or 0.0 for c in record.channels if c.name in who.channels)
    return max(gains, default=0.0)


def _no_overlap(
    record: RunRecord, times: list[float], start_s: float, end_s: float, shift_s: float
) -> str:
    spans = [_span(times[0], times[-1], shift_s), _span(start_s, end_s, shift_s)]
    away_s = round((start_s - times[0]) / QUARTER_HOUR_S) * QUARTER_HOUR_S
    would_fit = times[0] + away_s < end_s and times[-1] + away_s > start_s
    hint = (
        f" If the meter's clock keeps another zone, --offset {away_s:g} brings it there."
        if away_s and would_fit
        else " Use the log of that time, or correct its clock with --offset."
    )
    return (
        f"The log spans {spans[0]}, the run {record.run_id} {spans[1]} (UTC): they do not overlap."
        + hint
    )


def _span(start_s: float, end_s: float, shift_s: float) -> str:
    edges = (datetime.fromtimestamp(t_s + shift_s, UTC) for t_s in (start_s, end_s))
    return " to ".join(f"{edge:%Y-%m-%d %H:%M:%S}" for edge in edges)
