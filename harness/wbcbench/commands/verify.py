"""``wbcbench verify BUNDLE…``: check bundles from themselves alone, or train one again."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wbcbench.commands import options
from wbcbench.core.errors import PartlyVerifiedError, UsageError, VerificationError
from wbcbench.core.extras import require_training
from wbcbench.core.terminal import fill
from wbcbench.core.text import one_line

if TYPE_CHECKING:
    from wbcbench.bundle.rerun import Again
    from wbcbench.bundle.verify.sheet import Submitted

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
Bundles = Annotated[
    list[Path],
    typer.Argument(
        metavar="BUNDLE...", help="Folders or zips of bundles, or one folder of submissions."
    ),
]
Form = Annotated[
    Literal["text", "markdown", "json"],
    typer.Option("--format", help="markdown: a summary for a grading sheet."),
]

_WORST = {
    "not verified": VerificationError,
    "no bundle": UsageError,
    "verified in part": PartlyVerifiedError,
}


@dataclass(frozen=True, slots=True)
class TrainAgain:
    """What ``--rerun`` trains: a block or a run, on which images."""

    block: int | None
    run: str | None
    data: Path | None


def verify(
    bundles: Bundles,
    strict: Strict = False,
    allowed_signers: Signers = None,
    plan_digest: Digest = None,
    rerun: Rerun = False,
    block: Block = None,
    run: RunId = None,
    data: options.Data = None,
    wide: options.Wide = False,
    form: Form = "text",
    as_json: options.AsJson = False,
) -> None:
    """Check bundles offline and recompute them; exit 6 if a check fails, 8 if one is left out.

    Several, or one folder of submissions: a table, what is alike, and the worst exit code.
    """
    form = "json" if as_json else form
    if rerun:
        require_training()
    elif block is not None or run is not None:
        raise UsageError("--block and --run choose what --rerun trains again; add --rerun.")
    asked = {
        "strict": strict,
        "allowed_signers": allowed_signers,
        "plan_digest": _parse_digest(plan_digest) if plan_digest else None,
    }
    submissions = _list_submissions(bundles)
    if len(submissions) == 1:
        again = TrainAgain(block, run, data) if rerun else None
        _verify_one(submissions[0], asked, again, form)
    elif rerun:
        raise UsageError(f"--rerun trains one bundle again, not {len(submissions)}. Name one.")
    else:
        _verify_several(submissions, asked, form, wide=wide)


def _list_submissions(bundles: list[Path]) -> list[Path]:
    """The bundles that were named; those in a folder of several, where that alone was named."""
    from wbcbench.bundle.bounds import BOUNDS
    from wbcbench.bundle.locate import list_submissions

    if len(bundles) > 1:
        return bundles
    found, others = list_submissions(bundles[0], BOUNDS.depth)
    if others:
        names = ", ".join(one_line(path.name) for path in others[:4])
        typer.echo(f"Left out of {bundles[0]}: {names}, which can be no submission.", err=True)
    return found or bundles


def _verify_one(bundle: Path, asked: dict[str, Any], again: TrainAgain | None, form: str) -> None:
    from wbcbench.bundle.verify import Status, inspect, sheet
    from wbcbench.bundle.verify.budget import verify_within_budget

    report = verify_within_budget(bundle, **asked)
    if form == "text":
        typer.echo(inspect.as_text(report))
    elif form == "markdown":
        typer.echo(sheet.format_markdown(bundle.name, report))
    # What is refused unread, or too much to read, is not trained from.
    was_read = any(o.status is not Status.NOT_CHECKED for o in [*report.outcomes.values()][1:])
    runs = _train_again(bundle, again, silent=form == "json") if again and was_read else []
    if form == "json":
        more = {"rerun": [asdict(result) for result in runs]} if again else {}
        options.print_json(inspect.as_document(report) | more)
    elif runs:
        typer.echo("\n".join(run.text for run in runs))
    if report.result is inspect.Result.NOT_VERIFIED:
        raise VerificationError(f"{bundle} is not verified: see the checks marked FAIL.")
    if different := [run.run_id for run in runs if run.is_different]:
        raise VerificationError(f"Trained again, these runs differ: {', '.join(different)}.")
    if report.result is inspect.Result.IN_PART:
        raise PartlyVerifiedError(
            f"{bundle} is verified in part: see the checks marked skip for what is left, and why."
        )


def _verify_several(bundles: list[Path], asked: dict[str, Any], form: str, *, wide: bool) -> None:
    """Check one after the other; what is refused does not stop the others."""
    from wbcbench.bundle.verify import fingerprint, sheet
    from wbcbench.bundle.verify.budget import verify_within_budget

    submissions = list[sheet.Submitted]()
    prints = dict[int, fingerprint.Fingerprint]()
    for place, bundle in enumerate(bundles):
        name = one_line(str(bundle))
        try:
            found = verify_within_budget(bundle, **asked, is_compared=True)
        except UsageError as error:
            submissions.append(sheet.Submitted(name, None, one_line(str(error))))
        else:
            own, found = found.fingerprint, replace(found, fingerprint=None)
            submissions.append(sheet.Submitted(name, found, is_compared=own is not None))
            if own:
                prints[place] = own
        typer.echo(f"{place + 1}/{len(bundles)} {name}: {submissions[-1].result}", err=True)
    alike = fingerprint.compare_fingerprints(prints)
    if form == "json":
        options.print_json(sheet.build_document(submissions, alike))
    elif form == "markdown":
        typer.echo(sheet.format_markdown_table(submissions, alike))
    else:
        rows = sheet.build_rows(submissions)
        options.print_table(sheet.HEADINGS, rows, leaves=sheet.LEAVES, wide=wide)
        lines = [*sheet.describe_problems(submissions), *sheet.describe_alike(submissions, alike)]
        shown = [*map(one_line, lines), sheet.count_results(submissions, alike)]
        typer.echo("\n".join(fill(line, rest="  ") for line in shown))
    _raise_worst(submissions)


def _raise_worst(submissions: Sequence[Submitted]) -> None:
    """The exit code of the worst: not verified, no bundle, verified in part."""
    for result, error in _WORST.items():
        if bad := [each.name for each in submissions if each.result == result]:
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            raise error(f"{bad[0]}{more}: {result}. See above, or verify it alone.")


def _parse_digest(text: str) -> str:
    """The digest of a plan as it was posted: whole, for a part of it can be made to fit."""
    digest = text.strip().lower().removeprefix("sha256:").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", digest, re.ASCII):
        raise UsageError(f"'{text}' is no digest of a plan, which has 64 hexadecimal digits.")
    return digest


def _train_again(source: Path, asked: TrainAgain, *, silent: bool) -> list[Again]:
    from wbcbench.bundle import rerun
    from wbcbench.bundle.open import received
    from wbcbench.bundle.verify.bundle import load_bundle
    from wbcbench.run import live_state

    say = live_state.silent if silent else live_state.print_progress
    with received(source) as root, tempfile.TemporaryDirectory(prefix="wbcbench-rerun-") as folder:
        bundle = load_bundle(root)
        records = rerun.select_runs(bundle, asked.block, asked.run)
        say(rerun.describe_lock(bundle))
        words = options.list_work_options(silent=silent, live=True)
        train = rerun.carry_out(Path(folder), words, say)
        return rerun.rerun(bundle, records, asked.data, train)
