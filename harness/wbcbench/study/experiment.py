"""What a study is asked to do, and ``experiments/*.toml``, the file that describes it.

Only what differs from the defaults stands in the file: those of a run are in ``core.spec.RunSpec``,
those of a study are here. The file's shape is made from the dataclasses that the rest works with,
so that a new field of ``RunSpec`` is a key of the file, and of its JSON Schema, by itself.
"""

from __future__ import annotations

import difflib
import json
import reprlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from math import prod
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from wbcbench.compare.design import TREATMENTS
from wbcbench.compare.metric import PlannedClaim, PrimaryFamily
from wbcbench.core.errors import UsageError
from wbcbench.core.files import load_toml
from wbcbench.core.spec import SPEC_FIELDS, RunSpec
from wbcbench.registry import METERS, VARIANTS
from wbcbench.stats.intervals import LEAST_FOR_T
from wbcbench.stats.tests import ALPHA, find_least_blocks
from wbcbench.study.statement import SubmissionDetails, require_sound

Status = Literal["measured", "estimated", "simulated"]

BLOCKS = 8
FIRST_SEED = 1001
ORDER_SEED = 20_260_301
LARGEST_BLOCK = 1_000

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_BY_PLAN = {
    "study", "seed", "block", "block_attempt", "order_in_block", "order_global", "repeat",
}  # fmt: skip
ClaimName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class Pauses:
    """What happens between two runs, apart from the run's own wait for ``cooldown_c``.

    Attributes:
        rest_s: Seconds of rest, so that a run does not pay for the heat of the one before.
    """

    __pydantic_config__ = _STRICT

    rest_s: Annotated[float, Field(ge=0, le=86_400)] = 10.0


@dataclass(frozen=True, slots=True)
class PlannedAnalysis:
    """What will be compared, written down before the first run.

    Attributes:
        metrics: Columns of the results table; empty = energy of training and balanced accuracy.
        baseline: The configuration to compare with; ``None`` lets the lower levels decide.
        family: The primary contrasts: ``baseline``, each variant against the baseline, or
            ``factors``, two factors of two levels and their interaction. Not given: baseline.
        exploratory: Whether nothing is tested: estimates and intervals only, so that any number
            of blocks will do.
        contrasts: The primary contrasts by name; the family decides them, and a list here must
            name the same. Empty = not given.
        lowest_status: The lowest status of joules that is accepted.
        equivalent_pct: Half-width of the region in which joules and seconds do not differ
            in practice, in per cent.
        equivalent_pp: The same of accuracies, in percentage points.
    """

    __pydantic_config__ = _STRICT

    metrics: tuple[str, ...] = ()
    baseline: str | None = None
    family: PrimaryFamily | None = None
    exploratory: bool = False
    contrasts: tuple[str, ...] = ()
    lowest_status: Status = "measured"
    equivalent_pct: Annotated[float, Field(ge=0.01, le=50)] = 2.0
    equivalent_pp: Annotated[float, Field(ge=0.01, le=50)] = 1.0

    def count_metrics(self) -> int:
        """How many metrics each contrast is tested on."""
        return len(set(self.metrics)) or 2


@dataclass(frozen=True, slots=True)
class Until:
    """Stein's two stages: the spread in the first blocks decides how many there are.

    Attributes:
        contrast: Name of a primary contrast; its first word is enough.
        width: How far the upper end of its 95 % interval may lie above the lower, in the metric's
            unit: per cent or percentage points.
        max_blocks: Stop there, narrow or not.
        metric: A column; empty = energy of training.
    """

    __pydantic_config__ = _STRICT

    contrast: str
    width: Annotated[float, Field(ge=0.001, le=1_000)]
    max_blocks: Annotated[int, Field(ge=3, le=1_000)]
    metric: str = ""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A study as it was asked for.

    Attributes:
        study: Folder under ``results/``.
        seeds: One for each block, in their order, as many as there may be.
        blocks: How many are carried out; more only by the stopping rule.
        factors: Field of ``RunSpec`` → its levels; a block has every combination once.
        run: Field of ``RunSpec`` → value, for all runs.
        about: One sentence for people.
        order_seed: Draw of the order inside the blocks.
        block_repeats: How often a block with an invalid run is repeated.
        claims: Stated beforehand, by name.
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
    claims: Mapping[str, PlannedClaim] = field(default_factory=dict)
    submission: SubmissionDetails = field(default_factory=SubmissionDetails)


RUN_KEYS = tuple(name for name in SPEC_FIELDS if name not in _BY_PLAN)
"""Fields of ``RunSpec`` that a file may set; the others follow from the plan."""


def _make_model(name: str, keys: Mapping[str, Any]) -> type[BaseModel]:
    return create_model(name, __config__=_STRICT, **keys)


