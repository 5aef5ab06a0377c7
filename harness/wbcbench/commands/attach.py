"""``wbcbench attach RUN --wall-meter FILE``: lay an external meter's log beside a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options

if TYPE_CHECKING:
    from wbcbench.core.record import Attachment
    from wbcbench.core.run_folder import RunDir

SCHEMA = "wbcbench.attach/1"


WallMeter = Annotated[
    Path,
    typer.Option(
        "--wall-meter",
        help="CSV log of a power meter of the whole machine: a time (epoch seconds or ISO 8601) "
        "and power or energy with its unit in the column's name.",
    ),
]
TimeColumn = Annotated[
    str | None, typer.Option("--time-column", help="Column of the times, if not named so.")
]
PowerColumn = Annotated[
    str | None,
    typer.Option("--power-column", help="Column of power or energy, if not named so."),
]
Offset = Annotated[
    float,
    typer.Option(
        "--offset", help="Seconds to add to the log's times; positive if its clock is slow."
    ),
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
    """Add an external meter as a `system` channel to a finished run, and derive its joules.

    The record itself is not changed: the channel is kept beside it and read with it. Joules of
    the whole machine are never added to those of its parts.
    """
    from wbcbench import table
    from wbcbench.core.study_folder import find_run, finished_run
    from wbcbench.energy.attach import attach_wall_meter

    found = finished_run(find_run(results, run))
    done = attach_wall_meter(
        found,
        wall_meter,
        time_column=time_column,
        value_column=power_column,
        offset_s=offset,
    )
    table.write_table(found.path.parent)
    tell = _print_json if as_json else _print
    tell(found, done)


def _print_json(run: RunDir, done: Attachment) -> None:
    from wbcbench.core.record import attachment_to_json

    document: dict[str, Any] = {
        "schema": SCHEMA,
        "run_dir": str(run.path),
        "attachment": json.loads(attachment_to_json(done)),
    }
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False))


def _print(run: RunDir, done: Attachment) -> None:
    from wbcbench.core.text import human_energy, human_power, printable

    typer.echo(printable(f"{run.run_id}: {done.channel.name} from {done.source} ({done.column})"))
    for each in done.energies:
        spread = "" if each.uncertainty_j is None else f" ± {human_energy(each.uncertainty_j)}"
        text = (
            each.reason
            or f"{human_energy(each.energy_j)}{spread}, {human_power(each.mean_power_w)}"
        )
        typer.echo(printable(f"  {each.window:<14} {text}"))
    for warning in done.warnings:
        typer.echo(printable(f"  {warning.severity.value}: {warning.detail}"))
