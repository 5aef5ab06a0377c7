"""A queue that trains nothing: its jobs move on when they are asked for, and end as a script says.

The engine is the outermost edge of a sweep on a cluster; folders, states, records, table and plan
behind it are the project's own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import JsonValue

from fakes.stand_in_launcher import Script, record_of
from wbcbench.core.record import Failure
from wbcbench.core.run_folder import RunDir
from wbcbench.core.run_state import ProcessIdentity, this_process
from wbcbench.run.job import JobDir
from wbcbench.run.launchers import CarryOut, EngineError, JobStage, JobStatus
from wbcbench.run.launchers.cluster import ClusterSettings
from wbcbench.run.publish import publish
from wbcbench.study import running

ELSEWHERE = replace(this_process(), hostname="node7")


@dataclass
class ScriptedQueue:
    """Two jobs run at a time; each takes two questions.

    Attributes:
        script: How a run ends: done (``done on X``: on board X), failed, invalid, interrupted, or
            ``dies`` (no record), ``job dies``, ``unmeasurable``.
        most_in_submission: Largest array.
        nodes: Jobs that run at once.
        runner: The process that carries runs out.
    """

    script: Script = lambda _: "done"
    most_in_submission: int = 3
    nodes: int = 2
    runner: ProcessIdentity = ELSEWHERE
    is_queue = True
    is_down: bool = False
    before_submit: Callable[[], None] = lambda: None
    after_submit: Callable[[], None] = lambda: None
    on_end: Callable[[JobDir], JobStage] = lambda _: JobStage.ENDED
    waiting: dict[str, Path] = field(default_factory=dict)
    going: dict[str, Path] = field(default_factory=dict)
    ended: dict[str, JobStage] = field(default_factory=dict)
    submissions: list[int] = field(default_factory=list)
    nodes_wanted: list[str] = field(default_factory=list)
    avoided: set[str] = field(default_factory=set)
    most_open: int = 0
    cancelled: list[str] = field(default_factory=list)
    held: dict[str, JobStatus] = field(default_factory=dict)
    started: list[RunDir] = field(default_factory=list)

    def connect(self, settings: ClusterSettings, jobs: Path) -> ScriptedQueue:
        return self

    def _require_up(self) -> None:
        if self.is_down:
            raise EngineError("The queue does not answer: it is down.")

    def submit(
        self,
        name: str,
        folders: Sequence[Path],
        carry_out: CarryOut,
        node: str = "",
        avoid: Collection[str] = (),
    ) -> list[str]:
        del carry_out
        self._require_up()
        self.nodes_wanted.append(node)
        self.avoided = set(avoid)
        self.before_submit()
        ids = [f"{name}_{place}" for place in range(len(folders))]
        self.waiting |= dict(zip(ids, folders, strict=True))
        self.submissions.append(len(folders))
        self.most_open = max(self.most_open, len(self.waiting) + len(self.going))
        self.after_submit()
        return ids

    def find(self, name: str, place: int) -> str | None:
        self._require_up()
        job_id = f"{name}_{place}"
        return job_id if job_id in {*self.waiting, *self.going, *self.ended} else None

    def ask(self, jobs: Mapping[str, str]) -> Mapping[str, JobStatus]:
        self._require_up()
        for job_id, folder in list(self.going.items()):
            del self.going[job_id]
            self.ended[job_id] = self._end(JobDir(folder))
        for job_id in [each for each in self.waiting if each not in self.held]:
            if len(self.going) == self.nodes:
                break
            self.going[job_id] = self.waiting.pop(job_id)
            JobDir(self.going[job_id]).start()
        return {job_id: self._status(job_id) for job_id in jobs}

    def _status(self, job_id: str) -> JobStatus:
        if job_id in self.going:
            return JobStatus(JobStage.RUNNING, "node7", "RUNNING")
        if job_id in self.held:
            return self.held[job_id]
        if job_id in self.waiting:
            return JobStatus(JobStage.WAITING, "", "PENDING")
        return JobStatus(self.ended.get(job_id, JobStage.LOST), "node7", "COMPLETED")

    def _end(self, folder: JobDir) -> JobStage:
        job = folder.read()
        for task in job.tasks:
            for _ in range(task.tries):
                waiting = [
                    run
                    for run in running.find_attempts(folder.study_dir.parent, task.spec)
                    if run.read_state().job == folder.name
                    and not run.is_finished
                    and run.read_state().runner is None
                ]
                run = (
                    waiting[0]
                    if waiting
                    else running.submit(
                        folder.study_dir.parent, task.spec, job.local, job.launcher, folder.name
                    )
                )
                end = self._carry_out(run)
                if end != "dies again":
                    break
            if end in {"job dies", "unmeasurable"}:
                break
            if end == "invalid" and job.ends_when_invalid:
                break
        return self.on_end(folder)

    def _carry_out(self, run: RunDir) -> str:
        self.started.append(run)
        end = self.script(run.read_spec())
        run.claim()
        run.write_state(replace(run.read_state(), runner=self.runner, running_utc="now"))
        if end not in {"job dies", "dies", "dies again"}:
            word, _, board = end.partition(" on ")
            record = record_of(run, "failed" if word == "unmeasurable" else word)
            if word == "unmeasurable":
                record = replace(record, error=Failure("CannotMeasureError", "no board"))
            job: dict[str, JsonValue] = {"engine": "scripted", "id": "1", "node": "node7"}
            if board:
                meters = {
                    name: {**facts, "uuid": f"GPU-{board}"} if "uuid" in facts else facts
                    for name, facts in record.meters.items()
                    if isinstance(facts, dict)
                }
                job["node"] = f"node-{board}"
                record = replace(record, meters=meters)
            record = replace(record, provenance={**record.provenance, "job": job})
            run.write_record(publish(run, record))
        return end

    def cancel(self, jobs: Mapping[str, str]) -> None:
        self._require_up()
        self.cancelled += jobs
        for job_id in jobs:
            self.waiting.pop(job_id, None)
            self.going.pop(job_id, None)
            self.held.pop(job_id, None)
            self.ended[job_id] = JobStage.ENDED
