"""What starts runs: here, one after the other, or as the jobs of a queue.

A launcher is one file, and a line in ``registry.LAUNCHERS`` or an entry point of the group
``wbcbench.launcher`` in somebody else's package. It runs ``wbcbench work FOLDER`` and says whether
that goes on; what came of it is in the folders of the runs. ``harness/CLUSTER.md`` says what a
queue must answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from wbcbench.core.errors import CannotMeasureError
from wbcbench.run.launchers.cluster import ClusterSettings


class Launcher(Protocol):
    """Carries out runs on this machine, each in a process of its own."""

    is_queue: Literal[False]

    def __call__(
        self, run_dirs: Sequence[Path], options: Sequence[str], host_lock: int | None = None
    ) -> Iterator[Path]:
        """Carry out every run; yield each folder when its run ended. No record: it failed.

        Args:
            run_dirs: Their folders.
            options: Passed to ``wbcbench work``.
            host_lock: The open file by which we hold this machine, for the run's process to go
                on holding; ``None`` where we hold nothing.
        """


class JobStage(StrEnum):
    """What a queue says of a job."""

    WAITING = "waiting"
    HELD = "held"
    """It waits and will never start: the engine failed to start it and gave up."""
    RUNNING = "running"
    ENDED = "ended"
    LOST = "lost"
    """It is over, but a process of it may be left: a node of it failed, or it is not known."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What a queue says of a job.

    Attributes:
        stage: How far it is.
        node: Where it runs, or ran last; empty if nowhere.
        text: The queue's own word, and why a job waits: ``PENDING, Resources``.
        lacks_node: Whether it waits for a node that takes no jobs.
    """

    stage: JobStage
    node: str = ""
    text: str = ""
    lacks_node: bool = False


CarryOut = Callable[[Path], bool]
"""Carries a job out and says whether it is at its end: if not, the engine should start it again."""


class Queue(Protocol):
    """The jobs of one study on an engine, which outlive whoever submits them."""

    most_in_submission: int
    """How many jobs ``submit`` takes."""

    def submit(
        self,
        name: str,
        folders: Sequence[Path],
        carry_out: CarryOut,
        node: str = "",
        avoid: Collection[str] = (),
    ) -> list[str]:
        """Submit a job for each folder, each with a GPU of its own.

        Args:
            name: Of this submission, by which ``find`` finds it again; no other has it.
            folders: Of the jobs.
            carry_out: What a job does with its folder; ``wbcbench work FOLDER`` does it, too.
            node: Where they should run if it is up, for other runs of their block ran there.
            avoid: Nodes that could not measure.

        Returns:
            The engine's id of each, in their order.

        Raises:
            EngineError: The engine cannot be reached; whether it has the jobs is not known.
            UsageError: It refuses them.
        """

    def find(self, name: str, place: int) -> str | None:
        """The id of a job by its submission and its place in it; ``None`` if it never arrived."""

    def ask(self, jobs: Mapping[str, str]) -> Mapping[str, JobStatus]:
        """The status of each job; raises ``EngineError``, but never answers by guess.

        Args:
            jobs: The name of the submission by the id: an engine that forgot a job may give its
                id to another.
        """

    def cancel(self, jobs: Mapping[str, str]) -> None:
        """End jobs that wait or run; a run is asked first, so that it writes its record.

        Args:
            jobs: As for ``ask``: no other job may be ended.
        """


@dataclass(frozen=True, slots=True)
class GpusOfKind:
    """GPUs of one kind where a job may run.

    Attributes:
        name: As the engine calls them: ``gpu:a100``.
        count: All of them.
        up: Those on nodes that take jobs.
    """

    name: str
    count: int
    up: int


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an engine says of itself, and of a job as it is asked for; ``None`` is not known.

    Attributes:
        name: Engine and version, and what answers: ``Slurm 22.05.8, controller n0 is up``.
        refusal: Why it refuses such a job; empty if it takes it.
        expected: When and where it would start, in the engine's words.
        gpus: Where such a job may run.
        job_s: Time limit of such a job, in seconds; infinite without one.
        longest_s: The longest that may be asked for, in seconds.
        most_in_submission: Jobs that are submitted at once.
        most_jobs: That the engine holds, of all users.
        most_own_jobs: Of this user that may wait or run.
        kill_s: Seconds between the request to end and the end by force.
        keeps_ended: Whether it tells of a job's end also hours later.
    """

    name: str
    refusal: str = ""
    expected: str = ""
    gpus: tuple[GpusOfKind, ...] | None = None
    job_s: float | None = None
    longest_s: float | None = None
    most_in_submission: int | None = None
    most_jobs: int | None = None
    most_own_jobs: int | None = None
    kill_s: float | None = None
    keeps_ended: bool | None = None


@runtime_checkable
class SelfDescribing(Protocol):
    """A queue that tells ``doctor`` of its engine; one that does not is used all the same."""

    def describe(self) -> EngineFacts:
        """What the engine says; raises ``EngineError`` if it does not answer."""


class QueueLauncher(Protocol):
    """An engine with a queue."""

    is_queue: Literal[True]

    def connect(self, settings: ClusterSettings, jobs: Path) -> Queue:
        """The queue for one study.

        Args:
            settings: What the jobs ask for.
            jobs: The folder of the study's jobs, which every node sees.

        Raises:
            CannotMeasureError: There is no such engine here.
        """


class EngineError(CannotMeasureError):
    """An engine does not answer, so that nothing is known of its jobs."""
