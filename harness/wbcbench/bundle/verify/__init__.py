"""Does a bundle hold what it says? Each check is ``check(bundle) -> Outcome``.

A check looks at one thing, works it out again from what lies beneath it, and believes nothing that
it can work out. It reads the bundle alone: no network, no TensorFlow, no meter, nothing written. To
add one: a function in a file here and a line in ``registry.VERIFICATIONS``. What cannot be found
out this way is in ``harness/VERIFICATION.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_NAMED = 3


class Status(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARNING = "warning"  # worth knowing; the bundle may still be what it says
    ERROR = "error"  # the bundle is not what it says
    NOT_CHECKED = "not_checked"  # cannot be found out here, and why


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check found, in one line."""

    status: Status
    detail: str


def outcome(good: str, errors: Sequence[str] = (), warnings: Sequence[str] = ()) -> Outcome:
    """The worst of what was found, or that all is well.

    Args:
        good: What was seen to be so, with numbers.
        errors: What the bundle says and is not so; whole sentences.
        warnings: What should be known.
    """
    if errors:
        return Outcome(Status.ERROR, _join_first([*errors, *warnings]))
    if warnings:
        return Outcome(Status.WARNING, _join_first(warnings))
    return Outcome(Status.OK, good)


def not_checked(why: str) -> Outcome:
    """Nothing was found out, for this reason."""
    return Outcome(Status.NOT_CHECKED, why)


def _join_first(problems: Sequence[str]) -> str:
    more = len(problems) - _NAMED
    told = " ".join(problems[:_NAMED])
    return f"{told} And {more:,} more." if more > 0 else told