def _make_run_models() -> tuple[type[BaseModel], type[BaseModel]]:
    """The tables [run], of values, and [factors], of lists of values."""
    hints = get_type_hints(RunSpec)
    defaults = {f.name: f.default for f in fields(RunSpec) if f.default is not MISSING}
    # What an editor may offer; the names themselves are checked with their nearest match.
    examples: dict[str, list[Any]] = {
        "variant": list(VARIANTS),
        "meters": [[meter] for meter in ("auto", *METERS)],
    }
    values: dict[str, Any] = {
        name: (
            hints[name] | None if name == "variant" else hints[name],
            Field(defaults.get(name), examples=examples.get(name)),
        )
        for name in RUN_KEYS
    }
    levels: dict[str, Any] = {
        name: (GenericAlias(list, (hints[name],)), Field([], min_length=1)) for name in RUN_KEYS
    }
    return _make_model("Run", values), _make_model("Factors", levels)


RunTable, FactorsTable = _make_run_models()


def _describe(hint: Any, default: Any, text: str, **limits: Any) -> tuple[Any, Any]:
    return hint, Field(default, description=text, **limits)


def _describe_table(kind: type[Any], text: str) -> tuple[Any, Any]:
    return kind, Field(default_factory=kind, description=text)


ExperimentFile = _make_model(
    "Experiment",
    {
        "study": _describe(str | None, None, "Folder under results; the file's name."),
        "about": _describe(str, "", "One sentence for people."),
        "blocks": _describe(
            int,
            BLOCKS,
            "Every combination once in each; more where the tests need more.",
            ge=1,
            le=1000,
        ),
        "first_seed": _describe(int, FIRST_SEED, "Seed of block 1, then counting.", ge=0),
        "seeds": _describe(list[int], [], "One a block, instead of blocks, first_seed."),
        "order_seed": _describe(int, ORDER_SEED, "Draw of the order in the blocks."),
        "block_repeats": _describe(
            int, 2, "How often a block with an invalid run is repeated.", ge=0, le=20
        ),
        "run": _describe_table(RunTable, "The same for all runs."),
        "factors": _describe_table(FactorsTable, "What is varied: lists of levels."),
        "pauses": _describe_table(Pauses, "Between runs."),
        "analysis": _describe_table(PlannedAnalysis, "What will be compared, and how."),
        "until": _describe(Until | None, None, "Stopping rule."),
        "claims": (
            dict[ClaimName, PlannedClaim],
            Field(default_factory=dict, description="What is claimed beforehand, by name."),
        ),
        "submission": _describe_table(SubmissionDetails, "What its author says of the study."),
    },
)


_TABLES = {"run": RUN_KEYS, "factors": RUN_KEYS} | {
    name: tuple(f.name for f in fields(kind))
    for name, kind in (
        ("pauses", Pauses),
        ("analysis", PlannedAnalysis),
        ("until", Until),
        ("claims", PlannedClaim),
        ("submission", SubmissionDetails),
    )
}
"""The keys of each table of the file."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of experiment files, for editors."""
    schema = ExperimentFile.model_json_schema()
    return {"$schema": SCHEMA_DIALECT, **schema, "title": "wbcbench experiment"}


def read_experiment(
    path: Path, changes: Sequence[str] = (), *, exploratory: bool = False
) -> Experiment:
    """Read an experiment file.

    Args:
        path: The file.
        exploratory: Whether the analysis is exploratory, whatever the file says.
        changes: ``KEY=VALUE`` each, a key of the file (``blocks``) or of its table ``run``
            (``epochs``), a value as TOML writes it or a bare word; they win over the file.

    Raises:
        UsageError: It cannot be read, or a key or value is wrong.
    """
    try:
        document = load_toml(path)
    except OSError as error:
        raise UsageError(
            f"The experiment file {path} cannot be read: {error.strerror}. "
            "Those that come with wbcbench are in experiments/."
        ) from error
    except ValueError as error:
        raise UsageError(f"{path} is not TOML: {error}.") from error
    for change in changes:
        _apply_change(document, change)
    try:
        # Through JSON, whose lists a strict tuple accepts.
        file = ExperimentFile.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise UsageError(f"{path}: {_describe_error(error)}") from error
    except RecursionError as error:
        raise UsageError(f"{path}: it is nested too deeply.") from error
    given = {name: getattr(file, name) for name in file.model_fields_set}
    run, factors = (
        given.pop(name).model_dump(exclude_unset=True) if name in given else {}
        for name in ("run", "factors")
    )
    _check_factors(path, factors, run)
    if "submission" in given:
        require_sound(asdict(given["submission"]), f"{path}: table [submission]")
    analysis = given.setdefault("analysis", PlannedAnalysis())
    if exploratory:
        given["analysis"] = replace(analysis, exploratory=True)
    blocks, seeds = _choose_seeds(path, given, _count_blocks(factors, analysis))
    return Experiment(
        study=given.pop("study", None) or path.stem,
        seeds=seeds,
        blocks=blocks,
        factors={name: tuple(levels) for name, levels in factors.items()},
        run=run,
        **{name: given[name] for name in given if name not in {"seeds", "first_seed", "blocks"}},
    )


