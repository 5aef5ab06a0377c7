"""Every check in the registry's order, and the result of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from wbcbench import registry
from wbcbench.bundle.bounds import quote
from wbcbench.bundle.open import received
from wbcbench.bundle.verify import (
    READ_ERRORS,
    Outcome,
    Status,
    energies,
    records,
    report_not_checked,
    scores,
)
from wbcbench.bundle.verify.bundle import Bundle, load_bundle
from wbcbench.bundle.verify.fingerprint import Fingerprint, take_fingerprint
from wbcbench.bundle.verify.summary import Summary, summarise
from wbcbench.compare.render import describe_claim
from wbcbench.compare.result import build_claim_document
from wbcbench.core.errors import VerificationError
from wbcbench.core.terminal import fill
from wbcbench.core.text import count_of, printable

SCHEMA = "wbcbench.verify/2"


class Result(StrEnum):
    """What a bundle as a whole is."""

    VERIFIED = "verified"
    IN_PART = "verified in part"  # nothing is wrong, but something could not be checked here
    NOT_VERIFIED = "not verified"


_SIGN = {
    Status.OK: "ok",
    Status.WARNING: "warn",
    Status.NOT_CHECKED: "skip",
    Status.ERROR: "FAIL",
}
_SUM = 14

_RESULTS = {"V03": records.check_rows, "V06": energies.check_energies, "V08": scores.check_scores}


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of every check.

    Attributes:
        outcomes: By the check's id, in order.
        strict: Whether warnings count as errors.
        claims: Of the plan, with their results; none where a check failed.
        summary: What the bundle is about; ``None`` where it cannot be read.
        fingerprint: What of it is compared with others, where that was asked for.
    """

    outcomes: Mapping[str, Outcome]
    strict: bool = False
    claims: Sequence[Mapping[str, Any]] = ()
    summary: Summary | None = None
    fingerprint: Fingerprint | None = None

    @property
    def statuses(self) -> dict[str, Status]:
        """By the check's id; a warning is an error if that was requested."""
        worst = Status.ERROR if self.strict else Status.WARNING
        return {
            name: worst if outcome.status is Status.WARNING else outcome.status
            for name, outcome in self.outcomes.items()
        }

    @property
    def errors(self) -> int:
        """How many checks failed."""
        return list(self.statuses.values()).count(Status.ERROR)

    @property
    def warnings(self) -> int:
        """How many checks warn."""
        return list(self.statuses.values()).count(Status.WARNING)

    @property
    def result(self) -> Result:
        """Verified where every check was made and none failed."""
        if self.errors:
            return Result.NOT_VERIFIED
        is_partial = Status.NOT_CHECKED in self.statuses.values()
        return Result.IN_PART if is_partial else Result.VERIFIED

    @property
    def verified(self) -> bool:
        """Whether every check was made and none failed."""
        return self.result is Result.VERIFIED

    @property
    def remarks(self) -> list[str]:
        """What a reader of the result alone must know."""
        return [outcome.remark for outcome in self.outcomes.values() if outcome.remark]


def verify(
    source: Path,
    *,
    strict: bool = False,
    allowed_signers: Path | None = None,
    plan_digest: str | None = None,
    is_compared: bool = False,
    on_open: Callable[[Path], object] = lambda _: None,
) -> Inspection:
    """Check a bundle, a folder or a zip, from its own files only.

    Args:
        source: The bundle.
        strict: Whether warnings count as errors.
        allowed_signers: File of OpenSSH with the keys of which one must have signed it.
        plan_digest: That its plan must have, as posted before the first run.
        is_compared: Whether it will be compared with other bundles.
        on_open: Called with the bag once its files are known to be plain, before any is read.

    Raises:
        UsageError: There is no such bundle.
    """
    litter, beside = list[str](), list[str]()
    try:
        with received(source, on_litter=litter.extend, on_beside=beside.extend) as root:
            on_open(root)
            bundle = load_bundle(root)
            asked = replace(bundle, allowed_signers=allowed_signers, plan_digest=plan_digest)
            found = Inspection(_name_left_out(inspect(asked), litter, beside), strict)
            claims = list_claims(bundle, found)
            summary = fingerprint = None
            with suppress(*READ_ERRORS):  # which a check has told
                summary = summarise(bundle, found.outcomes, claims)
            with suppress(*READ_ERRORS):
                fingerprint = take_fingerprint(bundle) if is_compared else None
            return replace(found, claims=claims, summary=summary, fingerprint=fingerprint)
    except VerificationError as error:
        refused = refuse(str(error), "The bundle was refused unread.", strict=strict)
        return replace(refused, outcomes=_name_left_out(refused.outcomes, (), beside))


def read_summary(source: Path, on_open: Callable[[Path], object]) -> Summary:
    """What a bundle is about, of which nothing but that it can be read safely is checked.

    Raises:
        UsageError: There is no such bundle.
        VerificationError: It cannot be read, or holds what a bundle never does.
    """
    with received(source) as root:
        on_open(root)
        try:
            return summarise(load_bundle(root), {})
        except READ_ERRORS as error:
            raise VerificationError(
                f"The bundle cannot be read ({quote(str(error) or type(error).__name__)}). "
                "`wbcbench verify` says what is wrong with it."
            ) from error


