"""``wbcbench sweep FILE``: carry out a study, or resume an interrupted one."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcbench.commands import options
from wbcbench.core.errors import InterruptedRunError, RunsFailedError, UsageError
from wbcbench.core.extras import require_training

if TYPE_CHECKING:
    from wbcbench.core.spec import RunSpec
    from wbcbench.study.experiment import Until
    from wbcbench.study.plan import Plan
    from wbcbench.study.progress import SweepOutcome
    from wbcbench.study.queue import QueueSettings
    from wbcbench.study.sweep import SweepSettings

CLUSTER = "On a cluster (--launcher slurm)"

RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Repeat failed runs once.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what is left to do; write nothing.")]
File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE",
        help="An experiment file such as experiments/quick.toml, or a plan.json.",
        show_default=False,
    ),
]
Blocks = Annotated[
    int | None, typer.Option(min=1, help="Stop after this many blocks; the plan stays the same.")
]
Launcher = Annotated[
    str, typer.Option(help="What starts the runs: local, slurm, or another of `list parts`.")
]
Spread = Annotated[
    bool,
    typer.Option(
        "--spread",
        help="A job for each run instead of each block: sooner done, but runs of a block are on "
        "different boards.",
        rich_help_panel=CLUSTER,
    ),
]
MaxParallel = Annotated[
    int | None,
    typer.Option(min=1, help="Jobs that wait or run at once.", rich_help_panel=CLUSTER),
]
ClusterChanges = Annotated[
    list[str] | None,
    typer.Option(
        "--cluster",
        metavar="KEY=VALUE",
        help="A key of [cluster]: --cluster partition=gpu.",
        rich_help_panel=CLUSTER,
    ),
]
Detach = Annotated[
    bool,
    typer.Option(
        "--detach",
        help="Leave once the jobs are submitted; `list STUDY --watch`, or the same command, picks "
        "them up.",
        rich_help_panel=CLUSTER,
    ),
]
Cancel = Annotated[
    bool,
    typer.Option(
        "--cancel",
        help="End the jobs of this study that wait or run; records are kept.",
        rich_help_panel=CLUSTER,
    ),
]


def sweep(
    file: File = None,
    changes: options.Changes = None,
    exploratory: options.Exploratory = False,
    data: options.Data = None,
    skip_unreadable: options.SkipUnreadable = False,
    results: options.Results = Path("results"),
    blocks: Blocks = None,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    confirm_over: options.ConfirmOver = None,
    yes: options.Yes = False,
    launcher: Launcher = "local",
    cluster: ClusterChanges = None,
    max_parallel: MaxParallel = None,
    spread: Spread = False,
    detach: Detach = False,
    cancel: Cancel = False,
    share: options.Share = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    live: options.Live = True,
    color: options.Color = "auto",
) -> None:
    """Carry out a study's runs in their order; finished ones are skipped, broken ones repeated."""
    from wbcbench.registry import load_part
    from wbcbench.run import live_state
    from wbcbench.study.forecast import forecast_cost
    from wbcbench.study.loops import fix_loops
    from wbcbench.study.plan import check_contrasts, read_plan
    from wbcbench.study.running import pasts
    from wbcbench.study.sweep import SweepSettings

    if file is None:
        raise UsageError(
            "sweep carries out a file, so that the study can be resumed. "
            "`wbcbench plan --out FILE` writes that of the published 2 × 2."
        )
    silent = quiet or as_json
    limit_j = options.parse_limit_j(confirm_over)
    plan = read_plan(file, changes or [], exploratory=exploratory)
    check_contrasts(plan)
    say = live_state.silent if silent else _print_with_time
    launch = load_part("launcher", launcher)
    named = (("--spread", spread), ("--detach", detach), ("--cancel", cancel))
    given = [name for name, is_given in named if is_given]
    if not launch.is_queue and (given or cluster or max_parallel):
        raise UsageError(
            f"{(given or ['--cluster, --max-parallel'])[0]} is of a queue: add --launcher slurm, "
            "or leave it out."
        )
    if spread and plan.until is not None:
        _refuse_spread(plan.until)
    settings_of_cluster = plan.cluster.change(cluster or ())
    if max_parallel is not None:
        settings_of_cluster = replace(settings_of_cluster, max_parallel=max_parallel)
    if cancel:
        _cancel(results / plan.study, say, as_json=as_json)
        return
    local = options.describe_local(
        data.resolve() if data and launch.is_queue else data,
        skip_unreadable=skip_unreadable,
        share=share,
        **({"cache_dir": settings_of_cluster.cache or None} if launch.is_queue else {}),
    )
    queued, time_elsewhere = None, None
    if launch.is_queue:
        from wbcbench.study.queue import QueueSettings

        queued = QueueSettings(launcher, settings_of_cluster, spread, detach)
        time_elsewhere = partial(_time_on_node, SweepSettings(results, launch, local), queued, say)
    if file.suffix != ".json":  # a finished plan is carried out as it is
        plan = fix_loops(
            plan, local, results, say, may_train=not dry_run, time_elsewhere=time_elsewhere
        )
    local = replace(local, plan_sha256=plan.sha256)
    settings = SweepSettings(
        results=results,
        launch=launch,
        work_options=options.list_work_options(silent=silent, live=live, color=color),
        pasts=tuple(pasts(plan, results)),
        local=local,
        retry_failed=retry_failed,
        blocks=blocks,
    )
    if dry_run:
        _print_dry_run(plan, settings, as_json=as_json)
        return
    require_training()
    options.finalise_programs(results)
    if limit_j is not None:  # about what is left, not about what is done
        left = [run for run, state in _list_states(plan, settings) if state != "done"]
        options.confirm(forecast_cost(left, settings.pasts), limit_j, yes=yes)
    outcome = _carry_out(plan, settings, say, queued)
    _print_outcome(plan, outcome, results, is_queued=queued is not None, as_json=as_json)
    _raise_if_bad(outcome, queued)


