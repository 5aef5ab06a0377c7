"""JSON of which every number is one, and documents whose numbers can be what their names say."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

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
    "provenance", "meters",
), _ANY)  # fmt: skip


def read_document(kind: type[T], data: bytes) -> T:
    """Read a document whose fields have exactly the types of ``kind``.

    Numbers are finite and not negative, shares at most 1, but for those that may be.

    Raises:
        ValueError: It is none; the message names the field.
    """
    try:
        if problem := _find_impossible(from_json(data), _COUNT):
            raise ValueError(problem)
        document: T = _adapter(kind).validate_json(data, strict=True)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error
    return document


def first_problem(error: ValidationError) -> str:
    """Where a document differs from what it must be, and how; the first of several."""
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {problem['msg']}" if place else problem["msg"]


def _find_impossible(value: Any, limits: Limits) -> str:
    """The first number outside its limits, after its place; empty if there is none."""
    if isinstance(value, dict | list):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            inner = limits if limits is _ANY else _LIMITS.get(name, limits)
            if item.__class__ is not str and (found := _find_impossible(item, inner)):
                return f"{name}{found}" if found[0] == ":" else f"{name}.{found}"
    elif type(value) in (int, float) and not limits[0] <= value <= limits[1]:
        is_long = isinstance(value, int) and abs(value) > _LARGEST
        return f": {'a number too large' if is_long else value} is not possible there"
    return ""


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


_adapter: Any = cache(TypeAdapter)
