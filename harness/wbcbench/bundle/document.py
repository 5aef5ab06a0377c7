"""``submission.json``: what a bundle says it holds, to JSON and back.

A verifier works every number of it out again from the study beside it. ``None`` is unknown, never
zero. History of the format (an old bundle under ``tests/formats/`` must verify for ever):

    wbcbench.submission/1   the first
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError

from wbcbench.bundle.layout import SCHEMA
from wbcbench.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Author:
    """Who hands the study in."""

    name: str
    orcid: str | None = None


@dataclass(frozen=True, slots=True)
class GitState:
    """The code of the runs.

    Attributes:
        commits: Of the runs, in the order of their first run; empty where none is known.
        dirty: Whether a run was made with uncommitted changes; ``None`` if unknown.
        source: Whether the bundle holds the source of every commit.
        diff: Whether it holds uncommitted changes, as they were when it was made.
        note: Why something is missing; empty otherwise.
    """

    commits: tuple[str, ...]
    dirty: bool | None
    source: bool
    diff: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class DatasetState:
    """The images.

    Attributes:
        dataset_id, sha256: As in every record; ``sha256`` is the digest of all images' digests.
        licence: As far as it is known.
        n_images: Rows of ``data-manifest/files.csv``.
        n_classes: Classes of them.
        validation, validation_fraction, split_seed: As in every spec.
        listed_from: What ``files.csv`` was made from: ``folder``, ``published table`` or
            ``predictions``, which know the tested images alone.
        complete: Whether ``files.csv`` lists every image, so that ``sha256`` follows from it.
    """

    dataset_id: str
    sha256: str
    licence: str
    n_images: int
    n_classes: int
    validation: str
    validation_fraction: float
    split_seed: int
    listed_from: str
    complete: bool


@dataclass(frozen=True, slots=True)
class Design:
    """What was planned, or, without a plan, what was done.

    Attributes:
        planned: Whether there is a plan; its digest and since when it is kept with the study.
        factors, variants, blocks, seeds, order_seed: Of the plan, else of the runs.
    """

    planned: bool
    plan_sha256: str | None
    kept_utc: str | None
    factors: tuple[str, ...]
    variants: tuple[str, ...]
    blocks: int
    seeds: tuple[int, ...]
    order_seed: int | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """How the study is compared, as ``contrasts.csv`` was made."""

    primary_metrics: tuple[str, ...]
    primary_contrasts: tuple[str, ...]
    target_metric: str
    target_value: float
    alpha: float
    correction: str
    region_pct: float
    region_pp: float
    least_trust: str


@dataclass(frozen=True, slots=True)
class MeterState:
    """How far the joules of one part are from a sensor: method, and measured … absent."""

    method: str
    status: str


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Runs by how they ended; ``planned`` is ``None`` without a plan.

    ``invalid`` counts done runs whose verdict is invalid; ``unfinished`` have no record.
    """

    planned: int | None
    done: int
    failed: int
    interrupted: int
    invalid: int
    unfinished: int


@dataclass(frozen=True, slots=True)
class EnergyTotals:
    """Joules of whole runs on the headline's channels, by status (measured, estimated, …).

    Attributes:
        study: Of every run of the study, the spoiled ones with them.
        wasted: Of those that failed, were broken off, or are invalid.
        pilot: Of the pilots.
        unknown_runs: Runs whose joules are not known, or not wholly.
    """

    study: Mapping[str, float]
    wasted: Mapping[str, float]
    pilot: Mapping[str, float]
    unknown_runs: int


@dataclass(frozen=True, slots=True)
class Stated:
    """A sentence with a number, and the row of a table that it stands on.

    Attributes:
        id: Unique in the report.
        text: The sentence, as the report has it.
        source: The table: ``contrasts.csv``, ``summary.csv`` or ``runs.csv``, as in the report.
        row: Key of the row there; empty where the table as a whole is counted or summed.
        values: The numbers of that row which the sentence uses, by column.
    """

    id: str
    text: str
    source: str
    row: str
    values: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Redaction:
    """What was taken out.

    Attributes:
        applied: Whether redaction was on.
        counts: Kind → how many different values were replaced.
        kept: Kinds that are part of a run's identity and therefore stay, with where.
    """

    applied: bool
    counts: Mapping[str, int] = field(default_factory=dict)
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Submission:
    """The whole document; dates are the results' own.

    Attributes:
        study: Name of the folder under ``results/`` and ``reports/``.
        created_utc: When the last run ended, so that a bundle made again is the same.
        results_sha256: Of ``results/<study>/runs.csv``.
        report_sha256: File of the report, relative to ``reports/<study>/`` → its SHA-256.
        renderer: Package that sets the report → its version.
        meter: Part of the machine → how its joules were got, from the first done run.
    """

    title: str
    study: str
    authors: tuple[Author, ...]
    licence: str
    created_utc: str
    wbcbench_version: str
    synthetic: bool
    git: GitState
    dataset: DatasetState | None
    design: Design
    analysis: Analysis | None
    host_ids: tuple[str, ...]
    gpu_name: str | None
    driver_version: str | None
    meter: Mapping[str, MeterState]
    n_runs: RunCounts
    energy_total_j: EnergyTotals
    results_sha256: str
    report_sha256: Mapping[str, str]
    renderer: Mapping[str, str]
    claims: tuple[Stated, ...]
    redaction: Redaction
    course: str | None = None
    pilot_study: str | None = None
    schema: str = SCHEMA


def to_json(made: Submission) -> bytes:
    """Canonical: sorted keys, UTF-8, LF; raises ``ValueError`` where a number is not finite."""
    text = json.dumps(asdict(made), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def from_json(data: bytes, source: str) -> Submission:
    """Read the document of a bundle.

    Raises:
        UsageError: It is of another format, or not such a document at all.
    """
    try:
        plain = json.loads(data)
        found = str(plain["schema"])
        if found != SCHEMA:
            raise UsageError(
                f"{source} is of the format {found}; this wbcbench reads {SCHEMA}. Use the "
                "wbcbench that wrote it, or a newer one."
            )
        return TypeAdapter(Submission).validate_python(plain)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise UsageError(f"{source} is not the document of a bundle: {error}") from error


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the document, as it is embedded in every bundle."""
    return TypeAdapter(Submission).json_schema()
