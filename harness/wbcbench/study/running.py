"""From a spec to a finished run, and a pilot run to forecast a plan's cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench import registry, table
from wbcbench.core.errors import (
    InterruptedRunError,
    RunExistsError,
    RunsFailedError,
    UsageError,
    error_named,
)
from wbcbench.core.lock import HOST, machine_lock, require_free
from wbcbench.core.provenance import host_id
from wbcbench.core.run_condition import condition
from wbcbench.core.run_folder import Local, RunDir, study_runs
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import pilot_study, studies
from wbcbench.power.meter import AUTO, MeterRequest, find_meters, list_boards
from wbcbench.power.power_limit import require_power_limit
from wbcbench.run import finalise
from wbcbench.run.launchers import Launcher
from wbcbench.run.live_state import Say, preparing
from wbcbench.table import derive, tensorboard

if TYPE_CHECKING:
    from wbcbench.study.plan import Plan
    from wbcbench.table.derive import Past

_MOST_OTHERS = 200  # records of other studies that are read for a forecast


def with_data(spec: RunSpec, local: Local, say: Say, *, is_here: bool = True) -> RunSpec:
    """The spec with the identity of its images; decodes and caches them when needed.

    Args:
        spec: What is asked.
        local: Where the images lie.
        say: Is told what is done.
        is_here: Whether it is carried out on this machine, so that its meters must work here.

    Raises:
        UsageError: The images are missing or damaged, or the batch is larger than the data.
        CannotMeasureError: A meter or a GPU that the spec names does not work here.
    """
    if is_here:
        request = _request_meters(spec)
        names = [name for name in spec.meters if name != AUTO or spec.gpus]
        for meter in find_meters(names, request).meters:
            if meter.device is not None:
                with meter:
                    pass
        require_power_limit(spec)
    from wbcbench.data.load import load

    with preparing(say) as on_progress:
        dataset = load(
            Path(local.data) if local.data else None,
            image_size=spec.image_size,
            cache_dir=Path(local.cache_dir) if local.cache_dir else None,
            skip_unreadable=local.skip_unreadable,
            on_progress=on_progress,
        )
    if spec.batch_size > len(dataset.train.labels):
        raise UsageError(
            f"--batch-size is {spec.batch_size}, but TRAIN has only {len(dataset.train.labels)} "
            f"images in {dataset.root}. Choose a smaller batch."
        )
    say(f"{dataset.dataset_id}: {len(dataset.train.labels)} TRAIN, {len(dataset.test.labels)} TEST")
    return replace(spec, dataset_id=dataset.dataset_id, dataset_sha256=dataset.sha256)


def _request_meters(spec: RunSpec) -> MeterRequest:
    return MeterRequest(gpus=spec.gpus, one_gpu=True, country=spec.country, for_training=True)


def find_finished_run(results: Path, spec: RunSpec) -> RunDir | None:
    """The run of this spec that is done, whatever its repeat; ``None`` if there is none.

    The table is brought up to date then: runs whose command was killed may have ended since.

    Raises:
        UsageError: The results folder was written by a newer wbcbench.
    """
    table.refuse_newer_table(results / spec.study)
    finalise.finalise_abandoned(results, spec.study)
    for run in find_attempts(results, spec):
        if run.is_finished and run.read_record().status == "done":
            table.write_table(results / spec.study)
            return run
    return None


def carry_out(
    results: Path,
    spec: RunSpec,
    local: Local,
    work_options: Sequence[str],
    launch: Launcher | None = None,
) -> RunDir:
    """Carry out ``spec`` as its next attempt and bring the table up to date.

    Args:
        results: Where studies lie.
        spec: What is asked, with the identity of its images.
        local: What belongs to this machine.
        work_options: For ``wbcbench work``.
        launch: What starts the run; this machine's own launcher by default.

    Raises:
        CannotMeasureError: Another harness measures what this run would; nothing was written.
        RunsFailedError: The recorder ended without a record.
    """
    launch = launch or registry.load_part("launcher", "local")
    with _lock_machine(spec, local) as host_lock:
        run = submit(results, spec, local)
        for _ in launch([run.path], work_options, host_lock):
            finalise.finalise_ended(run)
            finalise.finalise_abandoned(results, spec.study)
    if not run.is_finished:
        raise RunsFailedError(f"{run.run_id} left no record. {condition(run).text}")
    derive.derive(run)
    tensorboard.add_result(run)
    table.write_table(results / spec.study)
    return run


@contextmanager
def _lock_machine(spec: RunSpec, local: Local) -> Iterator[int | None]:
    """Hold this machine, before there is a folder, for a run that is carried out on it.

    Yields the open file that the run's recorder goes on holding. ``None`` where there is none to
    pass on, for another harness holds the machine and we share it; the recorder then takes the
    machine itself. It takes the boards, too; here they are only seen to be free.

    Raises:
        CannotMeasureError: Another harness measures here, and ``--share`` was not given.
    """
    boards = list_boards(spec.meters, _request_meters(spec))
    for board in boards if not local.share else ():
        require_free(board)
    with machine_lock(HOST, share=local.share, alone=not boards) as hold:
        yield hold.handle if hold.is_exclusive else None


def submit(results: Path, spec: RunSpec, local: Local, launcher: str = "", job: str = "") -> RunDir:
    """Make the folder of the next attempt; where two commands try at once, each gets its own."""
    attempts = find_attempts(results, spec)
    repeat = 1 + max((run.read_spec().repeat for run in attempts), default=0)
    while True:
        fresh = replace(spec, repeat=repeat)
        run = RunDir(results / fresh.study / fresh.run_id)
        with suppress(RunExistsError):
            run.create(fresh, local, launcher, job)
            return run
        repeat += 1


def raise_if_bad(run: RunDir) -> None:
    """Turn a record that did not end well into its error.

    Raises:
        InterruptedRunError: The user stopped it (exit 130).
        RunsFailedError: It failed, or its joules must not be used (exit 7).
    """
    record = run.read_record()
    if record.status == "done":
        return
    if record.status == "interrupted":
        why = f" {record.error.message}" if record.error else ""
        raise InterruptedRunError(f"{run.run_id} was interrupted; its joules are stored.{why}")
    if record.error is None:
        raise RunsFailedError(f"The joules of {run.run_id} must not be used: {record.quality}.")
    log = f" Log: {run.log_path}" if run.log_path.exists() else ""
    raise error_named(record.error.kind)(
        f"{run.run_id} ended as {record.status}. {record.error.message}{log}"
    )


def find_attempts(results: Path, spec: RunSpec) -> list[RunDir]:
    """Every run of this spec but for its repeat number, in order of repeat."""
    prefix = f"{spec.variant}-s{spec.seed}-"  # saves reading what cannot be the same
    runs = study_runs(results, spec.study, prefix)
    same = [run for run in runs if run.read_spec().identity == spec.identity]
    return sorted(same, key=lambda run: run.read_spec().repeat)


def carry_out_pilot(
    plan: Plan,
    results: Path,
    local: Local,
    say: Callable[[str], None],
    launch: Launcher | None = None,
) -> RunDir:
    """Carry out one epoch of the plan's first run, unless that is done already.

    Raises:
        WbcbenchError: It cannot be carried out, or ended badly.
    """
    first = plan.runs[0].identity
    pilot = replace(first, study=pilot_study(plan.study), epochs=1, loops=1, block=0)
    spec = with_data(pilot, local, say)
    run = find_finished_run(results, spec)
    if run is None:
        say(f"pilot: one epoch of {spec.variant}")
        run = carry_out(results, spec, local, ["--no-live"], launch)
    raise_if_bad(run)
    return run


def pasts(plan: Plan, results: Path) -> list[Past]:
    """Finished runs that a forecast may learn from: the study's own and its pilots'.

    Without these, runs of other studies on the images that the plan names, on this machine.
    """
    from wbcbench.study.progress import Progress

    own = [
        past
        for study in (plan.study, pilot_study(plan.study))
        for past in Progress(results, study).pasts
    ]
    if own or not plan.runs[0].dataset_id:
        return own
    return list(islice(_iterate_others(results), _MOST_OTHERS))


def _iterate_others(results: Path) -> Iterator[Past]:
    """The runs of every study on this machine; one that cannot be read teaches nothing."""
    from wbcbench.study.progress import Progress

    here = host_id()
    for study in studies(results):
        with suppress(UsageError):
            for attempt in Progress(results, study):
                if attempt.past and attempt.run.read_record().provenance.get("host_id") == here:
                    yield attempt.past
