"""``wbcbench attach RUN --wall-meter FILE``: add an external meter's log to a finished run."""

from __future__ import annotations

import json
import shutil
import textwrap
from dataclasses import asdict
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
TimeColumn = Annotated[str | None, typer.Option(help="Column of the times, by its name.")]
PowerColumn = Annotated[str | None, typer.Option(help="Column of power or energy, by name.")]
Unit = Annotated[str | None, typer.Option(help="Unit of that column: W, kW, 0.1W, kWh, J …")]
Decimal = Annotated[
    str | None, typer.Option(help="Decimal mark of its numbers: , or . (the other: thousands).")
]
Zone = Annotated[
    str | None,
    typer.Option(help="Zone of times that name none: Europe/Berlin, UTC, +02:00; else UTC."),
]
DateOrder = Annotated[str | None, typer.Option(help="Order of a date: dmy, mdy or ymd.")]
Energy = Annotated[str | None, typer.Option(help="What an energy column is: total or interval.")]
Start = Annotated[str | None, typer.Option(help="Moment of second 0 of times without date.")]
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
        document["preview"] = asdict(preview)
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


def _describe_preview(run_id: str, source: str, preview: LogPreview) -> str:
    from wbcbench.core.text import count_of, human_duration, human_power, printable
    from wbcbench.core.window import TRAIN

    read_as, unit = preview.read_as, "W" if preview.kind.value == "sampled" else "J"
    form = [read_as["format"], read_as["encoding"], f"decimal mark '{read_as['decimal']}'"]
    form += [f"delimiter {mark!r}" for mark in [read_as.get("delimiter")] if mark]
    zone = read_as.get("zone", "none, for they have no date")
    values = [f"column {read_as['power-column']}", f"in {read_as['unit']}"]
    values += filter(None, [read_as.get("energy")])
    span = human_duration(preview.span_s)
    missing = f"{preview.without_reading:,} empty, {count_of(preview.gaps, 'gap')}"
    means = {name: mean_w for name, mean_w in preview.window_power_w.items() if mean_w is not None}
    facts = [
        ("file", f"{source}: {', '.join(form)}"),
        ("times", f"column {read_as['time-column']}, zone {zone}"),
        ("values", ", ".join(values)),
    ]
    for name, end in (("first", preview.first), ("last", preview.last)):
        facts.append((name, f"{end.utc or f'second {end.t_s:g}'}: {end.value:,.6g} {unit}"))
    facts.append(("readings", f"{preview.readings:,} in {span}; {missing}"))
    facts.append(("mean", f"{human_power(preview.mean_power_w)} over the file"))
    windows = [TRAIN] if TRAIN in means else [*means][:3]
    facts += [("run", f"{human_power(means[window])} in {window}") for window in windows]
    facts += [("note", note) for note in preview.notes]
    facts += [("warning", warning) for warning in preview.warnings]
    facts += [("refused", preview.refusal)] * bool(preview.refusal)
    width = max(shutil.get_terminal_size().columns, 40)
    lines = [f"{run_id}: nothing was stored.", *(f"  {name:<9} {fact}" for name, fact in facts)]
    return "\n".join(
        textwrap.fill(printable(line), width, subsequent_indent=" " * 12) for line in lines
    )
