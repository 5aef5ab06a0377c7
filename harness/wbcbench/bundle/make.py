"""What follows from the evidence in a bundle: ``submit`` writes it, ``verify`` compares it.

Evidence is what was there before the bundle: plans, a run's own files, the source of its commit,
the statement of the author. Nothing here reads a file that is made here, so that a bundle in which
one was changed gives the true one again.
"""

from __future__ import annotations

from collections.abc import Sequence

from wbcbench import table
from wbcbench.bundle import describe, layout
from wbcbench.bundle.crate import format_boamps, format_phases
from wbcbench.bundle.describe import SubmittedStudy
from wbcbench.bundle.document import to_json
from wbcbench.compare.result import COLUMNS, format_contrasts_csv
from wbcbench.report.publish import build_report_files
from wbcbench.table.columns import JOB

Files = dict[str, bytes]
"""Contents by path in the payload."""


def make_tables(study: SubmittedStudy, licence: str) -> Files:
    """The results table, and what stands for other programs beside each record."""
    folder = layout.study_dir(study.name)
    files = {f"{folder}/{layout.RUNS_TABLE}": table.to_csv(run.row for run in study.runs)}
    for run in study.runs:
        files[f"{folder}/{run.run_id}/{layout.PHASES}"] = format_phases(run.record)
        if (boamps := format_boamps(run, licence)) is not None:
            files[f"{folder}/{run.run_id}/{layout.BOAMPS}"] = boamps
    return files


def make_contrasts(study: SubmittedStudy) -> Files:
    """``contrasts.csv``; its head alone where nothing can be compared."""
    comparison = study.comparison
    text = format_contrasts_csv(comparison) if comparison else ",".join(COLUMNS) + "\n"
    return {f"{layout.study_dir(study.name)}/{layout.CONTRASTS}": text.encode()}


def make_descriptions(study: SubmittedStudy) -> Files:
    """Settings, machine, code and schemas."""
    git = {layout.GIT: to_json(describe.describe_git(study))}
    has_jobs = any(run.row[name] is not None for run in study.runs for name in JOB)
    schemas = describe.make_schemas(study.name, has_jobs=has_jobs)
    return describe.make_settings(study) | schemas | git


def make_report(study: SubmittedStudy, formats: Sequence[str]) -> Files:
    """The report, with the list of its files."""
    folder = layout.report_dir(study.name)
    files = build_report_files(study.report, study.reported, formats)
    return {f"{folder}/{name}": data for name, data in files.items()}
