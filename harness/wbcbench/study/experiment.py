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
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from itertools import product
from math import prod
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails

from wbcbench.compare.metric import PlannedClaim, PrimaryFamily
from wbcbench.core.errors import UsageError, list_problems, suggest
from wbcbench.core.files import load_toml
from wbcbench.core.spec import SPEC_FIELDS, TREATMENTS, RunSpec
from wbcbench.registry import METERS, VARIANTS
from wbcbench.run.launchers.cluster import ClusterSettings
from wbcbench.stats.intervals import LEAST_FOR_T
from wbcbench.stats.tests import ALPHA, find_least_blocks
from wbcbench.study.limits import find_problem
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
    """What happens between two runs, apart from the run's own wait for ``cooldown_c``."""

    __pydantic_config__ = _STRICT

    rest_s: Annotated[
        float,
        Field(
            ge=0,
            le=86_400,
            description="Seconds of rest, so that no run pays for the heat of the one before.",
        ),
    ] = 10.0


@dataclass(frozen=True, slots=True)
class PlannedAnalysis:
    """What will be compared, written down before the first run: the keys of [analysis]."""

    __pydantic_config__ = _STRICT

    metrics: Annotated[
        tuple[str, ...],
        Field(
            description="Columns of the results table; empty: energy of training and balanced "
            "accuracy.",
        ),
    ] = ()
    baseline: Annotated[
        str | None,
        Field(
            description="The configuration to compare with; not given: the lower levels decide.",
            examples=["relu-dropout"],
        ),
    ] = None
    family: Annotated[
        PrimaryFamily | None,
        Field(
            description="The primary contrasts: each variant against the baseline, or two factors "
            "of two levels and their interaction. Not given: baseline.",
        ),
    ] = None
    exploratory: Annotated[
        bool,
        Field(
            description="Test nothing: estimates and intervals only, so that any number of blocks "
            "will do.",
        ),
    ] = False
    contrasts: Annotated[
        tuple[str, ...],
        Field(
            description="The primary contrasts by name; the family decides them, and a list here "
            "must name the same.",
        ),
    ] = ()
    lowest_status: Annotated[
        Status, Field(description="The lowest status of joules that is accepted.")
    ] = "measured"
    equivalent_pct: Annotated[
        float,
        Field(
            ge=0.01,
            le=50,
            description="Half-width of the region in which joules and seconds do not differ in "
            "practice, in per cent.",
        ),
    ] = 2.0
    equivalent_pp: Annotated[
        float, Field(ge=0.01, le=50, description="The same of accuracies, in percentage points.")
    ] = 1.0

    def count_metrics(self) -> int:
        """How many metrics each contrast is tested on."""
        return len(set(self.metrics)) or 2


