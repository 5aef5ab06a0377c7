"""``wbcbench sweep FILE``: carry out a study, and take up one that was broken off."""

from __future__ import annotations

import json
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcbench.commands import options
from wbcbench.commands.options import Changes, ConfirmOver, PlanFile, Yes, confirm, limit_j
from wbcbench.core.errors import InterruptedRunError, RunsFailedError

if TYPE_CHECKING:
    from wbcbench.core.run_folder import Local
    from wbcbench.core.spec import RunSpec
    from wbcbench.study.plan import Plan
    from wbcbench.study.progress import SweepOutcome
    from wbcbench.study.sweep import SweepSettings

SCHEMA = "wbcbench.sweep/1"

RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try failed runs once more.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what is left to do; write nothing.")]
Blocks = Annotated[
    int | None, typer.Option(min=1, help="Stop after this many blocks; the plan stays the same.")
]
Launcher = Annotated[str, typer.Option("--launcher", help="What starts the runs.")]


def sweep(
    file: PlanFile,
    changes: Changes = None,
    data: options.Data = None,
    skip_unreadable: options.SkipUnreadable = False,
    results: options.Results = Path("results"),
    blocks: Blocks = None,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    confirm_over: ConfirmOver = None,
    yes: Yes = False,
    launcher: Launcher = "local",
    share: options.Share = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    live: options.Live = True,
) -> None:
    """Carry out a study's runs in their order; finished ones are skipped, broken ones repeated."""
    from wbcbench.study import plan as plans
    from wbcbench.study.plan import checked_contrasts

    most_j = limit_j(confirm_over)
    made = plans.read_plan(file, changes or [])
    checked_contrasts(made)
    setting = replace(
        _setting(made, results, launcher, silent=quiet or as_json, live=live),
        local=_local(made, data, skip_unreadable=skip_unreadable, share=share),
        retry_failed=retry_failed,
        blocks=blocks,
    )
    if dry_run:
        _dry_run(made, setting, as_json=as_json)
        return
    _confirm(made, setting, most_j, yes=yes)
    outcome = _carry_out(made, setting, silent=quiet or as_json)
    _print(made, outcome, setting, as_json=as_json)
    _raise_if_bad(outcome)


def _setting(
    made: Plan, results: Path, launcher: str, *, silent: bool, live: bool
) -> SweepSettings:
    from wbcbench.registry import load_part
    from wbcbench.study.running import pasts
    from wbcbench.study.sweep import SweepSettings

    return SweepSettings(
        results=results,
        launch=load_part("launcher", launcher),
        work_options=_work_options(silent=silent, live=live),
        pasts=tuple(pasts(made, results)),
    )


def _local(made: Plan, data: Path | None, *, skip_unreadable: bool, share: bool) -> Local:
    from wbcbench.core.run_folder import Local

    return Local(
        data=str(data) if data else None,
        skip_unreadable=skip_unreadable,
        command=("wbcbench", *sys.argv[1:]),
        share=share,
        plan_sha256=made.sha256,
    )


def _carry_out(made: Plan, setting: SweepSettings, *, silent: bool) -> SweepOutcome:
    from wbcbench.run.recorder import Interrupts
    from wbcbench.study.progress import Progress
    from wbcbench.study.sweep import Sweep, refuse_other_runs

    say = _silent if silent else _say
    specs = _with_images(made, setting.local, silent=silent)
    refuse_other_runs(specs, Progress(setting.results, made.study), setting.results / made.study)
    interrupts = Interrupts()
    interrupts.install(leash=False)
    return Sweep(made, specs, setting, interrupts, say).carry_out()


def _with_images(made: Plan, local: Local, *, silent: bool) -> list[RunSpec]:
    from wbcbench.study.sweep import with_images

    return with_images(made, local, _silent if silent else _say)


def _confirm(made: Plan, setting: SweepSettings, most_j: float | None, *, yes: bool) -> None:
    """Ask about what is left, not about what is done."""
    from wbcbench.study.forecast import forecast_cost

    if most_j is not None:
        left = [run for run, state in _states(made, setting) if state != "done"]
        confirm(forecast_cost(left, setting.pasts), most_j, yes=yes)


