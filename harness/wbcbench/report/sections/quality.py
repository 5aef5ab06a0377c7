"""How far the numbers can be trusted: circumstances, doubts with advice, what is absent."""

from __future__ import annotations

from collections import Counter

from wbcbench.core.quality import Caution, Severity
from wbcbench.core.text import count_of
from wbcbench.report import Block, DataTable
from wbcbench.report.evidence import ReportStudy
from wbcbench.report.sections.chips import chips
from wbcbench.report.study_cost import cost_claim

_WEIGHT = {Severity.INVALID: 0, Severity.SUSPECT: 1, Severity.INFO: 2}
_TOLD_APART = "meter-absent"  # has a table of its own, one line a meter
_WORDS = (
    "Measured: read from a sensor of that part. Estimated: from a sensor of another part. "
    "Modelled: worked out from a rated power and the load, without a sensor. Absent: not known, "
    "and not zero."
)


def section(study: ReportStudy) -> Block:
    """Measurement quality in words, then every kind of doubt."""
    tables = [table for table in (_doubts(study), _absent(study)) if table.rows]
    return Block(
        "quality",
        "Measurement quality",
        (_WORDS,),
        tuple(tables),
        claims=cost_claim(study),
        chips=tuple(chips(study)),
    )


def _doubts(study: ReportStudy) -> DataTable:
    """Each kind of doubt once, the gravest first, with the first run that has it."""
    found: dict[tuple[int, str, str, str], list[tuple[str, Caution]]] = {}
    for run in study.runs:
        for caution in run.record.cautions:
            if caution.code != _TOLD_APART:
                key = (_WEIGHT[caution.severity], caution.code, caution.window, caution.channel)
                found.setdefault(key, []).append((run.run_id, caution))
    rows = tuple(_doubt_line(*found[key][0], _runs(found[key])) for key in sorted(found))
    headings = ("doubt", "weight", "window", "runs", "what was seen, and where", "what to do")
    caption = (
        "Doubts and remarks that were stored with the runs, each kind once. Invalid and suspect "
        "weigh in the verdict on a run; info does not."
    )
    return DataTable(caption, headings, rows, frozenset({0, 1, 2, 4, 5}))


def _runs(found: list[tuple[str, Caution]]) -> int:
    return len({run_id for run_id, _ in found})


def _doubt_line(run_id: str, caution: Caution, runs: int) -> tuple[str, ...]:
    window = caution.window or "whole run"
    weight = caution.severity.value
    seen = f"{caution.detail} ({run_id})"
    return (caution.code, weight, window, str(runs), seen, caution.advice)


def _absent(study: ReportStudy) -> DataTable:
    counts = Counter((a.meter, a.reason) for run in study.runs for a in run.record.absent)
    rows = tuple(
        (meter, f"{count} of {count_of(len(study.runs), 'run')}", reason)
        for (meter, reason), count in sorted(counts.items())
    )
    caption = "Meters that were looked for and did not work."
    return DataTable(caption, ("meter", "absent in", "why"), rows, frozenset({0, 1, 2}))
