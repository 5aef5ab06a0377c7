"""JSON of which every number is one, and documents whose numbers can be what their names say."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator, core_schema

T = TypeVar("T")

Limits = tuple[float, float]

_LARGEST = 2**64  # beyond it no counter counts
_COUNT: Limits = (0, _LARGEST)
_SHARE: Limits = (0, 1 + 1e-6)
_ANY: Limits = (-sys.float_info.max, sys.float_info.max)

# Names with other limits than counts, and with what lies below them. Any number may be what a
# library or the system told, and where zero is a place on a scale.
_LIMITS: Mapping[Any, Limits] = dict.fromkeys((
    "accuracy", "balanced_accuracy", "macro_f1", "ece", "recall", "interval", "val_accuracy",
    "val_balanced_accuracy", "others_share", "utilization", "repeat_share", "target_value",
), _SHARE) | dict.fromkeys((
    "seed", "split_seed", "loss", "val_loss", "cooldown_c", "exit_status", "age_s", "t_s",
    "start_s", "end_s", "evaluate_end_s", "offset_s", "utc_minus_monotonic_s", "difference_pct",
    "gain_j", "baseline_j", "temperature_start_c", "temperature_mean_c", "temperature_max_c",
    "provenance", "meters", "value", "idle_w",
), _ANY)  # fmt: skip
_OUT_OF_LIMITS = ("greater_than_equal", "less_than_equal", "finite_number")


def read_document(kind: type[T], data: bytes) -> T:
    """Read a document whose fields have exactly the types of ``kind``.

    Numbers are finite and not negative, shares at most 1, but for those that may be.

    Raises:
        ValueError: It is none; the message names the field.
    """
    try:
        document: T = _build_validator(kind).validate_json(data, strict=True)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error
    return document


def first_problem(error: ValidationError) -> str:
    """Where a document differs from what it must be, and how; the first of several."""
    problem = error.errors()[0]
    message = problem["msg"]
    if problem["type"] in _OUT_OF_LIMITS:
        message = _describe_impossible(problem["input"])
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {message}" if place else message


def _make_validator(kind: Any) -> SchemaValidator:
    return SchemaValidator(_limit_numbers(TypeAdapter(kind).core_schema, _COUNT))


_build_validator: Any = cache(_make_validator)


def _limit_numbers(schema: Any, limits: Limits) -> Any:
    """A schema of pydantic in which each number has the limits of the fields it lies below."""
    match schema:
        case {"type": "float", **rest}:
            low, high = limits
            return {**rest, "type": "float", "ge": low, "le": high, "allow_inf_nan": False}
        case {"type": "int", **rest}:
            return {**rest, "type": "int", "ge": math.ceil(limits[0]), "le": int(limits[1])}
        case {"type": "any"}:  # a JsonValue
            return core_schema.no_info_after_validator_function(_require_numbers, schema)
        case {"type": "dataclass-field", "name": name}:
            limits = _LIMITS.get(name, limits)
    if isinstance(schema, dict):
        return {key: _limit_numbers(part, limits) for key, part in schema.items()}
    return [_limit_numbers(part, limits) for part in schema] if type(schema) is list else schema


def _require_numbers(value: Any) -> Any:
    """Any JSON; raises ``ValueError`` for a number in it that no float can hold."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _require_numbers(item)
    elif type(value) in (int, float) and not _ANY[0] <= value <= _ANY[1]:
        raise ValueError(_describe_impossible(value))
    return value


def _describe_impossible(value: Any) -> str:
    is_long = isinstance(value, int) and abs(value) > _LARGEST
    return f"{'a number too large' if is_long else value} is not possible there"


def parse_json(data: bytes | str) -> Any:
    """Read JSON that has one meaning only.

    Raises:
        ValueError: It is not UTF-8, has a key twice, is nested too deeply, or holds a number that
            is not finite.
    """
    try:
        return json.loads(
            data.decode("utf-8") if isinstance(data, bytes) else data,
            parse_constant=_parse_finite,
            parse_float=_parse_finite,
            object_pairs_hook=_build_object,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _parse_finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"{word[:20]} is not a finite number")
    return value


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        duplicate = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {duplicate[:60]!r} occurs twice")
    return dict(pairs)
