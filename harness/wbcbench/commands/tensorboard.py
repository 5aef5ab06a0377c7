"""``wbcbench tensorboard STUDY``: TensorBoard on a study's logs, on this machine alone."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options


def tensorboard(
    study: options.StudyArgument = "runs",
    results: options.Results = Path("results"),
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65535, help="0: any free one. Without: the first from 6006."
        ),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First make all logs anew from records and traces.")
    ] = False,
) -> None:
    """Open TensorBoard on a study: curves over steps, seconds and joules; runs by settings."""
    from wbcbench.core.run_folder import study_runs
    from wbcbench.core.study_folder import require_study
    from wbcbench.core.text import count_of
    from wbcbench.table import tensorboard as logs
    from wbcbench.table.tensorboard import start_server

    folder = require_study(results, study)
    runs = study_runs(results, study)
    if rebuild:
        for run in runs:
            if run.is_finished:
                logs.rebuild_logs(run)
    having = logs.require_logs(folder, runs)
    url = start_server(folder, port)
    typer.echo(f"{url}   {count_of(having, 'run')} of {study}")
    typer.echo("SCALARS: over_joules, over_seconds, over_steps. HPARAMS: energy and accuracy.")
    typer.echo("Only this machine can reach it. Ctrl-C ends it.", err=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
