"""The submitted study, and the numbers that a bundle states about it.

Everything is read from the bundle's own copy, so that its documents and a verifier use the same
files.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from importlib import metadata
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from wbcbench import table
from wbcbench.bundle import document, layout
from wbcbench.bundle.document import Submission, to_json
from wbcbench.bundle.redact import UUID
from wbcbench.core.errors import UsageError
from wbcbench.core.files import sha256_of
from wbcbench.core.lazy import LazySequence
from wbcbench.core.provenance import program_sha256
from wbcbench.core.record import RunRecord
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import pilot_study
from wbcbench.core.version import __version__
from wbcbench.energy.board_card import BoardCard
from wbcbench.report.publish import read_report_study
from wbcbench.report.study import ReportStudy
from wbcbench.study.experiment import SCHEMA_DIALECT
from wbcbench.study.plan import Plan
from wbcbench.study.statement import Author
from wbcbench.table.columns import JOB, load_columns
from wbcbench.table.deleted import DeletedRun, read_deleted
from wbcbench.table.derive import spent, sum_spent
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from wbcbench.compare.result import Comparison
    from wbcbench.report import Report

RENDERERS = (
    "wbcbench", "matplotlib", "numpy", "fonttools", "jinja2", "typst", "rocrate", "pydantic",
)  # fmt: skip
_METERS = {"primary": "primary", "gpu": "gpu_energy", "cpu": "cpu_energy", "dram": "dram_energy"}
"""``primary`` or a part of the machine → how its columns begin."""

ENVIRONMENT = (
    "python_version", "tensorflow_version", "cuda_version", "cudnn_version", "driver_version", "os",
    "wbcbench_version", "git_commit", "git_dirty", "lock_sha256",
)  # fmt: skip
HOST = (
    "host_id", "gpu_name", "gpu_count", "gpu_uuid_hash", "gpu_power_limit_w", "mig", "cpu_model",
    "cpu_count", "cpu_governor", "ram_bytes", "in_container", "virtualised",
)  # fmt: skip
_RUN_FIELDS = ("variant", "seed", "block", "block_attempt", "order_in_block", "order_global")

_TABLE_DIALECT = "https://specs.frictionlessdata.io/schemas/table-schema.json"
_TYPES = {"str": "string", "enum": "string", "int": "integer", "float": "number", "bool": "boolean"}


@dataclass(frozen=True)
class SubmittedStudy:
    """One study under a payload folder, ``data/`` of a bundle.

    Attributes:
        payload: The folder that holds ``results/``.
        name: Of the study.
        authors, course: Of the bundle.
    """

    payload: Path
    name: str
    authors: tuple[Author, ...] = ()
    course: str | None = None

    @property
    def folder(self) -> Path:
        """``results/<study>``."""
        return self.payload / layout.study_dir(self.name)

    @cached_property
    def reported(self) -> ReportStudy:
        """As the report reads it; raises ``UsageError`` where no run has a record."""
        return read_report_study(self.payload / layout.RESULTS, self.name)

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run with a record, in the table's order."""
        return self.reported.runs

    @cached_property
    def records(self) -> Sequence[RunRecord]:
        """In the order in which they began; each is read when it is asked for."""
        runs = sorted(self.runs, key=lambda run: (run.row["started_utc"], run.run_id))
        return LazySequence(attrgetter("record"), runs)

    @cached_property
    def done(self) -> tuple[Run, ...]:
        """Runs that ended well, in the order in which they began."""
        return tuple(sorted(self.reported.done, key=lambda run: str(run.row["started_utc"])))

    @property
    def first(self) -> Run:
        """A run to take facts from that all runs should share: the first done one, else any."""
        return self.done[0] if self.done else self.runs[0]

    @property
    def spec(self) -> RunSpec:
        """The first run's spec."""
        return self.first.record.spec

    @property
    def plan(self) -> Plan | None:
        """What was fixed before the first run."""
        return self.reported.plan

    @property
    def comparison(self) -> Comparison | None:
        """The result of ``wbcbench compare``."""
        return self.reported.comparison

    @cached_property
    def report(self) -> Report:
        """The report before it is rendered."""
        from wbcbench.report import build

        names = tuple(author.name for author in self.authors)
        return replace(build(self.reported), authors=names, course=self.course)

    @cached_property
    def pilots(self) -> tuple[RunRecord, ...]:
        """Runs made only to forecast the cost."""
        folder = self.payload / layout.study_dir(pilot_study(self.name))
        return tuple(table.load_records(folder)) if folder.is_dir() else ()

    @property
    def deleted(self) -> Sequence[DeletedRun]:
        """Runs that are no more; raises ``UsageError`` where the list of them is damaged."""
        return self.reported.deleted

    @cached_property
    def deleted_pilots(self) -> Sequence[DeletedRun]:
        """The same of pilots."""
        return read_deleted(self.payload / layout.study_dir(pilot_study(self.name)))

    @property
    def ended_utc(self) -> str:
        """When the last run ended: the date of everything that is made from the study."""
        return max(record.ended_utc for record in self.records)

    @cached_property
    def commits(self) -> tuple[str, ...]:
        """Of the runs, in the order of their first run."""
        commits = (record.provenance.get("git_commit") for record in self.records)
        return tuple(dict.fromkeys(str(commit) for commit in commits if commit))

    def fact(self, column: str) -> Any:
        """A cell of the first run's row; ``None`` is unknown."""
        return self.first.row[column]

    def list_values(self, column: str) -> list[str]:
        """Every value that a column has, sorted."""
        return sorted({str(r.row[column]) for r in self.runs if r.row[column] is not None})


