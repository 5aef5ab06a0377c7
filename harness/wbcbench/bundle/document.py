"""``submission.json``: what a bundle states about its study, to JSON and back.

A verifier computes every number of it again from the study beside it. ``None`` is unknown, never
zero. A reference bundle of the format, which must always verify, is in ``tests/formats/``.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue, TypeAdapter

from wbcbench.bundle.bounds import quote
from wbcbench.bundle.layout import RELEASES, RULES, SCHEMA
from wbcbench.core.errors import UsageError
from wbcbench.core.files import write_atomically
from wbcbench.core.strict_json import parse_json
from wbcbench.study.statement import LONGEST_NAME, Author, find_licence, is_name, is_orcid

_VERSION = re.compile(r"[a-z][a-z0-9-]{0,30} [\w.+-]{1,40}", re.ASCII)


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
            ``predictions``, which hold the tested images only.
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
    """What was planned or, without a plan, what was done.

    Attributes:
        planned: Whether there is a plan.
        plan_sha256, plan_saved_utc: Its digest, and since when it is stored with the study.
        factors, variants, blocks, seeds, order_seed: Of the plan, else of the runs.
    """

    planned: bool
    plan_sha256: str | None
    plan_saved_utc: str | None
    factors: tuple[str, ...]
    variants: tuple[str, ...]
    blocks: int
    seeds: tuple[int, ...]
    order_seed: int | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """How the study is compared, as ``contrasts.csv`` was made.

    ``lowest_status`` is the least reliable status (measured, estimated, simulated) of energy that
    is compared.
    """

    primary_metrics: tuple[str, ...]
    primary_contrasts: tuple[str, ...]
    target_metric: str
    target_value: float
    alpha: float
    correction: str
    region_pct: float
    region_pp: float
    lowest_status: str


@dataclass(frozen=True, slots=True)
class MeterState:
    """How the energy of one part was obtained: method, and measured, estimated or absent."""

    method: str
    status: str


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Runs by how they ended; ``planned`` is ``None`` without a plan.

    ``invalid`` counts done runs of invalid quality; ``unfinished`` have no record; ``deleted`` are
    no more, and counted nowhere else.
    """

    planned: int | None
    done: int
    failed: int
    interrupted: int
    invalid: int
    unfinished: int
    deleted: int = 0

    @property
    def spoiled(self) -> int:
        """Runs that used energy without a usable result."""
        return self.failed + self.interrupted + self.invalid + self.deleted


@dataclass(frozen=True, slots=True)
class EnergyTotals:
    """Joules of complete runs from the primary energy source, by status (measured, estimated, …).

    Attributes:
        study: Of every run of the study, the spoiled ones included.
        wasted: Of those that failed, were interrupted, are invalid, or were deleted.
        pilot: Of the pilots.
        unknown_runs: Runs whose joules are unknown, or only known in part.
    """

    study: Mapping[str, float]
    wasted: Mapping[str, float]
    pilot: Mapping[str, float]
    unknown_runs: int