@dataclass(frozen=True, slots=True)
class Until:
    """Stein's two stages: the spread in the first blocks decides how many there are."""

    __pydantic_config__ = _STRICT

    contrast: Annotated[
        str,
        Field(
            description="Name of a primary contrast; its first word is enough.",
            examples=["leaky-dropout"],
        ),
    ]
    width: Annotated[
        float,
        Field(
            ge=0.001,
            le=1_000,
            description="How far the upper end of its 95 % interval may lie above the lower, in "
            "per cent or percentage points.",
            examples=[4.0],
        ),
    ]
    max_blocks: Annotated[
        int, Field(ge=3, le=1_000, description="Stop there, narrow or not.", examples=[20])
    ]
    metric: Annotated[str, Field(description="A column; empty: energy of training.")] = ""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A study as it was asked for.

    Attributes:
        study: Folder under ``results/``.
        seeds: One for each block, in their order, as many as there may be.
        blocks: How many are carried out; more only by the stopping rule.
        factors: Field of ``RunSpec`` → its levels; a block has every combination once.
        configurations: Fields of ``RunSpec`` → values that go together, each with every combination
            of the factors; the first is what the others are compared with.
        run: Field of ``RunSpec`` → value, for all runs.
        about: One sentence for people.
        order_seed: Draw of the order inside the blocks.
        block_repeats: How often a block with an invalid run is repeated.
        claims: Stated beforehand, by name.
        pauses, analysis, until, submission, cluster: See there.
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
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    configurations: tuple[Mapping[str, Any], ...] = ()

    def combine(self) -> list[dict[str, Any]]:
        """What distinguishes the runs of a block, the first configuration's before the others'.

        All have the same fields: what a configuration leaves out is the default.
        """
        levels = [
            dict(zip(self.factors, own, strict=True)) for own in product(*self.factors.values())
        ]
        varied = dict.fromkeys(name for own in self.configurations for name in own)
        usual = {each.name: each.default for each in fields(RunSpec) if each.name in varied}
        return [{**usual, **own, **each} for own in self.configurations or ({},) for each in levels]


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
        "threads": [2],
        "xla": [True],
        "loops": ["auto", 20],
        "cooldown_c": [50.0],
        "power_limit_w": [250.0],
        "country": ["DEU"],
    }
    # Of the others, options of ``run``, the help says it.
    texts = {
        "variant": "Network to train, if it is the same for all; else it stands in [factors].",
        "dataset_id": "The images, as `wbcbench data check` names them; empty: those of --data.",
        "dataset_sha256": "Digest of their content; empty: not checked.",
    }
    values: dict[str, Any] = {
        name: (
            hints[name] | None if name == "variant" else hints[name],
            Field(defaults.get(name), examples=examples.get(name), description=texts.get(name)),
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
        "study": _describe(
            str | None, None, "Folder under results; the file's name.", examples=["mine"]
        ),
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
        "configurations": _describe(
            list[RunTable],  # type: ignore[valid-type]  # made above
            [],
            "Settings that go together, instead of or beside [factors]; all are compared with the "
            "first.",
            examples=[[{"batch_size": 64}, {"batch_size": 256, "learning_rate": 0.003}]],
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
        "cluster": _describe_table(ClusterSettings, "Where `sweep --launcher` runs its jobs."),
    },
)


_SEE_KEYS = "`wbcbench init` explains every key."
_TABLES = dict.fromkeys(("run", "factors", "configurations"), RUN_KEYS) | {
    name: tuple(f.name for f in fields(kind))
    for name, kind in (
        ("pauses", Pauses),
        ("analysis", PlannedAnalysis),
        ("until", Until),
        ("claims", PlannedClaim),
        ("submission", SubmissionDetails),
        ("cluster", ClusterSettings),
    )
}
"""The keys of each table of the file."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of experiment files, for editors."""
    schema = ExperimentFile.model_json_schema()
    return {"$schema": SCHEMA_DIALECT, **schema, "title": "wbcbench experiment"}


# What `wbcbench plan` shows without a file: the comparison of the published report, on any images.
PUBLISHED_STUDY = "published"
_PUBLISHED_DESIGN: Mapping[str, Any] = {
    "about": "The published 2 × 2: activation and regulariser.",
    "run": {"epochs": 25},
    "factors": {"variant": list(VARIANTS)},
    "analysis": {"lowest_status": "estimated"},
}


def published_design() -> dict[str, Any]:
    """The published comparison, as the keys of an experiment file."""
    return deepcopy(dict(_PUBLISHED_DESIGN))


def read_experiment(
    path: Path, changes: Sequence[str] = (), *, exploratory: bool = False
) -> Experiment:
    """Read an experiment file.

    Args:
        path: The file.
        exploratory: Whether the analysis is exploratory, whatever the file says.
        changes: ``KEY=VALUE`` each, see ``apply_changes``; they win over the file.

    Raises:
        UsageError: It cannot be read; or everything that is wrong in its keys and values.
    """
    document = load_design(path)
    apply_changes(document, changes)
    return parse_design(document, path, path.stem, exploratory=exploratory)


def load_design(path: Path) -> dict[str, Any]:
    """The keys of an experiment file, unchecked; raises ``UsageError`` if it cannot be read."""
    try:
        return load_toml(path)
    except OSError as error:
        raise UsageError(
            f"The experiment file {path} cannot be read: {error.strerror}. "
            "`wbcbench init` writes one that explains every key."
        ) from error
    except ValueError as error:
        raise UsageError(f"{path} is not TOML: {error}.") from error


def apply_changes(document: dict[str, Any], changes: Sequence[str]) -> None:
    """Set keys as ``--set`` gives them.

    Args:
        document: The keys of an experiment file.
        changes: ``KEY=VALUE`` each, a key of the file (``blocks``) or of its table ``run``
            (``epochs``), a value as TOML writes it or a bare word.
    """
    for change in changes:
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


def change_design(
    document: dict[str, Any],
    *,
    seeds: int | None = None,
    epochs: int | None = None,
    target: float | None = None,
    variants: Sequence[str] = (),
) -> None:
    """Set what the options of ``plan`` name; what is not given stays.

    Args:
        document: The keys of an experiment file.
        seeds: How many, counted from ``first_seed``; a block of runs each.
        epochs: Of every run.
        target: Score whose energy and time are reported.
        variants: One for all runs, or several to compare.
    """
    run, factors = (document.setdefault(name, {}) for name in ("run", "factors"))
    if not (isinstance(run, dict) and isinstance(factors, dict)):
        return  # the file is refused as a whole
    if seeds is not None:
        document.pop("seeds", None)
        document["blocks"] = seeds
    run |= {
        key: value
        for key, value in (("epochs", epochs), ("target_value", target))
        if value is not None
    }
    if variants:
        run.pop("variant", None)
        factors.pop("variant", None)
        if len(variants) == 1:
            run["variant"] = variants[0]
        else:
            factors["variant"] = list(variants)


def parse_design(
    document: Mapping[str, Any], source: object, study: str, *, exploratory: bool = False
) -> Experiment:
    """An experiment from the keys of a file.

    Args:
        document: The keys.
        source: Where they are from, for messages.
        study: The study's name where they give none.
        exploratory: Whether the analysis is exploratory, whatever they say.

    Raises:
        UsageError: Everything that is wrong in them.
    """
    try:
        # Through JSON, whose lists a strict tuple accepts.
        file = ExperimentFile.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise list_problems(source, _find_problems(document, error)) from error
    except RecursionError as error:
        raise UsageError(f"{source}: it is nested too deeply.") from error
    given = {name: getattr(file, name) for name in file.model_fields_set}
    run, factors = (
        given.pop(name).model_dump(exclude_unset=True) if name in given else {}
        for name in ("run", "factors")
    )
    configurations = [
        each.model_dump(exclude_unset=True) for each in given.get("configurations", ())
    ]
    problems = [
        *_find_limit_problems(document),
        *_find_factor_problems(factors, run, configurations),
    ]
    if problems:
        raise list_problems(source, problems)
    if "submission" in given:
        require_sound(asdict(given["submission"]), f"{source}: table [submission]")
    analysis = given.setdefault("analysis", PlannedAnalysis())
    if exploratory:
        given["analysis"] = replace(analysis, exploratory=True)
    count = prod(map(len, factors.values())) * max(len(configurations), 1)
    blocks, seeds = _choose_seeds(source, given, _count_blocks(count, analysis))
    given["configurations"] = tuple(configurations)
    return Experiment(
        study=given.pop("study", None) or study,
        seeds=seeds,
        blocks=blocks,
        factors={name: tuple(levels) for name, levels in factors.items()},
        run=run,
        **{name: given[name] for name in given if name not in {"seeds", "first_seed", "blocks"}},
    )


def _find_problems(document: Mapping[str, Any], error: ValidationError) -> list[str]:
    """Everything that is wrong in the keys, their types and the values that have a limit."""
    errors = error.errors(include_url=False)
    if any(not each["loc"] for each in errors):  # the reader of JSON goes less deep than of TOML
        return ["it is nested too deeply."]
    # What may be one of two kinds is wrong twice; its limit says it in one sentence.
    errors = [each for each in errors if "loops" not in each["loc"][1:3]]
    wrong = {".".join(map(str, each["loc"][:2])) for each in errors}
    found = [*map(_describe_error, errors), *_find_limit_problems(document, wrong)]
    return list(dict.fromkeys(found))


def _find_limit_problems(document: Mapping[str, Any], wrong: Collection[str] = ()) -> Iterator[str]:
    """What is out of its range, but for keys that are ``wrong`` already."""
    if isinstance(study := document.get("study"), str) and "study" not in wrong:
        yield from filter(None, [find_problem("study", study, "key 'study'")])
    listed = document.get("configurations")
    tables = [
        *((table, document.get(table)) for table in ("run", "factors")),
        *(("configurations", own) for own in (listed if isinstance(listed, list) else ())),
    ]
    for table, values in tables:
        for key, value in values.items() if isinstance(values, dict) else ():
            if key in RUN_KEYS and not {table, name := f"{table}.{key}"} & set(wrong):
                for level in value if table == "factors" else [value]:
                    if problem := find_problem(key, level, f"key '{name}'"):
                        yield problem


def _describe_error(error: ErrorDetails) -> str:
    *tables, name = map(str, error["loc"])
    key = reprlib.repr(".".join([*tables, name]))
    if error["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        return _describe_unknown_key(tables, name)
    if name == "[key]":
        where = ".".join(tables)
        return f"table [{where}]: a name takes letters, digits, - and _, up to 64."
    if error["type"] in {"missing", "missing_argument"}:
        return f"key {key} is missing."
    return f"key {key}: {error['msg']}; it is {reprlib.repr(error['input'])}."


def _describe_unknown_key(tables: Sequence[str], key: str) -> str:
    top = tuple(ExperimentFile.model_fields)
    guess = suggest(key, _TABLES[tables[0]] if tables else top)
    if not (tables and guess):  # it may belong elsewhere; small slips alone are forgiven there
        for table, keys in [("", top), *_TABLES.items()]:
            close = difflib.get_close_matches(key, keys, n=1, cutoff=0.8)
            if close and table not in tables and (table or tables):
                place = f"into [{table}]" if table else "above the tables"
                guess = f"'{close[0]}' belongs {place}."
                break
    where = f"table [{'.'.join(tables)}]" if tables else "the file"
    return f"there is no key {reprlib.repr(key)} in {where}. {guess or _SEE_KEYS}"


def _find_factor_problems(
    factors: Mapping[str, Sequence[Any]],
    run: Mapping[str, Any],
    configurations: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    varied = dict.fromkeys((*factors, *(name for own in configurations for name in own)))
    for name in varied:
        table = "factors" if name in factors else "configurations"
        if name in run:
            yield f"key '{name}' is in both [run] and [{table}]; keep one."
        elif name not in ("variant", *TREATMENTS):
            yield (
                f"key '{table}.{name}' makes no other configuration, so nothing would be "
                "compared. Set it in [run]."
            )
    for name, levels in factors.items():
        if any(name in own for own in configurations):
            yield f"key '{name}' is in both [factors] and [configurations]; keep one."
        if len(set(levels)) != len(levels):
            yield f"key 'factors.{name}' names a level twice: {reprlib.repr(list(levels))}."
    if len({repr(sorted(own.items())) for own in configurations}) != len(configurations):
        yield "key 'configurations' names one twice."
    has_variant = bool(configurations) and all("variant" in own for own in configurations)
    if "variant" not in factors and not has_variant and not run.get("variant"):
        yield "key 'variant' is missing; name it in [factors] or in [run]."
    combinations = prod(len(levels) for levels in factors.values()) * max(len(configurations), 1)
    if combinations > LARGEST_BLOCK:
        yield (
            f"[factors] makes {combinations:,} combinations, all of them in every block; "
            f"at most {LARGEST_BLOCK:,} are allowed. Vary fewer things at a time."
        )


def _count_blocks(configurations: int, analysis: PlannedAnalysis) -> int:
    """The blocks that a plan has by default: as many as its primary family needs, eight at least.

    A family that no number of blocks can test is refused when its plan is made.
    """
    contrasts = 3 if analysis.family == "factors" else max(configurations - 1, 1)
    tests = contrasts * analysis.count_metrics()
    return max(BLOCKS, find_least_blocks(ALPHA / tests) or BLOCKS)


def _choose_seeds(
    source: object, given: Mapping[str, Any], default: int
) -> tuple[int, tuple[int, ...]]:
    """How many blocks, and a seed for each there may be."""
    seeds, until = tuple(given.get("seeds", ())), given.get("until")
    blocks = given.get("blocks", default if until or not seeds else len(seeds))
    most = until.max_blocks if until else blocks
    if until and blocks < LEAST_FOR_T:
        raise UsageError(
            f"{source}: key 'blocks' is {blocks}, but the spread of a first stage ([until]) takes "
            f"{LEAST_FOR_T}."
        )
    if most < blocks:
        raise UsageError(
            f"{source}: key 'until.max_blocks' is {most}, but {blocks} blocks are the first "
            "stage. Raise max_blocks."
        )
    if not seeds:
        first = given.get("first_seed", FIRST_SEED)
        return blocks, tuple(range(first, first + most))
    if len(seeds) != most or len(set(seeds)) != len(seeds):
        raise UsageError(
            f"{source}: key 'seeds' must hold {most} different seeds, one for each block; "
            f"it holds {len(seeds)}. Or leave it out: first_seed counts upwards."
        )
    return blocks, seeds