def refuse_unfit(study: SubmittedStudy, *, allowed: bool) -> None:
    """Require that a study is of one set of images, and real, or synthetic in every run.

    Raises:
        UsageError: It is synthetic without ``allowed``, or it is mixed.
    """
    sets = {r.dataset.sha256: r.dataset.dataset_id for r in study.records if r.dataset}
    if len(sets) > 1:
        raise UsageError(
            f"{study.name} has runs on {len(sets)} sets of images ({', '.join(sets.values())}), "
            "and a bundle lists one. Submit them as separate studies."
        )
    synthetic = [run.run_id for run in study.runs if run.record.synthetic]
    real = sum(run.is_done and not run.record.synthetic for run in study.runs)
    if synthetic and real:
        raise UsageError(
            f"{study.name} mixes {len(synthetic)} synthetic with {real} real runs (synthetic: "
            f"{synthetic[0]}, …), and a reader could take simulated joules for measured ones. "
            "Submit them as separate studies."
        )
    if synthetic and not allowed:
        raise UsageError(
            f"Every run of {study.name} is synthetic (synthetic images or the simulated sensor), "
            "so the bundle would say so in every document, and `wbcbench verify` in its last "
            "line. To practise, add --allow-synthetic."
        )


def build_submission(
    study: SubmittedStudy,
    *,
    title: str,
    licence: str,
    dataset: document.DatasetState | None,
    redaction: document.Redaction,
) -> Submission:
    """The document of a study: what its author states, and what follows from its files."""
    first, comparison = study.first.row, study.comparison
    report_dir = study.payload / layout.report_dir(study.name)
    return Submission(
        title=title,
        study=study.name,
        authors=study.authors,
        course=study.course,
        licence=licence,
        dataset=dataset,
        redaction=redaction,
        renderer=list_renderers(),
        created_utc=study.ended_utc,
        wbcbench_version=str(first["wbcbench_version"] or __version__),
        synthetic=study.reported.is_synthetic,
        git=describe_git(study),
        design=_describe_design(study),
        analysis=None if comparison is None else _describe_analysis(study, comparison),
        host_ids=tuple(study.list_values("host_id")),
        gpu_name=first["gpu_name"],
        driver_version=first["driver_version"],
        meter={
            part: document.MeterState(str(first[f"{name}_method"]), str(first[f"{name}_status"]))
            for part, name in _METERS.items()
        },
        n_runs=_count_runs(study),
        energy_total_j=_sum_energy(study),
        results_sha256=sha256_of(study.folder / layout.RUNS_TABLE),
        report_sha256={
            name: sha256_of(path) for name, path in layout.list_files(report_dir).items()
        },
        claims=tuple(
            document.Stated(claim.id, claim.text, claim.source, claim.row, dict(claim.values))
            for claim in study.report.claims
        ),
        pilot_study=pilot_study(study.name) if study.pilots or study.deleted_pilots else None,
    )


