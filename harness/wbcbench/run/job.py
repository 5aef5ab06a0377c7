"""A job of a queue: the runs of one block in their order, for one board of one node.

    results/<study>/.jobs/<name>/        (a job of ``doctor`` has a file of another name: ``CHECK``)
        job.json         what is carried out, who submits it, under which name the queue knows it
        submitted.json   the queue's id
        start-<n>.json   who carries it out; one more each time the queue starts it again
        closed.json      that it has ended and everything in it is accounted for
        loops.json       of a job that times trainings: how often each would be repeated
    results/<study>/.jobs/.cancelled     changes when somebody ends all jobs: nobody submits more

Every file is made once, by whoever comes first, so that two submitters, or a job that was started
again while its first process lives, need no lock. A job that never reached the queue is withdrawn
by taking the number of its first start.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeVar

from wbcbench.core.errors import RunExistsError, UsageError
from wbcbench.core.files import read_file, read_if_any, write_atomically, write_new
from wbcbench.core.run_folder import Local, create_folder, to_json
from wbcbench.core.run_state import ProcessIdentity, this_process
from wbcbench.core.spec import RunSpec
from wbcbench.core.strict_json import read_document
from wbcbench.core.study_folder import JOBS
from wbcbench.core.window import utc_now

T = TypeVar("T")

CHECK = (
    "check.json"  # makes a folder that of a job which carries out no run; see ``doctor.exchange``
)
_JOB, _SUBMITTED, _CLOSED = "job.json", "submitted.json", "closed.json"
_LOOPS, _CANCELLED = "loops.json", ".cancelled"
_SINGLE = "r"


@dataclass(frozen=True, slots=True)
class Task:
    """One run of a job.

    Attributes:
        spec: What is asked.
        tries: How often it may be begun before it is left as failed.
    """

    spec: RunSpec
    tries: int


@dataclass(frozen=True, slots=True)
class Job:
    """What a job carries out.

    Attributes:
        launcher: The queue.
        submission: The name by which the queue knows the jobs that were submitted together.
        place, count: Which of them it is, from 0, and how many there are.
        submitter: The process that submits it.
        tasks: Its runs, in their order.
        local: Of the nodes: images, cache and the like.
        rest_s: Between two runs, in seconds.
        grace_s: In which an epoch may end once the job must, in seconds.
        ends_when_invalid: Whether the rest is of no use after an invalid run.
        node: Where it was asked to run; empty: anywhere.
        timed: Runs whose training is timed, to know how often it is repeated; not carried out.
    """

    launcher: str
    submission: str
    place: int
    count: int
    submitter: ProcessIdentity
    tasks: tuple[Task, ...]
    local: Local
    rest_s: float
    grace_s: float
    ends_when_invalid: bool = False
    node: str = ""
    timed: tuple[RunSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class JobStart:
    """Who carries a job out, or that nobody shall."""

    runner: ProcessIdentity
    started_utc: str
    is_withdrawal: bool = False


@dataclass(frozen=True, slots=True)
class _Id:
    id: str


@dataclass(frozen=True, slots=True)
class _Loops:
    loops: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """How a job ended, in the queue's word, and when that was seen."""

    text: str
    closed_utc: str = field(default_factory=utc_now)


