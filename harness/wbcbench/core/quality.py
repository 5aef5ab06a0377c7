"""Valid, suspect or invalid, with machine-readable reasons and advice; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How serious a warning is."""

    INFO = "info"  # good to know; changes nothing
    SUSPECT = "suspect"  # the number may be wrong
    INVALID = "invalid"  # the number must not be used


class Quality(StrEnum):
    """What the warnings of a run add up to."""

    VALID = "valid"
    SUSPECT = "suspect"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class QualityWarning:
    """A warning, stored with the record; ``energy.warnings`` lists all kinds.

    Attributes:
        code: Stable identifier, e.g. ``short-window``.
        severity: How serious it is.
        detail: What was observed, with numbers.
        advice: What to do about it.
        window: The window it is about; empty = the whole run.
        channel: The channel it is about; empty = none in particular.
    """

    code: str
    severity: Severity
    detail: str
    advice: str
    window: str = ""
    channel: str = ""


def worst_quality(warnings: Iterable[QualityWarning]) -> Quality:
    """The worst severity decides; warnings that only inform leave a run valid."""
    severities = {warning.severity for warning in warnings}
    if Severity.INVALID in severities:
        return Quality.INVALID
    return Quality.SUSPECT if Severity.SUSPECT in severities else Quality.VALID
