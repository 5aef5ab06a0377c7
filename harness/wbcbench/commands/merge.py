"""``wbcbench merge STUDY… --into NEW``: runs of several machines in one study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

SCHEMA = "wbcbench.merge/1"

Studies = Annotated[
    list[str], typer.Argument(help="Studies under results, or folders from elsewhere.")
]
Into = Annotated[str, typer.Option("--into", help="Folder under results; may hold runs already.")]


def merge(
    studies: Studies,
    into: Into,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Copy the runs of several studies into one; runs of one name must be the same run."""
    from wbcbench.table import write_table
    from wbcbench.table.merge import merge_studies as bring_together

    target = results / into
    done = bring_together([_folder(results, name) for name in studies], target)
    path = write_table(target)
    if as_json:
        document = {"schema": SCHEMA, "study": into, "table": str(path)}
        counts = {"copied": done.copied, "same": done.same, "unfinished": done.unfinished}
        typer.echo(json.dumps(document | counts, indent=1))
    else:
        typer.echo(
            f"{target}: {done.copied} runs copied, {done.same} were there already, "
            f"{done.unfinished} without a record left where they are. Table: {path}"
        )


def _folder(results: Path, named: str) -> Path:
    """A folder that was named by its path, or a study under results."""
    from wbcbench.core.run_folder import study_runs
    from wbcbench.core.study_folder import require_study

    path = Path(named)
    if path.is_dir() and study_runs(path.resolve().parent, path.resolve().name):
        return path.resolve()
    return require_study(results, named)
