"""``wbcbench explain RUN COLUMN``: trace one number of the results table to its readings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

ColumnName = Annotated[
    str, typer.Argument(help="Any column of runs.csv, such as energy_gpu_train_j.")
]


def explain(
    run: options.Run,
    column: ColumnName,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Print a number's formula, window, channel, samples and uncertainty, and compute it again."""
    from wbcbench.core.study_folder import refuse_programs
    from wbcbench.table.explain import explain as explain_column
    from wbcbench.table.export import select_columns
    from wbcbench.table.recount import recount
    from wbcbench.table.text import format_explanation, format_explanation_json

    [chosen] = select_columns([column])
    folder = options.open_finished_run(results, run)
    refuse_programs(folder.read_spec().study)
    explanation = explain_column(recount(folder), chosen)
    text = "\n".join(format_explanation(explanation))
    typer.echo(format_explanation_json(explanation) if as_json else text)
