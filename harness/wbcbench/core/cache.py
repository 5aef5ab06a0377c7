"""Where what can be made again is kept between commands: images, sensor cards, what runs gave."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from wbcbench.core.files import write_atomically
from wbcbench.core.provenance import host_id

Stamp = list[list[int] | None]
"""Of each file inode, size, and when it was changed; ``None`` for one that is not there."""

_FOLDER = "studies"
_MOST_LOOKED_AT = 50
_MOST_LINES = 3  # for each value that counts, before a file is written anew
_PACKAGE = Path(__file__).parents[1]


def cache_root(chosen: Path | None = None) -> Path:
    """Return ``chosen``, else ``WBCBENCH_CACHE``, else the user's cache folder."""
    import platformdirs

    folder = chosen or os.environ.get("WBCBENCH_CACHE")
    return Path(folder) if folder else Path(platformdirs.user_cache_dir("wbcbench"))


def machine_mark() -> str:
    """Twelve digits that stand for this machine in names of files that others may write beside.

    Nodes that were copied from one image share the identity of their system, but not their name.
    Processes that cannot see each other's locks (``core.lock``) are not of one machine here: what
    one of them makes looks to the other as if its maker were gone.
    """
    network = ""
    with contextlib.suppress(OSError):
        network = str(Path("/proc/self/ns/net").readlink())
    space = os.environ.get("WBCBENCH_LOCK_DIR", "")
    facts = f"{host_id()} {platform.node()} {network} {space}"
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def read_stamp(paths: Sequence[Path]) -> Stamp:
    """What tells whether any of these files has changed."""
    stamp: Stamp = []
    for path in paths:
        try:
            now = path.stat()
        except OSError:
            stamp.append(None)
        else:
            stamp.append([now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns])
    return stamp


class KeptValues:
    """What was worked out from the files below one folder, kept from command to command.

    A file of the user's cache holds a line a value: its key, the stamp of the files that it was
    worked out from, itself. Commands only append, each its lines in one piece, so that several at
    once lose none; of two lines of one key the last counts. What another version of this program
    worked out, or a torn line says, is not believed; where nothing can be read or written, nothing
    is kept. The folder itself holds none of it: what comes with somebody's files is no result.
    """

    def __init__(self, folder: Path) -> None:
        """Read what is kept of a folder."""
        folder = folder.resolve()
        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:24]
        self._path = cache_root() / _FOLDER / f"{name}.jsonl"
        self._head = to_json({"of": os.fsencode(folder).hex()}) + b"\n"
        self._values: dict[str, tuple[Any, Any]] = {}
        self._new: dict[str, tuple[Any, Any]] = {}
        lines = 0
        with contextlib.suppress(OSError), self._path.open("rb") as stream:
            for line in stream:
                lines += 1
                with contextlib.suppress(ValueError, TypeError):
                    key, stamp, value = from_json(line, cache_strings="all")
                    self._values[key] = stamp, value
        if lines > _MOST_LINES * (len(self._values) + 100):
            self._write_anew(self._values)

    def knows(self, key: str, stamp: Stamp) -> bool:
        """Whether :meth:`take` has a value."""
        known = self._values.get(key)
        return known is not None and known[0] == [CODE, *stamp]

    def take(self, key: str, stamp: Stamp) -> Any:
        """The value of a key, once, if it is of just these files; else ``None``."""
        return self._values.pop(key)[1] if self.knows(key, stamp) else None

    def keep(self, key: str, stamp: Stamp, value: Any) -> None:
        """Keep a value that JSON can hold from the next :meth:`save` on."""
        self._new[key] = [CODE, *stamp], value

    def save(self) -> None:
        """Append what is new, unless this program was replaced since it started."""
        if self._new and _stamp_code() != CODE:
            self._new = {}
        with contextlib.suppress(OSError):
            if self._new and self._path.exists():
                with self._path.open("ab", buffering=0) as stream:
                    stream.write(b"\n" + _format_lines(self._new))  # ends a line that a kill tore
            elif self._new:
                self._write_anew(self._new)
        self._new = {}

    def _write_anew(self, values: Mapping[str, tuple[Any, Any]]) -> None:
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _remove_orphans(self._path.parent)
            write_atomically(self._path, self._head + _format_lines(values))


def _format_lines(values: Mapping[str, tuple[Any, Any]]) -> bytes:
    return b"".join(to_json([key, *value]) + b"\n" for key, value in values.items())


def _remove_orphans(folder: Path) -> None:
    """Remove what is kept of folders that are no more, a few at a time."""
    for path in islice(folder.glob("*.jsonl"), _MOST_LOOKED_AT):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError), path.open("rb") as file:
            of = Path(os.fsdecode(bytes.fromhex(from_json(file.readline())["of"])))
            if not of.exists():
                path.unlink()


def _stamp_code() -> str:
    """What tells whether this program is the one that wrote something."""
    files = sorted(path for path in _PACKAGE.rglob("*.*") if path.suffix != ".pyc")
    return hashlib.sha256(to_json([list(map(str, files)), read_stamp(files)])).hexdigest()[:16]


CODE = _stamp_code()  # as this process starts: what is loaded later may be of another version
