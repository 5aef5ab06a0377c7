"""``wbcbench finalise RUN``: write the record of a run that stopped without one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

Force = Annotated[
    bool,
    typer.Option("--force", help="The run has ended, although that cannot be checked from here."),
]


def finalise(
    run: options.Run,
    force: Force = False,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Write the record of a run that stopped without one, from what is on disk.

    Runs that were killed on this machine get their record from the next `wbcbench run` or `sweep`,
    and measured programs from any command that looks at runs.
    A run of another host or container, or of an older version, needs --force. A run that is
    still going on here, or whose job the queue still has, is refused even so: stop it first.
    """
    from wbcbench import table
    from wbcbench.commands import show
    from wbcbench.core.study_folder import find_run
    from wbcbench.run.finalise import finalise as finalise_run
    from wbcbench.study.queue import refuse_living
    from wbcbench.table import derive, tensorboard

    folder = find_run(results, run)
    study_folder = folder.path.resolve().parent
    table.refuse_newer_table(study_folder)
    if not folder.is_finished:
        refuse_living(folder)
    finalise_run(folder, force=force)
    options.finalise_programs(results)
    if not folder.read_spec().is_program:
        derive.derive(folder)
        tensorboard.add_result(folder)
        table.write_table(study_folder)
    if as_json:
        show.print_document(folder, "finalise")
    else:
        show.print_run(folder)
