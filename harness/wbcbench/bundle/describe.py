"""The study that is handed in, and the numbers that a bundle states of it.

Everything is read from the bundle's own copy, so that what its documents say and what a verifier
finds come from the same files.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from wbcbench import table
from wbcbench.bundle import document, layout
from wbcbench.bundle.document import (
    Analysis,
    Design,
    EnergyTotals,
    GitState,
    MeterState,
    RunCounts,
    Stated,
)
from wbcbench.bundle.redact import UUID
from wbcbench.core.errors import UsageError
from wbcbench.core.files import sha256_of, write_atomically
from wbcbench.core.record import RunRecord
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import pilot_study
from wbcbench.report.publish import program_sha256, read_report_study
from wbcbench.report.study import ReportStudy
from wbcbench.study.experiment import SCHEMA_DIALECT
from wbcbench.study.plan import Plan
from wbcbench.study.progress import state_of
from wbcbench.table.columns import load_columns
from wbcbench.table.derive import spent, sum_spent
from wbcbench.table.view import Row, Run

if TYPE_CHECKING:
    from wbcbench.compare.result import Comparison
    from wbcbench.report import Report

CORRECTION = "holm"
RENDERERS = ("wbcbench", "matplotlib", "jinja2", "typst")
_METHODS = {
    "headline": "primary_method",
    "gpu": "gpu_energy_method",
    "cpu": "cpu_energy_method",
    "dram": "dram_energy_method",
}

ENVIRONMENT = (
    "python_version", "tensorflow_version", "cuda_version", "cudnn_version", "driver_version", "os",
    "wbcbench_version", "git_commit", "git_dirty", "lock_sha256",
)  # fmt: skip
HOST = (
    "host_id", "gpu_name", "gpu_count", "gpu_uuid_hash", "gpu_power_limit_w", "mig", "cpu_model",
    "cpu_count", "cpu_governor", "ram_bytes", "in_container", "virtualised",
)  # fmt: skip
_OF_ONE_RUN = ("variant", "seed", "block", "block_attempt", "order_in_block", "order_global")

_TABLE_DIALECT = "https://specs.frictionlessdata.io/schemas/table-schema.json"
_TYPES = {
    "str": "string",
    "enum": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "datetime": "datetime",
}


@dataclass(frozen=True)
class SubmittedStudy:
    """One study under a payload folder, ``data/`` of a bundle.

    Attributes:
        payload: The folder that holds ``results/``.
        name: Of the study.
    """

    payload: Path
    name: str

    @property
    def folder(self) -> Path:
        """``results/<study>``."""
        return self.payload / layout.study_dir(self.name)

    @cached_property
    def reported(self) -> ReportStudy:
        """As the report sees it; raises ``UsageError`` where no run has a record."""
        return read_report_study(self.payload / layout.RESULTS, self.name)

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run with a record, in the table's order."""
        return self.reported.runs

    @cached_property
    def records(self) -> tuple[RunRecord, ...]:
        """In the order in which they began."""
        found = (run.record for run in self.runs)
        return tuple(sorted(found, key=lambda r: (r.started_utc, r.run_id)))

    @cached_property
    def done(self) -> tuple[Run, ...]:
        """Runs that ended well, in the order in which they began."""
        return tuple(sorted(self.reported.done, key=lambda run: run.record.started_utc))

    @property
    def first(self) -> Run:
        """A run to take facts from that all runs should share: the first done one, else any."""
        return self.done[0] if self.done else self.runs[0]

    @property
    def spec(self) -> RunSpec:
        """What the first run was asked."""
        return self.first.record.spec

    @property
    def plan(self) -> Plan | None:
        """What was fixed before the first run."""
        return self.reported.plan

    @cached_property
    def kept_utc(self) -> str | None:
        """Since when the plan is kept with the study; ``None`` where that is not known."""
        path = self.folder / layout.PLAN
        if not path.exists():
            return None
        found: Any = json.loads(path.read_bytes()).get("kept_utc")
        return str(found) if found else None

    @property
    def comparison(self) -> Comparison | None:
        """What ``wbcbench compare`` says."""
        return self.reported.comparison

    @cached_property
    def report(self) -> Report:
        """The report before it is set."""
        from wbcbench.report import build

        return build(self.reported)

    @cached_property
    def pilots(self) -> tuple[RunRecord, ...]:
        """Runs made only to know the cost."""
        folder = self.payload / layout.study_dir(pilot_study(self.name))
        return tuple(table.study_records(folder)) if folder.is_dir() else ()

    @property
    def ended_utc(self) -> str:
        """When the last run ended: the date of everything that is made from the study."""
        return max(record.ended_utc for record in self.records)

    def fact(self, column: str) -> Any:
        """A cell of the first run's row; ``None`` is unknown."""
        return self.first.row[column]

    def different(self, column: str) -> list[str]:
        """Every value that a column has, sorted."""
        return sorted({str(r.row[column]) for r in self.runs if r.row[column] is not None})


