"""Copy a study without what speaks of a person or of one machine.

Redaction comes before everything else: table, contrasts and report are made from the copy, so that
they agree with it. What a run's id and a plan's digest are made from is never touched: a spec in
its file or in a record, and the runs of a plan.

Identities are found by their form, to take them out of a bundle and to check whether one holds any;
what is known of this very machine (its user, its name) is handed in as :class:`Known`.
"""

from __future__ import annotations

import getpass
import hashlib
import io
import json
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from wbcbench.bundle.document import Redaction
from wbcbench.core import run_folder, study_folder
from wbcbench.core.files import write_atomically

Kind = Literal[
    "path", "GPU UUID", "serial number", "user name", "host name", "address", "coordinate", "secret"
]

# Folders that every machine of a kind has: what lies in them says nothing of a person.
_SYSTEM = "bin|boot|dev|etc|lib|lib32|lib64|proc|run|sbin|sys|usr"
# A slash that begins a path: not part of a word, an address, a closing tag or another path.
_START = r"(?<![\w/.:<>~\\-])"
_PART = r"[^\s/\\\"'`<>|:;,()\[\]{}*?=]+"
PATH = re.compile(rf"{_START}/(?!(?:{_SYSTEM})(?:/|\b)){_PART}(?:/{_PART})+/?")
HOME = re.compile(rf"/(?:home|Users)/({_PART})")
# TensorFlow names devices and jobs like paths.
_NO_PATH = re.compile(r"/(?:job|replica|task|device|physical_device|GPU|CPU|cpu|gpu)\b")

UUID = re.compile(r"\b(GPU|MIG)-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")
SERIAL_KEYS = frozenset({"serial", "serial_number", "board_serial", "board_id"})
COORDINATE_KEYS = frozenset({"latitude", "longitude", "lat", "lon", "lng"})
COORDINATE = re.compile(r"(?i)\b(lat(?:itude)?|lon(?:gitude)?|lng)\b([^\w-]{1,4})-?\d{1,3}\.\d+")
AT_HOST = re.compile(r"\b(?!git@)([A-Za-z_][\w.+-]*)@([A-Za-z][\w-]*(?:\.[\w-]+)*)")
MAC = re.compile(r"(?i)\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b")
SECRETS = (
    re.compile(r"\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{20,})"),
    re.compile(r"\b(?:AKIA[0-9A-Z]{16}|xox[abprs]-[\w-]{10,}|sk-[A-Za-z0-9_-]{20,})"),
    re.compile(r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*KEY-----|$)"),
    re.compile(r"(?<=://)[^/\s:@\"']+:[^/\s@\"']+(?=@)"),
    re.compile(
        r"(?i)(?:password|passwd|secret|token|api_?key|kaggle_key)\"?\s*[=:]\s*\"?(?!<)[^\s\"',}]{6,}"
    ),
)

# Names that thousands share, or that would be taken for words.
_SHARED_NAMES = (
    "root user users ubuntu debian admin runner jovyan kaggle docker nobody app data home public "
    "shared test local localhost localdomain gpu cpu train adam host guest student"
)
COMMON_NAMES = frozenset(_SHARED_NAMES.split())
_LEAST_NAME = 3

Instead = Callable[[re.Match[str]], str]

# In JSON, words with none of these are values of this program's own, such as "adam".
_FREE_TEXT = re.compile("[ /@]")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"')

_NO_NUMBER = re.compile(r"[^0-9eE+.,;\n-]")
_UNTOUCHED = frozenset({run_folder.SPEC})
_SHORTEST_SERIAL = 6


@dataclass(frozen=True, slots=True)
class Known:
    """What is known to be private beyond its form.

    Attributes:
        folders: Folders of this machine, which may hold spaces.
        users: User names.
        hosts: Host names.
        serials: Serial numbers.
    """

    folders: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    serials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """One private thing in a text: its kind, itself, and what stands for it."""

    kind: Kind
    text: str
    instead: str


def find_private(text: str, known: Known, salt: str) -> Iterator[Found]:
    """Every private thing of a text, in the order in which they are replaced."""
    found: list[Found] = []
    replace_private(text, known, salt, found.append)
    yield from found


def replace_private(text: str, known: Known, salt: str, tell: Callable[[Found], None]) -> str:
    """The text with something else in the place of every private thing.

    Args:
        text: Any text.
        known: What is private though its form does not say so.
        salt: Makes the hashes of this bundle unlike those of others.
        tell: Is told of everything that was replaced.
    """
    for pattern, kind, instead in _rules(known, salt):
        text = _swapped(text, pattern, kind, instead, tell)
    return text


