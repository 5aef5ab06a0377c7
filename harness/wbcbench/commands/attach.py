"""``wbcbench attach RUN --wall-meter FILE``: add an external meter's log to a finished run."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options

if TYPE_CHECKING:
    from wbcbench.core.record import Attachment
    from wbcbench.energy.attach import LogPreview

WallMeter = Annotated[
    Path,
    typer.Option(
        help="Log of a power meter of the whole machine: a table, JSON or PTDaemon's lines, with "
        "times and power or energy; also a pipe or .gz."
    ),
]
TimeColumn = Annotated[
    str | None, typer.Option(help="Column of the times, if it has another name.")
]
PowerColumn = Annotated[
    str | None, typer.Option(help="Column of power or energy, if it has another name.")
]
Unit = Annotated[str | None, typer.Option(help="Unit of that column: W, kW, kWh, J …")]
Decimal = Annotated[
    str | None, typer.Option(help="Decimal mark of its numbers: , or . (the other: thousands).")
]
Zone = Annotated[
    str | None,
    typer.Option(help="Zone of times that name none: Europe/Berlin, UTC, +02:00; else UTC."),
]
DateOrder = Annotated[
    str | None, typer.Option(help="Order of day, month and year: dmy, mdy or ymd.")
]
Energy = Annotated[
    str | None, typer.Option(help="What a column of energy holds: total or interval.")
]
Start = Annotated[
    str | None, typer.Option(help="Date and time of the log's second 0, if its times have none.")
]
Offset = Annotated[
    float, typer.Option(help="Seconds to add to the log's times; positive if its clock is slow.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show how the log is understood, and store nothing.")
]


def attach(
    run: options.Run,
    wall_meter: WallMeter,
    time_column: TimeColumn = None,
    power_column: PowerColumn = None,
    unit: Unit = None,
    decimal: Decimal = None,
    zone: Zone = None,
    date_order: DateOrder = None,
    energy: Energy = None,
    start: Start = None,
    offset: Offset = 0.0,
    dry_run: DryRun = False,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Add an external meter as a `system` channel to a finished run, and derive its energy.

    The record itself is not changed: the channel is stored beside it and read with it. Energy of
    the whole machine is never added to that of its parts.
    """
    from wbcbench import table
    from wbcbench.core.record import attachment_to_json
    from wbcbench.energy.attach import attach_wall_meter, preview_wall_meter
    from wbcbench.energy.wall_logs import LogOptions

    folder = options.open_finished_run(results, run)
    settled = LogOptions(time_column, power_column, unit, decimal, zone, date_order, energy, start)
    document: dict[str, Any] = {"run_dir": str(folder.path)}
    if dry_run:
        preview = preview_wall_meter(folder, wall_meter, settled, offset_s=offset)
        document["preview"] = _make_preview_document(preview)
        text = _describe_preview(folder.run_id, wall_meter.name, preview)
    else:
        done = attach_wall_meter(folder, wall_meter, settled, offset_s=offset)
        if not folder.read_spec().is_program:
            table.write_table(folder.path.parent)
        document["attachment"] = json.loads(attachment_to_json(done))
        text = _describe_attachment(folder.run_id, done)
    options.print_result(document, text, "attach", as_json=as_json)


def _describe_attachment(run_id: str, attachment: Attachment) -> str:
    from wbcbench.core.text import human_energy_within, human_power, printable

    source = f"{attachment.channel.name} from {attachment.source} ({attachment.column})"
    lines = [f"{run_id}: {source}"]
    for energy in attachment.energies:
        joules = human_energy_within(energy.energy_j, reading=energy.uncertainty_j)
        text = f"{joules}, {human_power(energy.mean_power_w)}"
        lines.append(f"  {energy.window:<14} {energy.reason or text}")
    lines += [f"  {warning.severity.value}: {warning.detail}" for warning in attachment.warnings]
    return "\n".join(map(printable, lines))


def _make_preview_document(preview: LogPreview) -> dict[str, Any]:
    log = preview.log
    first, last = _list_ends(preview)
    return {
        "readings": len(log.utc_s),
        "without_reading": log.value.count(None),
        "gaps": preview.gaps,
        "first": first,
        "last": last,
        "span_s": last["t_s"] - first["t_s"],
        "kind": log.kind.value,
        "delimiter": log.delimiter,
        "read_as": log.decisions,
        "source_sha256": log.sha256,
        "mean_power_w": preview.mean_power_w,
        "window_power_w": preview.windows,
        "notes": list(log.notes),
        "refusal": preview.refusal or None,
    }


def _list_ends(preview: LogPreview) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first and the last reading: seconds, date, and the value in watts or joules."""
    log = preview.log
    known = [i for i, value in enumerate(log.value) if value is not None]
    dates = (preview.first_utc, preview.last_utc)
    first, last = (
        {"t_s": log.utc_s[i], "utc": date or None, "value": log.value[i]}
        for i, date in zip((known[0], known[-1]), dates, strict=True)
    )
    return first, last


def _describe_preview(run_id: str, source: str, preview: LogPreview) -> str:
    from wbcbench.core.text import count_of, human_duration, human_power, printable
    from wbcbench.core.window import TRAIN

    log = preview.log
    unit = "W" if log.kind.value == "sampled" else "J"
    ends = [
        f"{end['utc'] or f'''second {end['t_s']:g}'''}: {end['value']:,.6g} {unit}"
        for end in _list_ends(preview)
    ]
    marks = {"\t": "tab", " ": "space"}
    form = [log.format, log.encoding, f"decimal mark '{log.decimal}'"]
    form += [f"delimiter {marks.get(log.delimiter, repr(log.delimiter))}"] * bool(log.delimiter)
    counts = [f"{len(log.utc_s):,} in {human_duration(log.utc_s[-1] - log.utc_s[0])}"]
    counts += [f"{log.value.count(None):,} empty, {count_of(preview.gaps, 'gap')}"]
    means = {name: mean_w for name, mean_w in preview.windows.items() if mean_w is not None}
    shown = [TRAIN] if TRAIN in means else [*means][:3]
    facts = {
        "file": f"{source}: {', '.join(form)}",
        "times": f"column {log.time_column}, zone {log.zone or 'none: since its own start'}",
        "values": f"column {log.column}, in {log.unit}" + f", {log.energy}" * bool(log.energy),
        "first": ends[0],
        "last": ends[1],
        "readings": "; ".join(counts),
        "mean": human_power(preview.mean_power_w) + " over the file",
        "run": ", ".join(f"{human_power(means[name])} in {name}" for name in shown),
    }
    lines = [f"{run_id}: nothing was stored."]
    lines += [f"  {name:<9} {fact}" for name, fact in facts.items() if fact]
    lines += [f"  note      {note}" for note in log.notes]
    lines += [f"  refused   {preview.refusal}"] * bool(preview.refusal)
    width = max(shutil.get_terminal_size().columns, 40)
    return "\n".join(
        textwrap.fill(printable(line), width, subsequent_indent=" " * 12) for line in lines
    )
