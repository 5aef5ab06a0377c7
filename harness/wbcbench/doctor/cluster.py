"""Whether a queue can carry out a study: what its engine says, and one short job that looks."""

from __future__ import annotations

import math
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from wbcbench import registry
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.files import write_new
from wbcbench.core.run_folder import to_json
from wbcbench.core.text import count_of, human_duration
from wbcbench.core.version import __version__
from wbcbench.core.window import Clock, MonotonicClock
from wbcbench.doctor import Groups, Line, State, count_lines, fail, info, ok, warn
from wbcbench.doctor.exchange import (
    NODE,
    PATIENCE_S,
    REPORT,
    ROUNDS,
    NodeReport,
    NodeRequest,
    Round,
    answer_node,
    bound_clock,
    read_if_there,
)
from wbcbench.doctor.node import carry_out_check
from wbcbench.power.session import MeteringRequest
from wbcbench.run.job import CHECK
from wbcbench.run.launchers import (
    EngineError,
    EngineFacts,
    JobStage,
    JobStatus,
    Queue,
    QueueLauncher,
    SelfDescribing,
)
from wbcbench.run.launchers.cluster import ClusterSettings
from wbcbench.study.boards import BoardForecast

ENGINE, LIMITS, JOB = "engine", "limits", "job"
MOST_APART_S = 5.0  # of clocks: times of a study's records are compared only within a node
LONGEST_CHECK_S = 900.0  # of a job that runs: TensorFlow's import takes minutes on a busy disk
_POLL_S, _ASK_S = 0.1, 2.0
_AFTERWARDS_S = 60.0  # in which what a job has written is seen here (nfs(5): acdirmax)
_LOG_S = 5.0  # in which a log that is seen here is complete
_END_S = 30.0  # from its report to the end of a job
_OVER = (JobStage.ENDED, JobStage.LOST)
_NOT_ASKED = "not asked: this launcher does not say"
_LOG_LINES = 3


