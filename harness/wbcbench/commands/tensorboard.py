"""``wbcbench tensorboard STUDY``: TensorBoard on a study's logs, on this machine only."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.extras import require_training

Rebuild = Annotated[
    bool, typer.Option("--rebuild", help="First write all logs again from records and traces.")
]


def tensorboard(
    study: options.StudyArgument = "runs",
    results: options.Results = Path("results"),
    port: options.Port = None,
    rebuild: Rebuild = False,
) -> None:
    """Open TensorBoard on a study: curves over steps, seconds and joules; runs by settings.

    Without --port it takes the first free port from 6006.
    """
    from wbcbench.core.run_folder import study_runs
    from wbcbench.core.study_folder import require_study
    from wbcbench.core.text import count_of
    from wbcbench.table.tensorboard import require_logs, start_server, write_logs

    require_training("tensorboard")
    folder = require_study(results, study)
    runs = study_runs(results, study)
    if rebuild:
        for run in runs:
            if run.is_finished:
                write_logs(run)
    count = require_logs(folder, runs)
    url = start_server(folder, port)
    typer.echo(f"{url}   {count_of(count, 'run')} of {study}")
    typer.echo("SCALARS: over_joules, over_seconds, over_steps. HPARAMS: energy and accuracy.")
    typer.echo("Only this machine can reach it. Ctrl-C ends it.", err=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
