"""``wbcbench attach RUN --wall-meter FILE``: add an external meter's log to a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

WallMeter = Annotated[
    Path,
    typer.Option(
        help="CSV log of a power meter of the whole machine: a time (epoch seconds or ISO 8601), "
        "and power or energy with its unit in the column's name."
    ),
]
TimeColumn = Annotated[
    str | None, typer.Option(help="Column of the times, if it has another name.")
]
PowerColumn = Annotated[
    str | None, typer.Option(help="Column of power or energy, if it has another name.")
]
Offset = Annotated[
    float, typer.Option(help="Seconds to add to the log's times; positive if its clock is slow.")
]


def attach(
    run: options.Run,
    wall_meter: WallMeter,
    time_column: TimeColumn = None,
    power_column: PowerColumn = None,
    offset: Offset = 0.0,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Add an external meter as a `system` channel to a finished run, and derive its energy.

    The record itself is not changed: the channel is stored beside it and read with it. Energy of
    the whole machine is never added to that of its parts.
    """
    from wbcbench import table
    from wbcbench.core.record import attachment_to_json
    from wbcbench.core.text import human_energy_within, human_power, printable
    from wbcbench.energy.attach import attach_wall_meter

    folder = options.open_finished_run(results, run)
    attachment = attach_wall_meter(
        folder, wall_meter, time_column=time_column, value_column=power_column, offset_s=offset
    )
    if not folder.read_spec().is_program:
        table.write_table(folder.path.parent)
    source = f"{attachment.channel.name} from {attachment.source} ({attachment.column})"
    lines = [f"{folder.run_id}: {source}"]
    for energy in attachment.energies:
        joules = human_energy_within(energy.energy_j, reading=energy.uncertainty_j)
        text = f"{joules}, {human_power(energy.mean_power_w)}"
        lines.append(f"  {energy.window:<14} {energy.reason or text}")
    lines += [f"  {warning.severity.value}: {warning.detail}" for warning in attachment.warnings]
    text = "\n".join(map(printable, lines))
    document = {
        "run_dir": str(folder.path),
        "attachment": json.loads(attachment_to_json(attachment)),
    }
    options.print_result(document, text, "attach", as_json=as_json)
