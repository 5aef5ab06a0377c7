"""``wbcbench verify BUNDLE``: is a bundle what it says, from itself alone, or trained again?"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from wbcbench.bundle.rerun import Again

BundlePath = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A bundle: its folder or its zip.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Warnings are errors, too.")]
Rerun = Annotated[
    bool, typer.Option("--rerun", help="Train a block again and compare; takes as long as it did.")
]
Block = Annotated[
    int | None, typer.Option("--block", min=0, help="Which block. [default: the first]")
]
RunId = Annotated[str | None, typer.Option("--run", help="One run instead of a block.")]


def verify(
    bundle: BundlePath,
    strict: Strict = False,
    rerun: Rerun = False,
    block: Block = None,
    run: RunId = None,
    data: options.Data = None,
    as_json: options.AsJson = False,
) -> None:
    """Check a bundle offline, work its numbers out again; exit 6 where one does not hold."""
    from wbcbench.bundle.verify import inspect

    if (block is not None or run is not None) and not rerun:
        raise UsageError("--block and --run say what --rerun trains again; add --rerun.")
    found = inspect.verify(bundle, strict=strict)
    again: list[Again] = []
    if not as_json:
        typer.echo(inspect.as_text(found))
    if rerun:
        again = _trained_again(bundle, block, run, data, as_json=as_json)
    if as_json:
        more = {"rerun": [_plain(each) for each in again]} if rerun else {}
        document = inspect.as_document(found) | more
        typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
    if not found.verified:
        raise VerificationError(f"{bundle} does not hold what it says.")
    _raise_if_different(again)


def _trained_again(
    source: Path, block: int | None, run_id: str | None, data: Path | None, *, as_json: bool
) -> list[Again]:
    from wbcbench.bundle import rerun
    from wbcbench.bundle.open import opened
    from wbcbench.bundle.verify.bundle import survey
    from wbcbench.run import live_state

    say = live_state.silent if as_json else live_state.print_progress
    with opened(source) as root, tempfile.TemporaryDirectory(prefix="wbcbench-rerun-") as room:
        bundle = survey(root)
        records = rerun.chosen_runs(bundle, block, run_id)
        say(rerun.about_lock(bundle))
        train = rerun.carry_out(Path(room), ["--quiet"] if as_json else [], say)
        again = rerun.rerun(bundle, records, data, train)
    if not as_json:
        typer.echo("\n".join(each.text for each in again))
    return again


def _plain(each: Again) -> dict[str, Any]:
    return asdict(each)


def _raise_if_different(again: list[Again]) -> None:
    from wbcbench.bundle.rerun import Sameness

    other = [
        each.run_id for each in again if Sameness.DIFFERENT in {each.sameness, each.energy_sameness}
    ]
    if other:
        raise VerificationError(f"Trained again, these come out different: {', '.join(other)}.")
