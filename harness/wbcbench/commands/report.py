"""``wbcbench report [STUDY]``: one page that answers and shows its evidence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import options

SCHEMA = "wbcbench.report/1"


def report(
    study: Annotated[str, typer.Argument(help="Folder under results.")] = "runs",
    results: options.Results = Path("results"),
    out: Annotated[Path, typer.Option("--out", help="Where reports are kept.")] = Path("reports"),
    as_json: options.AsJson = False,
) -> None:
    """Write reports/STUDY/: report.html, which needs nothing else, report.md, and figures."""
    from wbcbench.report.page.publish import publish

    files = publish(results, study, out)
    if as_json:
        document = {"schema": SCHEMA, "study": study, "files": [_file(path) for path in files]}
        typer.echo(json.dumps(document, indent=1))
    else:
        typer.echo("\n".join(f"{path}   {path.stat().st_size:,} bytes" for path in files))


def _file(path: Path) -> dict[str, str | int]:
    data = path.read_bytes()
    return {
        "path": str(path),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