def refuse_synthetic(study: SubmittedStudy, *, allowed: bool) -> None:
    """See that a study is real, or wholly synthetic and meant to be.

    Raises:
        UsageError: It is synthetic and that was not asked for, or it is mixed.
    """
    made_up = [run.run_id for run in study.runs if run.record.synthetic]
    if not made_up:
        return
    if len(made_up) < len(study.runs):
        raise UsageError(
            f"{study.folder.name} mixes {len(made_up)} synthetic with "
            f"{len(study.runs) - len(made_up)} real runs (synthetic: {made_up[0]}, …). A bundle of "
            "both would pass made-up joules off beside measured ones. Submit them apart."
        )
    if not allowed:
        raise UsageError(
            f"Every run of {study.folder.name} is synthetic: drawn cells or a made-up signal. Its "
            "numbers say nothing of real cells or real joules, and `wbcbench verify` will refuse "
            "the bundle (V13). To practise, say --allow-synthetic."
        )


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
        sum_spent(spent(record) for record in found) for found in (every, spoiled, pilots)
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


def write_surroundings(study: SubmittedStudy) -> None:
    """Write ``config/resolved.json``, ``env/environment.json`` and ``env/host.json``."""
    _write(study.payload / layout.RESOLVED, _settings(study))
    packages = study.first.record.provenance.get("packages")
    environment = _values(study, ENVIRONMENT) | {"packages": packages}
    _write(study.payload / layout.ENVIRONMENT, environment)
    _write(study.payload / layout.HOST, _values(study, HOST) | {"meters": _meters(study)})


def _settings(study: SubmittedStudy) -> dict[str, Any]:
    """Every setting of the runs, those that differ as a list, and the plan's own."""
    specs = [asdict(record.spec) for record in study.records]
    shared = {name: _one_or_all([spec[name] for spec in specs]) for name in specs[0]}
    shared = {name: value for name, value in shared.items() if name not in _OF_ONE_RUN}
    plan = asdict(study.plan) if study.plan else {}
    planned = {name: value for name, value in plan.items() if name not in {"runs", "submission"}}
    return {"run": shared, "plan": planned or None}


def _values(study: SubmittedStudy, columns: Sequence[str]) -> dict[str, Any]:
    return {name: _one_or_all([run.row[name] for run in study.runs]) for name in columns}


def _one_or_all(values: Sequence[Any]) -> Any:
    """The value that all share, or all of them, each once, in their order."""
    different = list({json.dumps(value, sort_keys=True): value for value in values}.values())
    return different[0] if len(different) == 1 else different


def _meters(study: SubmittedStudy) -> dict[str, Any]:
    """What the first run's meters said of themselves, and which did not work."""
    record = study.first.record
    absent = {each.meter: f"absent: {each.reason}" for each in record.absent}
    return dict(record.meters) | absent


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def write_schemas(study: SubmittedStudy) -> None:
    """Write the schemas of ``submission.json``, of records and of the results table."""
    files = {
        study.payload / layout.SUBMISSION_SCHEMA: submission_schema(),
        study.payload / layout.RECORD_SCHEMA: record_schema(),
        study.folder / layout.RUNS_SCHEMA: runs_schema(),
    }
    for path, schema in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False)
        write_atomically(path, (text + "\n").encode())


def submission_schema() -> dict[str, Any]:
    """JSON Schema of ``submission.json``."""
    return {"$schema": SCHEMA_DIALECT, **document.json_schema()}


def record_schema() -> dict[str, Any]:
    """JSON Schema of ``record.json``."""
    return {"$schema": SCHEMA_DIALECT, **TypeAdapter(RunRecord).json_schema()}


def runs_schema() -> dict[str, Any]:
    """Table Schema of ``runs.csv``: every column, what it means, and whether it may be empty."""
    fields = [
        {
            "name": column.name,
            "type": _TYPES[column.type],
            "description": column.meaning,
            "constraints": {"required": not column.empty_when},
        }
        for column in load_columns().values()
    ]
    return {"$schema": _TABLE_DIALECT, "fields": fields, "missingValues": [""]}
