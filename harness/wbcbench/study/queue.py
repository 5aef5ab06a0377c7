"""Carry out a plan on a queue: each block a job, a window of jobs at a time.

What is known lies in the folders of jobs and runs, and what goes on is the engine's word alone: a
process on another machine is never taken for dead by guess, and while the engine does not answer
nothing is finalised. So a sweep may be left, killed, or called from elsewhere at any moment, and
the next one goes on.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wbcbench import registry, table
from wbcbench.compare.boards import why_not_one_board
from wbcbench.core.errors import (
    CannotMeasureError,
    InterruptedRunError,
    RunExistsError,
    UsageError,
)
from wbcbench.core.files import refresh_listing
from wbcbench.core.run_condition import condition
from wbcbench.core.run_folder import CLAIM, RunDir
from wbcbench.core.run_state import Liveness, liveness, this_process
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import JOBS
from wbcbench.core.text import count_of
from wbcbench.core.window import Clock, MonotonicClock
from wbcbench.run.finalise import NEVER_BEGAN, finalise_ended
from wbcbench.run.job import (
    Job,
    JobDir,
    Task,
    choose_folder,
    is_job,
    list_jobs,
    name_job,
    note_cancellation,
    read_cancellation,
)
from wbcbench.run.launchers import EngineError, JobStage, JobStatus, Queue
from wbcbench.run.launchers.cluster import ClusterSettings
from wbcbench.run.live_state import Say
from wbcbench.run.publish import SUPERSEDED
from wbcbench.run.recorder import INTERRUPTED, TERMINATED, Interrupts
from wbcbench.study import running
from wbcbench.study.progress import InterimAnalyses
from wbcbench.study.sweep import Sweep, SweepSettings
from wbcbench.study.text import describe_end, describe_interim, describe_repeat
from wbcbench.study.work import carry_out_job

SHORTEST_POLL_S, LONGEST_POLL_S = 1.0, 15.0
SUBMITTER_S = 600.0  # a submitter that cannot be seen from here has given up by then
QUIET_S = 90.0  # a run that writes nothing as long is not carried out: its trace grows at 2 Hz
CANCEL_S = 120.0  # Slurm kills what does not end within its KillWait, 30 seconds by default
WATCH_S = 5.0
TABLE_SHARE = 0.05  # of the time: the table of a large study is not written after each run

UNCOUNTED = {NEVER_BEGAN.kind, SUPERSEDED, TERMINATED.kind, INTERRUPTED.kind}
"""Ends of a run for which it can do nothing, so that they are no try."""

_OVER = (JobStage.ENDED, JobStage.LOST)


@dataclass(slots=True)
class OpenJob:
    """A job that is not closed.

    Attributes:
        folder, job: What it carries out.
        seen_s: Since when we know of it.
        id: The engine's; ``None`` as long as it is not known.
        status: The engine's last word.
        runs: Folders of its attempts, as far as they are known, that have no record.
        ended: Those of which it was said that they have one.
        is_waited_for: Whether it is over, but for a run that may go on.
        is_given_up: Whether we ended it, for it would never have started.
        is_unsent: Whether we submitted it, and the engine did not say that it has it.
    """

    folder: JobDir
    job: Job
    seen_s: float
    id: str | None = None
    status: JobStatus | None = None
    runs: set[RunDir] = field(default_factory=set)
    ended: set[RunDir] = field(default_factory=set)
    is_waited_for: bool = False
    is_given_up: bool = False
    is_unsent: bool = False


class OpenJobs:
    """The jobs of a study that are not closed; asks their engines and accounts for what ended."""

    def __init__(
        self,
        study_dir: Path,
        say: Say,
        queues: Mapping[str, Queue] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Read the folders of the jobs.

        Args:
            study_dir: The study.
            say: Gets a line about each step.
            queues: By launcher, those that are known; others are connected when they are needed.
            clock: Source of time.
        """
        self._dir, self._say, self._clock = study_dir, say, clock or MonotonicClock()
        self._queues = dict(queues or {})
        self._contents: dict[Path, tuple[float, Any]] = {}
        self.jobs: dict[str, OpenJob] = {}
        self.fruitless: Counter[str] = Counter()
        self.bad_nodes: set[str] = set()
        self._changed: list[RunDir] = []
        for folder in list_jobs(study_dir):
            self.add(folder)

    def add(self, folder: JobDir, runs: Iterable[RunDir] | None = None) -> None:
        """One more job, perhaps of another submitter; its ``runs`` where they are known."""
        job = folder.read()
        own = OpenJob(folder, job, self._clock.now_s())
        if runs is None:
            runs = (run for task in job.tasks for run in self._find_attempts(folder, task.spec))
        for run in runs:
            (own.ended if run.is_finished else own.runs).add(run)
        self.jobs.setdefault(folder.name, own)

    def take_changed(self) -> list[RunDir]:
        """Runs that have got their record, or are gone, since this was last asked."""
        changed, self._changed = self._changed, []
        return changed

    def update(self) -> None:
        """Ask the engines, and account for what ended.

        Raises:
            EngineError: An engine does not answer; nothing was concluded from that.
        """
        for own in self.jobs.values():
            ended = {run for run in own.runs if run.is_finished}
            own.runs -= ended
            own.ended |= ended
            self._changed += ended
            self._judge_node(own, ended)
        for own in list(self.jobs.values()):
            if own.id is None:
                self._identify(own)
        for launcher in {own.job.launcher for own in self.jobs.values()}:
            known = {
                own.id: own
                for own in self.jobs.values()
                if own.id is not None and own.job.launcher == launcher
            }
            names = {job_id: own.job.submission for job_id, own in known.items()}
            for job_id, status in self.connect(launcher).ask(names).items() if known else ():
                self._follow(known[job_id], status)

    def cancel(self) -> None:
        """Ask the engines to end every job."""
        for own in list(self.jobs.values()):
            if own.id is None:
                self._identify(own)
        for launcher in {own.job.launcher for own in self.jobs.values()}:
            known = {
                own.id: own.job.submission
                for own in self.jobs.values()
                if own.job.launcher == launcher and own.id is not None
            }
            if known:
                self.connect(launcher).cancel(known)

    def connect(self, launcher: str) -> Queue:
        """The queue of a launcher."""
        if launcher not in self._queues:
            part = registry.load_part("launcher", launcher)
            self._queues[launcher] = part.connect(ClusterSettings(), self._dir / JOBS)
        return self._queues[launcher]

    def _find_attempts(self, folder: JobDir, spec: RunSpec) -> list[RunDir]:
        own = list[RunDir]()
        for run in running.find_attempts(self._dir.parent, spec):
            with suppress(UsageError):  # somebody else has just deleted it
                own += [run] if run.read_state().job == folder.name else []
        return own

    def _identify(self, own: OpenJob) -> None:
        """Find the id of a job; one that its submitter never handed over is withdrawn."""
        own.id = own.folder.read_id()
        if own.id is None:
            own.id = self.connect(own.job.launcher).find(own.job.submission, own.job.place)
            if own.id is not None:
                own.folder.write_id(own.id)
        if own.id is not None:
            return
        submitter, age_s = liveness(own.job.submitter), self._clock.now_s() - own.seen_s
        is_given_up = submitter is Liveness.UNKNOWN and age_s > SUBMITTER_S
        if submitter is Liveness.GONE or is_given_up or own.is_unsent:
            self.withdraw(own)

    def withdraw(self, own: OpenJob) -> None:
        """Close a job that its engine does not have, unless it has begun all the same."""
        if own.folder.withdraw():
            self._say(f"job {own.folder.name} was never submitted")
            self._close(own, JobStatus(JobStage.ENDED, text="never submitted"))

    def _follow(self, own: OpenJob, status: JobStatus) -> None:
        before, own.status = own.status, status
        if before is None or (before.stage, before.node) != (status.stage, status.node):
            where = f" on {status.node}" if status.node else ""
            self._say(f"job {own.id} ({own.folder.name}): {status.text or status.stage}{where}")
        waits_for_ever = status.stage is JobStage.HELD or (status.lacks_node and own.job.node)
        if waits_for_ever and not own.is_given_up:
            self._say(f"job {own.id} would wait for ever: it is ended, and submitted anew")
            self.connect(own.job.launcher).cancel({str(own.id): own.job.submission})
            own.is_given_up = True
        if status.stage in _OVER:
            self._close(own, status)

    def _close(self, own: OpenJob, status: JobStatus) -> None:
        """Account for every run of a job that is over, and close it; not while one may go on."""
        refresh_listing(self._dir)  # nodes have made folders there
        attempts = {
            run: task
            for task in own.job.tasks
            for run in self._find_attempts(own.folder, task.spec)
        }
        begun = [run for run in attempts if run.is_finished or _is_begun(run)]
        going = [run for run in begun if not run.is_finished]
        own.runs |= set(going)
        if open_runs := [run for run in going if not self._may_finalise(own, run, status)]:
            self._say_waiting(own, open_runs)
            return
        for run in [run for run in attempts if run not in begun]:
            with suppress(FileNotFoundError):
                try:
                    run.claim()  # so that nobody begins it at this moment
                except UsageError:
                    return
                run.delete()
        for run in going:
            task = attempts[run]
            tries = sum(attempts[other] is task for other in begun)
            if not finalise_ended(run, is_last=tries >= task.tries):
                return
        changed = [run for run in attempts if run not in own.ended]
        changed += own.runs - own.ended - {*changed}  # another command deleted them
        self._changed += changed
        self._judge_node(own, changed)
        own.folder.close(status.text or status.stage)
        del self.jobs[own.folder.name]
        if not (begun or own.is_given_up or own.id is None):
            self.fruitless[_block_of(own)] += 1

    def _say_waiting(self, own: OpenJob, runs: Sequence[RunDir]) -> None:
        """Say once what a job that is over is not closed for."""
        if not own.is_waited_for:
            own.is_waited_for = True
            self._say(
                f"job {own.id}: {runs[0].run_id} may still be carried out; it is accounted for "
                "once nobody writes into its folder"
            )

    def _judge_node(self, own: OpenJob, ended: Iterable[RunDir]) -> None:
        """Remember a node that cannot measure: it fails at once, is free again, and takes all."""
        node = own.status.node if own.status else ""
        is_bad = any(run.is_finished and _was_unmeasurable(run) for run in ended)
        if node and is_bad and node not in self.bad_nodes:
            self.bad_nodes.add(node)
            self._say(f"node {node} cannot measure: jobs submitted from now on avoid it")

    def _may_finalise(self, own: OpenJob, run: RunDir, status: JobStatus) -> bool:
        """Whether a run of a job that is over is carried out by nobody.

        That its process ended is proven here, or follows from the engine's word; not where a node
        was lost, or the job was started again elsewhere: a process of it may go on unseen. Then
        the run must have written nothing for a while, by its content, for a shared disk may show
        times late.
        """
        known = condition(run)
        if known.is_alive:
            return False
        starts = len(own.folder.read_starts())
        is_confirmed = status.stage is JobStage.ENDED and starts <= 1
        if known.may_be_finalised or is_confirmed:
            return True
        content, now_s = run.bytes_on_disk(), self._clock.now_s()
        since_s, before = self._contents.get(run.path, (now_s, None))
        if content != before:
            since_s = now_s
        self._contents[run.path] = (since_s, content)
        return now_s - since_s >= QUIET_S


