"""``wbcbench export [STUDY]``: the results table for other programs and for papers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError

Form = Annotated[
    Literal["csv", "parquet", "json", "latex", "md"],
    typer.Option("--format", help="latex and md are rounded; the others exact."),
]
Columns = Annotated[
    str, typer.Option(help="Columns, separated by commas; all if left out (latex, md: a few).")
]
Out = Annotated[Path | None, typer.Option(help="File to write; standard output if left out.")]


def export(
    study: options.StudyArgument = "runs",
    results: options.Results = Path("results"),
    form: Form = "csv",
    columns: Columns = "",
    out: Out = None,
) -> None:
    """Write a study's results table as CSV, Parquet, JSON, LaTeX or Markdown."""
    from wbcbench import table
    from wbcbench.core.study_folder import require_study
    from wbcbench.table import export as table_files

    names = options.split_words(columns)
    if not names and form in table_files.ROUNDED:
        names = table_files.SUMMARY
    chosen = table_files.select_columns(names)
    rows = table.load_rows(require_study(results, study))
    data = table_files.FORMATS[form](rows, chosen)
    if out is None:
        if form == "parquet" and sys.stdout.isatty():
            raise UsageError("Parquet is binary: name a file with --out.")
        if sys.stdout.isatty():
            typer.echo(data.decode(), nl=False)
        else:
            sys.stdout.buffer.write(data)
        return
    options.write_output(out, data)
    typer.echo(f"{out}   {len(rows)} rows, {len(chosen)} columns, {len(data):,} bytes")
