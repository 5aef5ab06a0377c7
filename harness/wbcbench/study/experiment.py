"""What a study is asked to do, and the shape of the file that says so.

Only what differs from the defaults stands in the file: those of a run are in ``core.spec.RunSpec``,
those of a study are here. The file's shape is made from the dataclasses that the rest works with,
so that a new field of ``RunSpec`` is a key of the file, and of its JSON Schema, by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from wbcbench.core.spec import SPEC_FIELDS, RunSpec
from wbcbench.registry import METERS, VARIANTS

Channel = Literal["measured", "estimated", "simulated"]

BLOCKS = 8
FIRST_SEED = 1001
ORDER_SEED = 20_260_301

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_BY_PLAN = {
    "study", "seed", "block", "block_attempt", "order_in_block", "order_global", "repeat",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pauses:
    """What happens between two runs, apart from the run's own wait for ``cooldown_c``.

    Attributes:
        rest_s: Seconds of rest, so that a run does not pay for the heat of the one before.
    """

    rest_s: float = 10.0


@dataclass(frozen=True, slots=True)
class PlannedAnalysis:
    """What will be compared, written down before the first run.

    Attributes:
        metrics: Columns of the results table; empty = energy of training and balanced accuracy.
        baseline: The arm the others are held against; ``None`` lets the lower levels decide.
        contrasts: The primary contrasts by name; the design decides them, and a list here must
            say the same. Empty = not said.
        channel: How far from a sensor joules may be.
        equivalent_pct: Half-width of the region in which joules and seconds do not differ
            in practice, in per cent.
        equivalent_pp: The same of accuracies, in percentage points.
    """

    metrics: tuple[str, ...] = ()
    baseline: str | None = None
    contrasts: tuple[str, ...] = ()
    channel: Channel = "measured"
    equivalent_pct: float = 2.0
    equivalent_pp: float = 1.0


@dataclass(frozen=True, slots=True)
class Until:
    """Add blocks until an interval is narrow enough.

    Attributes:
        contrast: Name of a primary contrast; its first word is enough.
        width: Of its 95 % interval, in the metric's unit: per cent or percentage points.
        max_blocks: Stop there, narrow or not.
        metric: A column; empty = energy of training.
    """

    contrast: str
    width: float
    max_blocks: int
    metric: str = ""


@dataclass(frozen=True, slots=True)
class SubmissionDetails:
    """Who hands the study in; for the bundle alone.

    Attributes:
        author: A name, or several with semicolons between; each may have an ORCID after a comma.
        course, licence, title: Of the bundle.
    """

    author: str | None = None
    course: str | None = None
    licence: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """A study, whole.

    Attributes:
        study: Folder under ``results/``.
        seeds: One for each block, in their order, as many as there may be.
        blocks: How many are carried out; more only by the stopping rule.
        factors: Field of ``RunSpec`` → its levels; a block holds every combination once.
        run: Field of ``RunSpec`` → value, for all runs.
        about: One sentence for people.
        order_seed: Draw of the order inside the blocks.
        block_repeats: How often a block with an invalid run is repeated whole.
        pauses, analysis, until, submission: See there.
    """

    study: str
    seeds: tuple[int, ...]
    blocks: int
    factors: Mapping[str, tuple[Any, ...]]
    run: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    order_seed: int = ORDER_SEED
    block_repeats: int = 2
    pauses: Pauses = Pauses()
    analysis: PlannedAnalysis = PlannedAnalysis()
    until: Until | None = None
    submission: SubmissionDetails = SubmissionDetails()


RUN_KEYS = tuple(name for name in SPEC_FIELDS if name not in _BY_PLAN)
"""Fields of ``RunSpec`` that a file may set; the others follow from the plan."""

_STRICT = ConfigDict(extra="forbid", strict=True)
_HINTS = get_type_hints(RunSpec)
_DEFAULTS = {each.name: each.default for each in fields(RunSpec) if each.default is not MISSING} | {
    "variant": None
}


def _extra(name: str) -> dict[str, Any] | None:
    """What an editor may offer; the names themselves are checked with their nearest match."""
    if name == "variant":
        return {"examples": list(VARIANTS)}
    return {"examples": [["auto"], *([meter] for meter in METERS)]} if name == "meters" else None


def _run_model() -> type[BaseModel]:
    keys: dict[str, Any] = {
        name: (
            _HINTS[name] | None if name == "variant" else _HINTS[name],
            Field(_DEFAULTS[name], json_schema_extra=_extra(name)),
        )
        for name in RUN_KEYS
    }
    return create_model("Run", __config__=_STRICT, **keys)


def _list_of(hint: Any) -> Any:
    return list[hint]


def _factors_model() -> type[BaseModel]:
    keys: dict[str, Any] = {
        name: (_list_of(_HINTS[name]), Field([], min_length=1)) for name in RUN_KEYS
    }
    return create_model("Factors", __config__=_STRICT, **keys)


def _table(kind: type[Any], name: str) -> type[BaseModel]:
    """The table that holds the fields of a dataclass, by its name in the schema."""
    hints = get_type_hints(kind)
    keys: dict[str, Any] = {
        each.name: (hints[each.name], ... if each.default is MISSING else each.default)
        for each in fields(kind)
    }
    return create_model(name, __config__=_STRICT, **keys)


RunTable = _run_model()
FactorsTable = _factors_model()
PausesTable = _table(Pauses, "Pauses")
AnalysisTable = _table(PlannedAnalysis, "Analysis")
UntilTable = _table(Until, "Until")
SubmissionTable = _table(SubmissionDetails, "Submission")


def _file_model() -> type[BaseModel]:
    keys: dict[str, Any] = {
        "study": (str | None, Field(None, description="Folder under results; the file's name.")),
        "about": (str, Field("", description="One sentence for people.")),
        "blocks": (
            int,
            Field(BLOCKS, ge=1, le=1000, description="Every combination once in each."),
        ),
        "first_seed": (int, Field(FIRST_SEED, ge=0, description="Seed of block 1, then counting.")),
        "seeds": (list[int], Field([], description="One a block, instead of blocks, first_seed.")),
        "order_seed": (int, Field(ORDER_SEED, description="Draw of the order in the blocks.")),
        "block_repeats": (
            int,
            Field(2, ge=0, le=20, description="How often a block with an invalid run is repeated."),
        ),
        "run": (RunTable, Field(default_factory=RunTable, description="The same for all runs.")),
        "factors": (
            FactorsTable,
            Field(default_factory=FactorsTable, description="What is varied: lists of levels."),
        ),
        "pauses": (PausesTable, Field(default_factory=PausesTable, description="Between runs.")),
        "analysis": (
            AnalysisTable,
            Field(default_factory=AnalysisTable, description="What will be compared, and how."),
        ),
        "until": (UntilTable | None, Field(None, description="Stopping rule.")),
        "submission": (
            SubmissionTable,
            Field(default_factory=SubmissionTable, description="Who hands the study in."),
        ),
    }
    return create_model("Experiment", __config__=_STRICT, **keys)


ExperimentFile = _file_model()


def json_schema() -> dict[str, Any]:
    """The JSON Schema of experiment files, for editors."""
    schema = ExperimentFile.model_json_schema()
    return {"$schema": SCHEMA_DIALECT, **schema, "title": "wbcbench experiment"}
