"""``experiments/*.toml`` → ``Experiment``; a complaint names the file, the key and the way out."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from wbcbench.core.errors import UsageError
from wbcbench.study.experiment import (
    BLOCKS,
    FIRST_SEED,
    Experiment,
    ExperimentFile,
    Pauses,
    PlannedAnalysis,
    SubmissionDetails,
    Until,
)

LARGEST_BLOCK = 1_000
_TABLES: Mapping[str, type[Any]] = {
    "pauses": Pauses,
    "analysis": PlannedAnalysis,
    "until": Until,
    "submission": SubmissionDetails,
}
_PLAIN = ("about", "order_seed", "block_repeats")

_RANGES = (
    ("pauses", "rest_s", 0.0, 86_400.0),
    ("analysis", "equivalent_pct", 0.01, 50.0),
    ("analysis", "equivalent_pp", 0.01, 50.0),
    ("until", "width", 0.001, 1_000.0),
    ("until", "max_blocks", 3, 1_000),
)


def read_experiment(path: Path, changes: Sequence[str] = ()) -> Experiment:
    """Read an experiment file.

    Args:
        path: The file.
        changes: ``KEY=VALUE`` each, a key of the file (``blocks``) or of its table ``run``
            (``epochs``), a value as TOML writes it or a bare word; they win over the file.

    Raises:
        UsageError: It cannot be read, or a key or value is wrong.
    """
    found = _toml(path)
    for change in changes:
        _apply(found, change)
    try:
        # Through JSON, whose lists a strict tuple accepts.
        parsed = ExperimentFile.model_validate_json(json.dumps(found, default=str))
    except ValidationError as error:
        raise UsageError(f"{path}: {_complaint(error)}") from error
    return _experiment(path, parsed.model_dump(exclude_unset=True))


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"The experiment file {path} cannot be read: {error.strerror}. "
            "Those that come with wbcbench lie in experiments/."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}.") from error


def _apply(found: dict[str, Any], change: str) -> None:
    """Set one key as ``--set`` says it."""
    key, equals, text = change.partition("=")
    if not equals:
        raise UsageError(f"--set {change}: give KEY=VALUE, for instance --set epochs=3.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table = found if key.strip() in ExperimentFile.model_fields else found.setdefault("run", {})
    table[key.strip()] = value


def _complaint(error: ValidationError) -> str:
    """The first thing that is wrong, by its key."""
    first = error.errors(include_url=False)[0]
    words = [str(word) for word in first["loc"]]
    key = ".".join(words)
    if first["type"] == "extra_forbidden":
        return _unknown_key(words)
    if first["type"] == "missing":
        return f"key '{key}' is missing."
    return f"key '{key}': {first['msg']}; it is {first['input']!r}."


def _unknown_key(words: Sequence[str]) -> str:
    known = _keys(ExperimentFile, words[:-1])
    near = difflib.get_close_matches(words[-1], known, n=1, cutoff=0.4)
    guess = f" Did you mean '{near[0]}'?" if near else ""
    hint = _elsewhere(words[-1], words[:-1]) or guess
    where = f"table [{'.'.join(words[:-1])}]" if words[:-1] else "the file"
    return f"there is no key '{words[-1]}' in {where}.{hint} Known: {', '.join(known)}."


def _elsewhere(key: str, here: Sequence[str]) -> str:
    """Where a key belongs that stands in the wrong table; small slips are forgiven."""
    if here:
        return ""
    for table in ("run", *_TABLES):
        found = difflib.get_close_matches(key, _keys(ExperimentFile, [table]), n=1, cutoff=0.8)
        if found:
            return f" '{found[0]}' belongs into [{table}]."
    return ""


def _keys(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The keys of a table of the file."""
    for word in path:
        schema = model.model_fields[word].annotation
        options = getattr(schema, "__args__", (schema,))
        model = next(each for each in options if isinstance(each, type))
    return sorted(model.model_fields)


def _experiment(path: Path, found: dict[str, Any]) -> Experiment:
    factors = {name: tuple(levels) for name, levels in found.get("factors", {}).items()}
    run = found.get("run", {})
    _check_factors(path, factors, run)
    blocks, seeds = _seeds(path, found)
    _check_ranges(path, found)
    tables = {name: kind(**found[name]) for name, kind in _TABLES.items() if found.get(name)}
    return Experiment(
        study=found.get("study") or path.stem,
        seeds=seeds,
        blocks=blocks,
        factors=factors,
        run=run,
        **{name: found[name] for name in _PLAIN if name in found},
        **tables,
    )


def _check_factors(
    path: Path, factors: Mapping[str, tuple[Any, ...]], run: Mapping[str, Any]
) -> None:
    combinations = 1
    for name, levels in factors.items():
        combinations *= len(levels)
        if name in run:
            raise UsageError(f"{path}: key '{name}' stands in [run] and in [factors]; keep one.")
        if len(set(levels)) != len(levels):
            raise UsageError(f"{path}: key 'factors.{name}' names a level twice: {list(levels)}.")
    if "variant" not in factors and not run.get("variant"):
        raise UsageError(f"{path}: key 'variant' is missing; name it in [factors] or in [run].")
    if combinations > LARGEST_BLOCK:
        raise UsageError(
            f"{path}: [factors] makes {combinations:,} combinations, and every block holds each "
            f"once; at most {LARGEST_BLOCK:,} are carried out. Vary fewer things at a time."
        )


def _check_ranges(path: Path, found: Mapping[str, Any]) -> None:
    for table, key, least, most in _RANGES:
        value = (found.get(table) or {}).get(key, least)
        if not least <= value <= most:
            raise UsageError(
                f"{path}: key '{table}.{key}' must lie between {least:g} and {most:g}; "
                f"it is {value!r}."
            )


def _seeds(path: Path, found: dict[str, Any]) -> tuple[int, tuple[int, ...]]:
    """How many blocks, and a seed for each there may be."""
    seeds = tuple(found.get("seeds", ()))
    most = (found.get("until") or {}).get("max_blocks")
    blocks = found.get("blocks", len(seeds) if seeds and most is None else BLOCKS)
    most = blocks if most is None else most
    if most < blocks:
        raise UsageError(
            f"{path}: key 'until.max_blocks' is {most}, but {blocks} blocks are carried out before "
            "the first look; lower blocks, or raise max_blocks."
        )
    if not seeds:
        first = found.get("first_seed", FIRST_SEED)
        return blocks, tuple(range(first, first + most))
    if len(seeds) != most or len(set(seeds)) != len(seeds):
        raise UsageError(
            f"{path}: key 'seeds' must hold {most} different seeds, one for each block there may "
            f"be; it holds {len(seeds)}. Or leave it out: first_seed counts upwards."
        )
    return blocks, seeds


def repeated_defaults(path: Path) -> list[str]:
    """Keys of a file that say what is the default anyway; a file lists only what differs."""
    found = ExperimentFile.model_validate_json(json.dumps(_toml(path), default=str))
    return sorted(_repeated(found, ""))


def _repeated(found: BaseModel, prefix: str) -> list[str]:
    names: list[str] = []
    for name in found.model_fields_set:
        value = getattr(found, name)
        if isinstance(value, BaseModel):
            names += _repeated(value, f"{prefix}{name}.")
        elif value == type(found).model_fields[name].default:
            names.append(f"{prefix}{name}")
    return names
