"""``wbcbench report [STUDY …]``: one page with the answer and its evidence, and other formats."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError
from wbcbench.core.text import count_of

if TYPE_CHECKING:
    from wbcbench.report.publish import Published

PERIOD_S = 2.0  # between two checks of a study that is going on
RELOAD_S = 5.0  # after which a served page reloads


class Templates(StrEnum):
    """Of the PDF."""

    PLAIN = "plain"
    IEEE = "ieee"
    SLIDES = "slides"


Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        help="html, md, tex, csv, svg, pdf, ieee, slides; separated by commas or repeated. "
        "The first six if left out.",
        show_default=False,
    ),
]
Template = Annotated[Templates, typer.Option(help="The PDF: plain, ieee (two columns) or slides.")]
Out = Annotated[
    Path, typer.Option(envvar="WBCBENCH_REPORTS", help="Folder that holds the reports.")
]
Interactive = Annotated[
    bool,
    typer.Option("--interactive", help="Also interactive.html, with scripts (extra interactive)."),
]
Force = Annotated[bool, typer.Option("--force", help="Write it again even if nothing changed.")]
Open = Annotated[bool, typer.Option("--open", help="Open it in the browser or viewer.")]
Live = Annotated[
    bool, typer.Option("--live", help="Serve it on 127.0.0.1, updated as runs end, until Ctrl-C.")
]


def report(
    studies: options.StudyArguments = None,
    results: options.Results = Path("results"),
    out: Out = Path("reports"),
    formats: Formats = None,
    template: Template = Templates.PLAIN,
    interactive: Interactive = False,
    force: Force = False,
    opened: Open = False,
    live: Live = False,
    port: options.Port = 0,
    as_json: options.AsJson = False,
) -> None:
    """Write reports/STUDY/: a self-contained page, a paper, tables and figures."""
    from wbcbench.report.publish import ALL_FORMATS, refresh

    names = list(dict.fromkeys(studies or ["runs"]))
    default = ("html",) if live else ALL_FORMATS
    chosen = [*(options.split_words(",".join(formats or ())) or default)]
    if template is not Templates.PLAIN:
        chosen = [*(name for name in chosen if name != "pdf"), template.value]
    chosen += ["interactive"] * interactive
    if live:
        _serve(results, names, out, chosen, port or 0, opened=opened)
        return
    reports = [refresh(results, study, out, chosen, force=force) for study in names]
    if as_json:
        documents = [_describe_files(published) for published in reports]
        options.print_json({**documents[0], "reports": documents}, "report")
    else:
        typer.echo("\n".join(line for published in reports for line in _list_files(published)))
    if opened:
        for published in reports:
            open_page(published.files[0].resolve().as_uri())


def _serve(
    results: Path, studies: list[str], out: Path, formats: list[str], port: int, *, opened: bool
) -> None:
    """Serve one study's report and keep it up to date until Ctrl-C."""
    from wbcbench.commands.serve import LiveReport, keep_up_to_date, listen
    from wbcbench.report.formats import known_formats
    from wbcbench.run.live_state import print_progress

    if len(studies) != 1:
        raise UsageError("--live serves one study: name one, or start it once for each.")
    [study] = studies
    served = LiveReport(results, study, out, known_formats(formats), PERIOD_S)
    server = listen(out / study, port, RELOAD_S)
    typer.echo(f"{server.url}   {study}, updated as runs end")
    typer.echo("Only this machine can reach it. Ctrl-C ends it.", err=True)
    if opened:
        open_page(server.url)
    with contextlib.suppress(KeyboardInterrupt):
        keep_up_to_date(served, server, print_progress, threading.Event())


def _list_files(published: Published) -> list[str]:
    if not published.built:
        count = count_of(len(published.files), "file")
        return [f"{published.files[0]}   up to date ({count}); --force writes them again"]
    pages = [path for path in published.files if path.parent == published.folder]
    folders = Counter(path.parent for path in published.files if path not in pages)
    lines = [f"{path}   {path.stat().st_size:,} bytes" for path in pages]
    lines += [f"{folder}/   {count_of(n, 'file')}" for folder, n in folders.items()]
    if published.removed:
        lines.append(f"{count_of(len(published.removed), 'outdated file')} removed")
    return lines


def _describe_files(published: Published) -> dict[str, Any]:
    return {
        "study": published.folder.name,
        "built": published.built,
        "files": [
            {
                "path": str(path),
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in published.files
        ],
        "removed": [str(path) for path in published.removed],
    }


def open_page(address: str) -> None:
    """Open an address in the browser, or say that there is none."""
    import webbrowser

    if not webbrowser.open(address):
        typer.echo(f"There is no browser here. Open {address} yourself.", err=True)
