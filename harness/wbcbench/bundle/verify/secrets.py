"""Secrets left out: no key, token, home folder, host, address or place in any text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

from wbcbench.bundle import layout
from wbcbench.bundle.names import shown
from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle

_KINDS = {
    "a private key": r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----",
    "an access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a token": r"\b(?:ghp_|gho_|github_pat_|glpat-|hf_|xox[abpr]-|sk-|npm_|pypi-)[\w-]{20,}",
    "a password": r"(?i)\b(?:password|passwd|api[_-]?key|secret|token)\b[\"']?\s*[=:]\s*[\"']?"
    r"(?!null\b|none\b|true\b|false\b|<)[^\s\"',;]{8,}",
    "a password in an address": r"\b[a-z][a-z0-9+.-]{1,10}://[^\s/@:]+:[^\s/@]+@",
    "a home folder": r"(?:/home/|/Users/)[\w.-]+|/root/[\w.-]|[A-Za-z]:\\\\?Users\\\\?[\w.-]+",
    "an address of a machine": r"\b(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01]))"
    r"\.\d{1,3}\.\d{1,3}\b",
    "the name of a machine": r"\b[\w-]+@[\w-]+:|\b[\w-]+\.(?:local|lan|internal|localdomain)\b",
    "a place": r"(?i)\"?\b(?:latitude|longitude|lat|lon)\b\"?\s*[=:]\s*-?\d{1,3}\.\d{2,}",
}
_RULES = tuple((kind, re.compile(rule)) for kind, rule in _KINDS.items())
_TEXTS = frozenset(
    (
        ".json", ".jsonl", ".csv", ".md", ".txt", ".cff", ".html", ".svg", ".tex", ".toml",
        ".log", ".diff",
    )
)  # fmt: skip
_NUMBERS_ALONE = ("trace", "telemetry", "attached")


def check(bundle: Bundle) -> Outcome:
    """Search every text but the source, which is the project's and public."""
    errors = list[str]()
    searched = [name for name in bundle.names() if _is_text(PurePosixPath(name))]
    for name in searched:
        digest = bundle.digests[f"{layout.PAYLOAD}/{name}"]
        errors += (f"{shown(name)} {said}" for said in _found(bundle.data / name, digest))
    said = (
        "" if bundle.document.redaction.applied else " The bundle says that nothing was taken out."
    )
    warnings = [said.strip()] if said else []
    return outcome(f"Nothing found in {len(searched)} texts.", errors, warnings)


def _is_text(path: PurePosixPath) -> bool:
    return path.suffix in _TEXTS and path.parent.name not in _NUMBERS_ALONE


@lru_cache(maxsize=8192)
def _found(path: Path, digest: str) -> tuple[str, ...]:
    return tuple(_search(path.read_text(encoding="utf-8")))


def _search(text: str) -> Iterator[str]:
    """What was found is told by kind and line, not repeated."""
    for kind, rule in _RULES:
        hit = rule.search(text)
        if hit:
            yield f"holds {kind} (line {text.count(chr(10), 0, hit.start()) + 1})."