def _was_unmeasurable(run: RunDir) -> bool:
    """Whether a run failed by its node: no meter, no free board, and the like."""
    error = run.read_record().error
    return error is not None and error.kind == CannotMeasureError.__name__


def _is_begun(run: RunDir) -> bool:
    return (run.path / CLAIM).exists() or run.read_state().runner is not None


def _block_of(own: OpenJob) -> str:
    return own.folder.name.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """How a plan is carried out on a queue.

    Attributes:
        launcher: Its name.
        cluster: What the jobs ask for.
        is_spread: Whether a job is one run, and not a block of runs.
        is_detached: Whether to leave once the window is full.
    """

    launcher: str
    cluster: ClusterSettings
    is_spread: bool = False
    is_detached: bool = False


class QueueSweep(Sweep):
    """A sweep whose blocks are jobs of a queue."""

    def __init__(self, *sweep: Any, queued: QueueSettings) -> None:
        """Prepare; nothing is written. The first arguments are those of ``Sweep``."""
        super().__init__(*sweep)
        self._queued = queued
        launch = self._settings.launch
        assert launch.is_queue
        self._queue = launch.connect(queued.cluster, self._dir / JOBS)
        self._settled: set[int] = set()
        self._torn: set[int] = set()
        self._retried: set[RunSpec] = set()
        self._table_s = (0.0, 0.0)  # when it was written, and how long that took
        self._is_silent = False

    def _is_awaited(self, run: RunDir) -> bool:
        return super()._is_awaited(run) and not run.read_state().launcher

    def _run_blocks(self, interim: InterimAnalyses) -> int:
        """Submit what is due whenever the window has room, until everything has ended."""
        queues = {self._queued.launcher: self._queue}
        self._open = OpenJobs(self._dir, self._say, queues, self._settings.clock)
        ever = list_jobs(self._dir, is_open=False)
        self._was_spread = self._queued.is_spread or any(job.is_single for job in ever)
        reach, poll_s = self._least, SHORTEST_POLL_S
        cancelled_before = read_cancellation(self._dir / JOBS)
        while not self._interrupts.wants_stop:
            has_changed = self._update()
            is_cancelled = read_cancellation(self._dir / JOBS) != cancelled_before
            is_submitted = not (self._is_silent or is_cancelled) and self._submit_due(reach)
            if is_cancelled and not self._open.jobs:
                self._say("another command cancelled the jobs; no more are submitted")
                break
            is_complete = not self._open.jobs and len(self._settled) >= reach
            if is_complete and (further := self._extend(interim, reach)) > reach:
                reach = further
                continue
            if is_complete or self._queued.is_detached:
                break
            poll_s = SHORTEST_POLL_S if has_changed or is_submitted else poll_s * 1.3
            poll_s = min(poll_s, LONGEST_POLL_S)
            self._sleep(poll_s)
        return reach

    def _sleep(self, length_s: float) -> None:
        clock = self._settings.clock
        end_s = clock.now_s() + length_s
        while clock.now_s() < end_s and not self._interrupts.wants_stop:
            clock.sleep_until(min(end_s, clock.now_s() + 0.5))

    def _update(self) -> bool:
        """Ask the engine and read what has ended; whether there was anything."""
        fruitless = self._open.fruitless.total()
        try:
            self._open.update()
        except EngineError as error:
            if self._queued.is_detached:
                raise
            if not self._is_silent:
                self._say(f"{error} Nothing is concluded from that; asking again.")
            self._is_silent = True
        else:
            if self._is_silent:
                self._say("the engine answers again")
            self._is_silent = False
        changed = self._open.take_changed()
        self._progress.add(changed)
        if self._open.fruitless.total() > fruitless:  # perhaps other submitters' jobs did the work
            self._progress.refresh()
        self._settled -= {run.read_spec().block for run in changed if run.path.is_dir()}
        for run in changed:
            if run.is_finished:
                spec = run.read_spec()
                place = f"run {spec.order_global}/{len(self._plan.runs)}"
                self._say(describe_end(run.read_record(), place))
        written_s, cost_s = self._table_s
        if changed and time.monotonic() - written_s > cost_s / TABLE_SHARE:
            start_s = time.monotonic()
            table.write_table(self._dir)
            self._table_s = (time.monotonic(), time.monotonic() - start_s)
        return bool(changed)

    def _extend(self, interim: InterimAnalyses, reach: int) -> int:
        """Blocks in reach, once those before are complete: more by the stopping rule."""
        if self._plan.until is None:
            return self._reach
        analysis = interim.check(reach)
        self._say(describe_interim(analysis, self._plan.most_blocks))
        return reach if analysis.stops else min(reach + 1, self._reach)

    def _submit_due(self, reach: int) -> bool:
        """Submit jobs as long as the window has room; whether any was."""
        room = self._queued.cluster.max_parallel - len(self._open.jobs)
        open_blocks = {own.job.tasks[0].spec.block for own in self._open.jobs.values()}
        batch: list[list[Task]] = []
        for number in range(1, reach + 1):
            if room <= len(batch):
                break
            if number in self._settled or number in open_blocks:
                continue
            tasks = self._find_due(number)
            if not tasks:
                self._settled.add(number)
                continue
            batch += [[task] for task in tasks] if self._queued.is_spread else [tasks]
        batch = batch[: max(room, 0)]  # of a block that is spread, the rest comes with the next
        by_node: dict[str, list[list[Task]]] = defaultdict(list)
        for tasks in batch:
            by_node["" if self._queued.is_spread else self._find_node(tasks)].append(tasks)
        size = self._queue.most_in_submission
        for node, own in by_node.items():
            for first in range(0, len(own), size):
                self._submit(own[first : first + size], node)
        return bool(batch)

    def _find_node(self, tasks: Sequence[Task]) -> str:
        """Where other runs of this attempt at a block ran, on a board that may be had again."""
        wanted = tasks[0].spec
        for spec in self._blocks[wanted.block]:
            for attempt in self._progress.of(replace(spec, block_attempt=wanted.block_attempt)):
                if attempt.state == "done":
                    job = attempt.run.read_record().provenance.get("job")
                    return str(job.get("node") or "") if isinstance(job, dict) else ""
        return ""

    def _find_due(self, number: int) -> list[Task]:
        """The runs of a block that are still to be carried out, at the attempt that is due."""
        most = self._plan.block_repeats + 1
        self._progress.read_again(self._blocks[number])  # another command may have closed its job
        attempt = self._progress.attempt(self._blocks[number])
        specs = [replace(spec, block_attempt=attempt) for spec in self._blocks[number]]
        is_again = attempt < most and self._has_invalid(specs)
        if is_again:
            self._say(describe_repeat(number, attempt + 1, most))
        elif torn := self._why_torn(specs):
            is_again = self._settings.retry_failed and number not in self._torn
            way_out = "it is carried out again" if is_again else "--retry-failed repeats it"
            self._say(f"block {number} is not paired, for {torn}; {way_out}")
            self._torn.add(number)
        if is_again:
            specs = [replace(spec, block_attempt=attempt + 1) for spec in specs]
        tasks = [Task(spec, tries) for spec in specs if (tries := self._count_tries(spec)) > 0]
        most_fruitless = self._queued.cluster.attempts
        name = name_job(tasks, is_spread=self._queued.is_spread) if tasks else ""
        if self._open.fruitless[name] >= most_fruitless:
            self._say(
                f"block {number} is left: {count_of(most_fruitless, 'job')} ended before a run "
                f"began. Their logs are in {self._dir / JOBS}."
            )
            return []
        return tasks

    def _why_torn(self, specs: Sequence[RunSpec]) -> str:
        """Why a block that is done is not of one board; empty where that is as it should be."""
        attempts = (each for spec in specs for each in self._progress.of(spec))
        done = [each.ended for each in attempts if each.state == "done" and each.ended]
        if self._was_spread or len(done) < len(specs):
            return ""
        return why_not_one_board(done)

    def _count_tries(self, spec: RunSpec) -> int:
        """How often a run may still be begun."""
        state = self._progress.state(spec)
        if state in {"done", "invalid", "running"}:
            return 0
        tried = 0
        for attempt in self._progress.of(spec):
            error = attempt.run.read_record().error if attempt.run.is_finished else None
            tried += error is None or error.kind not in UNCOUNTED
        # What fails does so again; not what failed by its node.
        is_final = state == "failed" and not _was_unmeasurable(self._progress.of(spec)[-1].run)
        left = 0 if is_final else self._queued.cluster.attempts - tried
        if left <= 0 and self._settings.retry_failed and spec.identity not in self._retried:
            return 1
        return left

    def _submit(self, batch: Sequence[list[Task]], node: str) -> None:
        """Submit jobs together; those that another submitter makes at this moment are its own."""
        plan, queued, submission = self._plan, self._queued, f"wbcbench-{secrets.token_hex(6)}"
        folders: list[JobDir] = []
        for tasks in batch:
            name = name_job(tasks, is_spread=queued.is_spread)
            folder = choose_folder(self._dir / JOBS, name)
            job = Job(
                launcher=queued.launcher,
                submission=submission,
                place=len(folders),
                count=len(batch),
                submitter=this_process(),
                tasks=tuple(tasks),
                local=self._settings.local,
                rest_s=plan.pauses.rest_s,
                grace_s=queued.cluster.grace_s,
                ends_when_invalid=tasks[0].spec.block_attempt <= plan.block_repeats,
                node=node,
            )
            try:
                folder.create(job)
            except RunExistsError:
                with suppress(UsageError):
                    self._open.add(folder)
                continue
            folders.append(folder)
            where = (queued.launcher, folder.name)
            runs = [
                running.submit(self._settings.results, task.spec, job.local, *where)
                for task in tasks
            ]
            self._retried |= {task.spec.identity for task in tasks}
            self._started |= {task.spec.identity for task in tasks}
            self._open.add(folder, runs)
            self._progress.add(runs)
        if not folders:
            return
        submitted = [self._open.jobs[folder.name] for folder in folders]
        try:
            paths = [folder.path for folder in folders]
            avoid = self._open.bad_nodes
            ids = self._queue.submit(submission, paths, carry_out_job, node, avoid)
        except EngineError as error:
            for own in submitted:
                own.is_unsent = True
            if queued.is_detached:
                raise
            self._say(f"{error} Asking whether it has the jobs.")
            return
        except UsageError:
            for own in submitted:
                self._open.withdraw(own)
            raise
        for folder, job_id in zip(folders, ids, strict=True):
            folder.write_id(job_id)
            self._open.jobs[folder.name].id = job_id
        names = f"{folders[0].name} … {folders[-1].name}" if len(folders) > 1 else folders[0].name
        self._say(f"submitted {count_of(len(folders), 'job')}: {names}, {ids[0]}")