def _count_runs(study: SubmittedStudy) -> document.RunCounts:
    states = Counter(Run(record).status for record in study.records)
    plan = study.plan
    return document.RunCounts(
        planned=None if plan is None else sum(run.block <= plan.blocks for run in plan.runs),
        **{name: states[name] for name in ("done", "failed", "interrupted", "invalid")},
        unfinished=study.reported.unfinished,
        deleted=len(study.deleted),
    )


def _sum_energy(study: SubmittedStudy) -> document.EnergyTotals:
    gone = [each.spent for each in study.deleted]
    spoiled = [record for record in study.records if not Run(record).is_done]
    total, wasted, pilots = (
        sum_spent([*map(spent, map(Run, records)), *deleted])
        for records, deleted in (
            (study.records, gone),
            (spoiled, gone),
            (study.pilots, [each.spent for each in study.deleted_pilots]),
        )
    )
    return document.EnergyTotals(total.energy_j, wasted.energy_j, pilots.energy_j, total.unknown)


def _describe_design(study: SubmittedStudy) -> document.Design:
    plan, path = study.plan, study.folder / layout.PLAN
    specs = plan.runs if plan else tuple(record.spec for record in study.records)
    return document.Design(
        planned=plan is not None,
        plan_sha256=plan.sha256 if plan else None,
        plan_saved_utc=json.loads(path.read_bytes()).get("stored_utc") if plan else None,
        factors=plan.factors if plan else ("variant",),
        variants=tuple(sorted({spec.variant for spec in specs})),
        blocks=plan.blocks if plan else len({spec.block for spec in specs}),
        seeds=tuple(dict.fromkeys(spec.seed for spec in specs)),
        order_seed=plan.order_seed if plan else None,
    )


def _describe_analysis(study: SubmittedStudy, comparison: Comparison) -> document.Analysis:
    contrasts, settings = comparison.design.contrasts, comparison.settings
    return document.Analysis(
        primary_metrics=tuple(metric.name for metric in comparison.metrics),
        primary_contrasts=tuple(c.name for c in contrasts if c.family == "primary"),
        target_metric=study.spec.target_metric,
        target_value=study.spec.target_value,
        alpha=settings.alpha,
        correction="none" if settings.untested else "holm",
        region_pct=settings.region_pct,
        region_pp=settings.region_pp,
        lowest_status=settings.lowest_status.value,
    )


def describe_git(study: SubmittedStudy) -> document.GitState:
    """The code of the runs, and how much of it is in the bundle."""
    dirty_states = {record.provenance.get("git_dirty") for record in study.records}
    dirty = True if True in dirty_states else None if None in dirty_states else False
    archives = [layout.source_archive(commit, study.commits) for commit in study.commits]
    source = bool(archives) and all((study.payload / name).exists() for name in archives)
    diff = (study.payload / layout.DIFF).exists()
    notes = []
    if not study.commits:
        notes.append("The commit of the runs is unknown: wbcbench was not run from a checkout.")
    elif not source:
        notes.append("The source of the commit was not available when the bundle was made.")
    if diff:
        notes.append("The uncommitted changes are those found when the bundle was made.")
    elif dirty:
        notes.append("The runs were made with uncommitted changes that are no longer available.")
    return document.GitState(study.commits, dirty, source, diff, " ".join(notes))


