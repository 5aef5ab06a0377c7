"""The line under the title: how many runs, of when, on what, by which version."""

from __future__ import annotations

import hashlib

from wbcbench import table
from wbcbench.core.text import count_of
from wbcbench.report.evidence import ReportStudy


def facts(study: ReportStudy) -> str:
    """One line; the date is the results' own, for a report made again must be the same."""
    parts = [
        _counts(study),
        f"last run ended {max(run.record.ended_utc for run in study.runs)}",
        _one(study, "gpu_name") or _one(study, "cpu_model"),
        f"wbcbench {_one(study, 'wbcbench_version') or 'of unknown version'}",
        _git(study),
        f"results sha256 {results_sha256(study)[:12]}",
    ]
    return " · ".join(part for part in parts if part)


def _counts(study: ReportStudy) -> str:
    """``4 variants × 8 blocks = 32 runs`` where that is so."""
    variants, runs = count_of(len(study.variants), "variant"), count_of(len(study.runs), "run")
    blocks = len({(run.spec.block, run.spec.seed) for run in study.runs})
    if len(study.variants) * blocks == len(study.runs) and blocks > 1:
        return f"{variants} × {blocks} blocks = {runs}"
    return f"{variants} · {runs}"


def _git(study: ReportStudy) -> str:
    """The commit and whether it was all; the banner tells which runs were made with changes."""
    found = {(run.row["git_commit"], run.row["git_dirty"]) for run in study.runs}
    if len(found) > 1:
        return f"{len(found)} states of the program"
    commit, is_dirty = found.pop()
    state = {True: " (with uncommitted changes)", False: " (clean)"}.get(is_dirty, "")
    return f"git {str(commit)[:12]}{state}" if commit else ""


def results_sha256(study: ReportStudy) -> str:
    """Digest of the results table that these records make."""
    return hashlib.sha256(table.to_csv([run.row for run in study.runs])).hexdigest()


def _one(study: ReportStudy, column: str) -> str:
    found = sorted({str(run.row[column]) for run in study.runs if run.row[column] is not None})
    return found[0] if len(found) == 1 else f"{len(found)} different {column}" if found else ""
