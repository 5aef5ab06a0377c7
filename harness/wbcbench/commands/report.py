"""``wbcbench report [STUDY …]``: one page that answers and shows its evidence, and its formats."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options

if TYPE_CHECKING:
    from wbcbench.report.page.publish import Published

SCHEMA = "wbcbench.report/1"
EVERY = "html,md,tex,csv,svg,pdf"

Studies = Annotated[
    list[str] | None,
    typer.Argument(help="Folders under results; 'runs' if left out.", show_default=False),
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        help=f"Of {EVERY}; repeatable, or joined by commas. All if left out.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Where reports are kept.")]
Interactive = Annotated[
    bool,
    typer.Option("--interactive", help="Also interactive.html, with scripts (extra interactive)."),
]
Force = Annotated[bool, typer.Option("--force", help="Make it anew even if nothing changed.")]
Open = Annotated[bool, typer.Option("--open", help="Show it in the browser or viewer.")]


def report(
    studies: Studies = None,
    results: options.Results = Path("results"),
    out: Out = Path("reports"),
    formats: Formats = None,
    interactive: Interactive = False,
    force: Force = False,
    opened: Open = False,
    as_json: options.AsJson = False,
) -> None:
    """Write reports/STUDY/: a page that needs nothing else, a paper, tables and figures."""
    from wbcbench.report.page.publish import refresh

    asked = [
        *options.words(",".join(formats or [EVERY])),
        *(["interactive"] if interactive else []),
    ]
    made = [
        refresh(results, study, out, asked, force=force)
        for study in dict.fromkeys(studies or ["runs"])
    ]
    if as_json:
        typer.echo(json.dumps(_document(made), indent=1))
    else:
        typer.echo("\n".join(line for each in made for line in _lines(each)))
    if opened:
        for each in made:
            _open(each.files[0])


def _lines(made: Published) -> list[str]:
    if not made.built:
        count = f"{len(made.files)} files"
        return [f"{made.files[0]}   up to date ({count}); --force makes them anew"]
    sizes = [f"{path}   {path.stat().st_size:,} bytes" for path in made.files]
    return [*sizes, *(f"{path}   removed: the study has it no more" for path in made.removed)]


def _document(made: Sequence[Published]) -> dict[str, Any]:
    """One study as before; several as a list."""
    reports = [
        {
            "study": each.folder.name,
            "built": each.built,
            "files": [_file(path) for path in each.files],
            "removed": [str(path) for path in each.removed],
        }
        for each in made
    ]
    return {"schema": SCHEMA, **reports[0], "reports": reports}


def _file(path: Path) -> dict[str, str | int]:
    data = path.read_bytes()
    return {
        "path": str(path),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _open(path: Path) -> None:
    """Show a file, or say where it is on a machine without a browser."""
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        typer.echo(f"No browser was found here. Open {path.resolve()} yourself.", err=True)