def _name_left_out(
    outcomes: Mapping[str, Outcome], litter: Sequence[str], beside: Sequence[str]
) -> dict[str, Outcome]:
    """Say in the first check what lay in the bundle or beside it, and nothing looked at."""
    (name, first), *others = outcomes.items()
    if litter:
        left_out = f"Left out, as a file manager added it: {_name_first(litter)}."
        first = replace(first, detail=f"{first.detail} {left_out}")
    if beside:
        first = replace(first, remark=f"not looked at, beside the bundle: {_name_first(beside)}")
    return {name: first, **dict(others)}


def _name_first(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{quote(names[0])}{more}"


def refuse(problem: str, reason: str, *, strict: bool) -> Inspection:
    """The result for a bundle with a problem that is why nothing else was checked."""
    first, *others = registry.VERIFICATIONS
    rest = dict.fromkeys(others, report_not_checked(reason))
    return Inspection({first: Outcome(Status.ERROR, problem), **rest}, strict)


def inspect(bundle: Bundle) -> dict[str, Outcome]:
    """Every check of the registry on an opened bundle."""
    with suppress(*READ_ERRORS):  # which the checks will meet again, and tell
        for run in bundle.finished_and_pilots:  # both at once, for they ask the same of the traces
            bundle.record(run)
            energies.check_traces(bundle, run)
            records.compare_records(bundle, run)
    return {name: _run_check(name, bundle) for name in registry.VERIFICATIONS}


def list_claims(bundle: Bundle, found: Inspection) -> list[dict[str, Any]]:
    """The claims of the plan with their results, computed here; none of a bundle that is wrong."""
    if found.errors:
        return []
    return [
        build_claim_document(claim) | {"sentence": describe_claim(claim)}
        for claim in bundle.study.reported.planned_claims
    ]


def _run_check(name: str, bundle: Bundle) -> Outcome:
    """One check; a file that cannot be read is an error of the bundle."""
    try:
        result: Outcome = registry.load_part("verification", name)(bundle)
    except READ_ERRORS as error:
        return Outcome(Status.ERROR, f"It cannot be read: {str(error) or type(error).__name__}")
    return result


def as_document(inspection: Inspection) -> dict[str, Any]:
    """For programs."""
    statuses = inspection.statuses
    return {
        "schema": SCHEMA,
        "verified": inspection.verified,
        "result": inspection.result.value,
        "remarks": inspection.remarks,
        "checks": [
            {"id": name, "status": statuses[name].value, "detail": outcome.detail}
            for name, outcome in inspection.outcomes.items()
        ],
        "claims": inspection.claims,
    }


def as_text(inspection: Inspection) -> str:
    """One line a check and a claim, and the sum of the checks."""
    claims = [fill(printable(claim["sentence"]), rest="  ") for claim in inspection.claims]
    return "\n".join([*_format_checks(inspection, list(Status)), *claims, _format_sum(inspection)])


def format_faults(inspection: Inspection) -> list[str]:
    """A line for each check that did not hold without more ado, and the sum of all."""
    faults = _format_checks(inspection, [s for s in Status if s is not Status.OK])
    return [*faults, _format_sum(inspection)]


def _format_checks(inspection: Inspection, chosen: Sequence[Status]) -> Iterator[str]:
    """A line for each check that ended so; one for those left out together."""
    statuses = inspection.statuses
    kept = [name for name, status in statuses.items() if status in chosen]
    for (status, text), group in groupby(
        kept, key=lambda name: (statuses[name], inspection.outcomes[name].detail)
    ):
        names, detail = list(group), printable(" ".join(text.split()))
        if status is Status.NOT_CHECKED and len(names) > 1:
            yield _format_check(status, f"{names[0]} to {names[-1]}: {detail}")
            continue
        for name in names:
            yield _format_check(status, f"{name} {get_title(name)}: {detail}")


def _format_check(status: Status, text: str) -> str:
    """``  ok    V01 complete: 412 files``."""
    first = f"  {_SIGN[status]:<6}"
    return fill(text, first, " " * (len(first) + 4))


def _format_sum(inspection: Inspection) -> str:
    """``VERIFIED      15 ok, 1 warning, 0 errors, 0 skipped``, and what else must be known."""
    statuses = list(inspection.statuses.values())
    counts = [
        f"{statuses.count(Status.OK)} ok",
        count_of(inspection.warnings, "warning"),
        count_of(inspection.errors, "error"),
        f"{statuses.count(Status.NOT_CHECKED)} skipped",
    ]
    remarks = "".join(f" ({printable(remark)})" for remark in inspection.remarks)
    first = f"{inspection.result.upper():<{_SUM}}"
    return fill(f"{', '.join(counts)}{remarks}", f"{first} ".ljust(_SUM), " " * _SUM)


def get_title(name: str) -> str:
    """What a check is called: the first words of its docstring."""
    return registry.summary("verification", name).partition(":")[0].rstrip(".")


# What is made from results is made again only once the results are correct.
@lru_cache(maxsize=1)  # four checks ask it of one bundle
def why_not_rebuilt(bundle: Bundle) -> Outcome | None:
    """Why nothing is made from these results; ``None`` when they are correct."""
    failed = [n for n, check in _RESULTS.items() if check(bundle).status is Status.ERROR]
    if not failed:
        return None
    return report_not_checked(f"The results are wrong ({', '.join(failed)}), see there.")
