"""``wbcbench verify BUNDLE``: check a bundle from itself alone, or train it again."""

from __future__ import annotations

import re
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.errors import PartlyVerifiedError, UsageError, VerificationError
from wbcbench.core.extras import require_training

if TYPE_CHECKING:
    from wbcbench.bundle.rerun import Again

Strict = Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")]
Rerun = Annotated[
    bool, typer.Option("--rerun", help="Train a block again and compare; takes as long as it did.")
]
Block = Annotated[int | None, typer.Option(min=0, help="Which block. [default: the first]")]
Signers = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", exists=True, dir_okay=False, help="Require a signature by a key in FILE."
    ),
]
Digest = Annotated[
    str | None, typer.Option(metavar="SHA256", help="Require the plan that was posted so.")
]
RunId = Annotated[str | None, typer.Option(help="One run instead of a block.")]


def verify(
    bundle: options.Bundle,
    strict: Strict = False,
    allowed_signers: Signers = None,
    plan_digest: Digest = None,
    rerun: Rerun = False,
    block: Block = None,
    run: RunId = None,
    data: options.Data = None,
    as_json: options.AsJson = False,
) -> None:
    """Check a bundle offline and recompute it; exit 6 if a check fails, 8 if one is left out."""
    from wbcbench.bundle.verify import Status, inspect
    from wbcbench.bundle.verify.budget import verify_within_budget

    if rerun:
        require_training()
    elif block is not None or run is not None:
        raise UsageError("--block and --run choose what --rerun trains again; add --rerun.")
    report = verify_within_budget(
        bundle,
        strict=strict,
        allowed_signers=allowed_signers,
        plan_digest=_parse_digest(plan_digest) if plan_digest else None,
    )
    if not as_json:
        typer.echo(inspect.as_text(report))
    # What is refused unread, or too much to read, is not trained from.
    was_read = any(o.status is not Status.NOT_CHECKED for o in [*report.outcomes.values()][1:])
    is_trained = rerun and was_read
    again = _train_again(bundle, block, run, data, as_json=as_json) if is_trained else []
    if as_json:
        more = {"rerun": [asdict(result) for result in again]} if rerun else {}
        options.print_json(inspect.as_document(report) | more)
    if report.result is inspect.Result.NOT_VERIFIED:
        raise VerificationError(f"{bundle} is not verified: see the checks marked FAIL.")
    if different := [run.run_id for run in again if run.is_different]:
        raise VerificationError(f"Trained again, these runs differ: {', '.join(different)}.")
    if report.result is inspect.Result.IN_PART:
        raise PartlyVerifiedError(
            f"{bundle} is verified in part: see the checks marked [ ] for what is left, and why."
        )


def _parse_digest(text: str) -> str:
    """The digest of a plan as it was posted: whole, for a part of it can be made to fit."""
    digest = text.strip().lower().removeprefix("sha256:").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", digest, re.ASCII):
        raise UsageError(f"'{text}' is no digest of a plan, which has 64 hexadecimal digits.")
    return digest


def _train_again(
    source: Path, block: int | None, run_id: str | None, data: Path | None, *, as_json: bool
) -> list[Again]:
    from wbcbench.bundle import rerun
    from wbcbench.bundle.open import received
    from wbcbench.bundle.verify.bundle import load_bundle
    from wbcbench.run import live_state

    say = live_state.silent if as_json else live_state.print_progress
    with received(source) as root, tempfile.TemporaryDirectory(prefix="wbcbench-rerun-") as folder:
        bundle = load_bundle(root)
        records = rerun.select_runs(bundle, block, run_id)
        say(rerun.describe_lock(bundle))
        words = options.list_work_options(silent=as_json, live=True)
        again = rerun.rerun(bundle, records, data, rerun.carry_out(Path(folder), words, say))
    if not as_json:
        typer.echo("\n".join(run.text for run in again))
    return again
