"""What can be measured on this machine, why not, and what would fix it; nothing is changed.

A group of checks is ``check_…(facts) -> Iterator[Line]``. To add one: a file here and a
line in ``registry.CHECKUPS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from wbcbench import registry
from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.record import AbsentMeter, SensorCard
from wbcbench.core.trace import Channel, Domain, Origin
from wbcbench.energy.source import expected_source
from wbcbench.measure.window_result import Recording, WindowResult

ABSENT = "absent"


class State(StrEnum):
    """How serious a line is; a word, so that colour is never needed."""

    OK = "ok"
    INFO = "info"  # worth knowing, nothing to do
    WARN = "warn"  # numbers will be worse than they could be
    FAIL = "FAIL"  # a run would not work


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was checked.

    Attributes:
        state: How serious it is.
        name: What was checked, in a word or two; stable, for programs.
        text: How it is here.
        why: Why it matters; empty where nothing is wrong.
        fix: The exact command or step that fixes it.
        undo: What takes the fix back.
    """

    state: State
    name: str
    text: str
    why: str = ""
    fix: str = ""
    undo: str = ""


ok, info, warn, fail = (partial(Line, state) for state in State)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the checks work on.

    Attributes:
        results: Where runs would be kept.
        data: Folder of the images; ``None`` for the embedded synthetic images.
        gpus: Which GPUs are meant; empty = every visible one.
        channels: What the meters that work here offer.
        absent: Meters that do not work here, and why.
        recording: A few idle seconds of all of them; ``None`` if none works.
        idle: The energy of those seconds.
    """

    results: Path
    data: Path | None = None
    gpus: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()
    absent: tuple[AbsentMeter, ...] = ()
    recording: Recording | None = None
    idle: WindowResult | None = None

    @property
    def cards(self) -> tuple[SensorCard, ...]:
        """How each sensor behaved when it was probed."""
        return self.recording.circumstances.sensor_cards if self.recording else ()


Groups = dict[str, list[Line]]  # the name of a group of checks → its lines


def examine(facts: Facts, names: Sequence[str] = ()) -> Groups:
    """Run every group of checks, or the named ones, in the order of the registry."""
    chosen = names or registry.CHECKUPS
    return {name: list(registry.load_part("checkup", name)(facts)) for name in chosen}


def count_lines(groups: Groups, state: State) -> int:
    """How many lines are in a state."""
    return sum(line.state is state for lines in groups.values() for line in lines)


@dataclass(frozen=True, slots=True)
class Requirement:
    """What was required of one part of the machine, and how it is."""

    domain: Domain
    required: Origin
    status: str

    @property
    def is_met(self) -> bool:
        """Whether the part is read at least as well as required."""
        return self.status != ABSENT and Origin(self.status).rank <= self.required.rank


def parse_requirement(
    text: str, channels: Sequence[Channel], absent: Sequence[AbsentMeter] = ()
) -> Requirement:
    """Read ``gpu=measured`` and the like, and compare it with what can be read.

    Raises:
        UsageError: The text is not ``part=status``, or names no part or status.
    """
    part, sign, status = text.partition("=")
    if not sign:
        raise UsageError(f"--require takes part=status, e.g. gpu=measured, not {text!r}.")
    if part not in list(Domain):
        raise unknown_name("part of the machine", part, list(Domain))
    if status not in list(Origin):
        raise unknown_name("status", status, list(Origin))
    source = expected_source(channels, Domain(part), absent)
    found = source.status if source and source.status and not source.unread else ABSENT
    return Requirement(Domain(part), Origin(status), found)
