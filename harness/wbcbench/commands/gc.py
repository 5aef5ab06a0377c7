"""``wbcbench gc``: delete failed runs, what killed commands left, and caches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wbcbench.commands import delete, options

Cache = Annotated[
    bool, typer.Option("--cache/--no-cache", help="Also what can be made again: caches.")
]


def gc(
    results: options.Results = Path("results"),
    cache: Cache = True,
    dry_run: delete.DryRun = False,
    yes: delete.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Delete what no result needs: lists it, and asks.

    Runs that failed, were interrupted or lost their recorder, what killed commands left half
    written, and caches. Finished runs stay, valid or not. What deleted runs of a planned study have
    cost stays in its sum, in `sweep`, report and bundle.
    """
    from wbcbench.study.cleanup import find_garbage

    items, kept = find_garbage(results, with_caches=cache)
    delete.delete_listed("gc", results, items, kept, dry_run=dry_run, yes=yes, as_json=as_json)
