"""``wbcbench explain RUN COLUMN``: how one number of the results table came about."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options


def explain(
    run: options.Run,
    column: Annotated[
        str, typer.Argument(help="Any column of runs.csv, such as energy_gpu_train_j.")
    ],
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Print a number's formula, window, channel, samples and uncertainty, and work it out anew."""
    from wbcbench.core.study_folder import find_run, finished_run
    from wbcbench.table.explain import explain as explained
    from wbcbench.table.export import columns_named
    from wbcbench.table.recount import recount
    from wbcbench.table.text import explanation_document, explanation_lines

    [chosen] = columns_named([column])
    found = explained(recount(finished_run(find_run(results, run))), chosen)
    if as_json:
        typer.echo(explanation_document(found))
    else:
        typer.echo("\n".join(explanation_lines(found)))