def users_and_hosts(text: str) -> tuple[set[str], set[str]]:
    """Names that the text itself gives away: owners of home folders, ``user@host``."""
    users = {match[1] for match in HOME.finditer(text)}
    hosts = set[str]()
    for match in AT_HOST.finditer(text):
        users.add(match[1])
        hosts.add(match[2])
    return _names_worth_hiding(users), _names_worth_hiding(hosts)


def _names_worth_hiding(names: Iterable[str]) -> set[str]:
    """Those that would tell something and are not taken for ordinary words."""
    return {n for n in names if len(n) >= _LEAST_NAME and n.lower() not in COMMON_NAMES}


def salted(value: str, salt: str) -> str:
    """Twelve hexadecimal digits that stand for a value."""
    return hashlib.sha256(f"{salt}:{value.lower()}".encode()).hexdigest()[:12]


@cache
def _rules(known: Known, salt: str) -> tuple[tuple[re.Pattern[str], Kind, Instead], ...]:
    return tuple(_every_rule(known, salt))


def _every_rule(known: Known, salt: str) -> Iterator[tuple[re.Pattern[str], Kind, Instead]]:
    for pattern in SECRETS:
        yield pattern, "secret", lambda _: "<secret>"
    if known.folders:
        yield _any_of(known.folders, _START, rf"(?:/{_PART})*/?"), "path", _short_path
    yield PATH, "path", _short_path
    yield UUID, "GPU UUID", lambda match: f"{match[1]}-{salted(match[0], salt)}"
    if known.serials:
        yield _any_of(known.serials, r"\b", r"\b"), "serial number", lambda _: "<serial>"
    yield COORDINATE, "coordinate", lambda match: f"{match[1]}{match[2]}<coordinate>"
    yield MAC, "address", lambda _: "<address>"
    if known.users:
        yield _any_of(known.users, r"(?<![\w.-])", r"(?![\w-])"), "user name", lambda _: "<user>"
    if known.hosts:
        yield _any_of(known.hosts, r"(?<![\w.-])", r"(?![\w-])"), "host name", lambda _: "<host>"
    yield AT_HOST, "user name", lambda _: "<user>@<host>"


def _any_of(values: Iterable[str], before: str, after: str) -> re.Pattern[str]:
    longest_first = sorted(values, key=lambda value: (-len(value), value))
    return re.compile(f"{before}(?:{'|'.join(map(re.escape, longest_first))}){after}")


def _swapped(
    text: str,
    pattern: re.Pattern[str],
    kind: Kind,
    instead: Instead,
    tell: Callable[[Found], None],
) -> str:
    def swap(match: re.Match[str]) -> str:
        new = instead(match)
        if new != match[0]:
            tell(Found(kind, match[0], new))
        return new

    return pattern.sub(swap, text)


def _short_path(match: re.Match[str]) -> str:
    """The end of a path that names a file of a program, or its last part, and no more."""
    whole = match[0]
    if _NO_PATH.match(whole):
        return whole
    # Mostly a sentence's own full stop.
    tail = whole[len(whole.rstrip(".")) :]
    parts = [part for part in whole.rstrip("./").split("/") if part]
    for start in ("site-packages", "dist-packages", "wbcbench"):
        if start in parts[:-1]:
            return "<path>/" + "/".join(parts[parts.index(start) :]) + tail
    is_home = len(parts) == 2 and parts[0] in {"home", "Users"}
    return ("<path>" if is_home else f"<path>/{parts[-1]}") + tail


