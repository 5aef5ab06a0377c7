"""Claims with their results, the plan's own and those of a file: in sentences and in tables."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.compare.claims import (
    ClaimResult,
    describe_estimate,
    describe_measure,
    describe_outcome,
)
from wbcbench.compare.render import build_claims_table, describe_claim
from wbcbench.compare.result import Comparison, build_claim_row, format_claim_key
from wbcbench.core.files import sha256_of
from wbcbench.core.study_folder import CLAIMS, CONTRASTS, RUNS_TABLE
from wbcbench.core.text import UNKNOWN
from wbcbench.report import DataTable, Part, Place, Section, Statement, Value
from wbcbench.report.study import ReportStudy

_RESULTS = (
    "Supported: the 95 % CI lies in the claimed range and p (Holm over the claims) is at most 5 %; "
    "not supported: it lies outside"
)
_KEPT_RESULTS = (
    "Supported: every 95 % CI lies in the claimed range; not supported: one lies outside; else "
    "inconclusive. Intervals over seeds decide; those over photographs, the mean of the runs' "
    "own, say what other test images might give."
)


def build_claims(study: ReportStudy) -> Section | None:
    """What was claimed, what the runs show of it, and the result in a word."""
    parts = [*_iterate_planned(study)]
    if study.kept_claims:
        parts.append(_build_kept(study))
    title = "Claims of the plan" if study.planned_claims and not study.kept_claims else "Claims"
    return Section("claims", title, tuple(parts)) if parts else None


def _iterate_planned(study: ReportStudy) -> Iterator[Part]:
    if study.planned_claims and study.comparison is not None:
        yield _build_planned(study, study.comparison)
    else:  # where nothing was tested there are no numbers
        yield from map(describe_claim, study.planned_claims)


def _build_planned(study: ReportStudy, comparison: Comparison) -> DataTable:
    results = study.planned_claims
    seen = {row[0]: row for row in build_claims_table(comparison).rows}
    fixed = " Fixed before the first run." if study.is_fixed_beforehand else ""
    rows = tuple(
        (
            result.claim.text or result.name,
            result.claim.statement,
            seen[result.name][3] if result.name in seen else UNKNOWN,
            result.outcome.value,
        )
        for result in results
    )
    keys = tuple(map(format_claim_key, results))
    headings = ("Claim", "Tested", "What was seen", "Result")
    caption = f"{_RESULTS}.{fixed}{study.stamp}"
    return DataTable(caption, headings, rows, (0, 1, 2, 3), CONTRASTS, keys)


def _build_kept(study: ReportStudy) -> DataTable:
    """Each claim with its result, and below it each of its checks with what was seen."""
    rows = list[tuple[str, ...]]()
    for result in study.kept_claims:
        rows.append((result.claim.id, result.claim.text, result.why, result.outcome.value.upper()))
        rows += (
            (
                f"{result.claim.id}.{place}",
                f"{each.check.says} ({describe_measure(each.check)})",
                describe_estimate(each),
                describe_outcome(each),
            )
            for place, each in enumerate(result.evidence, start=1)
        )
    digest = sha256_of(study.folder / CLAIMS)[:12] if study.folder else UNKNOWN
    caption = f"Claims of {CLAIMS} (SHA-256 {digest}). {_KEPT_RESULTS}"
    headings = ("Claim", "What would be so (what is computed)", "Seen [95 % CI]", "Result")
    return DataTable(f"{caption}{study.stamp}", headings, tuple(rows), (0, 1, 2, 3))


def build_claim_statements(study: ReportStudy) -> Section | None:
    """Each claim in one sentence, with its test: what a bundle states of it."""
    planned = study.planned_claims if study.comparison else ()
    statements = (
        *(
            Statement(
                f"planned-{place}",
                describe_claim(result),
                CONTRASTS,
                format_claim_key(result),
                build_claim_row(result),
            )
            for place, result in enumerate(planned, start=1)
        ),
        *(_build_kept_statement(*each) for each in enumerate(study.kept_claims, start=1)),
    )
    if not statements:
        return None
    summary = "each with its test, interval and p" if planned else "each with its intervals"
    return Section("claims-in-full", "Claims in full", statements, Place.FOLDED, summary)


def _build_kept_statement(place: int, result: ClaimResult) -> Statement:
    seen = "; ".join(
        f"{each.check.says}: {describe_estimate(each)}, {describe_outcome(each)}"
        for each in result.evidence
    )
    why = f" ({result.why})" if result.why else ""
    values: dict[str, Value] = {"result": result.outcome.value}
    for number, each in enumerate(result.evidence, start=1):
        low, high = each.interval or (None, None)
        cells = {"n": each.n, "estimate": each.estimate, "ci_low": low, "ci_high": high}
        values |= {f"{number}.{name}": cell for name, cell in cells.items()}
    text = f"{result.claim.id}, “{result.claim.text}”: {result.outcome.value}{why}. {seen}."
    return Statement(f"kept-{place}", text, RUNS_TABLE, "", values)
