"""What in a text speaks of a person or of one machine: found by its form, and what stands for it.

Used twice: to take such things out of a bundle, and to look whether one holds any. Pure; what is
known of this very machine (its user, its name) is handed in as :class:`Known`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

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


def find(text: str, known: Known, salt: str) -> Iterator[Found]:
    """Every private thing of a text, in the order in which they are replaced."""
    found: list[Found] = []
    replaced(text, known, salt, found.append)
    yield from found


def replaced(text: str, known: Known, salt: str, tell: Callable[[Found], None]) -> str:
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
    return names_worth_hiding(users), names_worth_hiding(hosts)


def names_worth_hiding(names: Iterable[str]) -> set[str]:
    """Those that would tell something and are not taken for ordinary words."""
    return {n for n in names if len(n) >= _LEAST_NAME and n.lower() not in COMMON_NAMES}


def salted(value: str, salt: str) -> str:
    """Twelve hexadecimal digits that stand for a value."""
    return hashlib.sha256(f"{salt}:{value.lower()}".encode()).hexdigest()[:12]


Instead = Callable[[re.Match[str]], str]


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
