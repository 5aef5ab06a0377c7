"""Which names a stranger's file may have: the same file on every system, inside its folder."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from wbcbench.bundle.bounds import Bounds
from wbcbench.core.errors import VerificationError

_FORBIDDEN = frozenset('<>:"|?*\\')
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
            f"The bundle names a file {shown(name)}, which {problem}. Such a file may be written "
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
                f"The bundle holds {shown(seen[key])} and {shown(name)}: one file on systems that "
                "do not tell the names apart. Which of the two was meant cannot be known."
            )
        seen[key] = name


def shown(name: str) -> str:
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
