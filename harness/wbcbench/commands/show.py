"""``wbcbench show RUN``: one run on one screen, or all of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options

if TYPE_CHECKING:
    from wbcbench.core.record import RunRecord
    from wbcbench.core.run_folder import RunDir
    from wbcbench.core.terminal import TableColumn

All = Annotated[
    bool,
    typer.Option(
        "--all",
        help="Show every score, warning, window and channel.",
        rich_help_panel=options.OUTPUT,
    ),
]


def show(
    run: options.Run,
    results: options.Results = Path("results"),
    everything: All = False,
    as_json: options.AsJson = False,
) -> None:
    """Show one run: its scores, its energy by window and part of the machine, its warnings."""
    folder = options.open_finished_run(results, run)
    if as_json:
        print_document(folder, "show", whole=True)
    else:
        print_run(folder, everything=everything)


def print_document(run: RunDir, command: str, *, whole: bool = False) -> None:
    """Print a finished run as one document.

    Args:
        run: Its folder.
        command: Which prints it; names the document's schema.
        whole: Whether with its record.
    """
    from wbcbench import table
    from wbcbench.core.record import to_json
    from wbcbench.energy.bill import make_bill

    record = run.read_record()
    document: dict[str, Any] = json.loads(to_json(record))
    row, bill = None, None
    if not record.spec.is_program:
        row, bill = table.row(record), asdict(make_bill(record))
    more = {"record": document} if whole else {"warnings": document["warnings"]}
    options.print_json({"run_dir": str(run.path), "row": row, "bill": bill, **more}, command)


def print_run(run: RunDir, *, everything: bool = False) -> None:
    """Print a finished run on one screen of 80 × 24, or all that is known of it."""
    from wbcbench.core.terminal import fill, format_table
    from wbcbench.table import run_text
    from wbcbench.table.view import Run

    own = Run(run.read_record(), run)
    lines = [*run_text.format_result(own), *run_text.format_energies(own)]
    if everything:
        lines += ["", *run_text.format_details(own)]
    else:
        lines += run_text.format_warnings(own.record, run_text.LINES - 2 - len(lines))
    typer.echo("\n".join(lines))
    if everything and own.record.energies:
        if not own.spec.is_program:
            lines = run_text.format_bill(own)
            typer.echo("\n".join(["", "The whole run by part, ± of the reading (95 %)", *lines]))
        typer.echo()
        typer.echo(fill("Energy by window and channel, idle included, ± of the reading (95 %)"))
        typer.echo("\n".join(format_table(_build_columns(own.record))))
    typer.echo(f"Run {run.path}")


def _build_columns(record: RunRecord) -> list[TableColumn]:
    from wbcbench.core.terminal import energy_column, power_column, text_column

    energies = record.energies
    status = {channel.name: channel.origin.value for channel in record.channels}
    reasons = [energy.reason or status.get(energy.channel, "") for energy in energies]
    return [
        text_column("window", [energy.window for energy in energies]),
        text_column("channel", [energy.channel for energy in energies]),
        energy_column("energy", [energy.energy_j for energy in energies]),
        energy_column("±", [energy.uncertainty_j for energy in energies], leaves=3),
        power_column("power", [energy.mean_power_w for energy in energies], leaves=2),
        text_column("status", reasons, leaves=1),
    ]