def _apply_change(document: dict[str, Any], change: str) -> None:
    """Set one key as ``--set`` gives it."""
    key, equals, text = change.partition("=")
    if not equals:
        raise UsageError(f"--set {change}: give KEY=VALUE, for instance --set epochs=3.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    is_run = key.strip() not in ExperimentFile.model_fields
    table = document.setdefault("run", {}) if is_run else document
    if isinstance(table, dict):  # else the file is refused as a whole
        table[key.strip()] = value


def _describe_error(error: ValidationError) -> str:
    """The first thing that is wrong, by its key."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:  # the reader of JSON goes less deep than that of TOML
        return "it is nested too deeply."
    *tables, name = (str(word) for word in first["loc"])
    key = ".".join([*tables, name])
    if first["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        return _describe_unknown_key(tables, name)
    if name == "[key]":
        return f"table [{'.'.join(tables)}]: a name takes letters, digits, - and _, up to 64."
    if first["type"] in {"missing", "missing_argument"}:
        return f"key '{key}' is missing."
    return f"key '{key}': {first['msg']}; it is {reprlib.repr(first['input'])}."


def _describe_unknown_key(tables: Sequence[str], key: str) -> str:
    known = sorted(_TABLES[tables[0]] if tables else ExperimentFile.model_fields)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    guess = f" Did you mean '{near[0]}'?" if near else ""
    if not tables:  # it may belong into a table; small slips are forgiven
        for table, keys in reversed(_TABLES.items()):
            if close := difflib.get_close_matches(key, keys, n=1, cutoff=0.8):
                guess = f" '{close[0]}' belongs into [{table}]."
    where = f"table [{'.'.join(tables)}]" if tables else "the file"
    return f"there is no key '{key}' in {where}.{guess} Known: {', '.join(known)}."


def _check_factors(
    path: Path, factors: Mapping[str, Sequence[Any]], run: Mapping[str, Any]
) -> None:
    for name, levels in factors.items():
        if name in run:
            raise UsageError(f"{path}: key '{name}' is in both [run] and [factors]; keep one.")
        if name not in ("variant", *TREATMENTS):
            raise UsageError(
                f"{path}: key 'factors.{name}' makes no other configuration, so nothing would be "
                "compared. Set it in [run]."
            )
        if len(set(levels)) != len(levels):
            raise UsageError(f"{path}: key 'factors.{name}' names a level twice: {list(levels)}.")
    if "variant" not in factors and not run.get("variant"):
        raise UsageError(f"{path}: key 'variant' is missing; name it in [factors] or in [run].")
    combinations = prod(len(levels) for levels in factors.values())
    if combinations > LARGEST_BLOCK:
        raise UsageError(
            f"{path}: [factors] makes {combinations:,} combinations, all of them in every block; "
            f"at most {LARGEST_BLOCK:,} are allowed. Vary fewer things at a time."
        )


def _count_blocks(factors: Mapping[str, Sequence[Any]], analysis: PlannedAnalysis) -> int:
    """The blocks that a plan has by default: as many as its primary family needs, eight at least.

    A family that no number of blocks can test is refused when its plan is made.
    """
    configurations = prod(len(levels) for levels in factors.values())
    contrasts = 3 if analysis.family == "factors" else max(configurations - 1, 1)
    tests = contrasts * analysis.count_metrics()
    return max(BLOCKS, find_least_blocks(ALPHA / tests) or BLOCKS)


def _choose_seeds(
    path: Path, given: Mapping[str, Any], default: int
) -> tuple[int, tuple[int, ...]]:
    """How many blocks, and a seed for each there may be."""
    seeds, until = tuple(given.get("seeds", ())), given.get("until")
    blocks = given.get("blocks", default if until or not seeds else len(seeds))
    most = until.max_blocks if until else blocks
    if until and blocks < LEAST_FOR_T:
        raise UsageError(
            f"{path}: key 'blocks' is {blocks}, but the spread of a first stage ([until]) takes "
            f"{LEAST_FOR_T}."
        )
    if most < blocks:
        raise UsageError(
            f"{path}: key 'until.max_blocks' is {most}, but {blocks} blocks are the first "
            "stage. Raise max_blocks."
        )
    if not seeds:
        first = given.get("first_seed", FIRST_SEED)
        return blocks, tuple(range(first, first + most))
    if len(seeds) != most or len(set(seeds)) != len(seeds):
        raise UsageError(
            f"{path}: key 'seeds' must hold {most} different seeds, one for each block; "
            f"it holds {len(seeds)}. Or leave it out: first_seed counts upwards."
        )
    return blocks, seeds
