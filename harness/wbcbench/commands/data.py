"""``wbcbench data``: draw, check or fetch a data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError
from wbcbench.core.text import count_of, escaped

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
    from wbcbench.run.live_state import show_bar

    recipe = Recipe(seed=seed, train_images=train, test_images=test)
    with show_bar("drawing images") as on_progress:
        write_cells(destination, recipe, on_progress)
    document = {"path": str(destination), "generator_version": GENERATOR_VERSION} | asdict(recipe)
    text = f"Drew {train} TRAIN and {test} TEST images, all synthetic, into {destination}."
    options.print_result(document, text, "data-synth", as_json=as_json)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="The folder of the data set.")],
    as_json: options.AsJson = False,
) -> None:
    """Show what a data set holds; exit 2 if it is damaged."""
    from wbcbench.data.check import check_folder
    from wbcbench.run.live_state import show_bar

    with show_bar("reading images") as on_progress:
        report = check_folder(path, on_progress=on_progress)
    document = {"ok": not report.problems, **asdict(report), "root": str(report.root)}
    text = "\n".join(map(escaped, _describe_check(report)))
    options.print_result(document, text, "data-check", as_json=as_json)
    if report.problems:
        raise UsageError


@app.command()
def fetch(destination: Destination = Path("data"), as_json: options.AsJson = False) -> None:
    """Download the published set (extra kaggle; no account)."""
    from wbcbench.data.fetch import PUBLISHED_HANDLE
    from wbcbench.data.fetch import fetch as fetch_set
    from wbcbench.data.read import PUBLISHED_ID, PUBLISHED_SHA256

    folder = fetch_set(destination)
    document = {
        "path": str(folder),
        "dataset_id": PUBLISHED_ID,
        "sha256": PUBLISHED_SHA256,
        "source": PUBLISHED_HANDLE,
    }
    text = f"{folder} holds the published set (digest verified). Use --data {folder}."
    options.print_result(document, text, "data-fetch", as_json=as_json)


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
            names = (escaped(name) for name in finding.files[:_FILES_SHOWN])
            yield from (f"        {name}" for name in names if name not in finding.detail)
            if len(finding.files) > _FILES_SHOWN:
                yield f"        … and {len(finding.files) - _FILES_SHOWN} more (all with --json)"
    yield (
        f"{count_of(len(report.problems), 'problem')} found."
        if report.problems
        else "No problems found."
    )
