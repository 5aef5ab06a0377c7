"""Copy a study without what identifies a person or a machine.

Redaction comes first: table, contrasts and report are made from the copy, so that they agree with
it. What a run's id and a plan's digest are made from is never changed: a spec in its file or in a
record, and the runs of a plan.

Identities are recognised by their form; the user, name and folders of this machine are passed as
:class:`Known`.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import io
import json
import platform
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from wbcbench.bundle.document import Redaction
from wbcbench.core import run_folder, study_folder
from wbcbench.core.errors import UsageError
from wbcbench.core.files import write_atomically
from wbcbench.core.messages import parse_lines
from wbcbench.core.strict_json import parse_json

Kind = Literal[
    "path", "GPU UUID", "serial number", "user name", "host name", "address", "coordinate", "secret"
]

# Folders that every machine has: their files do not identify a person.
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
NODE_KEY = "node"  # of a job: the engine's name of a machine, by which runs are told apart
COORDINATE_KEYS = frozenset({"latitude", "longitude", "lat", "lon", "lng"})
COORDINATE = re.compile(r"(?i)\b(lat(?:itude)?|lon(?:gitude)?|lng)\b([^\w-]{1,4})-?\d{1,3}\.\d+")
AT_HOST = re.compile(r"\b(?!git@)([A-Za-z_][\w.+-]*)@([A-Za-z][\w-]*(?:\.[\w-]+)*)")
OWN_NET = re.compile(r"\b[\w-]{1,63}\.(?:local|lan|internal|localdomain)\b")
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

# What ``verify`` lets no text hold: it is replaced after everything else, also where it only looks
# like a secret, as `threading.local` looks like a machine.
IDENTITIES: Mapping[str, tuple[Kind, str]] = {
    "a home folder": ("path", "<path>"),
    "an address of a machine": ("address", "<address>"),
    "the name of a machine": ("host name", "<host>"),
    "a place": ("coordinate", "<coordinate>"),
}
# Each begins with what few texts hold, never with a repetition: a line of 30 MB is read once.
LEAKS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(rule)
    for name, rule in {
        "a private key": r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----",
        "an access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        "a token": r"\b(?:ghp_|gho_|github_pat_|glpat-|hf_|xox[abpr]-|sk-|npm_|pypi-)[\w-]{20,}",
        "a password": r"(?i)\b(?:password|passwd|api[_-]?key|secret|token)\b[\"']?\s*[=:]\s*[\"']?"
        r"(?!null\b|none\b|true\b|false\b|<)[^\s\"',;]{8,}",
        "a password in an address": r"://(?<=[a-z0-9+.-]://)[^\s/@:]+:[^\s/@]+@",
        "a home folder": r"(?:/home/|/Users/)[\w.-]+|/root/[\w.-]|[A-Za-z]:\\\\?Users\\\\?[\w.-]+",
        "an address of a machine": r"\b(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01]))"
        r"\.\d{1,3}\.\d{1,3}\b",
        "the name of a machine": r"@(?<=\w@)[\w-]+:"
        r"|\.(?<=\w\.)(?:local|lan|internal|localdomain)\b",
        "a place": r"(?i)\"?\b(?:latitude|longitude|lat|lon)\b\"?\s*[=:]\s*-?\d{1,3}\.\d{2,}",
    }.items()
}

# Names that many share, or that would be taken for words.
_SHARED_NAMES = (
    "root user users ubuntu debian admin runner jovyan kaggle docker nobody app data home public "
    "shared test local localhost localdomain gpu cpu train adam host guest student "
    # and words of the files themselves, which would no longer be read
    "spec record began channels traces marks telemetry predictions attached epochs log nvml rapl "
    "amd codecarbon simulated wall system counter power package dram psys ram epoch loss accuracy"
)
COMMON_NAMES = frozenset(_SHARED_NAMES.split())
_LEAST_NAME = 3

OnReplace = Callable[[Kind, str], None]
"""Called with the kind and the value of each replacement."""

# In JSON, words with none of these are wbcbench's own values, such as "adam".
_FREE_TEXT = re.compile("[ /@]")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"')

_SERIAL_FIELD = re.compile(rf'"(?:{"|".join(SERIAL_KEYS)})"\s*:\s*("(?:[^"\\]|\\.)*"|[^,\s}}]+)')
_COORDINATE_FIELD = re.compile(rf'"(?:{"|".join(COORDINATE_KEYS)})"\s*:\s*-?\d')
_NO_NUMBER = re.compile(r"[^0-9eE+.,;\n-]")
_NODE_FIELD = re.compile(rf'"{NODE_KEY}"\s*:\s*"([\w.-]+)"')
_HASHED_NODE = re.compile("node-[0-9a-f]{12}")
_SHORTEST_SERIAL = 6


@dataclass(frozen=True, slots=True)
class Known:
    """Private values that are not recognised by their form.

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
class _Replacement:
    """What to replace, its kind, and the placeholder for a match."""

    pattern: re.Pattern[str]
    kind: Kind
    placeholder: Callable[[re.Match[str]], str]

    def apply(self, text: str, report: OnReplace) -> str:
        def replace(match: re.Match[str]) -> str:
            new = self.placeholder(match)
            if new != match[0]:
                report(self.kind, match[0])
            return new

        return self.pattern.sub(replace, text)


