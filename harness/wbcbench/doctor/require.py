"""``--require gpu=measured``: whether a part of the machine is read as well as was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.trace import Channel, Domain, Origin
from wbcbench.energy.source import speakers

ABSENT = "absent"


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
    found = speakers(channels, Domain(part))
    return Requirement(Domain(part), Origin(status), found[0].status.value if found else ABSENT)
