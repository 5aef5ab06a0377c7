"""``wbcbench show RUN``: one run in words, or all of it as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from wbcbench.commands import options

if TYPE_CHECKING:
    from wbcbench.core.record import RunRecord
    from wbcbench.core.run_folder import RunDir

LINE = 100
_HEADINGS = ("window", "channel", "energy", "± reading", "mean power", "status")


def show(
    run: options.Run, results: options.Results = Path("results"), as_json: options.AsJson = False
) -> None:
    """Show one run: its scores, the energy of each channel and window, and its warnings."""
    print_run(options.open_finished_run(results, run), "show", as_json=as_json, verbose=True)


def print_run(run: RunDir, command: str, *, as_json: bool, verbose: bool = False) -> None:
    """Print a finished run, in words or as one document.

    Args:
        run: Its folder.
        command: Which prints it; names the document's schema.
        as_json: Whether to print a document; with the whole record if ``verbose``.
        verbose: Whether to print minor warnings and the energy of every window, too.
    """
    from wbcbench import table
    from wbcbench.core.record import to_json
    from wbcbench.energy.uncertainty import describe_limits
    from wbcbench.table.text import format_notes, format_run

    record = run.read_record()
    if as_json:
        document: dict[str, Any] = json.loads(to_json(record))
        row = None if record.spec.is_program else table.row(record)
        more = {"record": document} if verbose else {"warnings": document["warnings"]}
        options.print_json({"run_dir": str(run.path), "row": row, **more}, command)
        return
    typer.echo("\n".join(format_run(record)))
    for limit in describe_limits(record.channels):
        typer.echo(textwrap.fill(f"limit: {limit}", LINE))
    if verbose and (minor := format_notes(record)):
        typer.echo("\nNotes (they do not change the quality):\n" + "\n".join(minor))
    if verbose and record.energies:
        typer.echo(
            "\nEnergy by window and channel (idle included), ± of the reading at about 95 %:"
        )
        options.print_table(_HEADINGS, _list_energies(record), _HEADINGS[2:5])
    typer.echo(f"\nSaved in {run.path}")


def _list_energies(record: RunRecord) -> Iterator[tuple[str, ...]]:
    from wbcbench.measure.window_result import format_reading

    status = {channel.name: channel.origin.value for channel in record.channels}
    for energy in record.energies:
        reason = energy.reason or status.get(energy.channel, "")
        yield energy.window, energy.channel, *format_reading(energy), reason