def _time_on_node(
    settings: SweepSettings,
    queued: QueueSettings,
    say: Callable[[str], None],
    specs: Sequence[RunSpec],
) -> Sequence[int | None]:
    """How often trainings are repeated, told where the runs go; without GPUs each run decides."""
    from wbcbench.run.recorder import Interrupts
    from wbcbench.study.queue import time_on_node

    if not queued.cluster.gres and all(spec.loops is None for spec in specs):
        return [None] * len(specs)
    interrupts = Interrupts()
    interrupts.install(leash=False)
    return time_on_node(specs, settings, queued, interrupts, say)


def _refuse_spread(until: Until) -> None:
    """Raise ``UsageError`` for a stopping rule that would never stop: it takes paired joules."""
    from wbcbench.compare.metric import PRIMARY, find_metric

    metric = find_metric(until.metric or PRIMARY)
    if metric.part is not None or metric.is_speed:
        raise UsageError(
            f"--spread puts the runs of a block on different boards, so that {metric.name} is not "
            "paired and [until] never stops. Leave out --spread, or [until]."
        )


def _cancel(study_dir: Path, say: Callable[[str], None], *, as_json: bool) -> None:
    from wbcbench import table
    from wbcbench.core.text import count_of
    from wbcbench.study.queue import cancel_jobs

    cancelled, left = cancel_jobs(study_dir, say)
    if study_dir.is_dir():
        table.write_table(study_dir)
    text = f"{count_of(len(cancelled), 'job')} ended."
    if left:
        text += f" Still there: {', '.join(left)}; call it again to account for them."
    document = {"cancelled": cancelled, "left": left}
    options.print_result(document, text, "cancel", as_json=as_json)


def _carry_out(
    plan: Plan, settings: SweepSettings, say: Callable[[str], None], queued: QueueSettings | None
) -> SweepOutcome:
    from wbcbench.run.recorder import Interrupts
    from wbcbench.study.progress import Progress
    from wbcbench.study.sweep import Sweep, refuse_other_runs, with_images

    folder = settings.results / plan.study
    # On the submitter, images lie in the user's own cache; a node's folder is the nodes' business.
    here = replace(settings.local, cache_dir=None) if queued else settings.local
    specs = with_images(plan, here, say, is_here=queued is None)
    refuse_other_runs(specs, Progress(settings.results, plan.study), folder)
    interrupts = Interrupts()
    interrupts.install(leash=False)
    if queued is None:
        return Sweep(plan, specs, settings, interrupts, say).carry_out()
    from wbcbench.study.queue import QueueSweep

    return QueueSweep(plan, specs, settings, interrupts, say, queued=queued).carry_out()


