"""The few errors a user can meet, each with its exit code.

    WbcbenchError              1   a bug
    ├── UsageError             2   bad option, bad file, bad data
    │   └── RunExistsError     2   a run's folder is there already
    ├── CannotMeasureError     3   the meter asked for does not work here; runs not comparable
    ├── ThresholdExceededError 4   a `--fail-if` limit is exceeded
    ├── InconclusiveError      5   `--strict` and the interval straddles the limit
    ├── VerificationError      6   a bundle does not hold what it claims
    ├── RunsFailedError        7   some runs of a study failed; the others are kept
    ├── PartlyVerifiedError    8   what could be checked of a bundle holds; a part could not be
    └── InterruptedRunError  130   Ctrl-C

A message says what happened, where, why it matters, and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_MOST_SHOWN = 30  # names in a message; of more, the nearest
_MOST_PROBLEMS = 10  # of one file, a line each


class WbcbenchError(Exception):
    """Base of every error a user meets; ``exit_code`` is the process's exit status."""

    exit_code = 1


class UsageError(WbcbenchError):
    """An option, a file or the data is not what it must be."""

    exit_code = 2


class RunExistsError(UsageError):
    """A run's folder is there already; the next attempt takes another."""


class CannotMeasureError(WbcbenchError):
    """A meter was asked for by name and does not work on this machine, or runs do not compare."""

    exit_code = 3


class MeasuredElsewhereError(CannotMeasureError):
    """Another rank of this program reads every device: what it costs is counted there, once."""


class ThresholdExceededError(WbcbenchError):
    """A limit given with ``--fail-if`` is exceeded by the whole interval."""

    exit_code = 4


class InconclusiveError(WbcbenchError):
    """The interval straddles the limit and ``--strict`` was given."""

    exit_code = 5


class VerificationError(WbcbenchError):
    """A bundle's contents do not agree with its claims."""

    exit_code = 6


class RunsFailedError(WbcbenchError):
    """At least one run of the study failed; finished runs are kept."""

    exit_code = 7


class PartlyVerifiedError(WbcbenchError):
    """Nothing in a bundle is wrong, but a part could not be checked here, nor anything equal."""

    exit_code = 8


class InterruptedRunError(WbcbenchError):
    """The user pressed Ctrl-C; what was measured so far is kept."""

    exit_code = 130


def error_named(kind: str) -> type[WbcbenchError]:
    """The error class of a stored failure; ``RunsFailedError`` where the kind is another."""
    known = {error.__name__: error for error in WbcbenchError.__subclasses__()}
    return known.get(kind, RunsFailedError)


def suggest(name: str, known: Iterable[str]) -> str:
    """``Did you mean 'epochs'?``; empty where no name is near."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"Did you mean '{near[0]}'?" if near else ""


def list_problems(source: object, problems: Sequence[str]) -> UsageError:
    """Return the error with everything that is wrong in a file, a line each if there are several.

    Args:
        source: Where it is wrong.
        problems: Sentences; at least one.
    """
    if len(problems) == 1:
        return UsageError(f"{source}: {problems[0]}")
    lines = [f"{source}: {len(problems)} errors", *problems[:_MOST_PROBLEMS]]
    if len(problems) > _MOST_PROBLEMS:
        lines.append(f"… and {len(problems) - _MOST_PROBLEMS} more.")
    return UsageError("\n".join(lines))


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is not known, with the nearest match.

    Args:
        kind: What the name should have named, e.g. ``"variant"``.
        name: What the user typed.
        known: Every valid name.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    shown = names if len(names) <= _MOST_SHOWN else difflib.get_close_matches(name, names, 12, 0)
    more = "" if shown is names else f" and {len(names) - len(shown)} others"
    return UsageError(f"There is no {kind} '{name}'.{hint} Known: {', '.join(shown)}{more}.")
