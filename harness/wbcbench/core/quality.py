"""Valid, suspect or invalid, with machine-readable reasons and advice; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a caution weighs."""

    INFO = "info"  # worth knowing; changes nothing
    SUSPECT = "suspect"  # the number may be wrong
    INVALID = "invalid"  # the number must not be used


class Quality(StrEnum):
    """What the cautions of a run add up to."""

    VALID = "valid"
    SUSPECT = "suspect"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class QualityWarning:
    """A doubt, stored with the record.

    Attributes:
        code: Stable identifier, e.g. ``short-window``.
        severity: How much it weighs.
        detail: What was seen, with numbers.
        advice: What to do about it.
        window: The window it speaks of; empty = the whole run.
        channel: The channel it speaks of; empty = none in particular.
    """

    code: str
    severity: Severity
    detail: str
    advice: str
    window: str = ""
    channel: str = ""


def worst_quality(warnings: Iterable[QualityWarning]) -> Quality:
    """The worst severity decides; cautions that only inform leave a run valid."""
    found = {warning.severity for warning in warnings}
    if Severity.INVALID in found:
        return Quality.INVALID
    return Quality.SUSPECT if Severity.SUSPECT in found else Quality.VALID
