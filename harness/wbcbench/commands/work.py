"""``wbcbench work DIR``: the recorder of one run; started by launchers, not by people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

Directory = Annotated[Path, typer.Argument(help="A run's folder with its spec.json.")]
Leash = Annotated[bool, typer.Option("--leash", help="End the run when standard input ends.")]
Place = Annotated[str, typer.Option(help="Place in a study.")]
AfterS = Annotated[float | None, typer.Option(help="Seconds of the study after this run.")]
AfterJ = Annotated[float | None, typer.Option(help="Joules of the study after this run.")]
HostLock = Annotated[int | None, typer.Option(help="Open file that holds the machine's lock.")]


def work(
    directory: Directory,
    leash: Leash = False,
    quiet: options.Quiet = False,
    live: options.Live = True,
    color: options.Color = "auto",
    place: Place = "",
    after_s: AfterS = None,
    after_j: AfterJ = None,
    host_lock: HostLock = None,
) -> None:
    """Carry out the run of DIR and write its record."""
    from wbcbench.core.run_folder import RunDir
    from wbcbench.run.display import StudyView
    from wbcbench.run.recorder import Interrupts, record_run

    interrupts = Interrupts()
    interrupts.install(leash=leash)
    view = options.choose_view(silent=quiet, live=live, color=color)
    if place:
        view = StudyView(view, place, after_s, after_j)
    record_run(RunDir(directory), view, interrupts, host_lock)
