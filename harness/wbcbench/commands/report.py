"""``wbcbench report [STUDY …]``: one page that answers and shows its evidence, and its formats."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options
from wbcbench.commands import options as completion
from wbcbench.core.errors import UsageError
from wbcbench.core.text import count_of

if TYPE_CHECKING:
    from wbcbench.report.publish import Published

SCHEMA = "wbcbench.report/1"
PERIOD_S = 2.0  # between two looks at a study that is going on
AGAIN_S = 5.0  # after which a served page asks again

Studies = Annotated[
    list[str] | None,
    typer.Argument(
        envvar="WBCBENCH_STUDY",
        help="Folders under results; 'runs' if left out.",
        autocompletion=completion.studies,
        show_default=False,
    ),
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        help="Of html,md,tex,csv,svg,pdf; repeatable, or joined by commas. All if left out.",
        show_default=False,
    ),
]
Out = Annotated[
    Path, typer.Option("--out", envvar="WBCBENCH_REPORTS", help="Where reports are kept.")
]
Interactive = Annotated[
    bool,
    typer.Option("--interactive", help="Also interactive.html, with scripts (extra interactive)."),
]
Force = Annotated[bool, typer.Option("--force", help="Make it anew even if nothing changed.")]
Open = Annotated[bool, typer.Option("--open", help="Show it in the browser or viewer.")]
Live = Annotated[
    bool, typer.Option("--live", help="Serve it on 127.0.0.1, made anew as runs end, until Ctrl-C.")
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="For --live; 0: any free one.")]


def report(
    studies: Studies = None,
    results: options.Results = Path("results"),
    out: Out = Path("reports"),
    formats: Formats = None,
    interactive: Interactive = False,
    force: Force = False,
    opened: Open = False,
    live: Live = False,
    port: Port = 0,
    as_json: options.AsJson = False,
) -> None:
    """Write reports/STUDY/: a page that needs nothing else, a paper, tables and figures."""
    named = list(dict.fromkeys(studies or ["runs"]))
    asked = [*_asked(formats, live=live), *(["interactive"] if interactive else [])]
    if live:
        _keep(results, named, out, asked, port, opened)
        return
    made = _made(results, named, out, asked, force)
    if as_json:
        typer.echo(json.dumps(_document(made), indent=1))
    else:
        typer.echo("\n".join(line for each in made for line in _lines(each)))
    if opened:
        for each in made:
            _open(each.files[0].resolve().as_uri())


def _asked(formats: list[str] | None, *, live: bool) -> tuple[str, ...]:
    """Every format, but the page alone while it is made again and again."""
    from wbcbench.report.publish import ALL_FORMATS

    words = options.words(",".join(formats or ()))
    return words or (("html",) if live else ALL_FORMATS)


def _made(
    results: Path, studies: list[str], out: Path, formats: Sequence[str], force: bool
) -> list[Published]:
    from wbcbench.report.publish import refresh

    return [refresh(results, study, out, formats, force=force) for study in studies]


def _keep(
    results: Path, studies: list[str], out: Path, formats: Sequence[str], port: int, opened: bool
) -> None:
    """Serve one study's report and keep it up to date until Ctrl-C."""
    from wbcbench.report.formats import known_formats
    from wbcbench.report.serve import Kept, keep_up_to_date, listen

    if len(studies) != 1:
        raise UsageError("--live serves one study: name one, or start it once for each.")
    [study] = studies
    kept = Kept(results, study, out, known_formats(formats), PERIOD_S)
    server = listen(out / study, port, AGAIN_S)
    typer.echo(f"{server.url}   {study}, made anew as runs end")
    typer.echo("Only this machine can reach it. Ctrl-C ends it.", err=True)
    if opened:
        _open(server.url)
    with contextlib.suppress(KeyboardInterrupt):
        keep_up_to_date(kept, server, lambda words: typer.echo(words, err=True), threading.Event())


def _lines(made: Published) -> list[str]:
    if not made.built:
        count = f"{len(made.files)} files"
        return [f"{made.files[0]}   up to date ({count}); --force makes them anew"]
    pages = [path for path in made.files if path.parent == made.folder]
    folders = Counter(path.parent for path in made.files if path.parent != made.folder)
    lines = [f"{path}   {path.stat().st_size:,} bytes" for path in pages]
    lines += [f"{folder}/   {count_of(n, 'file')}" for folder, n in folders.items()]
    if made.removed:
        lines.append(f"{count_of(len(made.removed), 'file')} removed that this report has no more")
    return lines


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


def _open(address: str) -> None:
    """Show a file or a page, or say where it is on a machine without a browser."""
    import webbrowser

    if not webbrowser.open(address):
        typer.echo(f"No browser was found here. Open {address} yourself.", err=True)
