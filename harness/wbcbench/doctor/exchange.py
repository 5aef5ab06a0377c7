"""What the submitter of a check and the job that carries it out say to each other, by files.

    results/.doctor-<token>/job/
        check.json           what is asked; its presence makes the folder that of a check
        node-<n>.json        the node says something, and by its clock when
        submitter-<n>.json   the answer: the same token, when it was seen, when this was written
        report.json          what the node found

Every file is whole when it appears. Nothing is read from times of files: a shared disk may show
them late, or by another clock.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from wbcbench.core.files import read_file, write_new
from wbcbench.core.run_folder import to_json
from wbcbench.core.strict_json import read_document
from wbcbench.doctor import Groups, Requirement
from wbcbench.run.job import CHECK

NODE = "node"  # the group of checks that only a job can make
REPORT = "report.json"
ROUNDS = 5
PATIENCE_S = 60.0  # by default NFS looks at a folder again after 60 s at the latest (nfs(5))
_POLL_S = 0.05

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NodeRequest:
    """What is asked of a node.

    Attributes:
        token: Stands in each answer.
        results: Where runs would be kept.
        data: Folder of the images; empty for the embedded synthetic images.
        gres, cache: Of ``[cluster]``.
        meters, gpus, interval_s: What is measured, and how often.
        require: As on the command line.
        version: Of wbcbench, where the check is submitted.
    """

    token: str
    results: str
    data: str
    gres: str
    cache: str
    meters: tuple[str, ...]
    gpus: tuple[str, ...]
    interval_s: float
    require: tuple[str, ...]
    version: str


@dataclass(frozen=True, slots=True)
class Round:
    """Four moments, in seconds of UTC: first and last by the clock of the node."""

    asked_s: float
    heard_s: float
    answered_s: float
    seen_s: float

    @property
    def both_ways_s(self) -> float:
        """How long a file took there, and one back; whatever the clocks."""
        return (self.seen_s - self.asked_s) - (self.answered_s - self.heard_s)


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node found.

    Attributes:
        node: Its name.
        rounds: Of files written there and here; fewer than ``ROUNDS`` if one was not seen.
        links: Why it cannot make the links by which one of two writers is the first; or empty.
        groups: Its checks.
        primary_energy: What a run there would have.
        requirements: Those asked for, and whether they are met.
        error: Why the machine could not be looked at; empty if it was.
    """

    node: str
    rounds: tuple[Round, ...]
    links: str
    groups: Groups = field(default_factory=dict)
    primary_energy: dict[str, str | None] = field(default_factory=dict)
    requirements: tuple[Requirement, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Question:
    token: str
    asked_s: float


@dataclass(frozen=True, slots=True)
class _Answer:
    token: str
    heard_s: float
    answered_s: float


def bound_clock(rounds: tuple[Round, ...]) -> tuple[float, float]:
    """Between which bounds the node's clock is ahead of the submitter's, in seconds.

    A file is seen after it was written, so that each direction gives one bound.
    """
    lower = max(each.asked_s - each.heard_s for each in rounds)
    return lower, min(each.seen_s - each.answered_s for each in rounds)


def ask_submitter(folder: Path, token: str) -> tuple[Round, ...]:
    """On the node: write, wait for the answer, ``ROUNDS`` times."""
    rounds: list[Round] = []
    for number in range(1, ROUNDS + 1):
        question = _Question(token, time.time())
        write_new(folder / f"node-{number}.json", to_json(asdict(question)))
        path = folder / f"submitter-{number}.json"
        end_s = time.monotonic() + PATIENCE_S
        while (answer := read_if_there(path, _Answer)) is None and time.monotonic() < end_s:
            time.sleep(_POLL_S)
        if answer is None or answer.token != token:
            break
        rounds.append(Round(question.asked_s, answer.heard_s, answer.answered_s, time.time()))
    return tuple(rounds)


def answer_node(folder: Path, token: str) -> None:
    """At the submitter, again and again: answer what the node has written since."""
    for number in range(1, ROUNDS + 1):
        path = folder / f"submitter-{number}.json"
        if path.exists():
            continue
        question = read_if_there(folder / f"node-{number}.json", _Question)
        if question is not None and question.token == token:
            heard_s = time.time()
            write_new(path, to_json(asdict(_Answer(token, heard_s, time.time()))))
        return


def read_if_there(path: Path, kind: type[T]) -> T | None:
    """A document, or ``None`` as long as nothing whole is there."""
    with suppress(OSError, ValueError):
        return read_document(kind, read_file(path))
    return None


def try_links(folder: Path) -> str:
    """Why this node cannot make a file just once by a link; empty if it can."""
    source = folder / "linked"
    try:
        source.touch()
        (folder / "link").hardlink_to(source)
    except OSError as error:
        return error.strerror or str(error)
    with suppress(FileExistsError):
        (folder / CHECK).hardlink_to(source)  # which the submitter made first
        return "a link took the place of a file that was there"
    return ""