_SERIAL_FIELD = re.compile(rf'"(?:{"|".join(SERIAL_KEYS)})"\s*:\s*("(?:[^"\\]|\\.)*"|[^,\s}}]+)')
_COORDINATE_FIELD = re.compile(rf'"(?:{"|".join(COORDINATE_KEYS)})"\s*:\s*-?\d')


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
    _words: dict[str, str] = field(default_factory=dict)
    _columns: dict[str, str] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """A text without private things."""
        return replace_private(text, self.known, self.salt, self._tell)

    def column(self, text: str) -> str:
        """A table's column of words, joined; every run has the same images."""
        if text not in self._columns:
            self._columns[text] = self.text(text)
        return self._columns[text]

    def word(self, word: str) -> str:
        """A word of a JSON document; the same ones come again in every run."""
        if word not in self._words:
            # User and host names may be words, so they are looked for in free text alone.
            known = self.known if _FREE_TEXT.search(word) else Known(serials=self.known.serials)
            self._words[word] = replace_private(word, known, self.salt, self._tell)
        return self._words[word]

    def value(self, value: Any, key: str = "") -> Any:
        """A JSON value without private things; a ``spec`` inside is left as it is."""
        if isinstance(value, Mapping):
            return {self.word(k): v if k == "spec" else self.value(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self.value(item, key) for item in value]
        if key in SERIAL_KEYS and value not in (None, ""):
            return self._instead("serial number", str(value), "<serial>")
        if key in COORDINATE_KEYS and isinstance(value, int | float):
            return self._instead("coordinate", str(value), None)
        return self.word(value) if isinstance(value, str) else value

    def report(self, kept: Sequence[str]) -> Redaction:
        """What was taken out."""
        counts = {kind: len(found) for kind, found in sorted(self.seen.items())}
        return Redaction(applied=True, counts=counts, kept=tuple(kept))

    def _instead(self, kind: Kind, text: str, instead: Any) -> Any:
        self._tell(Found(kind, text, str(instead)))
        return instead

    def _tell(self, found: Found) -> None:
        self.seen.setdefault(found.kind, set()).add(found.text)


def make_redactor(folders: Sequence[Path]) -> Redactor:
    """The redactor for these study folders, after a look at what they give away."""
    users, hosts = {getpass.getuser(), Path.home().name}, {platform.node()}
    hosts.add(platform.node().split(".", maxsplit=1)[0])
    serials = set[str]()
    for path in _texts(folders):
        text = path.read_text(encoding="utf-8", errors="replace")
        more_users, more_hosts = users_and_hosts(text)
        users |= more_users
        hosts |= more_hosts
        if _SERIAL_FIELD.search(text) and path.suffix == ".json":
            serials |= set(_serials(_parsed(text)))
    known = Known(
        folders=_folders(),
        users=tuple(sorted(_names_worth_hiding(users))),
        hosts=tuple(sorted(_names_worth_hiding(hosts))),
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
    write_atomically(path, (by.text(text) if by else text).encode())


def _redacted(source: Path, data: bytes, by: Redactor) -> bytes:
    """The same bytes where nothing was private."""
    if source.suffix == ".parquet":
        return _parquet(data, by)
    text = data.decode("utf-8", errors="replace")
    if source.match(study_folder.PLANS):
        new = _plan(text, by)
    elif source.suffix == ".json":
        new = _document(text, by)
    elif source.suffix == ".jsonl":
        new = "\n".join(_document(line, by) for line in text.split("\n"))
    elif source.suffix == ".csv":
        new = _readings(text, by)
    else:
        new = by.text(text)
    return data if new == text else new.encode()


def _readings(text: str, by: Redactor) -> str:
    """A table of numbers under one line of names, as traces are: numbers name nobody."""
    names, line, numbers = text.partition("\n")
    if _NO_NUMBER.search(numbers):
        return by.text(text)
    return by.text(names) + line + numbers


def _plan(text: str, by: Redactor) -> str:
    """Only the sentence for people is looked at: of the rest the digest is made."""
    value = json.loads(text)
    about = by.text(value["plan"]["about"])
    if about == value["plan"]["about"]:
        return text
    return _canonical({**value, "plan": {**value["plan"], "about": about}})


def _document(text: str, by: Redactor) -> str:
    """A JSON document: word by word where that will do, which is quick and keeps its form.

    A line torn by a kill is treated as plain text.
    """
    value = _parsed(text)
    if value is None:
        return by.text(text)
    if _COORDINATE_FIELD.search(text) or any(
        not _is_known(v, by) for v in _SERIAL_FIELD.findall(text)
    ):
        return _canonical(by.value(value))
    changed = _changed_words(text, by)
    spec = value.get("spec") if isinstance(value, dict) else None
    if any(token in json.dumps(spec) for token in changed):
        return _canonical(by.value(value))
    return _TOKEN.sub(lambda found: changed.get(found[0], found[0]), text) if changed else text


def _changed_words(text: str, by: Redactor) -> dict[str, str]:
    """Every word of a JSON text that holds something private → what stands in its place."""
    changed = {}
    for token in set(_TOKEN.findall(text)):
        word = str(json.loads(token))
        new = by.word(word)
        if new != word:
            changed[token] = json.dumps(new, ensure_ascii=False)
    return changed


def _is_known(token: str, by: Redactor) -> bool:
    """Whether a serial number is found wherever it stands, or is none."""
    return token in {"null", '""'} or token.strip('"') in by.known.serials


def _canonical(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _parquet(data: bytes, by: Redactor) -> bytes:
    """Every word of every text column; the same bytes where none was private."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data))
    changed = False
    for i, column in enumerate(table.schema):
        words = table.column(i).unique().to_pylist() if pa.types.is_string(column.type) else []
        together = "\n".join(word for word in words if word)
        if by.column(together) != together:
            changed = True
            instead = {word: by.text(word) for word in words if word}
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
    elif key in SERIAL_KEYS and len(str(value)) >= _SHORTEST_SERIAL:
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
    runs = sorted(
        path.parent.name for folder in folders for path in folder.glob(f"*/{run_folder.SPEC}")
    )
    return hashlib.sha256("\n".join(["wbcbench-bundle-1", *runs]).encode()).hexdigest()
