"""``wbcbench verify BUNDLE``: check a bundle from itself alone, or train it again."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.errors import UsageError, VerificationError
from wbcbench.core.extras import require_training

if TYPE_CHECKING:
    from wbcbench.bundle.rerun import Again

Strict = Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")]
Rerun = Annotated[
    bool, typer.Option("--rerun", help="Train a block again and compare; takes as long as it did.")
]
Block = Annotated[int | None, typer.Option(min=0, help="Which block. [default: the first]")]
RunId = Annotated[str | None, typer.Option(help="One run instead of a block.")]


def verify(
    bundle: options.Bundle,
    strict: Strict = False,
    rerun: Rerun = False,
    block: Block = None,
    run: RunId = None,
    data: options.Data = None,
    as_json: options.AsJson = False,
) -> None:
    """Check a bundle offline and recompute its numbers; exit 6 if a check fails."""
    from wbcbench.bundle.verify import inspect

    if rerun:
        require_training()
    elif block is not None or run is not None:
        raise UsageError("--block and --run choose what --rerun trains again; add --rerun.")
    report = inspect.verify(bundle, strict=strict)
    if not as_json:
        typer.echo(inspect.as_text(report))
    again = _train_again(bundle, block, run, data, as_json=as_json) if rerun else []
    if as_json:
        more = {"rerun": [asdict(result) for result in again]} if rerun else {}
        options.print_json(inspect.as_document(report) | more)
    if not report.verified:
        raise VerificationError(f"{bundle} is not verified: see the checks marked FAIL.")
    if different := [run.run_id for run in again if run.is_different]:
        raise VerificationError(f"Trained again, these runs differ: {', '.join(different)}.")


def _train_again(
    source: Path, block: int | None, run_id: str | None, data: Path | None, *, as_json: bool
) -> list[Again]:
    from wbcbench.bundle import rerun
    from wbcbench.bundle.open import opened
    from wbcbench.bundle.verify.bundle import load_bundle
    from wbcbench.run import live_state

    say = live_state.silent if as_json else live_state.print_progress
    with opened(source) as root, tempfile.TemporaryDirectory(prefix="wbcbench-rerun-") as folder:
        bundle = load_bundle(root)
        records = rerun.select_runs(bundle, block, run_id)
        say(rerun.describe_lock(bundle))
        words = options.list_work_options(silent=as_json, live=True)
        again = rerun.rerun(bundle, records, data, rerun.carry_out(Path(folder), words, say))
    if not as_json:
        typer.echo("\n".join(run.text for run in again))
    return again