def _list_states(plan: Plan, settings: SweepSettings) -> list[tuple[RunSpec, str]]:
    """The runs in reach with their states, whatever their images; writes nothing."""
    from wbcbench.study.progress import Progress, identify_without_images
    from wbcbench.study.sweep import refuse_other_runs

    progress = Progress(settings.results, plan.study, by=identify_without_images)
    bare = [replace(run, dataset_id="", dataset_sha256="") for run in plan.runs]
    refuse_other_runs(bare, progress, settings.results / plan.study)
    reach = settings.blocks or plan.blocks
    states: list[tuple[RunSpec, str]] = []
    for number in range(1, plan.most_blocks + 1):
        attempt = progress.attempt(plan.block(number))
        for run in plan.block(number):
            state = progress.state(replace(run, block_attempt=attempt))
            if number <= reach or state != "todo":
                states.append((run, state))
    return states


def _print_dry_run(plan: Plan, settings: SweepSettings, *, as_json: bool) -> None:
    from wbcbench.commands.plan import print_runs
    from wbcbench.study.forecast import forecast_cost
    from wbcbench.study.power import analyse_power
    from wbcbench.study.text import build_plan_document, describe_plan, describe_plan_details

    states = _list_states(plan, settings)
    left = [run for run, state in states if state != "done"]
    costs, power = forecast_cost(left, settings.pasts), analyse_power(plan, settings.results)
    if as_json:
        document = {
            "dry_run": True,
            **build_plan_document(plan, power, costs),
            "states": [{"order_global": r.order_global, "state": state} for r, state in states],
        }
        options.print_json(document, "sweep")
        return
    print_runs(replace(plan, runs=tuple(run for run, _ in states)), [s for _, s in states])
    typer.echo(describe_plan(plan, power, costs))
    typer.echo(describe_plan_details(plan, power, costs))
    typer.echo(f"Dry run: nothing was written. {len(left)} runs are left, at this cost.", err=True)


def _print_outcome(
    plan: Plan, outcome: SweepOutcome, results: Path, *, is_queued: bool, as_json: bool
) -> None:
    from wbcbench.core.study_folder import RUNS_TABLE, pilot_study
    from wbcbench.core.terminal import fill
    from wbcbench.study.progress import Progress, account_study
    from wbcbench.study.text import build_sweep_document, describe_sweep
    from wbcbench.table.deleted import read_deleted

    pilots = Progress(results, pilot_study(plan.study))
    folders = (results / plan.study, results / pilot_study(plan.study))
    deleted = [each for folder in folders for each in read_deleted(folder)]
    account = account_study(outcome.specs, outcome.progress, pilots, deleted)
    if as_json:
        document = {"dry_run": False, **build_sweep_document(plan, outcome, account)}
        options.print_json(document, "sweep")
        return
    lines = describe_sweep(plan, outcome, account, is_queued=is_queued).splitlines()
    typer.echo("\n".join(fill(line, rest=" " * 9) for line in lines))
    states = outcome.states()
    if states.get("running"):
        watch = f"wbcbench list {plan.study} --watch"
        typer.echo(f"Jobs go on; {watch}, or the same command, picks them up; --cancel ends them.")
    typer.echo(f"Table: {results / plan.study / RUNS_TABLE}")
    if account.counted.runs:
        typer.echo(f"Next: wbcbench compare {plan.study}; wbcbench report {plan.study}")


def _raise_if_bad(outcome: SweepOutcome, queued: QueueSettings | None) -> None:
    """Turn what is not done into its exit code.

    Raises:
        InterruptedRunError: The user stopped it.
        RunsFailedError: Runs failed, were interrupted, or stayed invalid; or jobs ended and left
            some that never began.
    """
    states, total = outcome.states(), len(outcome.specs)
    if outcome.interrupted:
        what = "Left; jobs go on" if queued else "Interrupted"
        raise InterruptedRunError(
            f"{what}, {states.get('done', 0)} of {total} runs done. Resume: {_repeat()}"
        )
    counts = [(states.get(name), name) for name in ("failed", "interrupted", "invalid")]
    if queued and not queued.is_detached:
        counts.append((states.get("todo"), "not begun"))
    bad = ", ".join(f"{count} {name}" for count, name in counts if count)
    if bad:
        raise RunsFailedError(
            f"Of {total} runs, {bad}; see their log.txt, or those of jobs. Finished runs are kept. "
            f"Repeat: {_repeat('--retry-failed')}"
        )


def _repeat(*more: str) -> str:
    """This very command line, with further words."""
    return shlex.join(["wbcbench", *sys.argv[1:], *(word for word in more if word not in sys.argv)])


def _print_with_time(text: str) -> None:
    typer.echo(f"{time.strftime('%H:%M:%S')} {text}", err=True)