def time_on_node(
    specs: Sequence[RunSpec],
    sweep: SweepSettings,
    queued: QueueSettings,
    interrupts: Interrupts,
    say: Say,
) -> tuple[int | None, ...]:
    """How often each training would be repeated where it will run: told by one job, waited for.

    Args:
        specs: A run of each configuration.
        sweep: Where and how.
        queued: The queue.
        interrupts: Whether the user asked to stop.
        say: Gets a line about each step.

    Raises:
        InterruptedRunError: The user stopped it.
        CannotMeasureError: The job ended without an answer, or the engine does not answer.
    """
    study_dir = sweep.results / specs[0].study
    assert sweep.launch.is_queue
    queue = sweep.launch.connect(queued.cluster, study_dir / JOBS)
    jobs = OpenJobs(study_dir, say, {queued.launcher: queue}, sweep.clock)
    # Other trainings, of a plan that has changed, are another job.
    digest = hashlib.sha256("".join(spec.digest for spec in specs).encode()).hexdigest()[:8]
    folder = choose_folder(study_dir / JOBS, f"loops-{digest}")
    if folder.name in jobs.jobs and folder.read_loops() is None:
        jobs.update()  # its submitter may have been killed before it was submitted
        folder = choose_folder(study_dir / JOBS, f"loops-{digest}")
    if folder.name not in jobs.jobs:
        job = Job(
            launcher=queued.launcher,
            submission=f"wbcbench-{secrets.token_hex(6)}",
            place=0,
            count=1,
            submitter=this_process(),
            tasks=(),
            local=sweep.local,
            rest_s=0.0,
            grace_s=queued.cluster.grace_s,
            timed=tuple(specs),
        )
        folder.create(job)
        jobs.add(folder, ())
        try:
            [job_id] = queue.submit(job.submission, [folder.path], carry_out_job)
        except UsageError:
            jobs.withdraw(jobs.jobs[folder.name])
            raise
        folder.write_id(job_id)
        say(f"submitted a job that times {count_of(len(specs), 'training')}: {job_id}")
    while (loops := folder.read_loops()) is None:
        jobs.update()
        if folder.name not in jobs.jobs and folder.read_loops() is None:
            raise CannotMeasureError(
                f"The job {folder.name}, which times a training, ended without an answer. Its log "
                f"is in {folder.path.parent}. Or say how often: --set loops=N."
            )
        if interrupts.wants_stop:
            jobs.cancel()
            raise InterruptedRunError("Interrupted before the plan was complete.")
        sweep.clock.sleep_until(sweep.clock.now_s() + SHORTEST_POLL_S)
    return loops


