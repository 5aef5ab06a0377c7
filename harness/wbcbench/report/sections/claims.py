"""The claims of the plan, each with its result: in a sentence and as a row of a table."""

from __future__ import annotations

from wbcbench.compare.render import build_claims_table, describe_claim
from wbcbench.compare.result import build_claim_row, format_claim_key
from wbcbench.core.study_folder import CONTRASTS
from wbcbench.core.text import UNKNOWN
from wbcbench.report import DataTable, Place, Section, Statement
from wbcbench.report.study import ReportStudy

_TITLE = "Claims of the plan"
_RESULTS = (
    "Supported: the 95 % CI lies in the claimed range and p (Holm over the claims) is at most 5 %; "
    "not supported: it lies outside"
)


def build_claims(study: ReportStudy) -> Section | None:
    """What was claimed beforehand, what the runs show of it, and the result in a word."""
    results, comparison = study.planned_claims, study.comparison
    if not results:
        return None
    if comparison is None:  # where nothing was tested there are no numbers
        return Section("claims", _TITLE, tuple(map(describe_claim, results)))
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
    table = DataTable(
        f"{_RESULTS}.{fixed}{study.stamp}", headings, rows, (0, 1, 2, 3), CONTRASTS, keys
    )
    return Section("claims", _TITLE, (table,))


def build_claim_statements(study: ReportStudy) -> Section | None:
    """Each claim of the plan in one sentence, with its test: what a bundle states of it."""
    if study.comparison is None or not study.planned_claims:
        return None
    statements = tuple(
        Statement(
            f"planned-{place}",
            describe_claim(result),
            CONTRASTS,
            format_claim_key(result),
            build_claim_row(result),
        )
        for place, result in enumerate(study.planned_claims, start=1)
    )
    summary = "each with its test, interval and p"
    return Section("claims-in-full", "Claims in full", statements, Place.FOLDED, summary)