@dataclass(frozen=True, slots=True)
class Stated:
    """A sentence with a number, and the row of a table that it is based on.

    Attributes:
        id: Unique in the report.
        text: The sentence, as the report has it.
        source: The table: ``contrasts.csv``, ``summary.csv`` or ``runs.csv``, as in the report.
        row: Key of the row there; empty where all of the table is counted or summed.
        values: The numbers of that row which the sentence uses, by column.
    """

    id: str
    text: str
    source: str
    row: str
    values: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Redaction:
    """What was replaced.

    Attributes:
        applied: Whether redaction was on.
        counts: Kind → how many different values were replaced.
        retained: Kinds that are part of a run's identity and therefore stay, with the place.
    """

    applied: bool
    counts: Mapping[str, int] = field(default_factory=dict)
    retained: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Submission:
    """The complete document; dates are the results' own.

    Attributes:
        study: Name of the folder under ``results/`` and ``reports/``.
        created_utc: When the last run ended, so that a bundle made again is the same.
        results_sha256: Of ``results/<study>/runs.csv``.
        report_sha256: File of the report, relative to ``reports/<study>/`` → its SHA-256.
        renderer: Package that renders the report → its version.
        rules: By which everything in the bundle follows from its evidence.
        meter: ``primary`` or part of the machine → how its joules were obtained, from the first
            done run.
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
    rules: int = RULES
    schema: str = SCHEMA


def to_json(value: Any) -> bytes:
    """Canonical JSON of a dataclass or a plain value: sorted keys, UTF-8, LF.

    Raises:
        ValueError: A number is not finite.
    """
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    encoder = json.JSONEncoder(indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    out = io.BytesIO()  # `dumps` joins a list of every word, five times as large as the text
    out.writelines(chunk.encode() for chunk in encoder.iterencode(plain))
    out.write(b"\n")
    return out.getvalue()


def write_json(path: Path, value: Any) -> None:
    """Write canonical JSON; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_json(value))


def to_plain(value: Any) -> Any:
    """A dataclass, or a plain value, as reading its JSON gives it: lists, not tuples."""
    return json.loads(to_json(value))


def from_json(data: bytes, source: str) -> Submission:
    """Read the document of a bundle.

    Raises:
        UsageError: It is of another format, or not such a document at all.
    """
    try:
        plain = parse_json(data)
        if problem := describe_format_problem(plain):
            raise UsageError(f"{source}: {problem}")
        return TypeAdapter(Submission).validate_python(plain)
    except (ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UsageError(f"{source} is not the document of a bundle: {reason}") from error


def find_invalid_words(submission: Submission) -> Iterator[str]:
    """What of the words that only its author can say is not what it must be."""
    if find_licence(submission.licence) != submission.licence:
        yield f"The licence {quote(submission.licence)} is no SPDX identifier of one licence."
    names = [submission.title, submission.course, *(author.name for author in submission.authors)]
    for name in filter(None, names):
        if not is_name(name):
            yield f"{quote(name)} is not one line of up to {LONGEST_NAME} characters."
    for author in submission.authors:
        if author.orcid is not None and not is_orcid(author.orcid):
            yield f"{quote(author.orcid)} is no ORCID."
    if not submission.authors:
        yield "The bundle has no author."
    for package, version in submission.renderer.items():
        if not _VERSION.fullmatch(f"{package} {version}"):
            yield f"{quote(f'{package} {version}')} is no version of a package."


def describe_format_problem(plain: Mapping[str, JsonValue]) -> str:
    """Why this version cannot judge a bundle's document, and the way out; empty if it can."""
    schema, rules = plain.get("schema"), plain.get("rules")
    (name, number), (own_name, own_number) = (str(s).rpartition("/")[::2] for s in (schema, SCHEMA))
    is_older = number.isdecimal() and len(number) < 5 and int(number) < int(own_number)
    if (name == own_name and is_older) or (schema == SCHEMA and rules is None):
        return (
            "The bundle was written by a development version, before rules had numbers. Make it "
            "again with `wbcbench submit`."
        )
    if schema != SCHEMA:
        return (
            f"The format {quote(str(schema))} is unknown; this wbcbench reads {SCHEMA}. Use the "
            "wbcbench that wrote the bundle, or a newer one."
        )
    if rules == RULES and not isinstance(rules, bool):
        return ""
    release = RELEASES.get(rules) if isinstance(rules, int) else None
    renderer = plain.get("renderer")
    wrote = renderer.get("wbcbench") if isinstance(renderer, dict) else None
    way_out = (
        f"wbcbench {release} has them: `pip install wbcbench=={release}`."
        if release
        else f"Use a release that has them: wbcbench {quote(str(wrote))} wrote the bundle."
    )
    return f"The bundle follows rules {quote(str(rules))}, this wbcbench rules {RULES}. {way_out}"