def replace_private(text: str, known: Known, salt: str, report: OnReplace) -> str:
    """The text with a placeholder for every private value.

    Args:
        text: Any text.
        known: Private values that have no form of their own.
        salt: Makes the hashes of this bundle unlike those of others.
        report: Called with the kind and the value of each replacement.
    """
    before = None
    while text != before:  # a placeholder ends the word before it, which may now be one
        before = text
        for rule in _load_rules(known, salt):
            text = rule.apply(text, report)
    return text


def find_names(text: str) -> tuple[set[str], set[str]]:
    """Users and hosts that the text itself names: owners of home folders, ``user@host``."""
    addresses = list(AT_HOST.finditer(text))
    users = {match[1] for match in (*HOME.finditer(text), *addresses)}
    return set(_select_names(users)), set(_select_names(match[2] for match in addresses))


def _select_names(names: Iterable[str]) -> tuple[str, ...]:
    """Those that identify somebody and are not taken for ordinary words, sorted."""
    chosen = {n for n in names if len(n) >= _LEAST_NAME and n.lower() not in COMMON_NAMES}
    return tuple(sorted(chosen))


def hash_salted(value: str, salt: str) -> str:
    """Twelve hexadecimal digits that stand for a value."""
    return hashlib.sha256(f"{salt}:{value.lower()}".encode()).hexdigest()[:12]


@cache
def _load_rules(known: Known, salt: str) -> tuple[_Replacement, ...]:
    users, hosts, serials = map(_match_any, (known.users, known.hosts, known.serials))
    folders = _match_any(known.folders, _START, rf"(?:/{_PART})*/?")
    return (
        *(_Replacement(pattern, "secret", _always("<secret>")) for pattern in SECRETS),
        _Replacement(folders, "path", _shorten_path),
        _Replacement(PATH, "path", _shorten_path),
        _Replacement(UUID, "GPU UUID", lambda match: f"{match[1]}-{hash_salted(match[0], salt)}"),
        _Replacement(serials, "serial number", _always("<serial>")),
        _Replacement(COORDINATE, "coordinate", lambda match: f"{match[1]}{match[2]}<coordinate>"),
        _Replacement(MAC, "address", _always("<address>")),
        _Replacement(users, "user name", _always("<user>")),
        _Replacement(hosts, "host name", _always("<host>")),
        _Replacement(OWN_NET, "host name", _always("<host>")),
        _Replacement(AT_HOST, "user name", _always("<user>@<host>")),
        *(
            _Replacement(rule, kind, _always(placeholder))
            for name, rule in LEAKS.items()
            for kind, placeholder in [IDENTITIES.get(name, ("secret", "<secret>"))]
        ),
    )


def _always(placeholder: str) -> Callable[[re.Match[str]], str]:
    return lambda _: placeholder


def _match_any(
    values: Iterable[str], before: str = r"(?<![\w.-])", after: str = r"(?![\w-])"
) -> re.Pattern[str]:
    """A pattern of these values; without values it matches nothing."""
    longest_first = sorted(values, key=lambda value: (-len(value), value))
    return re.compile(f"{before}(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'}){after}")


def _shorten_path(match: re.Match[str]) -> str:
    """The end of a path that names a file of a program, or its last part, and no more."""
    path = match[0]
    if _NO_PATH.match(path):
        return path
    # Mostly a sentence's own full stop.
    tail = path[len(path.rstrip(".")) :]
    parts = [part for part in path.rstrip("./").split("/") if part]
    for start in ("site-packages", "dist-packages", "wbcbench"):
        if start in parts[:-1]:
            return "<path>/" + "/".join(parts[parts.index(start) :]) + tail
    is_home = len(parts) == 2 and parts[0] in {"home", "Users"}
    return ("<path>" if is_home else f"<path>/{parts[-1]}") + tail


