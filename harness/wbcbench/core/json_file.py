"""Small JSON files of a run's folder, read as the dataclasses that they hold."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from wbcbench.core.errors import UsageError

T = TypeVar("T")


def to_json(value: object) -> bytes:
    """The value as indented JSON with a line's end."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def read_json(path: Path, kind: type[T]) -> T:
    """What a file holds.

    Raises:
        UsageError: It cannot be read, or holds something else.
    """
    try:
        value: T = _adapter(kind).validate_json(path.read_bytes())  # type: ignore[arg-type]
    except (OSError, ValidationError) as error:
        raise UsageError(f"{path} cannot be read as {kind.__name__}: {error}") from error
    return value


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
