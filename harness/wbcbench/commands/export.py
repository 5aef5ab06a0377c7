"""``wbcbench export [STUDY]``: the results table for other programs and for papers."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError


class ExportFormat(StrEnum):
    """What the table becomes."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"
    LATEX = "latex"
    MD = "md"


Form = Annotated[ExportFormat, typer.Option("--format", help="Only latex and md are rounded.")]
Columns = Annotated[
    str, typer.Option("--columns", help="Names by comma; without, all (latex, md: a summary).")
]
Out = Annotated[Path | None, typer.Option("--out", help="File to write; without, standard output.")]


def export(
    study: options.StudyArgument = "runs",
    results: options.Results = Path("results"),
    form: Form = ExportFormat.CSV,
    columns: Columns = "",
    out: Out = None,
) -> None:
    """Write a study's results table as CSV, Parquet, JSON, LaTeX or Markdown."""
    from wbcbench import table
    from wbcbench.core.study_folder import require_study
    from wbcbench.table import export as table_files

    names = tuple(name.strip() for name in columns.split(",") if name.strip())
    if not names and form.value in table_files.ROUNDED:
        names = table_files.SUMMARY
    chosen = table_files.columns_named(names)
    rows = table.study_rows(require_study(results, study))
    data = table_files.FORMATS[form.value](rows, chosen)
    if out is not None:
        _write(out, data)
        typer.echo(f"{out}   {len(rows)} rows, {len(chosen)} columns, {len(data):,} bytes")
    elif form is ExportFormat.PARQUET and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal: name a file with --out.")
    else:
        sys.stdout.buffer.write(data)


def _write(path: Path, data: bytes) -> None:
    from wbcbench.core.files import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}. Name another file with --out."
        ) from error