@dataclass
class Redactor:
    """Replaces private values, and records what it replaced.

    Attributes:
        known: What is private beyond its form.
        salt: For hashes; the same study has the same one, so that a bundle made again is equal.
        replaced: Kind → the different values that were replaced.
    """

    known: Known
    salt: str
    replaced: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _words: dict[str, str] = field(default_factory=dict)

    def replace_in_text(self, text: str) -> str:
        """A text without private values."""
        return replace_private(text, self.known, self.salt, self._add)

    def replace_in_word(self, word: str) -> str:
        """A word of a JSON document or a cell of a table; the same ones recur in every run."""
        if word not in self._words:
            # User and host names may be words, so they are replaced in free text only.
            known = self.known if _FREE_TEXT.search(word) else Known(serials=self.known.serials)
            self._words[word] = replace_private(word, known, self.salt, self._add)
        return self._words[word]

    def replace_in_value(self, value: Any, key: str = "") -> Any:
        """A JSON value without private values; a ``spec`` inside is left as it is."""
        if isinstance(value, Mapping):
            return {
                self.replace_in_word(k): v if k == "spec" else self.replace_in_value(v, k)
                for k, v in value.items()
            }
        if isinstance(value, list):
            return [self.replace_in_value(item, key) for item in value]
        if key in SERIAL_KEYS and value not in (None, ""):
            self._add("serial number", str(value))
            return "<serial>"
        if key in COORDINATE_KEYS and isinstance(value, int | float):
            self._add("coordinate", str(value))
            return None
        if key == NODE_KEY and isinstance(value, str):
            if not _HASHED_NODE.fullmatch(value):
                self._add("host name", value)
                value = f"node-{hash_salted(value, self.salt)}"
            return value
        return self.replace_in_word(value) if isinstance(value, str) else value

    def summary(self, retained: Sequence[str]) -> Redaction:
        """What was replaced, by kind."""
        counts = {kind: len(values) for kind, values in sorted(self.replaced.items())}
        return Redaction(applied=True, counts=counts, retained=tuple(retained))

    def _add(self, kind: Kind, value: str) -> None:
        self.replaced[kind].add(value)


def make_redactor(folders: Sequence[Path]) -> Redactor:
    """The redactor for these study folders, with the names that they reveal."""
    host = platform.node()
    users, hosts = {getpass.getuser(), Path.home().name}, {host, host.split(".", maxsplit=1)[0]}
    serials = set[str]()
    # Files in which somebody may be named; traces hold only numbers.
    patterns = ("*/*.json", "*/*.jsonl", "*/*.txt")
    for path in (path for folder in folders for p in patterns for path in folder.glob(p)):
        text = path.read_text(encoding="utf-8", errors="replace")
        more_users, more_hosts = find_names(text)
        users |= more_users
        hosts |= more_hosts | set(_find_nodes(text))
        if _SERIAL_FIELD.search(text) and path.suffix == ".json":
            serials |= set(_find_serials(_parse_json(text)))
    known = Known(
        # This machine's own folders may hold spaces; the root folder is not private.
        folders=tuple(sorted(p for p in {str(Path.home()), str(Path.cwd())} if p.count("/") > 1)),
        users=_select_names(users),
        hosts=_select_names(hosts),
        serials=tuple(sorted(serials)),
    )
    specs = (path for folder in folders for path in folder.glob(f"*/{run_folder.SPEC}"))
    seed = "\n".join(["wbcbench-bundle-1", *sorted(path.parent.name for path in specs)])
    return Redactor(known, hashlib.sha256(seed.encode()).hexdigest())


def _find_nodes(text: str) -> Iterator[str]:
    """Nodes of a cluster that the text of a JSON file names in clear."""
    return (name for name in _NODE_FIELD.findall(text) if not _HASHED_NODE.fullmatch(name))