def _states(made: Plan, setting: SweepSettings) -> list[tuple[RunSpec, str]]:
    """The runs in reach, and how far each is whatever its images; writes nothing."""
    from wbcbench.study.progress import Progress, loosely
    from wbcbench.study.sweep import refuse_other_runs

    standing = Progress(setting.results, made.study, by=loosely)
    bare = [replace(run, dataset_id="", dataset_sha256="") for run in made.runs]
    refuse_other_runs(bare, standing, setting.results / made.study)
    reach = setting.blocks or made.blocks
    found: list[tuple[RunSpec, str]] = []
    for number in range(1, made.most_blocks + 1):
        attempt = standing.attempt(made.block(number))
        for run in made.block(number):
            state = standing.state(replace(run, block_attempt=attempt))
            if number <= reach or state != "todo":
                found.append((run, state))
    return found


def _dry_run(made: Plan, setting: SweepSettings, *, as_json: bool) -> None:
    from wbcbench.commands.plan import print_runs
    from wbcbench.study.forecast import forecast_cost
    from wbcbench.study.plan import promise
    from wbcbench.study.text import describe_plan, plan_document

    found = _states(made, setting)
    left = [run for run, state in found if state != "done"]
    costs = forecast_cost(left, setting.pasts)
    if as_json:
        shown = plan_document(made, promise(made), costs)
        states = [{"order_global": run.order_global, "state": state} for run, state in found]
        _echo({"schema": SCHEMA, "dry_run": True, **shown, "states": states})
        return
    print_runs(replace(made, runs=tuple(r for r, _ in found)), tuple(s for _, s in found))
    typer.echo(describe_plan(made, promise(made), costs))
    _say(f"Dry run: nothing was written. {len(left)} runs are left to do; Cost is of these.")


def _print(made: Plan, outcome: SweepOutcome, setting: SweepSettings, *, as_json: bool) -> None:
    from wbcbench.core.study_folder import RUNS_TABLE, pilot_study
    from wbcbench.study.progress import Progress, study_account
    from wbcbench.study.text import describe_sweep, sweep_document

    pilots = Progress(setting.results, pilot_study(made.study))
    found = study_account(outcome.specs, outcome.standing, pilots)
    if as_json:
        _echo({"schema": SCHEMA, "dry_run": False, **sweep_document(made, outcome, found)})
        return
    typer.echo(describe_sweep(made, outcome, found))
    typer.echo(f"Table: {setting.results / made.study / RUNS_TABLE}")
    if found.counted.runs:
        typer.echo(f"Next: wbcbench compare {made.study}; wbcbench report {made.study}")


def _raise_if_bad(outcome: SweepOutcome) -> None:
    """Turn what is not done into its exit code.

    Raises:
        InterruptedRunError: The user stopped it.
        RunsFailedError: Runs failed, were broken off, or stayed invalid.
    """
    states = outcome.states()
    if outcome.interrupted:
        raise InterruptedRunError(
            f"interrupted, {states.get('done', 0)} of {len(outcome.specs)} runs done. "
            f"Resume: {_command()}"
        )
    bad = [
        f"{states[name]} {name}"
        for name in ("failed", "interrupted", "invalid")
        if states.get(name)
    ]
    if bad:
        raise RunsFailedError(
            f"of {len(outcome.specs)} runs {', '.join(bad)}; what is done is kept. Their log.txt "
            f"says why. Again: {_command('--retry-failed')}"
        )


def _command(*more: str) -> str:
    """This very command, to be given again."""
    return shlex.join(["wbcbench", *sys.argv[1:], *(word for word in more if word not in sys.argv)])


def _work_options(*, silent: bool, live: bool) -> tuple[str, ...]:
    words = ("--quiet",) if silent else ()
    return words if live else (*words, "--no-live")


def _echo(document: dict[str, object]) -> None:
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _silent(_: str) -> None:
    """``--quiet`` and ``--json``: say nothing on the way."""