def list_retained(study: SubmittedStudy) -> tuple[str, ...]:
    """Private things that stay, because a run's id and the plan's digest are made from them."""
    specs = chain((r.spec for r in study.records), (each.spec for each in study.deleted))
    has_uuid = any(UUID.search(gpu) for spec in specs for gpu in spec.gpus)
    return ("GPU UUID in spec.gpus",) if has_uuid else ()


@cache
def list_renderers() -> Mapping[str, str]:
    """The packages that render the report with their versions, and the digest of this source."""
    versions = {name: metadata.version(name) for name in RENDERERS}
    versions["zlib"] = zlib.ZLIB_RUNTIME_VERSION  # packs PDFs
    return {**versions, "source": program_sha256()[:12]}


def make_settings(study: SubmittedStudy) -> dict[str, bytes]:
    """``config/resolved.json``, ``env/environment.json`` and ``env/host.json``."""
    specs = [asdict(record.spec) for record in study.records]
    shared = {
        name: _merge_values([spec[name] for spec in specs])
        for name in specs[0]
        if name not in _RUN_FIELDS
    }
    plan = asdict(study.plan) if study.plan else {}
    left_out = {"runs", "submission", "cluster"}
    planned = {name: value for name, value in plan.items() if name not in left_out}
    files = {layout.RESOLVED: to_json({"run": shared, "plan": planned or None})}
    record = study.first.record
    absent = {meter.meter: f"absent: {meter.reason}" for meter in record.absent}
    packages = record.provenance.get("packages")
    for path, columns, more in (
        (layout.ENVIRONMENT, ENVIRONMENT, {"packages": packages}),
        (layout.HOST, HOST, {"meters": {**record.meters, **absent}}),
    ):
        cells = {name: _merge_values([run.row[name] for run in study.runs]) for name in columns}
        files[path] = to_json(cells | more)
    return files


def _merge_values(values: Sequence[Any]) -> Any:
    """The value that all share, or the list of the different ones in their order."""
    different = list({json.dumps(value, sort_keys=True): value for value in values}.values())
    return different[0] if len(different) == 1 else different


def make_schemas(study: str, *, has_jobs: bool) -> dict[str, bytes]:
    """The schemas of ``submission.json``, of records and of the results table."""
    return {
        layout.SUBMISSION_SCHEMA: to_json(submission_schema()),
        layout.RECORD_SCHEMA: to_json(record_schema()),
        f"{layout.study_dir(study)}/{layout.RUNS_SCHEMA}": to_json(runs_schema(has_jobs=has_jobs)),
    }


def submission_schema() -> dict[str, Any]:
    """JSON Schema of ``submission.json``."""
    return {"$schema": SCHEMA_DIALECT, **TypeAdapter(Submission).json_schema()}


def record_schema() -> dict[str, Any]:
    """JSON Schema of ``record.json``."""
    return {"$schema": SCHEMA_DIALECT, **TypeAdapter(RunRecord).json_schema()}


def card_schema() -> dict[str, Any]:
    """JSON Schema of ``card.json``."""
    return {"$schema": SCHEMA_DIALECT, **TypeAdapter(BoardCard).json_schema()}


def runs_schema(*, has_jobs: bool) -> dict[str, Any]:
    """Table Schema of ``runs.csv``: every column, what it means, and whether it may be empty."""
    fields = [
        {
            "name": column.name,
            "type": _TYPES.get(column.type, column.type),
            "description": column.meaning,
            "constraints": {"required": not column.empty_when},
        }
        for column in load_columns().values()
        if has_jobs or column.name not in JOB
    ]
    return {"$schema": _TABLE_DIALECT, "fields": fields, "missingValues": [""]}
