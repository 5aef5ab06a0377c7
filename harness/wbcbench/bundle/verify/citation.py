"""Citation usable: CITATION.cff has version, message, title and authors."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wbcbench.bundle import layout
from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle

_NEEDED = ("cff-version", "message", "title", "authors")
_KEY = re.compile(r"^\"?([A-Za-z][\w-]*)\"?\s*:(.*)$")


def check(bundle: Bundle) -> Outcome:
    """Look for the keys that Citation File Format 1.2 asks for, and for the bundle's authors."""
    text = bundle.read(layout.CITATION).decode("utf-8")
    return outcome(
        "CITATION.cff names title and authors.", [], [*_missing(text), *_others(bundle, text)]
    )


def _missing(text: str) -> Iterator[str]:
    found = {hit[1]: hit[2].strip() for line in text.splitlines() if (hit := _KEY.match(line))}
    for key in _NEEDED:
        if key not in found or (not found[key] and key != "authors"):
            yield f"CITATION.cff has no {key}."


def _others(bundle: Bundle, text: str) -> Iterator[str]:
    for author in bundle.document.authors:
        family = author.name.split()[-1] if author.name.split() else ""
        if family and family not in text:
            yield f"CITATION.cff does not name {author.name}, an author of the bundle."
