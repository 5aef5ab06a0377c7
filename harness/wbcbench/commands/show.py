"""``wbcbench show RUN``: one run in words, or whole as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from wbcbench.commands import options

if TYPE_CHECKING:
    from rich.table import Table

    from wbcbench.core.record import RunRecord
    from wbcbench.core.run_folder import RunDir

SCHEMA = "wbcbench.show/1"


def show(
    run: options.Run,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Show one run: what it reached, the joules of each channel and window, and the doubts."""
    from wbcbench.core.study_folder import find_run, finished_run

    found = finished_run(find_run(results, run))
    if as_json:
        _print_whole_json(found)
    else:
        print_summary(found, verbose=True)


def print_summary(run: RunDir, *, verbose: bool) -> None:
    """Print a finished run for people; with ``verbose`` remarks and every window's joules, too."""
    from wbcbench.table.text import run_summary

    record = run.read_record()
    typer.echo("\n".join(run_summary(record)))
    if verbose:
        _print_details(record)
    typer.echo(f"\nSaved in {run.path}")


def _print_details(record: RunRecord) -> None:
    from wbcbench.table.text import remarks

    noted = remarks(record)
    if noted:
        typer.echo("\nRemarks, which change nothing:\n" + "\n".join(noted))
    if record.energies:
        typer.echo("\nJoules by window and channel, gross, ± about 95 %:")
        _print_table(_energies(record))


def print_run_json(run: RunDir, schema: str) -> None:
    """Print one document: where the run is, its row of the table and its cautions."""
    from wbcbench import table
    from wbcbench.core.record import to_json

    record = run.read_record()
    whole = json.loads(to_json(record))
    _print_json(
        {
            "schema": schema,
            "run_dir": str(run.path),
            "row": _strict(table.row(record)),
            "cautions": whole["cautions"],
        }
    )


def _print_whole_json(run: RunDir) -> None:
    from wbcbench import table
    from wbcbench.core.record import to_json

    record = run.read_record()
    _print_json(
        {
            "schema": SCHEMA,
            "run_dir": str(run.path),
            "row": _strict(table.row(record)),
            "record": json.loads(to_json(record)),
        }
    )


def _strict(cells: dict[str, Any]) -> dict[str, Any]:
    from math import isfinite

    return {
        name: None if isinstance(cell, float) and not isfinite(cell) else cell
        for name, cell in cells.items()
    }


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def _energies(record: RunRecord) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    from wbcbench.core.text import printable

    shown = Table(box=SIMPLE)
    for heading in ("window", "channel", "energy", "mean power", "status"):
        right = heading in {"energy", "mean power"}
        shown.add_column(heading, justify="right" if right else "left", overflow="fold")
    for line in _energy_lines(record):
        shown.add_row(*(Text(printable(word)) for word in line))
    return shown


def _energy_lines(record: RunRecord) -> list[tuple[str, ...]]:
    from wbcbench.core.text import human_energy, human_power

    status = {channel.name: channel.origin.value for channel in record.channels}
    lines: list[tuple[str, ...]] = []
    for energy in record.energies:
        spread = "" if energy.uncertainty_j is None else f" ± {human_energy(energy.uncertainty_j)}"
        lines.append(
            (
                energy.window,
                energy.channel,
                human_energy(energy.energy_j) + spread,
                human_power(energy.mean_power_w),
                energy.reason or status.get(energy.channel, ""),
            )
        )
    return lines


def _print_table(shown: Table) -> None:
    from wbcbench.core.text import console

    console().print(shown)
