"""A plan on a queue: the same blocks, records and resume, whatever becomes of jobs and engine."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fakes.scripted_queue import ELSEWHERE, ScriptedQueue
from fakes.stand_in_launcher import StandIn, record_of
from study.test_sweep import Timeless, always, made, where
from wbcbench.core.errors import RunExistsError, UsageError
from wbcbench.core.run_folder import Local, RunDir, study_runs
from wbcbench.core.run_state import this_process
from wbcbench.core.study_folder import JOBS
from wbcbench.run.job import JobDir, list_jobs
from wbcbench.run.launchers import EngineError, JobStage, JobStatus
from wbcbench.run.launchers.cluster import ClusterSettings
from wbcbench.run.publish import publish
from wbcbench.run.recorder import Interrupts
from wbcbench.study import running
from wbcbench.study.experiment import Until
from wbcbench.study.plan import Plan
from wbcbench.study.progress import SweepOutcome
from wbcbench.study.queue import (
    QUIET_S,
    OpenJobs,
    QueueSettings,
    QueueSweep,
    cancel_jobs,
    refuse_living,
    time_on_node,
)
from wbcbench.study.sweep import Sweep, SweepSettings


class QueuedStudy:
    """A results folder in which a plan is swept on a queue, as often as a test likes."""

    def __init__(self, results: Path, plan: Plan, queue: ScriptedQueue, **cluster: Any) -> None:
        self.results, self.plan, self.queue = results, plan, queue
        self.cluster = ClusterSettings(**cluster)
        self.interrupts, self.clock = Interrupts(), Timeless()
        self.said: list[str] = []

    def sweep(
        self, *, is_spread: bool = False, is_detached: bool = False, **more: Any
    ) -> SweepOutcome:
        local = Local(plan_sha256=self.plan.sha256)
        settings = SweepSettings(self.results, self.queue, local, clock=self.clock, **more)
        queued = QueueSettings("scripted", self.cluster, is_spread, is_detached)
        sweep = QueueSweep(
            self.plan, self.plan.runs, settings, self.interrupts, self.said.append, queued=queued
        )
        return sweep.carry_out()

    @property
    def runs(self) -> list[RunDir]:
        return study_runs(self.results, self.plan.study)

    def ends(self) -> list[str]:
        return sorted(f"{r.read_spec().block}:{_end_of(r)}" for r in self.runs)


def _end_of(run: RunDir) -> str:
    record = run.read_record()
    return record.error.kind if record.error else record.status


def outcome_of(results: Path, plan: Plan) -> tuple[dict[Any, int], int]:
    """What a sweep on this machine would leave."""
    settings = SweepSettings(results, StandIn(), clock=Timeless())
    outcome = Sweep(plan, plan.runs, settings, Interrupts(), lambda _: None).carry_out()
    return outcome.states(), len(outcome.specs)


def test_each_block_is_a_job_whose_runs_keep_their_order(tmp_path: Path) -> None:
    study = QueuedStudy(tmp_path, made(5), ScriptedQueue())
    outcome = study.sweep()
    assert outcome.states() == {"done": 10}
    started = [run.read_spec() for run in study.queue.started]
    for number in range(1, 6):
        assert [s for s in started if s.block == number] == [
            replace(s, repeat=1) for s in study.plan.block(number)
        ]
    assert len(list_jobs(tmp_path / "mine", is_open=False)) == 5
    assert list_jobs(tmp_path / "mine") == []
    assert (tmp_path / "mine" / "runs.csv").read_text().count("\n") == 11


def test_spread_makes_each_run_a_job(tmp_path: Path) -> None:
    study = QueuedStudy(tmp_path, made(2), ScriptedQueue())
    assert study.sweep(is_spread=True).states() == {"done": 4}
    jobs = list_jobs(tmp_path / "mine", is_open=False)
    assert [len(job.read().tasks) for job in jobs] == [1, 1, 1, 1]


def test_no_more_jobs_wait_or_run_than_the_window_holds_and_arrays_stay_below_the_limit(
    tmp_path: Path,
) -> None:
    study = QueuedStudy(tmp_path, made(12), ScriptedQueue(), max_parallel=5)
    assert study.sweep().states() == {"done": 24}
    assert study.queue.most_open == 5
    assert max(study.queue.submissions) == 3
    assert sum(study.queue.submissions) == 12


@pytest.mark.parametrize("window", [1, 3])
def test_the_window_holds_also_where_the_runs_of_a_block_are_spread(
    window: int, tmp_path: Path
) -> None:
    study = QueuedStudy(tmp_path, made(4), ScriptedQueue(), max_parallel=window)
    assert study.sweep(is_spread=True).states() == {"done": 8}
    assert study.queue.most_open == window


def test_a_detached_sweep_fills_the_window_and_the_next_one_goes_on(tmp_path: Path) -> None:
    study = QueuedStudy(tmp_path, made(4), ScriptedQueue(), max_parallel=3)
    assert study.sweep(is_detached=True).states() == {"running": 6, "todo": 2}
    assert study.sweep().states() == {"done": 8}
    assert len(study.queue.started) == 8


def test_a_finished_study_submits_nothing(tmp_path: Path) -> None:
    study = QueuedStudy(tmp_path, made(2), ScriptedQueue())
    study.sweep()
    study.sweep()
    assert study.queue.submissions == [2]


def test_a_block_with_an_invalid_run_is_repeated_from_its_beginning(tmp_path: Path) -> None:
    script = where("invalid", block=1, variant="relu-dropout", block_attempt=1)
    study = QueuedStudy(tmp_path, made(2, block_repeats=1), ScriptedQueue(script))
    assert study.sweep().states() == {"done": 4}
    again = [run.read_spec() for run in study.queue.started if run.read_spec().block_attempt == 2]
    assert [spec.variant for spec in again] == [spec.variant for spec in study.plan.block(1)]


def test_the_stopping_rule_stops_where_it_stops_on_one_machine(tmp_path: Path) -> None:
    until = Until(contrast="leaky-dropout", width=4.0, max_blocks=7)
    plan = made(3, most=7, until=until)
    study = QueuedStudy(tmp_path / "queue", plan, ScriptedQueue())
    outcome = study.sweep()
    assert (outcome.states(), len(outcome.specs)) == outcome_of(tmp_path / "local", plan)
    assert outcome.interim_analyses


def test_a_failed_run_is_repeated_only_when_asked_for(tmp_path: Path) -> None:
    study = QueuedStudy(
        tmp_path, made(2), ScriptedQueue(where("failed", block=1, variant="relu-dropout"))
    )
    assert study.sweep().states() == {"done": 3, "failed": 1}
    assert study.sweep().states() == {"done": 3, "failed": 1}
    study.queue.script = always("done")
    assert study.sweep(retry_failed=True).states() == {"done": 4}


def test_a_run_that_kills_its_job_is_tried_as_often_as_the_plan_says_and_left_as_failed(
    tmp_path: Path,
) -> None:
    script = where("job dies", block=1, variant="relu-dropout")
    study = QueuedStudy(tmp_path, made(2), ScriptedQueue(script), attempts=3)
    assert study.sweep().states() == {"done": 3, "failed": 1}
    poison = [
        r
        for r in study.runs
        if r.read_spec().variant == "relu-dropout" and r.read_spec().block == 1
    ]
    assert [
        run.read_record().status for run in sorted(poison, key=lambda r: r.read_spec().repeat)
    ] == [
        "interrupted",
        "interrupted",
        "failed",
    ]
    assert study.sweep().states() == {"done": 3, "failed": 1}


def test_an_engine_that_does_not_answer_concludes_nothing(tmp_path: Path) -> None:
    study = QueuedStudy(tmp_path, made(3), ScriptedQueue(nodes=1), max_parallel=2)
    silent = iter([False, True, True, True])

    def set_down() -> None:
        study.queue.is_down = next(silent, False)

    study.clock.on_sleep = set_down
    assert study.sweep().states() == {"done": 6}
    assert {_end_of(run) for run in study.runs} == {"done"}
    assert sum("does not answer" in line for line in study.said) == 1


@pytest.mark.parametrize("has_arrived", [True, False])
def test_a_submission_without_an_answer_is_asked_for_by_its_name(
    tmp_path: Path, has_arrived: bool
) -> None:
    queue = ScriptedQueue()
    study = QueuedStudy(tmp_path, made(2), queue)
    failures = iter([True])

    def fail() -> None:
        if next(failures, False):
            raise EngineError("The queue does not answer: timed out.")

    setattr(queue, "after_submit" if has_arrived else "before_submit", fail)
    assert study.sweep().states() == {"done": 4}
    assert len(queue.started) == 4
    assert len(study.runs) == 4


def test_a_refused_submission_leaves_no_run_behind(tmp_path: Path) -> None:
    def refuse() -> None:
        raise UsageError("The queue refuses the job: no such partition.")

    study = QueuedStudy(tmp_path, made(2), ScriptedQueue(before_submit=refuse))
    with pytest.raises(UsageError, match="no such partition"):
        study.sweep()
    assert study.runs == []
    assert list_jobs(tmp_path / "mine") == []


class Killed(BaseException):
    """The submitter is gone."""


def test_a_submitter_killed_before_or_after_it_handed_a_job_over_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    for moment in ("before_submit", "after_submit"):
        results = tmp_path / moment
        queue = ScriptedQueue()
        study = QueuedStudy(results, made(2), queue)

        def kill() -> None:
            raise Killed

        setattr(queue, moment, kill)
        with pytest.raises(Killed):
            study.sweep()
        for job in list_jobs(results / "mine"):  # as if by a process that is no more
            gone = asdict(replace(this_process(), pid=2**22 - 3, start_ticks=1))
            document = json.loads((job.path / "job.json").read_text())
            (job.path / "job.json").write_text(json.dumps(document | {"submitter": gone}))
        setattr(queue, moment, lambda: None)
        assert study.sweep().states() == {"done": 4}
        assert len(queue.started) == 4
        assert len(study.runs) == 4


def test_a_withdrawn_job_does_not_start(tmp_path: Path) -> None:
    study = QueuedStudy(tmp_path, made(1), ScriptedQueue())
    study.sweep(is_detached=True)
    [job] = list_jobs(tmp_path / "mine")
    assert job.withdraw()
    with pytest.raises(UsageError, match="withdrawn"):
        job.start()
    assert not job.withdraw()


def test_a_start_ends_the_one_before(tmp_path: Path) -> None:
    study = QueuedStudy(tmp_path, made(1), ScriptedQueue())
    study.sweep(is_detached=True)
    [job] = list_jobs(tmp_path / "mine")
    first = job.start()
    assert job.is_current(first)
    assert job.start() == first + 1
    assert not job.is_current(first)


def test_of_two_submitters_one_makes_a_job(tmp_path: Path) -> None:
    study = QueuedStudy(tmp_path, made(1), ScriptedQueue())
    study.sweep(is_detached=True)
    [job] = list_jobs(tmp_path / "mine")
    with pytest.raises(RunExistsError):
        job.create(job.read())


def lost_after_one(_: JobDir) -> JobStage:
    return JobStage.LOST


def test_a_run_of_a_lost_node_is_accounted_for_once_it_writes_nothing_any_more(
    tmp_path: Path,
) -> None:
    dying = iter(["job dies"])
    queue = ScriptedQueue(lambda _: next(dying, "done"), on_end=lost_after_one)
    study = QueuedStudy(tmp_path, made(1), queue)
    growing = iter(range(5))

    def write() -> None:
        for run in study.runs:
            if not run.is_finished and next(growing, None) is not None:
                with run.trace_path("simulated").open("a") as stream:
                    stream.write("0.0,1.0\n")
                written_s.append(study.clock.t_s)

    written_s: list[float] = []
    study.clock.on_sleep = write
    assert study.sweep().states() == {"done": 2}
    assert study.ends() == ["1:done", "1:done", "1:recorder-died"]
    assert study.clock.t_s >= written_s[-1] + QUIET_S


def test_a_process_that_outlives_its_job_is_waited_for(tmp_path: Path) -> None:
    dying = iter(["job dies"])
    queue = ScriptedQueue(lambda _: next(dying, "done"), runner=this_process())
    study = QueuedStudy(tmp_path, made(1), queue)
    waits = iter(range(20))

    def end_at_last() -> None:
        if next(waits, None) is None:
            for run in study.runs:
                if not run.is_finished and run.read_state().runner is not None:
                    run.write_record(publish(run, record_of(run, "done")))

    study.clock.on_sleep = end_at_last
    assert study.sweep().states() == {"done": 2}
    assert study.ends() == ["1:done", "1:done"]


def test_of_two_attempts_that_are_done_the_first_is_published(tmp_path: Path) -> None:
    spec = made(1).runs[0]
    first, second = (running.submit(tmp_path, spec, Local(), "scripted", "job") for _ in range(2))
    for run in (second, first):
        run.write_record(publish(run, record_of(run, "done")))
    assert second.read_record().status == "done"
    late = first.read_record()
    assert late.status == "interrupted"
    assert late.error is not None
    assert late.error.kind == "superseded"
    assert second.run_id in late.error.message
    assert late.energies == replace(record_of(first, "done")).energies


@pytest.mark.parametrize("fate", ["deleted", "given up"])
def test_an_attempt_that_was_published_and_came_to_nothing_gives_way(
    tmp_path: Path, fate: str
) -> None:
    spec = made(1).runs[0]
    first, second = (running.submit(tmp_path, spec, Local(), "scripted", "job") for _ in range(2))
    publish(first, record_of(first, "done"))  # and killed before the record was written
    if fate == "deleted":
        first.delete()
    else:
        first.write_record(record_of(first, "interrupted"))
    assert publish(second, record_of(second, "done")).status == "done"


def test_what_another_command_accounts_for_meanwhile_is_carried_out_all_the_same(
    tmp_path: Path,
) -> None:
    study = QueuedStudy(tmp_path, made(3), ScriptedQueue(nodes=1))
    cancelled = iter([True])

    def watch() -> None:
        if next(cancelled, False):
            study.queue.cancel({list(study.queue.waiting)[-1]: ""})
            watcher = OpenJobs(tmp_path / "mine", lambda _: None, {"scripted": study.queue})
            for own in [own for own in watcher.jobs.values() if own.job.place == 2]:
                watcher.withdraw(own)

    study.clock.on_sleep = watch
    assert study.sweep().states() == {"done": 6}


def test_jobs_that_end_before_a_run_begins_are_not_submitted_for_ever(tmp_path: Path) -> None:
    queue = ScriptedQueue()
    study = QueuedStudy(tmp_path, made(1), queue, attempts=2)
    queue._end = lambda folder: JobStage.ENDED  # type: ignore[method-assign]
    assert study.sweep().states() == {"todo": 2}
    assert queue.submissions == [1, 1]
    assert any("logs" in line for line in study.said)
    assert study.runs == []


@pytest.mark.parametrize("is_pinned", [True, False])
def test_a_job_that_would_wait_for_ever_is_ended_and_submitted_anew(
    tmp_path: Path, is_pinned: bool
) -> None:
    queue = ScriptedQueue()
    study = QueuedStudy(tmp_path, made(1), queue, attempts=1)
    if is_pinned:  # to the node of the block's first run, which takes no jobs any more
        second = study.plan.block(1)[1].variant
        queue.script = where("job dies", block=1, variant=second, repeat=1)
        study.cluster = replace(study.cluster, attempts=2)
    status = (
        JobStatus(JobStage.WAITING, "", "PENDING, ReqNodeNotAvail", lacks_node=True)
        if is_pinned
        else JobStatus(JobStage.HELD, "", "PENDING, launch failed requeued held")
    )

    def hold() -> None:
        if len(queue.submissions) == 1 + is_pinned:
            queue.held[next(reversed(queue.waiting))] = status

    queue.after_submit = hold
    assert study.sweep().states() == {"done": 2}
    assert len(queue.cancelled) == 1
    assert len(queue.submissions) == 2 + is_pinned


def test_a_node_that_cannot_measure_is_avoided_and_its_runs_are_tried_elsewhere(
    tmp_path: Path,
) -> None:
    broken = iter(["unmeasurable"])
    queue = ScriptedQueue(lambda _: next(broken, "done"), nodes=1)
    study = QueuedStudy(tmp_path, made(2), queue, max_parallel=1)
    assert study.sweep().states() == {"done": 4}
    assert queue.avoided == {"node7"}
    assert any("node7 cannot measure" in line for line in study.said)
    assert study.ends().count("1:CannotMeasureError") == 1


def test_what_no_node_can_measure_is_left_as_failed(tmp_path: Path) -> None:
    study = QueuedStudy(tmp_path, made(1), ScriptedQueue(always("unmeasurable")), attempts=2)
    assert study.sweep().states() == {"failed": 2}
    assert len(study.queue.started) == 4


def on_boards(*boards: str) -> Any:
    """A script whose runs end done, on these boards in turn; each node has one."""
    turn = iter(boards)
    return lambda _: f"done on {next(turn)}"


def test_the_rest_of_a_block_goes_to_the_node_of_its_first_runs(tmp_path: Path) -> None:
    queue = ScriptedQueue(where("job dies", block=1, variant="leaky-dropout", repeat=1))
    study = QueuedStudy(tmp_path, made(1), queue)
    [first, second] = study.plan.block(1)
    queue.script = where("job dies", block=1, variant=second.variant, repeat=1)
    assert study.sweep().states() == {"done": 2}
    assert queue.nodes_wanted == ["", "node7"]
    assert [run.read_spec().variant for run in queue.started] == [
        first.variant,
        second.variant,
        second.variant,
    ]


def test_a_block_on_two_boards_is_told_of_and_repeated_when_asked_for(tmp_path: Path) -> None:
    queue = ScriptedQueue(on_boards("a", "b", *"cccc", *"dd"))
    study = QueuedStudy(tmp_path, made(2), queue, max_parallel=1)
    assert study.sweep().states() == {"done": 4}
    assert [line for line in study.said if "block 1 is not paired" in line]
    assert not [line for line in study.said if "block 2 is not paired" in line]
    assert len(queue.started) == 4
    assert study.sweep(retry_failed=True).states() == {"done": 4}
    again = [run.read_spec() for run in queue.started[4:]]
    assert [(spec.block, spec.block_attempt) for spec in again] == [(1, 2), (1, 2)]
    study.sweep(retry_failed=True)
    assert len(queue.started) == 6


def test_a_spread_study_is_not_called_torn_by_a_later_sweep(tmp_path: Path) -> None:
    study = QueuedStudy(tmp_path, made(1), ScriptedQueue(on_boards("a", "b")))
    study.sweep(is_spread=True)
    study.sweep(retry_failed=True)
    assert len(study.queue.started) == 2
    assert not [line for line in study.said if "not paired" in line]


def test_not_even_force_finalises_a_run_whose_job_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = ScriptedQueue()
    study = QueuedStudy(tmp_path, made(1), queue)
    monkeypatch.setattr("wbcbench.registry.load_part", lambda *_: queue)
    study.sweep(is_detached=True)
    with pytest.raises(UsageError, match="is running"):
        refuse_living(study.runs[0])
    queue.is_down = True
    with pytest.raises(EngineError):
        refuse_living(study.runs[0])
    queue.is_down = False
    queue.ask({})
    refuse_living(study.runs[0])


def test_cancelled_jobs_keep_their_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = ScriptedQueue(nodes=1)
    study = QueuedStudy(tmp_path, made(3), queue, max_parallel=3)
    study.sweep(is_detached=True)
    jobs = OpenJobs(tmp_path / "mine", study.said.append, {"scripted": queue})
    jobs.update()
    jobs.update()
    monkeypatch.setattr("wbcbench.registry.load_part", lambda *_: queue)
    ended, left = cancel_jobs(tmp_path / "mine", study.said.append)
    assert (len(ended), left) == (2, [])
    assert study.ends() == ["1:done", "1:done"]
    assert (tmp_path / "mine" / JOBS).is_dir()
    assert study.sweep().states() == {"done": 6}


def test_a_sweep_whose_jobs_another_command_cancels_submits_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = QueuedStudy(tmp_path, made(3), ScriptedQueue(nodes=1))
    monkeypatch.setattr("wbcbench.registry.load_part", lambda *_: study.queue)
    calls = iter([cancel_jobs])

    def cancel() -> None:
        for call in calls:
            call(tmp_path / "mine", study.said.append)

    study.clock.on_sleep = cancel
    states = study.sweep().states()
    assert study.queue.submissions == [3]
    assert states == {"todo": 6}
    assert "cancelled" in study.said[-1]
    assert study.sweep().states() == {"done": 6}


def test_a_detached_sweep_does_not_leave_as_if_a_silent_engine_had_its_jobs(
    tmp_path: Path,
) -> None:
    study = QueuedStudy(tmp_path, made(3), ScriptedQueue(), max_parallel=1)
    study.sweep(is_detached=True)
    study.queue.is_down = True
    with pytest.raises(EngineError):
        study.sweep(is_detached=True)


def test_the_folder_of_a_study_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "other").mkdir(parents=True)
    (tmp_path / "mine").symlink_to(tmp_path / "elsewhere" / "other")
    study = QueuedStudy(tmp_path, made(1), ScriptedQueue())
    assert study.sweep().states() == {"done": 2}
    assert not (tmp_path / "elsewhere" / "mine").exists()


def test_a_refused_job_that_times_a_training_is_not_waited_for_by_the_next_call(
    tmp_path: Path,
) -> None:
    def refuse() -> None:
        raise UsageError("The queue refuses the job: no such partition.")

    study = QueuedStudy(tmp_path, made(1), ScriptedQueue(before_submit=refuse))
    settings = SweepSettings(tmp_path, study.queue, clock=Timeless())
    queued = QueueSettings("scripted", study.cluster)
    ask = partial(time_on_node, study.plan.runs, settings, queued, Interrupts(), study.said.append)
    with pytest.raises(UsageError, match="refuses"):
        ask()
    assert list_jobs(tmp_path / "mine") == []

    def answer() -> None:
        (job,) = list_jobs(tmp_path / "mine")
        job.write_loops([3, 3])

    study.queue.before_submit = answer
    assert ask() == (3, 3)


def test_a_study_whose_runs_wait_in_a_queue_is_not_swept_here(tmp_path: Path) -> None:
    study = QueuedStudy(tmp_path, made(1), ScriptedQueue())
    study.sweep(is_detached=True)
    settings = SweepSettings(tmp_path, StandIn(), clock=Timeless())
    with pytest.raises(UsageError, match="waits for its turn in job"):
        Sweep(study.plan, study.plan.runs, settings, Interrupts(), lambda _: None).carry_out()


def test_elsewhere_is_not_here() -> None:
    assert ELSEWHERE.host_key != this_process().host_key
