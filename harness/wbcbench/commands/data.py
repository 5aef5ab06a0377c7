"""``wbcbench data``: draw, check or fetch a data set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError
from wbcbench.core.text import count_of

if TYPE_CHECKING:
    from wbcbench.data.check import CheckReport

app = typer.Typer(
    help="Draw synthetic images, check a data set, or fetch the published one.",
    no_args_is_help=True,
)

Destination = Annotated[Path, typer.Argument(help="Where to put dataset2-master.")]
_FILES_SHOWN = 10


@app.command()
def synth(
    destination: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    train: Annotated[int, typer.Option(help="Images in TRAIN.")] = 2400,
    test: Annotated[int, typer.Option(help="Images in TEST.")] = 600,
    as_json: options.AsJson = False,
) -> None:
    """Draw synthetic images, laid out as the published set."""
    from wbcbench.data.synthetic import GENERATOR_VERSION, Recipe, write_cells

    recipe = Recipe(seed=seed, train_images=train, test_images=test)
    with _show_progress("drawing images") as on_progress:
        write_cells(destination, recipe, on_progress)
    if as_json:
        document = {"path": str(destination), "generator_version": GENERATOR_VERSION}
        options.print_json(document | asdict(recipe), "data-synth")
    else:
        typer.echo(f"Drew {train} TRAIN and {test} TEST images, all synthetic, into {destination}.")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="The folder of the data set.")],
    as_json: options.AsJson = False,
) -> None:
    """Show what a data set holds; exit 2 if it is damaged."""
    from wbcbench.data.check import check_folder

    with _show_progress("reading images") as on_progress:
        report = check_folder(path, on_progress=on_progress)
    if as_json:
        document = {"ok": not report.problems, **asdict(report), "root": str(report.root)}
        options.print_json(document, "data-check")
    else:
        typer.echo("\n".join(_describe_check(report)))
    if report.problems:
        raise UsageError


@app.command()
def fetch(destination: Destination = Path("data"), as_json: options.AsJson = False) -> None:
    """Download the published set (extra kaggle; no account)."""
    from wbcbench.data.fetch import PUBLISHED_HANDLE
    from wbcbench.data.fetch import fetch as fetch_set
    from wbcbench.data.read import PUBLISHED_ID, PUBLISHED_SHA256

    folder = fetch_set(destination)
    if as_json:
        document = {
            "path": str(folder),
            "dataset_id": PUBLISHED_ID,
            "sha256": PUBLISHED_SHA256,
            "source": PUBLISHED_HANDLE,
        }
        options.print_json(document, "data-fetch")
    else:
        typer.echo(f"{folder} holds the published set (digest verified). Use --data {folder}.")


@contextmanager
def _show_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal's stderr, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _describe_check(report: CheckReport) -> Iterator[str]:
    synthetic = " (synthetic)" if report.synthetic else ""
    yield f"{report.dataset_id}{synthetic}  {report.root}"
    yield f"sha256 {report.sha256}"
    for split, counts in report.counts.items():
        photographs = report.photographs.get(split)
        origin = "" if photographs is None else f"  from {photographs} photographs"
        classes = "  ".join(f"{name} {count}" for name, count in counts.items())
        yield f"{split:<12}{sum(counts.values()):>6}  {classes}{origin}"
    for word, findings in (("note", report.notes), ("WRONG", report.problems)):
        for finding in findings:
            yield f"{word:<6}{finding.code}: {finding.detail}"
            if len(finding.files) > 1:
                yield from (f"        {name}" for name in finding.files[:_FILES_SHOWN])
            if len(finding.files) > _FILES_SHOWN:
                yield f"        … and {len(finding.files) - _FILES_SHOWN} more (all with --json)"
    yield (
        f"{count_of(len(report.problems), 'problem')} found."
        if report.problems
        else "No problems found."
    )
