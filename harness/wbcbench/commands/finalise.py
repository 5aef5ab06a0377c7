"""``wbcbench finalise RUN``: account for a run that nobody carries out any more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

SCHEMA = "wbcbench.finalise/1"

Force = Annotated[
    bool,
    typer.Option(
        "--force", help="You know that nothing runs it, where that cannot be seen from here."
    ),
]


def finalise(
    run: options.Run,
    force: Force = False,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Write the record of a run that nobody carries out any more, from what is on disk.

    Runs that were killed on this machine are accounted for by the next `wbcbench run` or `sweep`.
    A run of another host or container, or of an older version, needs --force. A run that is going
    on here is refused all the same: stop it first.
    """
    from wbcbench import table
    from wbcbench.commands import show
    from wbcbench.core.study_folder import find_run
    from wbcbench.run.finalise import finalise as finalise_run
    from wbcbench.table import derive, tensorboard

    found = find_run(results, run)
    study_dir = found.path.resolve().parent
    table.refuse_newer_table(study_dir)
    finalise_run(found, force=force)
    derive.derive(found)
    tensorboard.add_result(found)
    table.write_table(study_dir)
    if as_json:
        show.print_run_json(found, SCHEMA)
    else:
        show.print_summary(found, verbose=False)