@dataclass(frozen=True, slots=True)
class JobDir:
    """The folder of one job."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def is_single(self) -> bool:
        """Whether it is a job of one run by itself: of a study whose runs are spread."""
        return self.name.startswith(_SINGLE)

    @property
    def study_dir(self) -> Path:
        """The folder of its study."""
        return self.path.absolute().parent.parent  # which may be a link: its name is the study's

    def create(self, job: Job) -> None:
        """Make the folder; raises ``RunExistsError`` where another submitter made it first."""
        try:
            with create_folder(self.path) as folder:
                write_new(folder / _JOB, to_json(asdict(job)))
        except FileExistsError as error:
            raise RunExistsError(f"There is a job in {self.path} already.") from error

    def read(self) -> Job:
        """What it carries out."""
        return self._read(_JOB, Job)

    def read_id(self) -> str | None:
        """The queue's id; ``None`` as long as nobody has written it."""
        return self._read(_SUBMITTED, _Id).id if (self.path / _SUBMITTED).exists() else None

    def write_id(self, job_id: str) -> None:
        """Write the queue's id, unless it is there."""
        with suppress(FileExistsError):
            write_new(self.path / _SUBMITTED, to_json(asdict(_Id(job_id))))

    def read_starts(self) -> list[JobStart]:
        """Who has carried it out, in order."""
        return [self._read(path.name, JobStart) for path in self._list_starts()]

    def start(self) -> int:
        """Begin to carry it out; returns the number of this start, from 1.

        Raises:
            UsageError: It was withdrawn, or is closed.
        """
        while True:
            number = len(self._list_starts()) + 1
            with suppress(FileExistsError):
                self._write_start(number, JobStart(this_process(), utc_now()))
                break
        if self.is_closed or any(start.is_withdrawal for start in self.read_starts()):
            raise UsageError(f"The job in {self.path} was withdrawn, or has ended.")
        return number

    def withdraw(self) -> bool:
        """See that it never starts; ``False`` if it has."""
        with suppress(FileExistsError):
            self._write_start(1, JobStart(this_process(), utc_now(), is_withdrawal=True))
            return True
        return False

    def is_current(self, number: int) -> bool:
        """Whether no later start has taken the place of this one, and nobody has closed the job."""
        return len(self._list_starts()) == number and not self.is_closed

    def write_loops(self, loops: Sequence[int | None]) -> None:
        """Write how often each timed training would be repeated; ``None``: each run decides."""
        with suppress(FileExistsError):
            write_new(self.path / _LOOPS, to_json(asdict(_Loops(tuple(loops)))))

    def read_loops(self) -> tuple[int | None, ...] | None:
        """The same; ``None`` as long as they are not known."""
        return self._read(_LOOPS, _Loops).loops if (self.path / _LOOPS).exists() else None

    @property
    def is_closed(self) -> bool:
        """Whether it has ended and everything in it is accounted for."""
        return (self.path / _CLOSED).exists()

    def close(self, text: str) -> None:
        """Say that it has ended; ``text`` is the queue's word."""
        with suppress(FileExistsError):
            write_new(self.path / _CLOSED, to_json(asdict(Closed(text))))

    def read_closed(self) -> Closed:
        """How it ended."""
        return self._read(_CLOSED, Closed)

    def _list_starts(self) -> list[Path]:
        return sorted(self.path.glob("start-*.json"))

    def _write_start(self, number: int, start: JobStart) -> None:
        write_new(self.path / f"start-{number:04}.json", to_json(asdict(start)))

    def _read(self, name: str, kind: type[T]) -> T:
        path = self.path / name
        try:
            return read_document(kind, read_file(path))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read: {error}.") from error


def is_job(folder: Path) -> bool:
    """Whether a folder is that of a job."""
    return (folder / _JOB).is_file()


def is_check(folder: Path) -> bool:
    """Whether a job is to look at its node, and carries out no run."""
    return (folder / CHECK).is_file()


def list_jobs(study_dir: Path, *, is_open: bool = True) -> list[JobDir]:
    """The jobs of a study, by name; those that are not closed, or all."""
    return list(_iterate_jobs(study_dir, is_open=is_open))


def _iterate_jobs(study_dir: Path, *, is_open: bool) -> Iterator[JobDir]:
    with suppress(OSError):
        for path in sorted((study_dir / JOBS).iterdir()):
            job = JobDir(path)
            if not path.name.startswith(".") and is_job(path) and not (is_open and job.is_closed):
                yield job


def note_cancellation(jobs: Path) -> None:
    """Tell whoever sweeps the study, on any machine, that its jobs are ended on purpose."""
    if jobs.is_dir():
        write_atomically(jobs / _CANCELLED, secrets.token_hex(8).encode())


def read_cancellation(jobs: Path) -> str | None:
    """What changes with each cancellation."""
    return read_if_any(jobs / _CANCELLED)


def choose_folder(jobs: Path, start: str) -> JobDir:
    """The first free name of a job that begins so, or that of one which is not closed."""
    jobs.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        folder = JobDir(jobs / f"{start}-{number}")
        if not folder.path.exists() or not folder.is_closed:
            return folder
    raise AssertionError


def name_job(tasks: Sequence[Task], *, is_spread: bool) -> str:
    """``b0003.1``: block 3, first attempt at it; ``r00012.1``: a run by itself.

    Of two submitters that want to carry out the same at once, both choose the same name.
    """
    spec = tasks[0].spec
    place = f"{_SINGLE}{spec.order_global:05}" if is_spread else f"b{spec.block:04}"
    return f"{place}.{spec.block_attempt}"
