"""Copy a study without what speaks of a person or of one machine.

Redaction comes before everything else: table, contrasts and report are made from the copy, so that
they agree with it. What a run's id and a plan's digest are made from is never touched: a spec in
its file or in a record, and the runs of a plan.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from wbcbench.submission import privacy
from wbcbench.submission.document import Redaction
from wbcbench.submission.privacy import Found, Known
from wbcbench.writing.wholefile import write_whole

# In JSON, words with none of these are values of this program's own, such as "adam".
_FREE_TEXT = (" ", "/", "@")
_UNTOUCHED = frozenset({"spec.json"})
_LONGEST_REMEMBERED = 200


@dataclass
class Redactor:
    """Takes private things out, and keeps account of what it took.

    Attributes:
        known: What is private beyond its form.
        salt: For hashes; the same study has the same one, so that a bundle made again is equal.
        seen: Kind → the different things that were replaced.
    """

    known: Known
    salt: str
    seen: dict[str, set[str]] = field(default_factory=dict)
    _harmless: set[tuple[str, Known]] = field(default_factory=set)

    def text(self, text: str) -> str:
        """A text without private things."""
        return self._replaced(text, self.known)

    def value(self, value: Any, key: str = "") -> Any:
        """A JSON value without private things; a ``spec`` inside is left as it is."""
        if isinstance(value, Mapping):
            return {self._word(k): v if k == "spec" else self.value(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self.value(item, key) for item in value]
        if key in privacy.SERIAL_KEYS and value not in (None, ""):
            return self._instead("serial number", str(value), "<serial>")
        if key in privacy.COORDINATE_KEYS and isinstance(value, int | float):
            return self._instead("coordinate", str(value), None)
        return self._word(value) if isinstance(value, str) else value

    def report(self, kept: Sequence[str]) -> Redaction:
        """What was taken out."""
        counts = {kind: len(found) for kind, found in sorted(self.seen.items())}
        return Redaction(applied=True, counts=counts, kept=tuple(kept))

    def _word(self, word: str) -> str:
        if any(mark in word for mark in _FREE_TEXT):
            return self.text(word)
        # Without users and hosts, whose names may be words.
        return self._replaced(word, Known(serials=self.known.serials))

    def _replaced(self, text: str, known: Known) -> str:
        """The same words come again in every run: those found harmless are not looked at twice."""
        if (text, known) in self._harmless:
            return text
        new = privacy.replaced(text, known, self.salt, self._tell)
        if new == text and len(text) <= _LONGEST_REMEMBERED:
            self._harmless.add((text, known))
        return new

    def _instead(self, kind: privacy.Kind, text: str, instead: Any) -> Any:
        self._tell(Found(kind, text, str(instead)))
        return instead

    def _tell(self, found: Found) -> None:
        self.seen.setdefault(found.kind, set()).add(found.text)


def redactor(folders: Sequence[Path]) -> Redactor:
    """The redactor for these study folders, after a look at what they give away."""
    users, hosts = {getpass.getuser(), Path.home().name}, {platform.node()}
    hosts.add(platform.node().split(".", maxsplit=1)[0])
    serials = set[str]()
    for path in _texts(folders):
        text = path.read_text(encoding="utf-8", errors="replace")
        more_users, more_hosts = privacy.users_and_hosts(text)
        users |= more_users
        hosts |= more_hosts
        if path.suffix == ".json":
            serials |= set(_serials(_parsed(text)))
    known = Known(
        folders=_folders(),
        users=tuple(sorted(privacy.names_worth_hiding(users))),
        hosts=tuple(sorted(privacy.names_worth_hiding(hosts))),
        serials=tuple(sorted(serials)),
    )
    return Redactor(known, _salt(folders))


def copy(source: Path, target: Path, by: Redactor | None) -> None:
    """Copy one file of a study, by ``by`` if there is one.

    Raises:
        OSError: It cannot be read, or the target cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    data = source.read_bytes()
    if by is not None and source.name not in _UNTOUCHED:
        data = _redacted(source, data, by)
    target.write_bytes(data)


def name_of(path: PurePosixPath, by: Redactor | None) -> PurePosixPath:
    """The path under which a file is kept: a board's log is named after the board."""
    return path if by is None else PurePosixPath(by.text(path.as_posix()))


def write_text(path: Path, text: str, by: Redactor | None) -> None:
    """Write a text that was made here, without private things."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (by.text(text) if by else text).encode())


def _redacted(source: Path, data: bytes, by: Redactor) -> bytes:
    if source.suffix == ".parquet":
        return _parquet(data, by)
    text = data.decode("utf-8", errors="replace")
    if source.suffix == ".json":
        return _as_before(data, _parsed(text), by, plan=source.name.startswith("plan"))
    if source.suffix == ".jsonl":
        return _lines(text, by).encode()
    new = by.text(text)
    return data if new == text else new.encode()


def _as_before(data: bytes, value: Any, by: Redactor, *, plan: bool) -> bytes:
    """The same bytes where nothing was private; of a plan only its sentence is looked at."""
    if plan:
        new = {**value, "plan": {**value["plan"], "about": by.text(value["plan"]["about"])}}
    else:
        new = by.value(value)
    if new == value:
        return data
    text = json.dumps(new, indent=1, sort_keys=True, ensure_ascii=False)
    return (text + "\n").encode()


def _lines(text: str, by: Redactor) -> str:
    """Messages, one JSON value a line; a line torn by a kill is treated as text."""
    return "\n".join(_line(line, by) for line in text.split("\n"))


def _line(line: str, by: Redactor) -> str:
    value = _parsed(line)
    if value is None:
        return by.text(line)
    new = by.value(value)
    return line if new == value else json.dumps(new)


def _parquet(data: bytes, by: Redactor) -> bytes:
    """Every word of every text column; the same bytes where none was private."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data))
    changed = False
    for i, column in enumerate(table.schema):
        if pa.types.is_string(column.type):
            words = table.column(i).unique().to_pylist()
            instead = {word: by.text(word) for word in words if word}
            if any(word != new for word, new in instead.items()):
                changed = True
                cells = [instead.get(cell, cell) for cell in table.column(i).to_pylist()]
                table = table.set_column(i, column, pa.array(cells, column.type))
    if not changed:
        return data
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", version="2.6")
    return out.getvalue()


def _texts(folders: Iterable[Path]) -> Iterator[Path]:
    """Files in which somebody may be named; traces hold numbers alone."""
    for folder in folders:
        for pattern in ("*/*.json", "*/*.jsonl", "*/*.txt"):
            yield from sorted(folder.glob(pattern))


def _serials(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _serials(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _serials(item, key)
    elif key in privacy.SERIAL_KEYS and len(str(value)) >= 6:
        yield str(value)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _folders() -> tuple[str, ...]:
    """This machine's own folders that may hold spaces; the root folder is none."""
    found = {str(Path.home()), str(Path.cwd())}
    return tuple(sorted(folder for folder in found if folder.count("/") > 1))


def _salt(folders: Sequence[Path]) -> str:
    runs = sorted(path.parent.name for folder in folders for path in folder.glob("*/spec.json"))
    return hashlib.sha256("\n".join(["wbcbench-bundle-1", *runs]).encode()).hexdigest()
