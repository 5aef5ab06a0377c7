"""How large a bundle may be, which names its files may have, what they may hold."""

from __future__ import annotations

import json
import math
import resource
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from wbcbench.core.errors import VerificationError

_MB = 1_000_000

_FORBIDDEN = frozenset('<>:"|?*\\')

_STATM = Path("/proc/self/statm")

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


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a bundle may hold; a study of some hundred runs stays far below all of it.

    Attributes:
        files: Files and folders together.
        total_bytes, file_bytes: Of everything unpacked, and of one file.
        ratio: Unpacked over packed bytes of one file that is larger than ``ratio_from_bytes``.
        index_bytes: Of a zip's own table of contents, which is read whole.
        depth: Folders inside folders.
        name_bytes, path_bytes: Of one name and of a whole path, in UTF-8.
        json_bytes, json_values, json_depth: Of one JSON file; values count brackets and commas.
        text_bytes: Of any other text.
        table_lines, table_cells: Of one CSV or one log of messages.
        predictions: Rows of a table of predictions.
        predictions_bytes: Memory that reading one may take.
        traces_bytes: Memory that reading the traces of one run may take.
    """

    files: int = 20_000
    total_bytes: int = 2_000 * _MB
    file_bytes: int = 500 * _MB
    ratio: int = 200
    ratio_from_bytes: int = _MB
    index_bytes: int = 8 * _MB
    depth: int = 12
    name_bytes: int = 200
    path_bytes: int = 600
    json_bytes: int = 16 * _MB
    json_values: int = 2_000_000
    json_depth: int = 32
    text_bytes: int = 32 * _MB
    table_lines: int = 1_000_000
    table_cells: int = 4_000_000
    predictions: int = 200_000
    predictions_bytes: int = 200 * _MB
    traces_bytes: int = 400 * _MB


BOUNDS = Bounds()

_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)))
)


def require_safe(name: str, bounds: Bounds) -> None:
    """Refuse a path, relative to the bundle and with ``/`` between its parts.

    Raises:
        VerificationError: It leads out of the bundle, or is another file on another system.
    """
    problem = _path_problem(name, bounds) or next(
        (found for part in name.split("/") if (found := _part_problem(part, bounds))), ""
    )
    if problem:
        raise VerificationError(
            f"The bundle names a file {quoted(name)}, which {problem}. Such a file may be written "
            "or read outside the bundle, so none of it was opened."
        )


def require_distinct(names: Iterable[str]) -> None:
    """Refuse names that are one file on some system: twice, in other case, or written otherwise.

    Raises:
        VerificationError: Two of them are.
    """
    seen: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())
        if key in seen:
            raise VerificationError(
                f"The bundle holds {quoted(seen[key])} and {quoted(name)}: one file on systems "
                "that do not tell the names apart. Which of the two was meant cannot be known."
            )
        seen[key] = name


def quoted(name: str) -> str:
    """A name as it may be printed: quoted, short, nothing that steers a terminal."""
    text = ascii(name)
    return text if len(text) <= 120 else f"{text[:110]}…'"


def _path_problem(name: str, bounds: Bounds) -> str:
    if name.startswith("/"):
        return "is an absolute path"
    if len(name.encode("utf-8", "replace")) > bounds.path_bytes:
        return f"has more than {bounds.path_bytes} bytes"
    if name.count("/") >= bounds.depth:
        return f"lies more than {bounds.depth} folders deep"
    return ""


def _part_problem(part: str, bounds: Bounds) -> str:
    if part in {"", ".", ".."}:
        return "does not stay in its folder"
    if any(unicodedata.category(character).startswith("C") for character in part):
        return "holds a control character"
    if _FORBIDDEN.intersection(part):
        return "holds a backslash, a colon or another mark that some systems take for a path"
    if part.endswith((".", " ")) or part.startswith(" "):
        return "begins or ends with what some systems drop"
    if part.split(".", maxsplit=1)[0].rstrip().casefold() in _DEVICES:
        return "is the name of a device on some systems"
    too_long = len(part.encode("utf-8", "replace")) > bounds.name_bytes
    return f"has a part of more than {bounds.name_bytes} bytes" if too_long else ""


@contextmanager
def memory_ceiling(extra_bytes: int) -> Iterator[None]:
    """Let this process take ``extra_bytes`` more of memory and no more.

    Beyond it the library's allocation fails, which it reports, instead of the machine swapping.
    Where the system does not say how much is in use (no ``/proc``) there is no ceiling.
    """
    used = _used_bytes()
    if used is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    ceiling = used + extra_bytes
    known = [limit for limit in (ceiling, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(known), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _used_bytes() -> int | None:
    """Private writable memory of this process, as the kernel holds it against the limit."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[5]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return None


# Text is UTF-8; JSON is finite, shallow, and says nothing twice; tables have no more cells than fit
# in memory. What other programs would run when they open it (weights, pickles) is refused by name.
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
        raise _refused(name, f"is not the JSON ({quoted(str(error))})") from error
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
    return VerificationError(f"{quoted(name)} {problem} of a bundle.")


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
