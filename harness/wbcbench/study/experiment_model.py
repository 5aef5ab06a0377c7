"""The shape of an experiment file: which tables and keys there are, and of which type.

Made from the dataclasses that the rest works with, so that a new field of ``RunSpec`` is a key of
the file, and of its JSON Schema, by itself.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from wbcbench.core.spec import SPEC_FIELDS, RunSpec
from wbcbench.registry import METERS, VARIANTS
from wbcbench.study.experiment import (
    BLOCKS,
    FIRST_SEED,
    ORDER_SEED,
    Pauses,
    PlannedAnalysis,
    SubmissionDetails,
    Until,
)

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_BY_PLAN = {
    "study", "seed", "block", "block_attempt", "order_in_block", "order_global", "repeat",
}  # fmt: skip
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
