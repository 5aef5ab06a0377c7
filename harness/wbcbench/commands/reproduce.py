"""``wbcbench reproduce BUNDLE``: set a bundle's study up, carry it out, and compare."""

from __future__ import annotations

import contextlib
import io
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wbcbench.commands import options
from wbcbench.core.errors import RunsFailedError, UsageError, VerificationError
from wbcbench.core.extras import require_training

if TYPE_CHECKING:
    from wbcbench.bundle.reproduce import Compared, Needs, SetUp
    from wbcbench.bundle.verify.summary import Summary

Into = Annotated[
    Path, typer.Option(help="An empty or new folder, or the one in which it was set up.")
]
Carry = Annotated[
    bool, typer.Option("--run", help="Carry the study out in the folder, then compare; resumes.")
]
Compare = Annotated[
    bool, typer.Option("--compare", help="Compare what was carried out there with the bundle.")
]
Blocks = Annotated[int | None, typer.Option(min=1, help="With --run: stop after so many blocks.")]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="With --run: repeat failed runs once.")
]


def reproduce(
    bundle: options.Bundle,
    into: Into = Path("reproduced"),
    carry_out: Carry = False,
    compare: Compare = False,
    data: options.Data = None,
    blocks: Blocks = None,
    retry_failed: RetryFailed = False,
    as_json: options.AsJson = False,
) -> None:
    """Set a bundle's study up again in an empty folder, and say what time and energy it takes.

    --run carries it out with the program that is installed here: nothing of the bundle is executed.
    Accuracies agree within what the scatter between seeds explains; energy is compared on the same
    model of GPU. Exit 6 where either differs.
    """
    from wbcbench.bundle.reproduce import (
        NOT_VERIFIED,
        compare_results,
        describe_spent,
        forecast_needs,
        read_own_results,
        require_room,
        set_up,
    )
    from wbcbench.bundle.verify.budget import summarise_within_budget

    if carry_out:
        require_training()
    elif blocks is not None or retry_failed:
        raise UsageError("--blocks and --retry-failed say what --run does; add --run.")
    setup = set_up(bundle, into)
    summary = summarise_within_budget(bundle)
    needs = forecast_needs(summary, setup, blocks)
    failed, compared, text = None, list["Compared"](), _describe_setup(setup)
    if not as_json:
        typer.echo(needs.text, err=carry_out or compare)
    if carry_out:
        require_room(needs, into)
        more = {"blocks": blocks, "retry_failed": retry_failed}
        failed = _carry_out(setup, summary, data, silent=as_json, **more)
    if carry_out or compare:
        results = read_own_results(setup)
        compared = compare_results(summary.results, results)
        words = [describe_spent(results), *(each.text for each in compared), NOT_VERIFIED]
        text = "\n".join([*words, f"Next: cd {into}; {setup.commands[-1]}"])
    document = _build_document(setup, needs, compared)
    options.print_result(document, text, "reproduce", as_json=as_json)
    if different := [each.configuration for each in compared if each.is_different]:
        raise VerificationError(f"Carried out again, these differ: {', '.join(different)}.")
    if failed:
        raise failed


def _carry_out(
    setup: SetUp, summary: Summary, data: Path | None, *, silent: bool, **settings: Any
) -> RunsFailedError | None:
    """Sweep the plan as ``wbcbench sweep`` does, with its ``settings``; its result is told anew."""
    from wbcbench.bundle.reproduce import RESULTS_FOLDER
    from wbcbench.bundle.rerun import require_images
    from wbcbench.commands.sweep import sweep
    from wbcbench.run import live_state

    first, local = setup.plan.runs[0], options.describe_local(data)
    say = live_state.silent if silent else live_state.print_progress
    require_images(first, summary.dataset_id, summary.dataset_sha256, local, say)
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            sweep(
                setup.folder / setup.files[0],
                data=data,
                results=setup.folder / RESULTS_FOLDER,
                quiet=silent,
                **settings,
            )
        except RunsFailedError as error:  # what is done is compared all the same
            return error
    return None


def _describe_setup(setup: SetUp) -> str:
    from wbcbench.bundle.reproduce import NOT_VERIFIED

    files = f"{setup.folder}: {', '.join(setup.files)}"
    steps = (f"      {command}" for command in setup.commands)
    way = f"Next: add --run, which carries it out; or cd {setup.folder}"
    return "\n".join([files, NOT_VERIFIED, way, *steps])


def _build_document(setup: SetUp, needs: Needs, compared: list[Compared]) -> dict[str, Any]:
    return {
        "folder": str(setup.folder),
        "study": setup.submission.study,
        "files": setup.files,
        "commands": setup.commands,
        "needs": asdict(needs),
        "compared": [asdict(each) for each in compared],
    }
