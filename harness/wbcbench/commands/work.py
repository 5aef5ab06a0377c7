"""``wbcbench work DIR``: the recorder of one run; started by launchers, not by people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

Directory = Annotated[Path, typer.Argument(help="The folder of a run, or of a job.")]
Leash = Annotated[bool, typer.Option("--leash", help="End the run when standard input ends.")]
Place = Annotated[str, typer.Option(help="Place in a study.")]
AfterS = Annotated[float | None, typer.Option(help="Seconds of the study after this run.")]
AfterJ = Annotated[float | None, typer.Option(help="Joules of the study after this run.")]
HostLock = Annotated[int | None, typer.Option(help="Open file that holds the machine's lock.")]
Grace = Annotated[
    float | None,
    typer.Option(help="In a job: seconds in which an epoch may end once the job must."),
]


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
    grace: Grace = None,
) -> None:
    """Carry out the run of DIR, or what a job asks for, and write the records."""
    from wbcbench.core.run_folder import RunDir
    from wbcbench.run import job
    from wbcbench.run.display import StudyView
    from wbcbench.run.recorder import Interrupts, record_run

    if job.is_check(directory):
        from wbcbench.doctor.node import carry_out_check

        carry_out_check(directory)
        return
    if job.is_job(directory):
        from wbcbench.study.work import carry_out_job

        carry_out_job(directory)
        return
    interrupts = Interrupts()
    interrupts.install(leash=leash, grace_s=grace)
    view = options.choose_view(silent=quiet, live=live, color=color)
    if place:
        view = StudyView(view, place, after_s, after_j)
    record_run(RunDir(directory), view, interrupts, host_lock)