@dataclass(frozen=True, slots=True)
class ClusterCheck:
    """What is looked at, and how.

    Attributes:
        launcher: What reaches the engine.
        settings: What a job asks for.
        results: Where runs would be kept.
        request: What the node measures.
        data: Folder of the images; ``None`` for the embedded synthetic images.
        require: As on the command line.
        file: The experiment file that was named, if one was.
        forecast: What its jobs take; ``None`` if none was named, or no past run tells.
        wait_s: How long the job may wait in the queue, in seconds.
        clock: Source of time.
    """

    launcher: QueueLauncher
    settings: ClusterSettings
    results: Path
    request: MeteringRequest
    data: Path | None = None
    require: tuple[str, ...] = ()
    file: Path | None = None
    forecast: BoardForecast | None = None
    wait_s: float = 300.0
    clock: Clock = field(default_factory=MonotonicClock)

    def examine(self, say: Callable[[str], None]) -> tuple[Groups, NodeReport | None]:
        """Ask the engine, then a node; the second is ``None`` where no job came to its end.

        Nothing is left behind, but for the log of a job that did not answer.

        Args:
            say: Gets a line about each step of the job.
        """
        results = self.results.absolute()
        is_new = not results.exists()
        folder = results / f".doctor-{secrets.token_hex(4)}"
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            text = f"{results} cannot be written: {error.strerror}"
            return {JOB: [fail("results", text, fix="name another folder with --results")]}, None
        groups: Groups = {}
        try:
            report = self._fill(groups, folder, say)
        finally:
            is_named = any(str(folder) in line.fix for line in groups.get(JOB, ()))
            if not is_named:  # where a line names it, it holds the log of a job
                shutil.rmtree(folder, ignore_errors=True)
                with suppress(OSError):
                    if is_new:
                        results.rmdir()
        names = (NODE, *registry.CHECKUPS)  # in a document they stand by their letters
        found = report.groups if report else {}
        seen = {name: self._judge(found[name]) for name in names if name in found}
        return groups | seen, report

    def _judge(self, lines: Sequence[Line]) -> list[Line]:
        """The lines of a node; what is a warning for one's own machine may end every run here."""
        needs_gpu = bool(self.settings.gres)
        return [
            replace(line, state=State.FAIL)
            if needs_gpu and line.name == "tensorflow-gpu" and line.state is State.WARN
            else line
            for line in lines
        ]

    def _fill(self, groups: Groups, folder: Path, say: Callable[[str], None]) -> NodeReport | None:
        """Ask the engine, and a node unless a job would not run; the node's own checks apart."""
        try:
            queue = self.launcher.connect(self.settings, folder)
            groups[ENGINE], groups[LIMITS] = self._ask_engine(queue)
        except (CannotMeasureError, UsageError) as error:
            text, _, fix = str(error).partition(". ")
            why, again = "no job can be submitted", "try again later, or ask the cluster's help"
            groups[ENGINE] = [fail("engine", text, why=why, fix=fix or again)]
            return None
        if count_lines(groups, State.FAIL):
            groups[JOB] = [info("job", "no job was submitted: see the failures above")]
            return None
        check = _JobCheck(self, queue, folder, say)
        groups[JOB] = list(check.carry_out())
        return check.report

    def _ask_engine(self, queue: Queue) -> tuple[list[Line], list[Line]]:
        facts = queue.describe() if isinstance(queue, SelfDescribing) else None
        if facts is None:
            return [info("engine", _NOT_ASKED)], [info("limits", _NOT_ASKED)]
        return list(self._check_engine(facts)), list(self._check_limits(facts))

    def _check_engine(self, facts: EngineFacts) -> Iterator[Line]:
        yield ok("engine", facts.name)
        if facts.refusal:
            yield fail(
                "request",
                f"a job as asked for is refused: {facts.refusal}",
                fix="change [cluster] in the experiment file, or give --cluster KEY=VALUE",
            )
        else:
            expected = f"; it would start {facts.expected}" if facts.expected else ""
            yield ok("request", f"a job as asked for is accepted{expected}")
        if not self.settings.gres:
            yield info("gpus", "jobs ask for no GPU: [cluster] gres is empty")
        elif facts.gpus is None:
            yield info("gpus", _NOT_ASKED)
        elif up := sum(kind.up for kind in facts.gpus):
            kinds = ", ".join(f"{kind.name} {kind.up} of {kind.count} up" for kind in facts.gpus)
            yield ok("gpus", kinds)
            if up < self.settings.max_parallel:
                yield info(
                    "boards",
                    f"at most {count_of(up, 'job')} of max_parallel {self.settings.max_parallel} "
                    "can run at once; the others wait",
                )
        elif not facts.refusal:
            count = sum(kind.count for kind in facts.gpus)
            yield fail(
                "gpus",
                f"{count_of(count, 'GPU')} where the job may run, none on a node that takes jobs",
                fix="name a partition with GPUs: [cluster] partition",
            )

    def _check_limits(self, facts: EngineFacts) -> Iterator[Line]:
        yield self._check_time(facts)
        if facts.most_in_submission is not None:
            yield ok("array", f"{facts.most_in_submission} jobs are submitted at once at most")
        yield from self._check_window(facts)
        if facts.kill_s is not None:
            yield self._check_kill(facts.kill_s)
        if facts.keeps_ended:
            yield ok("accounting", "the engine tells how a job ended also hours later")
        elif facts.keeps_ended is not None:
            yield warn(
                "accounting",
                "the engine keeps no accounts: soon after its end it knows a job no longer",
                why="runs of such a job are finalised only when they have written nothing for a "
                "while",
                fix="leave `wbcbench sweep` or `list STUDY --watch` running; or ask for slurmdbd",
            )

    def _check_time(self, facts: EngineFacts) -> Line:
        """The job's time limit, against the partition's and the forecast of a block."""
        job_s, longest_s = facts.job_s, facts.longest_s
        text = f"a job has {_format_limit(job_s)}"
        if longest_s not in {None, job_s, math.inf}:
            text += f", and may have {_format_limit(longest_s)}"
        if job_s is None:
            return info("time", text, fix='say how long: [cluster] time = "4:00:00"')
        if longest_s is not None and job_s > longest_s:
            fix = f"[cluster] time: {_format_limit(longest_s)} at most"
            return fail("time", text, why="such a job never starts", fix=fix)
        if self.file is None:
            return ok("time", f"{text} (with an experiment file: whether a block fits)")
        if self.forecast is None:
            return info(
                "time",
                f"{text}; how long a block takes is not known: no past run tells",
                fix="carry out the first block alone: it tells (wbcbench sweep --blocks 1)",
            )
        block_s = self.forecast.longest_job_s
        text += f"; the longest block takes about {human_duration(block_s)}"
        if block_s + self.settings.grace_s <= job_s:
            return ok("time", text)
        return warn(
            "time",
            text,
            why="a block that is cut off goes on in a second job, perhaps on another board, and "
            "is then left out of paired results",
            fix="a longer [cluster] time, or fewer epochs",
        )

    def _check_window(self, facts: EngineFacts) -> Iterator[Line]:
        """How many jobs there may be, against ``max_parallel``."""
        window = self.settings.max_parallel
        known = {
            "jobs": (facts.most_jobs, "the engine holds {} of all users"),
            "own-jobs": (facts.most_own_jobs, "you may have {}"),
        }
        for name, (most, form) in known.items():
            if most is None:
                continue
            text = f"{form.format(count_of(most, 'job'))}; max_parallel is {window}"
            if window <= most:
                yield ok(name, text)
                continue
            fix = f"--cluster max_parallel={most}, or max_parallel = {most} in [cluster]"
            yield fail(name, text, why="jobs beyond it are refused", fix=fix)
        if facts.most_own_jobs is None:
            yield ok("own-jobs", f"no limit to your jobs is known; max_parallel is {window}")

    def _check_kill(self, kill_s: float) -> Line:
        """Whether an epoch ends between the request to end and the end by force."""
        text = f"{human_duration(kill_s)} after the request to end, a job is ended by force"
        epoch_s = self.forecast.epoch_s if self.forecast else None
        if epoch_s is None or epoch_s <= kill_s:
            shorter = "" if epoch_s is None else f"; an epoch takes {human_duration(epoch_s)}"
            return ok("kill", text + shorter)
        return info(
            "kill",
            f"{text}; an epoch takes {human_duration(epoch_s)}",
            why="what `--cancel` or a preemption stops has no whole last epoch; before the time "
            f"limit there are grace_s = {self.settings.grace_s} seconds",
        )


