"""JSON of which every number is one, and documents whose numbers can be what their names say."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

T = TypeVar("T")

_SHARES = (
    "accuracy", "balanced_accuracy", "macro_f1", "ece", "recall", "interval", "val_accuracy",
    "val_balanced_accuracy", "others_share", "utilization", "repeat_share", "target_value",
)  # fmt: skip
_SIGNED = (
    "seed", "split_seed", "loss", "val_loss", "cooldown_c", "exit_status", "age_s", "t_s",
    "start_s", "end_s", "evaluate_end_s", "offset_s", "utc_minus_monotonic_s", "difference_pct",
    "gain_j", "baseline_j", "temperature_start_c", "temperature_mean_c", "temperature_max_c",
    "provenance", "meters",
)  # fmt: skip
"""What may be below zero, and what is kept as a library or the system told it."""
_LARGEST = 2**64  # beyond it no counter counts
_ANY, _SHARE, _COUNT = (-_LARGEST, _LARGEST), (0, 1 + 1e-6), (0, _LARGEST)


def read_document(kind: type[T], data: bytes) -> T:
    """Read a document whose fields have exactly the types of ``kind``.

    Numbers are finite and not negative, shares at most 1, but for those that may be.

    Raises:
        ValueError: It is none; the message names the field.
    """
    try:
        _require_possible(from_json(data), "", _COUNT)
        document: T = _adapter(kind).validate_json(data, strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        text = f"{place}: {problem['msg']}" if place else problem["msg"]
        raise ValueError(text) from error
    return document


def _require_possible(value: Any, place: str, limits: tuple[float, float]) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            inner = f"{place}.{name}" if place else name
            _require_possible(item, inner, _find_limits(name, limits))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _require_possible(item, f"{place}.{number}", limits)
    elif isinstance(value, int | float) and not limits[0] <= value <= limits[1]:
        shown = (
            str(value)[:20] if isinstance(value, float) or abs(value) < _LARGEST else "too large"
        )
        raise ValueError(f"{place}: {shown} is not possible there")


def _find_limits(name: str, outer: tuple[float, float]) -> tuple[float, float]:
    """Those of a name; what has other names inside it hands on its own."""
    if name in _SIGNED or outer == _ANY:
        return _ANY
    return _SHARE if name in _SHARES else outer


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
