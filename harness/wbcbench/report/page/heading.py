"""The line under the title: how many runs, of when, on what, by which version."""

from __future__ import annotations

import hashlib

from wbcbench import table
from wbcbench.report.page.evidence import Evidence
from wbcbench.writing.show_units import count_of


def facts(study: Evidence) -> str:
    """One line; the date is the results' own, for a report made again must be the same."""
    parts = [
        count_of(len(study.variants), "variant"),
        count_of(len(study.runs), "run"),
        f"last run ended {max(run.record.ended_utc for run in study.runs)}",
        _one(study, "gpu_name") or _one(study, "cpu_model"),
        f"wbcbench {_one(study, 'wbcbench_version') or 'of unknown version'}",
        f"results sha256 {results_sha256(study)[:12]}",
    ]
    return " · ".join(part for part in parts if part)


def results_sha256(study: Evidence) -> str:
    """Digest of the results table that these records make."""
    return hashlib.sha256(table.to_csv([run.row for run in study.runs])).hexdigest()


def _one(study: Evidence, column: str) -> str:
    found = sorted({str(run.row[column]) for run in study.runs if run.row[column] is not None})
    return found[0] if len(found) == 1 else f"{len(found)} different {column}" if found else ""