def refuse_living(run: RunDir) -> None:
    """Raise ``UsageError`` for a run whose queue says that its job waits or runs.

    Where there is no such engine, as with results that were copied, nothing is known.

    Raises:
        EngineError: The engine does not answer.
    """
    state = run.read_state()
    folder = JobDir(run.path.parent / JOBS / state.job)
    if not state.job or not is_job(folder.path) or folder.is_closed:
        return
    try:
        queue = registry.load_part("launcher", state.launcher).connect(
            ClusterSettings(), folder.path.parent
        )
    except (CannotMeasureError, UsageError):
        return
    job = folder.read()
    job_id = folder.read_id() or queue.find(job.submission, job.place)
    status = queue.ask({job_id: job.submission})[job_id] if job_id else None
    if status is not None and status.stage not in _OVER:
        raise UsageError(
            f"{run.run_id} is not finalised: its job {job_id} is {status.stage}. To end it: "
            "wbcbench sweep FILE --launcher NAME --cancel"
        )


def cancel_jobs(study_dir: Path, say: Say) -> tuple[list[str], list[str]]:
    """End every job of a study, wait for that, and account for its runs.

    Returns:
        The names of the jobs that have ended, and of those that have not within ``CANCEL_S``.

    Raises:
        EngineError: An engine does not answer.
    """
    note_cancellation(study_dir / JOBS)
    jobs = OpenJobs(study_dir, say)
    names, end_s = set(jobs.jobs), time.monotonic() + CANCEL_S
    jobs.cancel()
    while jobs.jobs and time.monotonic() < end_s:
        jobs.update()
        time.sleep(SHORTEST_POLL_S if jobs.jobs else 0)
    return sorted(names - set(jobs.jobs)), sorted(jobs.jobs)


def watch_jobs(study_dir: Path, say: Say) -> Iterator[Sequence[OpenJob]]:
    """The open jobs of a study, again and again until there is none; what ended is accounted for.

    Raises:
        EngineError: An engine does not answer.
    """
    jobs = OpenJobs(study_dir, say)
    while True:
        jobs.update()
        if jobs.take_changed():
            table.write_table(study_dir)
        yield list(jobs.jobs.values())
        if not jobs.jobs:
            return
        time.sleep(WATCH_S)
