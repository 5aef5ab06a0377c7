"""``wbcbench work DIR``: the recorder of one run; started by launchers, not by people."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcbench.commands import options

if TYPE_CHECKING:
    from wbcbench.run.display import View


def work(
    directory: Annotated[Path, typer.Argument(help="A run's folder with its spec.json.")],
    leash: Annotated[
        bool, typer.Option("--leash", help="End the run when standard input ends.")
    ] = False,
    quiet: options.Quiet = False,
    live: options.Live = True,
    place: Annotated[str, typer.Option("--place", help="Place in a study.")] = "",
    after_s: Annotated[float | None, typer.Option(help="Seconds of the study after it.")] = None,
    after_j: Annotated[float | None, typer.Option(help="Joules of the study after it.")] = None,
    host_lock: Annotated[
        int | None, typer.Option("--host-lock", help="Open file that holds the machine's lock.")
    ] = None,
) -> None:
    """Carry out the run that DIR asks for, and write its record."""
    from wbcbench.core.run_folder import RunDir
    from wbcbench.run.display import StudyView
    from wbcbench.run.recorder import Interrupts, record_run

    interrupts = Interrupts()
    interrupts.install(leash=leash)
    view = _view(quiet=quiet, live=live)
    if place:
        view = StudyView(view, place, after_s, after_j)
    record_run(RunDir(directory), view, interrupts, host_lock)


def _view(*, quiet: bool, live: bool) -> View:
    """The panel where somebody looks, plain lines elsewhere."""
    from wbcbench.run.display import LinesView, SilentView

    if quiet:
        return SilentView(sys.stderr)
    if not live or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return LinesView(sys.stderr)
    from rich.console import Console

    from wbcbench.run.panel import PanelView

    return PanelView(Console(stderr=True))
