"""What can be measured on this machine, why not, and what would fix it; nothing is changed.

A group of checks is ``check_…(facts) -> Iterator[Line]``. To add one: a file here and a
line in ``registry.CHECKUPS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from wbcbench import registry
from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.record import AbsentMeter, SensorCard
from wbcbench.core.trace import Channel, Domain, Origin
from wbcbench.energy.source import rank_sources
from wbcbench.measure.spans import Recorded, Span

ABSENT = "absent"


class State(StrEnum):
    """What a line says; never told by colour alone."""

    OK = "ok"
    INFO = "info"  # worth knowing, nothing to do
    WARN = "warn"  # numbers will be worse than they could be
    FAIL = "FAIL"  # a run would not work


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at.

    Attributes:
        state: How it is.
        name: What was looked at, in a word or two; stable, for programs.
        found: What was found.
        why: Why it matters; empty where nothing is wrong.
        fix: The exact command or step that mends it.
        undo: What takes the fix back.
    """

    state: State
    name: str
    found: str
    why: str = ""
    fix: str = ""
    undo: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the groups look at.

    Attributes:
        results: Where runs would be kept.
        data: Folder of the images; ``None`` for the embedded synthetic cells.
        gpus: Which GPUs are meant; empty = every visible one.
        channels: What the meters that work here offer.
        absent: Meters that do not work here, and why.
        recorded: A few seconds of all of them; ``None`` if none works.
        idle: Those seconds as a span.
    """

    results: Path
    data: Path | None = None
    gpus: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()
    absent: tuple[AbsentMeter, ...] = ()
    recorded: Recorded | None = None
    idle: Span | None = None

    @property
    def cards(self) -> tuple[SensorCard, ...]:
        """How each sensor was seen to behave."""
        return self.recorded.seen.sensor_cards if self.recorded else ()


@dataclass(frozen=True, slots=True)
class Group:
    """Lines that belong together."""

    name: str
    lines: tuple[Line, ...]


def examine(facts: Facts, names: Sequence[str] = ()) -> tuple[Group, ...]:
    """Every group, or those that are named, in the order of the registry."""
    wanted = names or tuple(registry.CHECKUPS)
    return tuple(Group(name, tuple(registry.load_part("checkup", name)(facts))) for name in wanted)


def count_lines(groups: Iterable[Group], state: State) -> int:
    """How many lines are in a state."""
    return sum(line.state is state for group in groups for line in group.lines)


@dataclass(frozen=True, slots=True)
class Requirement:
    """What was asked of one part, and how it is."""

    domain: Domain
    required: Origin
    found: str

    @property
    def is_met(self) -> bool:
        """Whether the part is read at least as well as was asked."""
        return self.found != ABSENT and Origin(self.found).rank <= self.required.rank


def requirements(words: Sequence[str], channels: Sequence[Channel]) -> tuple[Requirement, ...]:
    """Read ``gpu=measured`` and the like, and compare them with the channels there are.

    Raises:
        UsageError: A word is not ``part=status``, or names no part or status.
    """
    return tuple(_requirement(word, channels) for word in words)


def _requirement(word: str, channels: Sequence[Channel]) -> Requirement:
    part, sign, status = word.partition("=")
    if not sign:
        raise UsageError(f"--require takes part=status, e.g. gpu=measured; it is {word!r}.")
    if part not in list(Domain):
        raise unknown_name("part of the machine", part, list(Domain))
    if status not in list(Origin):
        raise unknown_name("status", status, list(Origin))
    found = rank_sources(channels, Domain(part))
    return Requirement(Domain(part), Origin(status), found[0].status.value if found else ABSENT)