def _find_serials(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _find_serials(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _find_serials(item, key)
    elif key in SERIAL_KEYS and len(str(value)) >= _SHORTEST_SERIAL:
        yield str(value)


def copy_file(source: Path, folder: Path, name: str, redactor: Redactor | None) -> None:
    """Copy one file of a study to ``name`` in a folder, without private values.

    A plan is copied without what its author says of the submission: the documents have it.

    Raises:
        OSError: It cannot be read, or the target cannot be written.
    """
    data = _repair_text(source.suffix, source.read_bytes())
    if source.match(study_folder.PLANS):
        data = _drop_submission(data)
    if redactor is not None:
        path = PurePosixPath(name)  # a board's log is named after the board
        name = str(path.with_name(redactor.replace_in_text(path.stem) + path.suffix))
        if source.name != run_folder.SPEC:
            data = _redact_file(source, data, redactor)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def _repair_text(suffix: str, data: bytes) -> bytes:
    """A text that every reader takes: what a kill tore or a library garbled is left out.

    The record was made without it, for whoever reads a run leaves it out, too.
    """
    if suffix == ".jsonl":
        return b"".join(
            line + b"\n" if _is_strict(line) else json.dumps(message).encode() + b"\n"
            for line in data.split(b"\n")
            for message in parse_lines([line])
        )
    if suffix in {".txt", ".csv"}:
        return data.decode("utf-8", errors="replace").replace("\0", "\ufffd").encode()
    return data


def _drop_submission(data: bytes) -> bytes:
    """A plan without what says who submits it, and on whose account it ran."""
    document = json.loads(data)
    plan = document["plan"]
    if not (plan.get("submission") or "cluster" in plan):
        return data
    kept = {name: value for name, value in plan.items() if name != "cluster"}
    return _format_json({**document, "plan": {**kept, "submission": {}}}).encode()


def _is_strict(line: bytes) -> bool:
    with contextlib.suppress(ValueError):
        return bool(parse_json(line))
    return False


def write_text(path: Path, text: str, redactor: Redactor | None) -> None:
    """Write a text without private values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (redactor.replace_in_text(text) if redactor else text).encode())


def _redact_file(source: Path, data: bytes, redactor: Redactor) -> bytes:
    """The same bytes where nothing was private."""
    if source.suffix == ".parquet":
        try:
            return _redact_parquet(data, redactor)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"{source} is damaged: {reason}. Restore it from a copy.") from error
    text = data.decode("utf-8", errors="replace")
    if source.match(study_folder.PLANS):
        new = _redact_plan(text, redactor)
    elif source.name == study_folder.DELETED_RUNS:  # each entry has a spec
        new = _format_json(redactor.replace_in_value(json.loads(text)))
    elif source.suffix == ".json":
        new = _redact_json(text, redactor)
    elif source.suffix == ".jsonl":
        new = "\n".join(_redact_json(line, redactor) for line in text.split("\n"))
    elif source.suffix == ".csv":
        # Traces are numbers under one line of names, and numbers identify nobody.
        names, line_end, rows = text.partition("\n")
        if _NO_NUMBER.search(rows):
            names, line_end, rows = text, "", ""
        new = redactor.replace_in_text(names) + line_end + rows
    else:
        new = redactor.replace_in_text(text)
    return data if new == text else new.encode()


def _redact_plan(text: str, redactor: Redactor) -> str:
    """Only what the digest is not made from: the description."""
    document = json.loads(text)
    plan = document["plan"]
    new = {**plan, "about": redactor.replace_in_text(plan["about"])}
    return text if new == plan else _format_json({**document, "plan": new})


def _redact_json(text: str, redactor: Redactor) -> str:
    """A JSON document: word by word where possible, which is quick and keeps its form.

    A line torn by a kill is treated as plain text.
    """
    value = _parse_json(text)
    if value is None:
        return redactor.replace_in_text(text)
    changed = {}
    for token in set(_TOKEN.findall(text)):
        word = str(json.loads(token))
        if (new := redactor.replace_in_word(word)) != word:
            changed[token] = json.dumps(new, ensure_ascii=False)
    spec = json.dumps(value.get("spec") if isinstance(value, dict) else None)
    # Serial numbers are replaced wherever they occur, but for those that are not known as such.
    known_serials = {"null", '""', *(f'"{serial}"' for serial in redactor.known.serials)}
    is_field = _COORDINATE_FIELD.search(text) or set(_SERIAL_FIELD.findall(text)) - known_serials
    if is_field or any(_find_nodes(text)) or any(token in spec for token in changed):
        return _format_json(redactor.replace_in_value(value))
    return _TOKEN.sub(lambda match: changed.get(match[0], match[0]), text) if changed else text


def _format_json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _redact_parquet(data: bytes, redactor: Redactor) -> bytes:
    """Every word of every text column; the same bytes where none was private."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = unchanged = pq.read_table(io.BytesIO(data))
    for i, column in enumerate(table.schema):
        if pa.types.is_string(column.type):
            words = table.column(i).unique().to_pylist()
            new = {word: word and redactor.replace_in_word(word) for word in words}
            if any(new[word] != word for word in words):
                cells = [new[cell] for cell in table.column(i).to_pylist()]
                table = table.set_column(i, column, pa.array(cells, column.type))
    if table is unchanged:
        return data
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", version="2.6")
    return out.getvalue()
