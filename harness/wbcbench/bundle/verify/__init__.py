"""Whether a bundle's statements are true. Each check is ``check(bundle) -> Outcome``.

A check looks at one thing and computes it again from the data beneath, trusting nothing that can be
computed. It reads the bundle only: no network, no TensorFlow, no meter, nothing written. To add
one: a function in a file here and a line in ``registry.VERIFICATIONS``. What cannot be checked this
way is in ``harness/VERIFICATION.md``.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from wbcbench.core.errors import WbcbenchError

_PROBLEMS = 3

# A third party's file can fail in any of these ways under a reader that expects an honest one.
READ_ERRORS = (
    WbcbenchError, OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    RecursionError, csv.Error,
)  # fmt: skip


class Status(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"  # worth knowing; the bundle's statements may still be true
    ERROR = "error"  # a statement of the bundle is false
    NOT_CHECKED = "not_checked"  # cannot be checked here, nor anything equal, and why


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one check.

    Attributes:
        status, detail: With one line of detail.
        remark: What the last line must say of the whole bundle; empty for most.
    """

    status: Status
    detail: str
    remark: str = ""


def report_outcome(good: str, errors: Sequence[str] = (), warnings: Sequence[str] = ()) -> Outcome:
    """The most severe status, with its first problems.

    Args:
        good: What holds, with numbers.
        errors: Statements of the bundle that are false; sentences.
        warnings: What a reader should know.
    """
    if errors or warnings:
        problems = [*errors, *warnings]
        more = len(problems) - _PROBLEMS
        detail = " ".join(problems[:_PROBLEMS]) + (f" And {more:,} more." if more > 0 else "")
        return Outcome(Status.ERROR if errors else Status.WARNING, detail)
    return Outcome(Status.OK, good)


def report_not_checked(reason: str) -> Outcome:
    """A check that could not be made."""
    return Outcome(Status.NOT_CHECKED, reason)
