"""Every check in the registry's order, and what they add up to."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wbcbench import registry
from wbcbench.bundle.open import opened
from wbcbench.bundle.verify import Outcome, Status, energies, not_checked, records, scores
from wbcbench.bundle.verify.bundle import Bundle, survey
from wbcbench.core.errors import VerificationError, WbcbenchError
from wbcbench.core.text import count_of, printable

SCHEMA = "wbcbench.verify/1"

_SIGN = {
    Status.OK: "[x]",
    Status.WARNING: "[!]",
    Status.NOT_CHECKED: "[ ]",
    Status.ERROR: "FAIL",
}

# A stranger's file can go wrong in any of these ways under a reader that expects an honest one.
_SPOILT = (
    WbcbenchError, OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    RecursionError, MemoryError, csv.Error,
)  # fmt: skip

_BEFORE = {"V03": records.check_rows, "V06": energies.check_energies, "V08": scores.check_scores}


@dataclass(frozen=True, slots=True)
class Inspection:
    """What every check found.

    Attributes:
        found: By the check's id, in order.
        strict: Whether warnings count as errors.
    """

    found: Mapping[str, Outcome]
    strict: bool = False

    def _count(self, status: Status) -> int:
        return sum(each.status is status for each in self.found.values())

    @property
    def errors(self) -> int:
        """How many checks failed."""
        return self._count(Status.ERROR) + (self._count(Status.WARNING) if self.strict else 0)

    @property
    def warnings(self) -> int:
        """How many found something that leaves the bundle standing."""
        return 0 if self.strict else self._count(Status.WARNING)

    @property
    def verified(self) -> bool:
        """Whether nothing speaks against the bundle."""
        return self.errors == 0


def verify(source: Path, *, strict: bool = False) -> Inspection:
    """Check a bundle, a folder or a zip, from itself alone.

    Raises:
        UsageError: There is no such bundle.
    """
    try:
        with opened(source) as root:
            return Inspection(inspect(survey(root)), strict)
    except VerificationError as error:
        return Inspection(_refused(str(error)), strict)


def inspect(bundle: Bundle) -> dict[str, Outcome]:
    """Every check of the registry on an opened bundle."""
    found = dict[str, Outcome]()
    for name in registry.VERIFICATIONS:
        found[name] = _carried_out(name, bundle)
    return found


def _carried_out(name: str, bundle: Bundle) -> Outcome:
    """One check; what its reading stumbles over is an error of the bundle, and is said."""
    try:
        found: Outcome = registry.load_part("verification", name)(bundle)
    except _SPOILT as error:
        said = str(error) or type(error).__name__
        return Outcome(Status.ERROR, f"It cannot be read: {said}")
    return found


def _refused(why: str) -> dict[str, Outcome]:
    first, *others = registry.VERIFICATIONS
    rest = dict.fromkeys(others, not_checked("The bundle was refused before it was opened."))
    return {first: Outcome(Status.ERROR, why), **rest}


def as_document(found: Inspection) -> dict[str, Any]:
    """For programs."""
    return {
        "schema": SCHEMA,
        "verified": found.verified,
        "checks": [
            {"id": name, "status": _status(each, found).value, "detail": each.detail}
            for name, each in found.found.items()
        ],
    }


def as_text(found: Inspection) -> str:
    """One line a check, and what they add up to."""
    lines = [
        f"{_SIGN[_status(each, found)]} {name} {_line(name, each)}"
        for name, each in found.found.items()
    ]
    verdict = "VERIFIED" if found.verified else "NOT VERIFIED"
    counts = f"{count_of(found.warnings, 'warning')}, {count_of(found.errors, 'error')}"
    return "\n".join([*lines, f"{counts}: {verdict}"])


def _status(each: Outcome, found: Inspection) -> Status:
    counts = found.strict and each.status is Status.WARNING
    return Status.ERROR if counts else each.status


def _line(name: str, each: Outcome) -> str:
    return f"{about(name)}: {printable(' '.join(each.detail.split()))}"


def about(name: str) -> str:
    """What a check is called: the first words of its docstring."""
    return registry.summary("verification", name).partition(":")[0].rstrip(".")


# What is made from results is made again only once the results hold.
def why_not_rebuilt(bundle: Bundle) -> Outcome | None:
    """Why nothing is made from these results; ``None`` when they hold."""
    found = [name for name, check in _BEFORE.items() if check(bundle).status is Status.ERROR]
    if not found:
        return None
    return not_checked(f"The results do not hold ({', '.join(found)}); nothing was made from them.")
