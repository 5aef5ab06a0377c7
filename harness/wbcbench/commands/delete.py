"""``wbcbench delete RUN…``: delete runs, after listing what goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError

if TYPE_CHECKING:
    from wbcbench.study.cleanup import Kept, Removable

Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN",
        help="Whole run ids, or folders of runs.",
        autocompletion=options.complete_run,
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Also finished runs of planned studies: no bundle verifies then."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List what would go; delete nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Delete without asking.")]

_HEADINGS = ("what goes", "state", "size", "energy, whole run")


def delete(
    runs: Runs,
    force: Force = False,
    results: options.Results = Path("results"),
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Delete runs: lists what goes, and asks.

    A run that is being carried out stays, and without --force so does a finished run of a planned
    study: a bundle without it is not verified. What deleted runs of a planned study have cost stays
    in its sum, in `sweep`, report and bundle.
    """
    from wbcbench.study.cleanup import find_removable_runs

    items, kept = find_removable_runs(results, runs, force=force)
    if kept and not dry_run:
        first = f"{kept[0].path}: {kept[0].reason}"
        raise UsageError(f"Nothing was deleted. {first}")
    delete_listed("delete", results, items, kept, dry_run=dry_run, yes=yes, as_json=as_json)


def delete_listed(
    command: str,
    results: Path,
    items: Sequence[Removable],
    kept: Sequence[Kept],
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """List what goes and what stays, ask, delete, and say what is gone.

    Raises:
        UsageError: Nobody confirmed it, or something could not be deleted.
    """
    from wbcbench.core.terminal import fill
    from wbcbench.study.cleanup import delete as delete_items

    if not as_json:
        _print_items(results, items)
        _print_kept(kept)
    failed: list[Kept] = []
    if items and not dry_run:
        if not _is_confirmed(items, yes=yes, as_json=as_json):
            typer.echo("Nothing was deleted.", err=True)
            return
        items, failed = delete_items(results, items)
    if as_json:
        options.print_json(_build_document(items, [*kept, *failed], dry_run=dry_run), command)
    else:
        lines = _summarise(items, dry_run=dry_run).splitlines()
        typer.echo("\n".join(fill(line, rest="  ") for line in lines))
    if failed:
        raise UsageError(f"{failed[0].path} was not deleted. {failed[0].reason}")


def _print_items(results: Path, items: Sequence[Removable]) -> None:
    """A line for each run and each leftover, one for all files of a cache."""
    from wbcbench.core.text import count_of, human_energy, human_size

    caches = dict[str, list[int]]()
    rows = []
    for item in items:
        if item.kind == "cache":
            caches.setdefault(item.what, []).append(item.size_bytes)
            continue
        place = item.path.relative_to(results) if item.path.is_relative_to(results) else item.path
        energy = human_energy(item.spent.energy_j if item.spent else None)
        energy = energy if item.kind == "run" else "–"
        rows.append((str(place), item.what, human_size(item.size_bytes), energy))
    for what, sizes in caches.items():
        rows.append((f"cache of {what}", count_of(len(sizes), "item"), human_size(sum(sizes)), "–"))
    if rows:
        options.print_table(_HEADINGS, rows, _HEADINGS[2:])


def _print_kept(kept: Sequence[Kept]) -> None:
    from wbcbench.core.text import one_line

    for each in kept:
        typer.echo(f"stays: {one_line(str(each.path))}. {one_line(each.reason)}", err=True)


def _is_confirmed(items: Sequence[Removable], *, yes: bool, as_json: bool) -> bool:
    """Whether the user wants it; raises ``UsageError`` where nobody can be asked."""
    if yes:
        return True
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "Nothing was deleted, for nobody could be asked. Add --yes to delete what is listed, "
            "or --dry-run only to list it."
        )
    return typer.confirm(f"Delete {_describe(items)}?", err=True)


def _describe(items: Sequence[Removable]) -> str:
    """``2 runs and 3 others, 14 MB``."""
    from wbcbench.core.text import count_of, human_size

    runs = sum(item.kind == "run" for item in items)
    counts = [count_of(runs, "run")] * bool(runs)
    if others := len(items) - runs:
        counts.append(count_of(others, "other" if runs else "item"))
    return f"{' and '.join(counts)}, {human_size(sum(item.size_bytes for item in items))}"


def _summarise(items: Sequence[Removable], *, dry_run: bool) -> str:
    from wbcbench.study.text import describe_sum
    from wbcbench.table.derive import sum_spent

    if not items:
        return "Nothing to delete."
    text = f"{'Would delete' if dry_run else 'Deleted'} {_describe(items)}."
    counted = [item.spent for item in items if item.is_counted and item.spent]
    if counted:
        text += f"\nStays in the sum of the study: {describe_sum(sum_spent(counted))}."
    return text


def _build_document(
    items: Sequence[Removable], kept: Sequence[Kept], *, dry_run: bool
) -> dict[str, object]:
    listed = [
        {
            "path": str(item.path),
            **options.pick(item, "kind", "what", "size_bytes", "is_counted"),
            "energy_j": item.spent.energy_j if item.spent else None,
            "energy_status": item.spent.status if item.spent else None,
        }
        for item in items
    ]
    return {
        "dry_run": dry_run,
        "deleted": [] if dry_run else listed,
        "would_delete": listed if dry_run else [],
        "kept": [{"path": str(each.path), "reason": each.reason} for each in kept],
        "freed_bytes": 0 if dry_run else sum(item.size_bytes for item in items),
    }