def _format_limit(time_s: float | None) -> str:
    if time_s is None:
        return "an unknown time"
    return "no time limit" if math.isinf(time_s) else human_duration(time_s)


class _JobCheck:
    """One job that looks at its node."""

    def __init__(
        self, asked: ClusterCheck, queue: Queue, folder: Path, say: Callable[[str], None]
    ) -> None:
        self._asked, self._queue, self._say, self._clock = asked, queue, say, asked.clock
        self._logs, self._folder = folder, folder / "job"
        self._token = secrets.token_hex(8)
        self._name = f"wbcbench-doctor-{self._token}"
        self._status = JobStatus(JobStage.WAITING)
        self._submitted_s = self._clock.now_s()
        self._started_s: float | None = None
        self._ended_s: float | None = None
        self.report: NodeReport | None = None

    def carry_out(self) -> Iterator[Line]:
        """Submit it, answer it, wait for its report."""
        asked = self._asked
        request = asked.request
        check = NodeRequest(
            token=self._token,
            results=str(asked.results.absolute()),
            data=str(asked.data.absolute()) if asked.data else "",
            gres=asked.settings.gres,
            cache=asked.settings.cache,
            meters=request.meters,
            gpus=request.gpus,
            interval_s=request.interval_s,
            require=asked.require,
            version=__version__,
        )
        self._folder.mkdir()
        write_new(self._folder / CHECK, to_json(asdict(check)))
        try:
            [job_id] = self._queue.submit(self._name, [self._folder], carry_out_check)
        except (EngineError, UsageError) as error:
            text, _, fix = str(error).partition(". ")
            yield fail("job", text, fix=fix)
            return
        self._say(f"job {job_id} submitted; it looks at a node")
        self._submitted_s = self._clock.now_s()
        try:
            self._follow(job_id)
        except EngineError as error:
            yield fail("job", f"job {job_id}: {error}", fix="try again later")
            return
        finally:
            if self.report is None:
                self._cancel(job_id)
        if self.report is None:
            yield self._explain_silence(job_id)
            return
        self._wait_for_end(job_id)
        waited = human_duration(self._waited_s)
        yield ok("job", f"job {job_id} ran on {self.report.node}, {waited} after it was submitted")
        yield from check_shared_folder(asked.results, self.report)
        if self.report.error:
            yield fail("node", f"the node cannot measure: {self.report.error}")

    @property
    def _waited_s(self) -> float:
        end_s = self._clock.now_s() if self._started_s is None else self._started_s
        return end_s - self._submitted_s

    def _follow(self, job_id: str) -> None:
        """Answer the job until it has reported, has ended, or has had its time."""
        asked_s = -math.inf
        while not self._is_given_up():
            now_s = self._clock.now_s()
            answer_node(self._folder, self._token)
            self.report = read_if_there(self._folder / REPORT, NodeReport)
            if self.report is not None:
                return
            if now_s - asked_s >= _ASK_S:
                asked_s = now_s
                self._ask(job_id)
            self._clock.sleep_until(now_s + _POLL_S)

    def _is_given_up(self) -> bool:
        now_s, started_s, ended_s = self._clock.now_s(), self._started_s, self._ended_s
        if started_s is None:
            return self._waited_s > self._asked.wait_s
        if ended_s is None:
            return now_s - started_s > LONGEST_CHECK_S
        has_begun = (self._folder / "node-1.json").exists()
        is_seen = not has_begun and bool(self._quote_log())  # why it did not, then, is here
        return now_s - ended_s > (_LOG_S if is_seen else _AFTERWARDS_S)

    def _ask(self, job_id: str) -> None:
        """The engine's word of the job, which may put one that ran back into its queue."""
        before, self._status = self._status, self._queue.ask({job_id: self._name})[job_id]
        if self._status != before:
            self._say(f"job {job_id}: {self._status.text} {self._status.node}".rstrip())
        now_s, stage = self._clock.now_s(), self._status.stage
        if stage is JobStage.WAITING:
            self._started_s = self._ended_s = None
        elif self._started_s is None:
            self._started_s = now_s
        if stage in _OVER and self._ended_s is None:
            self._ended_s = now_s
            self._say(f"waiting up to {_AFTERWARDS_S:.0f} s for what it has written")

    def _wait_for_end(self, job_id: str) -> None:
        """Until the job has ended: it would miss its folder."""
        end_s = self._clock.now_s() + _END_S
        with suppress(EngineError):
            while self._queue.ask({job_id: self._name})[job_id].stage not in _OVER:
                if self._clock.now_s() > end_s:
                    self._cancel(job_id)
                    return
                self._clock.sleep_until(self._clock.now_s() + _ASK_S)

    def _cancel(self, job_id: str) -> None:
        try:
            self._queue.cancel({job_id: self._name})
        except EngineError as error:
            self._say(f"job {job_id} could not be cancelled: {error}")

    def _explain_silence(self, job_id: str) -> Line:
        status = self._status
        if status.stage not in _OVER:
            is_waiting = status.stage is JobStage.WAITING
            word, time_s = ("waited", self._waited_s) if is_waiting else ("ran", LONGEST_CHECK_S)
            return warn(
                "job",
                f"job {job_id} still {word} after {human_duration(time_s)} and was cancelled: "
                f"{status.text or status.stage}",
                why="nothing is known of the nodes",
                fix="wait longer (--wait SECONDS), or ask for what is free (--cluster KEY=VALUE)"
                if is_waiting
                else f"read the log in {self._logs}",
            )
        log = self._quote_log()
        return fail(
            "job",
            f"job {job_id} ended ({status.text or status.stage}) on {status.node or 'no node'} "
            f"without an answer{f': {log}' if log else ''}",
            why="either the job cannot start wbcbench, or its node does not share the results "
            "folder",
            fix=f"read the log in {self._logs}; see that the nodes have this Python "
            "([cluster] setup, container) and see that folder (--results)",
        )

    def _quote_log(self) -> str:
        lines: list[str] = []
        for path in sorted(self._logs.glob("**/*.out")):
            lines += [
                line for line in path.read_text(errors="replace").splitlines() if line.strip()
            ]
        return " / ".join(lines[-_LOG_LINES:])


