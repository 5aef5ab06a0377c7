"""``wbcbench merge STUDY… --into NEW``: collect runs of several machines in one study."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

Studies = Annotated[
    list[str], typer.Argument(help="Studies under results, or folders from elsewhere.")
]
Into = Annotated[str, typer.Option(help="Folder under results; may already hold runs.")]


def merge(
    studies: Studies,
    into: Into,
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Copy the runs of several studies into one; runs with the same name must be identical."""
    from wbcbench.core.terminal import fill
    from wbcbench.study.limits import check_field
    from wbcbench.table import write_table
    from wbcbench.table.merge import merge_studies

    check_field("study", into, "--into")
    target = results / into
    merged = merge_studies([_find_folder(results, name) for name in studies], target)
    path = write_table(target)
    document = {"study": into, "table": str(path), **asdict(merged)}
    text = (
        f"{target}: {merged.copied} runs copied, {merged.same} already there, "
        f"{merged.unfinished} unfinished and not copied. Table: {path}"
    )
    if merged.differing:
        text += (
            f"\nWarning: its runs differ in {', '.join(merged.differing)}. `wbcbench compare` "
            "refuses them together, and a report has means of the most that are alike."
        )
    lines = (fill(line, rest="  ") for line in text.splitlines())
    options.print_result(document, "\n".join(lines), "merge", as_json=as_json)


def _find_folder(results: Path, name: str) -> Path:
    """A folder named by its path, or a study under results."""
    from wbcbench.core.run_folder import study_runs
    from wbcbench.core.study_folder import refuse_programs, require_study

    path = Path(name).resolve()
    refuse_programs(path.name)
    if path.is_dir() and study_runs(path.parent, path.name):
        return path
    return require_study(results, name)
