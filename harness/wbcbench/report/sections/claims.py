"""The claims of the plan, each with its result: in a sentence and as a row of a table."""

from __future__ import annotations

from wbcbench.compare.render import build_claims_table, describe_claim
from wbcbench.compare.result import build_claim_row, format_claim_key
from wbcbench.core.study_folder import CONTRASTS
from wbcbench.report import Block, DataTable, Statement
from wbcbench.report.study import ReportStudy

_TITLE = "Claims of the plan"
_RESULTS = (
    "supported: the 95 % interval lies in the claimed range, and p, twice that of the one-sided t "
    "tests against its ends and corrected by Holm for all claims of the plan, is at most 5 %; not "
    "supported: the interval lies outside"
)


def build_claims(study: ReportStudy) -> Block | None:
    """What was claimed beforehand, and what the runs show of it."""
    results, comparison = study.planned_claims, study.comparison
    sentences = tuple(map(describe_claim, results))
    if not results or comparison is None:  # where nothing was tested there are no numbers
        return Block("claims", _TITLE, sentences) if results else None
    keys = tuple(map(format_claim_key, results))
    claims = tuple(
        Statement(f"planned-{place}", text, CONTRASTS, key, build_claim_row(result))
        for place, (text, key, result) in enumerate(zip(sentences, keys, results, strict=True), 1)
    )
    table = build_claims_table(comparison)
    fixed = ", fixed before the first run" if study.is_fixed_beforehand else ""
    caption = f"{_TITLE}{fixed}; {_RESULTS}.{study.stamp}"
    cells = DataTable(caption, table.headings, table.rows, (0, 1, 2, 5), CONTRASTS, keys)
    return Block("claims", _TITLE, tables=(cells,), claims=claims)