def check_shared_folder(results: Path, report: NodeReport) -> Iterator[Line]:
    """How files and links of a node and ours go together, and the clocks of both.

    Args:
        results: Where runs would be kept.
        report: What the node found.
    """
    rounds = report.rounds
    if len(rounds) < ROUNDS:
        yield fail(
            "shared",
            f"{report.node} did not see what was written here within "
            f"{human_duration(PATIENCE_S)} ({len(rounds)} of {ROUNDS} times it did)",
            why="a sweep would not see in time what its jobs do",
            fix="keep results on a disk that shows files sooner: --results",
        )
    if rounds:
        late_s = sorted(each.both_ways_s for each in rounds)
        yield ok(
            "shared",
            f"{results}: a file there and one back are seen after "
            f"{human_duration(late_s[len(late_s) // 2])} (at most {human_duration(late_s[-1])})",
        )
        yield check_clock(rounds)
    if report.links:
        yield fail(
            "links",
            f"no exclusive links in {results}: {report.links}",
            why="of two attempts at a run, both might be counted",
            fix="keep results on a disk with hard links (NFS, Lustre, ext4): --results",
        )
    else:
        yield ok("links", "of two that make a file at once, one is refused")


def check_clock(rounds: tuple[Round, ...]) -> Line:
    """How far the node's clock is ahead of ours: between two bounds."""
    lower_s, upper_s = bound_clock(rounds)
    text = f"the node's clock is {lower_s:+.2f} to {upper_s:+.2f} s ahead of this one"
    apart_s = max(lower_s, -upper_s, 0.0)
    if apart_s <= MOST_APART_S:
        return ok("clock-difference", text)
    return warn(
        "clock-difference",
        text,
        why="runs of several nodes stand in a wrong order",
        fix="have the clocks synchronised (chrony, ntpd)",
    )
