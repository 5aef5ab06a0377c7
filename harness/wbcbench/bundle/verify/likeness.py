"""Whether a file of a bundle is the one that its evidence gives, whoever made it.

Equal bytes are equal. Else numbers may differ by one part in 10⁹, as between processors, and every
word must be the same. Only how a page or a drawing looks may depend on what drew it.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import zip_longest
from pathlib import PurePosixPath

from pydantic import JsonValue

from wbcbench.bundle.bounds import quote
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core.strict_json import parse_json
from wbcbench.study.statement import find_answer_problem

_INVISIBLE = 0.02  # of a drawing's coordinates, in points
_ROUNDED = 16  # characters of two numbers that were rounded for a reader
_SHORT = 60

_NUMBER = re.compile(r"((?<![\w.])[-+]?\d{1,30}(?:\.\d{1,30})?(?:[eE][-+]?\d{1,3})?(?!\w))")
_COORDINATES = re.compile(r'(\s(?:x|y|x1|y1|x2|y2|cx|cy|width|height|d|points|viewBox)="[^"<>]*")')
_NAME = re.compile(r'\sid="([^"<>]*)"')
_REFERENCE = re.compile(r'(\sid="|href="#|url\(#)([^"<>)]*)')
_SPOKEN = frozenset(
    ("alt", "aria-label", "title", "content", "placeholder", "value", "label", "href", "src")
)

ANSWER = re.compile(r"(?<!\\)\[author(?:: [^\]]*)?\]")
"""What stands in a document where only its author knows the answer; values are escaped there."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference of a file.

    Attributes:
        text: What is there, and what should be.
        only_look: Whether every word and number is the same, and only the look may differ.
    """

    text: str
    only_look: bool = False


def compare_files(bundle: Bundle, expected: Mapping[str, bytes]) -> tuple[list[str], list[str]]:
    """What is wrong with files that are made again, and those of which only the look differs."""
    errors, looks = list[str](), list[str]()
    for name, data in sorted(expected.items()):
        if not bundle.has(name):
            errors.append(f"{name} is missing.")
        elif difference := find_difference(name, bundle.read(name), data):
            is_look = difference.only_look and bundle.version_differences
            (looks if is_look else errors).append(f"{name}: {difference.text}.")
    return errors, looks


def find_difference(name: str, stated: bytes, expected: bytes) -> Difference | None:
    """Compare two files of one name, which says how they are read; ``None`` if they say the same.

    Args:
        name: Of the file.
        stated: As it is in the bundle.
        expected: As the evidence gives it.
    """
    if stated == expected:
        return None
    suffix = PurePosixPath(name).suffix
    if suffix == ".pdf":
        return Difference("its bytes differ", only_look=True)
    if suffix == ".json":
        text = next(find_differences(parse_json(stated), parse_json(expected)), None)
        return Difference(text) if text else None
    old, new = stated.decode("utf-8"), expected.decode("utf-8")
    if suffix == ".csv":
        text = next(_compare_tables(old, new), None)
        return Difference(text) if text else None
    return _compare_pages(old, new) if suffix in {".html", ".svg"} else _compare_texts(old, new)


def find_differences(stated: JsonValue, expected: JsonValue, path: str = "") -> Iterator[str]:
    """Where two plain values differ; numbers by more than one part in 10⁹."""
    if isinstance(stated, dict) and isinstance(expected, dict):
        for name in sorted(stated.keys() | expected.keys()):
            inner = f"{path}.{name}" if path else name
            if name not in expected:
                yield f"{quote(inner)} does not belong there"
            elif name not in stated:
                yield f"{inner} is missing"
            else:
                yield from find_differences(stated[name], expected[name], inner)
    elif isinstance(stated, list) and isinstance(expected, list) and len(stated) == len(expected):
        for i, (old, new) in enumerate(zip(stated, expected, strict=True)):
            yield from find_differences(old, new, f"{path}[{i}]")
    elif not _is_equal(stated, expected):
        old_text, new_text = (
            text if len(text) <= 60 else f"{text[:57]}…"
            for text in (json.dumps(value, ensure_ascii=False) for value in (stated, expected))
        )
        yield f"{path}: {old_text}, but the files give {new_text}"


def _is_equal(stated: JsonValue, expected: JsonValue) -> bool:
    if float in {type(stated), type(expected)} <= {int, float}:
        return is_close(float(str(stated)), float(str(expected)))
    return type(stated) is type(expected) and stated == expected


def is_close(stated: float, expected: float) -> bool:
    """Whether two numbers are equal to one part in 10⁹, or both to zero as far as one can tell."""
    return math.isclose(stated, expected, rel_tol=1e-9, abs_tol=1e-12)


def find_answers(stated: str, expected: str, places: int) -> Difference | list[str]:
    """Compare a document with the one that the evidence gives.

    Args:
        stated: As the bundle has it.
        expected: As the evidence gives it.
        places: How many of its parts are its author's; none is made by a name that looks like one.

    Returns:
        What its author put in the places that are the author's, one line each; or the first
        difference anywhere else.
    """
    first, *parts = ANSWER.split(expected) if places else [expected]
    if len(parts) != places:
        return Difference("a name or a title in it looks like a place for an answer")
    if not stated.startswith(first) or (not parts and stated != first):
        return _compare_texts(stated, expected) or Difference("it differs in white space")
    answers, at = list[str](), len(first)
    for part in parts:
        end = len(stated) - len(part) if part is parts[-1] else stated.find(part, at)
        answer = stated[at : max(end, at)].replace("\\|", "|")  # as `make_documents` escapes it
        if find_answer_problem(answer) or not stated.startswith(part, end):
            return Difference(
                f"{_shorten(stated[at:])} is neither its text nor an answer: one line without "
                "< > ` or links"
            )
        if not ANSWER.fullmatch(answer):
            answers.append(answer)
        at = end + len(part)
    return answers


def _compare_tables(stated: str, expected: str) -> Iterator[str]:
    """Cell by cell; neither has a row or a column that the other lacks."""
    if ("\r" in stated) != ("\r" in expected):
        yield "its lines end in another way"
        return
    (head, *old_rows), (new_head, *new_rows) = (
        list(csv.reader(io.StringIO(text, newline=""), strict=True)) or [[]]
        for text in (stated, expected)
    )
    if head != new_head:
        added = [quote(name) for name in head if name not in new_head]
        missing = [name for name in new_head if name not in head]
        yield (
            f"the column {added[0]} does not follow from the records"
            if added
            else f"it has no column {missing[0]}"
            if missing
            else "its columns are in another order, or one stands twice"
        )
        return
    for number, (old, new) in enumerate(zip_longest(old_rows, new_rows), start=1):
        if old is None:
            yield f"row {number} ({_shorten(', '.join(new))}) is missing"
            return
        if new is None or len(old) != len(head):
            yield f"row {number} ({_shorten(', '.join(old))}) does not follow from the records"
            return
        for column, old_cell, new_cell in zip(head, old, new, strict=True):
            if not _is_equal_cell(old_cell, new_cell):
                there, given = _shorten(old_cell), _shorten(new_cell)
                row = f"row {number} ({_shorten(old[0])})"
                yield f"{row}: {column} = {there}; the records give {given}"


def _is_equal_cell(stated: str, expected: str, invisible: float = 0.0) -> bool:
    """Whether two cells are the same text or, to one part in 10⁹, the same number."""
    if stated == expected:
        return True
    if not (_NUMBER.fullmatch(stated) and _NUMBER.fullmatch(expected)):
        return False
    old, new = float(stated), float(expected)
    if invisible and abs(old - new) <= invisible:
        return True
    # What is rounded, or counts, is the same on every processor.
    both = stated + expected
    is_unrounded = "e" in both or ("." in both and len(both) > _ROUNDED)
    return is_unrounded and is_close(old, new)


def _compare_texts(stated: str, expected: str, invisible: float = 0.0) -> Difference | None:
    """Every word, and numbers within a tolerance."""
    position = 0
    for old, new in zip_longest(_NUMBER.split(stated), _NUMBER.split(expected), fillvalue=""):
        if not _is_equal_cell(old, new, invisible):
            pairs = enumerate(zip(old, new, strict=False))
            same = next((i for i, (one, other) in pairs if one != other), min(len(old), len(new)))
            line = stated.count("\n", 0, position + same) + 1
            there, should_be = _shorten(stated[position + same :]), _shorten(new[same:])
            return Difference(f"line {line} has {there} instead of {should_be}")
        position += len(old)
    return None


def _compare_pages(stated: str, expected: str) -> Difference | None:
    """Everything but what nobody sees of its drawings; else what a reader sees and hears of it."""
    pairs = list(zip_longest(_split_drawings(stated), _split_drawings(expected), fillvalue=""))
    if all(
        _is_same_drawing(old, new)
        if old.startswith("<svg") and new.startswith("<svg")
        else _compare_texts(old, new) is None
        for old, new in pairs
    ):
        return None
    seen, should_be = ("\n".join(_read_page(page)) for page in (stated, expected))
    return _compare_texts(seen, should_be) or Difference("its markup differs", only_look=True)


def _split_drawings(page: str) -> list[str]:
    """A page in parts, its drawings by themselves."""
    parts, at = list[str](), 0
    while (start := page.find("<svg", at)) >= 0 and (end := page.find("</svg>", start)) >= 0:
        parts += [page[at:start], page[start : end + len("</svg>")]]
        at = end + len("</svg>")
    return [*parts, page[at:]]


def _is_same_drawing(stated: str, expected: str) -> bool:
    """Whether two drawings differ in coordinates that nobody sees, and in names of parts, alone."""
    old, new = (_COORDINATES.split(_rename_parts(drawing)) for drawing in (stated, expected))
    return len(old) == len(new) and all(
        _compare_texts(one, other, _INVISIBLE if place % 2 else 0.0) is None
        for place, (one, other) in enumerate(zip(old, new, strict=True))
    )


def _rename_parts(drawing: str) -> str:
    """A drawing whose parts are called by their place: names may be digests of what drew them."""
    names = {name: f"part-{place}" for place, name in enumerate(_NAME.findall(drawing))}

    def rename(match: re.Match[str]) -> str:
        return match[1] + names.get(match[2], match[2])

    return _REFERENCE.sub(rename, drawing)


class _Reader(HTMLParser):
    """What a page says, in words: its text, and the texts that a screen reader speaks."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words = list[str]()
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag == "style"
        self.words += [
            value for name, value in attrs if value and (name in _SPOKEN or name.startswith("on"))
        ]

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._silent and data.strip():
            self.words.append(" ".join(data.split()))


def _read_page(page: str) -> list[str]:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.words


def _shorten(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return quote(line if len(line) <= _SHORT else f"{line[: _SHORT - 1]}…") if line else "nothing"
