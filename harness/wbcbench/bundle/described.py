"""The numbers of ``submission.json``, each worked out from the study; a verifier does it again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from wbcbench.bundle import layout
from wbcbench.bundle.document import (
    Analysis,
    Design,
    EnergyTotals,
    GitState,
    MeterState,
    RunCounts,
    Stated,
)
from wbcbench.bundle.privacy import UUID
from wbcbench.bundle.study import SubmittedStudy
from wbcbench.core.record import RunRecord
from wbcbench.report.publish import program_sha256
from wbcbench.study.progress import state_of
from wbcbench.table.derive import spent, summed
from wbcbench.table.view import Row

CORRECTION = "holm"
RENDERERS = ("wbcbench", "matplotlib", "jinja2", "typst")
_METHODS = {
    "headline": "headline_method",
    "gpu": "gpu_energy_method",
    "cpu": "cpu_energy_method",
    "dram": "dram_energy_method",
}


def counts(study: SubmittedStudy) -> RunCounts:
    """Runs by how they ended."""
    states = Counter(state_of(record) for record in study.records)
    plan = study.plan
    return RunCounts(
        planned=None if plan is None else len([r for r in plan.runs if r.block <= plan.blocks]),
        done=states["done"],
        failed=states["failed"],
        interrupted=states["interrupted"],
        invalid=states["invalid"],
        unfinished=study.reported.unfinished,
    )


def totals(records: Iterable[RunRecord], pilots: Iterable[RunRecord]) -> EnergyTotals:
    """Joules of whole runs by status, the spoiled ones counted with them and apart."""
    every = list(records)
    spoiled = [record for record in every if state_of(record) != "done"]
    of_study, wasted, of_pilots = (
        summed(spent(record) for record in found) for found in (every, spoiled, pilots)
    )
    return EnergyTotals(
        study=of_study.energy_j,
        wasted=wasted.energy_j,
        pilot=of_pilots.energy_j,
        unknown_runs=of_study.unknown,
    )


def design(study: SubmittedStudy) -> Design:
    """What was planned, or what was done where there is no plan."""
    plan = study.plan
    specs = plan.runs if plan else tuple(record.spec for record in study.records)
    return Design(
        planned=plan is not None,
        plan_sha256=plan.sha256 if plan else None,
        kept_utc=study.kept_utc,
        factors=plan.factors if plan else ("variant",),
        variants=tuple(sorted({spec.variant for spec in specs})),
        blocks=plan.blocks if plan else len({spec.block for spec in specs}),
        seeds=tuple(dict.fromkeys(spec.seed for spec in specs)),
        order_seed=plan.order_seed if plan else None,
    )


def analysis(study: SubmittedStudy) -> Analysis | None:
    """How ``contrasts.csv`` was made; ``None`` where nothing can be compared."""
    found = study.comparison
    if found is None:
        return None
    primary = [each.name for each in found.design.contrasts if each.family == "primary"]
    return Analysis(
        primary_metrics=tuple(metric.name for metric in found.metrics),
        primary_contrasts=tuple(primary),
        target_metric=study.spec.target_metric,
        target_value=study.spec.target_value,
        alpha=found.settings.alpha,
        correction=CORRECTION,
        region_pct=found.settings.region_pct,
        region_pp=found.settings.region_pp,
        least_trust=found.settings.least_trust.value,
    )


def meters(row: Row) -> Mapping[str, MeterState]:
    """How the joules of each part were got in one run."""
    return {
        part: MeterState(str(row[method]), str(row[method.replace("_method", "_status")]))
        for part, method in _METHODS.items()
    }


def git_state(study: SubmittedStudy, payload: Path) -> GitState:
    """The code of the runs, and how much of it is in the bundle."""
    commits = tuple(
        dict.fromkeys(str(c) for r in study.records if (c := r.provenance.get("git_commit")))
    )
    said = {record.provenance.get("git_dirty") for record in study.records}
    dirty = True if True in said else None if None in said else False
    source = bool(commits) and all(
        (payload / layout.source_of(commit, commits)).exists() for commit in commits
    )
    diff = (payload / layout.DIFF).exists()
    return GitState(commits, dirty, source, diff, _git_note(commits, source, dirty, diff))


def _git_note(
    commits: tuple[str, ...],
    source: bool,
    dirty: bool | None,
    diff: bool,
) -> str:
    words = []
    if not commits:
        words.append(
            "The commit of the runs is not known: the program was not run from a checkout."
        )
    elif not source:
        words.append("The source of the commit was not at hand when the bundle was made.")
    if dirty and not diff:
        words.append("The runs were made with uncommitted changes, which are not known any more.")
    elif diff:
        words.append("The changes are those found when the bundle was made, not by each run.")
    return " ".join(words)


def stated(study: SubmittedStudy) -> tuple[Stated, ...]:
    """Every sentence of the report that holds a number, with the row it stands on."""
    return tuple(
        Stated(claim.id, claim.text, claim.source, claim.row, dict(claim.values))
        for claim in study.report.claims
    )


def kept(study: SubmittedStudy) -> tuple[str, ...]:
    """What is private and stays, because a run's id and the plan's digest are made from it."""
    named = any(UUID.search(word) for record in study.records for word in record.spec.gpus)
    return ("GPU UUID in spec.gpus",) if named else ()


def results_sha256(payload: Path, study: str) -> str:
    """Of the results table."""
    return sha256_of(payload / layout.study_dir(study) / layout.RUNS_TABLE)


def report_sha256(payload: Path, study: str) -> dict[str, str]:
    """File of the report → its digest."""
    folder = payload / layout.report_dir(study)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def renderer() -> dict[str, str]:
    """What sets the report, and which version of it; of this program also which source."""
    versions = {name: metadata.version(name) for name in RENDERERS}
    return {**versions, "source": program_sha256()[:12]}


def sha256_of(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
