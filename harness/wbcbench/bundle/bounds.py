"""Limits on a third party's bundle: its size, the names of its files, and what they may hold."""

from __future__ import annotations

import csv
import io
import json
import re
import resource
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wbcbench.core.errors import VerificationError
from wbcbench.core.strict_json import parse_json
from wbcbench.core.text import parse_number

_MB = 1_000_000

_FORMULA_STARTS = frozenset("=+-@\t\r\n")
_MAY_BE_CARRIED_OUT = re.compile(rb"(?:\A|[,\n\"])[=+\-@\t\r\n]")
_STATM = Path("/proc/self/statm")

_FORBIDDEN = frozenset('<>:"|?*\\')
_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)))
)

_EXECUTABLE = frozenset(
    (
        ".keras", ".h5", ".hdf5", ".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".pb",
        ".onnx", ".tflite", ".npy", ".npz", ".so", ".pyc", ".exe", ".dll",
    )
)  # fmt: skip
_JSON = frozenset((".json", ".jsonld"))
_TABLES = frozenset((".csv", ".jsonl"))
_TEXT = frozenset(
    (
        "", ".md", ".txt", ".cff", ".html", ".svg", ".tex", ".bib", ".lock", ".toml", ".yaml",
        ".yml", ".diff", ".patch", ".log", ".typ", ".css", ".sig",
    )
)  # fmt: skip
_BINARY = frozenset((".tar", ".pdf", ".png", ".parquet"))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a bundle may hold; a study of 1,000 runs stays below all of it.

    Attributes:
        files: Files and folders together; a run is some twenty of them.
        runs: For which the budget of time and memory grows.
        total_bytes, file_bytes: Of everything unpacked, and of one file.
        ratio: Unpacked over packed bytes of one file that is larger than ``ratio_from_bytes``.
        index_bytes: Of a zip's own table of contents, which is read at once.
        depth: Folders inside folders.
        name_bytes, path_bytes: Of one name and of a complete path, in UTF-8.
        json_bytes, json_values, json_depth: Of one JSON file; values count brackets and commas.
        text_bytes: Of any other text.
        table_lines, table_cells: Of one CSV or one log of messages.
        predictions: Rows of a table of predictions.
        predictions_bytes: Memory that reading one may take.
        traces_bytes: Memory that reading the traces of one run may take.
    """

    files: int = 200_000
    runs: int = 12_000
    total_bytes: int = 4_000 * _MB
    file_bytes: int = 500 * _MB
    ratio: int = 200
    ratio_from_bytes: int = _MB
    index_bytes: int = 32 * _MB
    depth: int = 12
    name_bytes: int = 200
    path_bytes: int = 600
    json_bytes: int = 64 * _MB
    json_values: int = 2_000_000
    json_depth: int = 32
    text_bytes: int = 32 * _MB
    table_lines: int = 1_000_000
    table_cells: int = 4_000_000
    predictions: int = 200_000
    predictions_bytes: int = 200 * _MB
    traces_bytes: int = 400 * _MB


BOUNDS = Bounds()


def require_safe(name: str, bounds: Bounds) -> None:
    """Refuse a path, relative to the bundle and with ``/`` between its parts.

    Raises:
        VerificationError: It leads out of the bundle, or is another file on another system.
    """
    problems = (
        _find_path_problem(name, bounds),
        *(_find_part_problem(part, bounds) for part in name.split("/")),
    )
    if problem := next(filter(None, problems), None):
        raise VerificationError(
            f"The bundle names a file {quote(name)}, which {problem}. Such a file may be written "
            "or read outside the bundle, so nothing was opened."
        )


def require_distinct(names: Iterable[str]) -> None:
    """Refuse names that are one file on some system: equal, in other case, or written otherwise.

    Raises:
        VerificationError: Two of them are.
    """
    names_by_key: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())
        if key in names_by_key:
            raise VerificationError(
                f"The bundle holds {quote(names_by_key[key])} and {quote(name)}: they are one file "
                "on systems that do not distinguish the names, so either may be meant."
            )
        names_by_key[key] = name


def quote(name: str) -> str:
    """A name as it may be printed: quoted, short, nothing that steers a terminal."""
    text = ascii(name)
    return text if len(text) <= 120 else f"{text[:110]}…'"


def _find_path_problem(name: str, bounds: Bounds) -> str:
    if name.startswith("/"):
        return "is an absolute path"
    if len(name.encode("utf-8", "replace")) > bounds.path_bytes:
        return f"has more than {bounds.path_bytes} bytes"
    return f"lies more than {bounds.depth} folders deep" if name.count("/") >= bounds.depth else ""


def _find_part_problem(part: str, bounds: Bounds) -> str:
    if part in {"", ".", ".."}:
        return "does not stay in its folder"
    if any(unicodedata.category(character).startswith("C") for character in part):
        return "holds a control character"
    if _FORBIDDEN.intersection(part):
        return "holds a backslash, a colon or another mark that is part of a path on some systems"
    if part.endswith((".", " ")) or part.startswith(" "):
        return "begins or ends with a character that some systems drop"
    if part.split(".", maxsplit=1)[0].rstrip().casefold() in _DEVICES:
        return "is the name of a device on some systems"
    too_long = len(part.encode("utf-8", "replace")) > bounds.name_bytes
    return f"has a part of more than {bounds.name_bytes} bytes" if too_long else ""


@contextmanager
def cap_memory(extra_bytes: int) -> Iterator[None]:
    """Let this process allocate at most ``extra_bytes`` more memory.

    Beyond it an allocation fails, which the library reports, and the machine does not swap. Without
    ``/proc`` the memory in use is unknown and there is no limit.
    """
    try:
        # Private writable memory, as the kernel counts it against the limit.
        used_bytes = int(_STATM.read_text(encoding="ascii").split()[5]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = (used_bytes + extra_bytes, soft, hard)
    lowest = min(limit for limit in limits if limit != resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_DATA, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


# Text is UTF-8; JSON is finite, shallow, and has each key once; tables have no more cells than fit
# in memory. Files that other programs would run when they open them are refused by name.
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
    if suffix in _EXECUTABLE:
        raise _refuse(name, "would be loaded or run by programs that open it")
    if suffix in _BINARY:
        return
    if suffix not in _JSON | _TABLES | _TEXT:
        raise _refuse(name, f"is of a kind ({suffix}) that cannot be checked")
    data = _read_text(path, name, bounds.json_bytes if suffix in _JSON else bounds.text_bytes)
    if suffix in _TABLES:
        lines, cells = data.count(b"\n"), data.count(b",") + data.count(b"\n")
        if lines > bounds.table_lines or cells > bounds.table_cells:
            raise _refuse(name, f"has {lines:,} lines and {cells:,} cells, which is too many")
        if suffix == ".csv" and _MAY_BE_CARRIED_OUT.search(data):
            _require_inert_cells(data.decode("utf-8"), name)
    if suffix in _JSON:
        _require_json(data, name, bounds)
    elif suffix == ".jsonl":
        for number, line in enumerate(data.splitlines(), start=1):
            _require_json(line, f"{name}, line {number}", bounds)


def _read_text(path: Path, name: str, most_bytes: int) -> bytes:
    size_bytes = path.stat().st_size
    if size_bytes > most_bytes:
        raise _refuse(name, f"has {size_bytes:,} bytes; up to {most_bytes:,} are read")
    data = path.read_bytes()
    if b"\0" in data:
        raise _refuse(name, "holds a zero byte, so it is not text")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        cause = ", as where a spreadsheet saved it" if name.endswith(".csv") else ""
        raise _refuse(name, f"is not UTF-8 (byte {error.start:,}){cause}") from error
    return data


def _require_inert_cells(text: str, name: str) -> None:
    """Refuse a cell that a spreadsheet carries out; numbers and a lone dash are none."""
    try:
        for row in csv.reader(io.StringIO(text, newline="")):
            for cell in row:
                if cell[:1] in _FORMULA_STARTS and cell not in {"", "-"}:
                    parse_number(cell)
    except csv.Error as error:
        raise _refuse(name, f"is no table ({quote(str(error))})") from error
    except ValueError as error:
        raise _refuse(name, f"holds {quote(cell)}, which a spreadsheet carries out") from error


def _require_json(data: bytes, name: str, bounds: Bounds) -> None:
    values = data.count(b",") + data.count(b"[") + data.count(b"{")
    if values > bounds.json_values:
        raise _refuse(name, f"has some {values:,} values; up to {bounds.json_values:,} are read")
    try:
        level = [parse_json(data)]
        if b"\\ud" in data.lower():  # half a character, which no file can hold
            json.dumps(level, ensure_ascii=False).encode()
    except ValueError as error:
        raise _refuse(name, f"is not valid JSON ({quote(str(error))})") from error
    for _ in range(bounds.json_depth + 1):
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
    if level:
        raise _refuse(name, f"is nested more than {bounds.json_depth} levels deep")


def _refuse(name: str, problem: str) -> VerificationError:
    return VerificationError(f"{quote(name)} {problem}. It cannot be part of a bundle.")
