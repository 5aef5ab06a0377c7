"""The references that `cite` prints are BibTeX, and name whom a reader must credit."""

from __future__ import annotations

import re

import pytest

from program import wbcbench

NEEDED = {
    "article": {"title", "author", "journal", "year"},
    "inproceedings": {"title", "author", "booktitle", "year"},
    "misc": {"title", "author"},
    "software": {"title", "author"},
}


class Reader:
    """As much of BibTeX as references need: entries of fields in balanced braces."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def take(self, pattern: str) -> str:
        found = re.compile(rf"\s*({pattern})\s*").match(self.text, self.at)
        assert found, f"{pattern} expected at {self.text[self.at : self.at + 40]!r}"
        self.at = found.end()
        return found[1]

    def value(self) -> str:
        self.take(r"\{")
        start, depth = self.at, 1
        while depth:
            character = self.text[self.at]
            depth += (character == "{") - (character == "}")
            self.at += 1
        return self.text[start : self.at - 1]

    def entries(self) -> dict[str, tuple[str, dict[str, str]]]:
        found: dict[str, tuple[str, dict[str, str]]] = {}
        while self.text[self.at :].strip():
            self.take("@")
            kind = self.take(r"[a-z]+")
            self.take(r"\{")
            key = self.take(r"[a-z0-9]+")
            assert key not in found
            fields: dict[str, str] = {}
            while self.take("[,}]") == ",":
                name = self.take(r"[a-z]+")
                self.take("=")
                assert name not in fields
                fields[name] = self.value()
            found[key] = (kind, fields)
        return found


@pytest.fixture(scope="module")
def entries() -> dict[str, tuple[str, dict[str, str]]]:
    ended = wbcbench("cite")
    assert ended.code == 0
    assert ended.out.isascii()  # as BibTeX of any age reads it
    return Reader(ended.out).entries()


def test_every_entry_has_what_its_kind_needs(entries) -> None:
    for key, (kind, fields) in entries.items():
        assert NEEDED[kind] <= set(fields), key
        assert all(text.strip() for text in fields.values()), key
        assert not re.search(r"(?<!\\)[&%$#_]|://", " ".join(fields.values())), key


def test_who_must_be_credited_is(entries) -> None:
    assert {"wbcbench", "codecarbon", "tensorflow", "keras", "bloodcells", "bccd", "shi"} <= set(
        entries
    )
    assert "paultimothymooney/blood-cells" in entries["bloodcells"][1]["note"]
    assert entries["shi"][1]["author"] == "Shi, Yao"
    stated = {fields.get("doi") for _, fields in entries.values()} - {None}
    assert stated == {"10.5281/zenodo.4658424"}  # CodeCarbon's own citation file names it
