"""Is a stranger's file what its name says, and small enough to be read? Nothing is run or loaded.

Text is UTF-8; JSON is finite, shallow, and says nothing twice; tables have no more cells than fit
in memory. What other programs would run when they open it (weights, pickles) is refused by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from wbcbench.bundle.bounds import BOUNDS, Bounds
from wbcbench.bundle.names import shown
from wbcbench.core.errors import VerificationError

_LOADED = frozenset(
    (
        ".keras", ".h5", ".hdf5", ".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".pb",
        ".onnx", ".tflite", ".npy", ".npz", ".so", ".pyc", ".exe", ".dll",
    )
)  # fmt: skip
_TEXT = frozenset(
    (
        "", ".md", ".txt", ".cff", ".html", ".svg", ".tex", ".bib", ".lock", ".toml", ".yaml",
        ".yml", ".diff", ".patch", ".log", ".typ", ".css",
    )
)  # fmt: skip
_AS_THEY_ARE = frozenset((".tar", ".pdf", ".png", ".parquet"))


def require_readable(path: Path, name: str, bounds: Bounds = BOUNDS) -> None:
    """Refuse a file that later readers could not read safely.

    Args:
        path: The file.
        name: Its name in the bundle, for the message.
        bounds: How large it may be.

    Raises:
        VerificationError: It is none of a bundle's kinds, too large, or not what its name says.
    """
    suffix = PurePosixPath(name).suffix.lower()
    reader = _READERS.get(suffix, _text if suffix in _TEXT else None)
    if suffix in _LOADED:
        raise _refused(name, "would be loaded or run by whoever opens it; weights are no part")
    if reader is None and suffix not in _AS_THEY_ARE:
        raise _refused(name, f"is of a kind ({suffix}) that cannot be checked and is no part")
    if reader is not None:
        reader(_bytes(path, name, bounds, suffix), name, bounds)


def strict_json(data: bytes | str) -> Any:
    """Read JSON that says one thing only.

    Raises:
        ValueError: It is not UTF-8, names a key twice, or holds a number that is not finite.
    """
    text = data.decode("utf-8") if isinstance(data, bytes) else data
    return json.loads(
        text, parse_constant=_not_finite, parse_float=_finite, object_pairs_hook=_once
    )


def _bytes(path: Path, name: str, bounds: Bounds, suffix: str) -> bytes:
    most = bounds.json_bytes if suffix in {".json", ".jsonld"} else bounds.text_bytes
    size = path.stat().st_size
    if size > most:
        raise _refused(name, f"has {size:,} bytes, more than the {most:,}")
    data = path.read_bytes()
    if b"\0" in data:
        raise _refused(name, "holds a zero byte, which no text does; it is none")
    return data


def _text(data: bytes, name: str, _: Bounds) -> None:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused(name, f"is not UTF-8 (byte {error.start:,}) and so is none") from error


def _table(data: bytes, name: str, bounds: Bounds) -> None:
    _text(data, name, bounds)
    lines, cells = data.count(b"\n"), data.count(b",") + data.count(b"\n")
    if lines > bounds.table_lines or cells > bounds.table_cells:
        raise _refused(name, f"has {lines:,} lines and {cells:,} cells, more than the largest")


def _json(data: bytes, name: str, bounds: Bounds) -> None:
    values = data.count(b",") + data.count(b"[") + data.count(b"{")
    if values > bounds.json_values:
        raise _refused(name, f"has some {values:,} values, more than the {bounds.json_values:,}")
    try:
        found = strict_json(data)
    except (ValueError, RecursionError) as error:
        raise _refused(name, f"is not the JSON ({shown(str(error))})") from error
    if _is_deeper(found, bounds.json_depth):
        raise _refused(name, f"is nested more than {bounds.json_depth} deep and is none")


def _messages(data: bytes, name: str, bounds: Bounds) -> None:
    _table(data, name, bounds)
    for number, line in enumerate(data.splitlines(), start=1):
        _json(line, f"{name}, line {number}", bounds)


_READERS: Mapping[str, Callable[[bytes, str, Bounds], None]] = {
    ".json": _json,
    ".jsonld": _json,
    ".jsonl": _messages,
    ".csv": _table,
}


def _refused(name: str, problem: str) -> VerificationError:
    return VerificationError(f"{shown(name)} {problem} of a bundle.")


def _not_finite(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"{word[:20]} is too large a number")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:60]!r} stands there twice")
    return found


def _is_deeper(value: Any, depth: int) -> bool:
    """Whether lists and objects lie more than ``depth`` deep in each other."""
    level = [value]
    for _ in range(depth):
        level = [item for each in level for item in _inside(each)]
        if not level:
            return False
    return bool(level)


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [item for item in value.values() if isinstance(item, dict | list)]
    return (
        [item for item in value if isinstance(item, dict | list)] if isinstance(value, list) else []
    )
