"""The report typeset to submit: a paper in one or two columns, or slides.

Typst compiles it offline with the fonts it brings along and without a date, so that the same
report gives the same bytes. Text from records reaches Typst as JSON and is set as text: no
character of it is markup.
"""

from __future__ import annotations

import json
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from wbcbench.core.errors import WbcbenchError
from wbcbench.report import (
    FIGURES,
    DataTable,
    Figure,
    Listing,
    Pair,
    Part,
    Place,
    Report,
    Section,
    Statement,
)
from wbcbench.report.style import clean_line

Template = Literal["plain", "ieee", "slides"]

_IN_BODY = ("methods", "limits")  # folded on the page; a paper without them is none
_CITATIONS = "BibTeX"  # of the page; the paper has a list of references
_SLIDES = ("energy-accuracy", "differences", "learning-curves", "energy-parts", "confusion")

# What is cited where it is first spoken of.
_CITED = {
    "wbcbench": "wbcbench",
    "CodeCarbon": "codecarbon",
    "TensorFlow": "tensorflow",
    "Holm": "holm1979",
    "Kaplan": "kaplan1958",
    "one-sided tests": "schuirmann1987",
    "energy counter": "yang2024",
    "photographs": "bloodcells",
}

_LONGEST_WORD = 18  # typst breaks lines between words and at hyphens alone
_LONGEST_TEXT = 3000
_MOST_ROWS = 120  # of a table: nobody reads a thousand on paper, and to set them takes 0.4 GB
_BREAK = "\u200b"  # a place where a line may break, of no width
_FIT = 34  # a text column no longer than this is as wide as its text
_GAP = 3  # letters between two columns

_SCRIPTS = frozenset(  # first words of the names of characters that Typst's own fonts have
    (
        "LATIN", "GREEK", "CYRILLIC", "HEBREW", "ARABIC", "ARMENIAN", "GEORGIAN", "DEVANAGARI",
        "CHEROKEE", "MODIFIER", "SCRIPT", "OHM",
    )
)  # fmt: skip
_SIZE = re.compile(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]")
_EMOJI = "\U0001f000"  # and what follows: pictures, and rare Chinese characters


def to_paper(report: Report, pictures: Mapping[str, bytes], template: Template) -> bytes:
    """The report as PDF, with its figures as PDF, by path."""
    import typst

    package = resources.files("wbcbench.report")
    source = "slides.typ" if template == "slides" else "paper.typ"
    with tempfile.TemporaryDirectory(prefix="wbcbench-paper-") as name:
        folder = Path(name)
        (folder / FIGURES).mkdir()
        for path, data in pictures.items():
            (folder / path).write_bytes(data)
        references = (package / "references.bib").read_bytes()
        keys = set(re.findall(r"^@\w+\{(\w+),", references.decode(), re.MULTILINE))
        paper = _Paper(keys, {path: _measure_height(data) for path, data in pictures.items()})
        content = json.dumps(paper.build(report, template))
        (folder / "paper.json").write_text(content, encoding="utf-8")
        (folder / "references.bib").write_bytes(references)
        (folder / source).write_bytes((package / "templates" / source).read_bytes())
        try:
            pdf: bytes = typst.compile(
                str(folder / source), root=name, ignore_system_fonts=True, timestamp=0
            )
        except typst.TypstError as error:
            raise WbcbenchError(
                f"The report could not be typeset: {error}. Every other format can still be made, "
                "e.g. with --format html,md,tex,csv,svg; please report this."
            ) from error
    return pdf


def find_unset_letters(text: str) -> str:
    """Letters of scripts that the fonts of the paper lack, each once; it shows empty boxes."""
    letters = (c for c in dict.fromkeys(text) if (c.isalpha() and c > "\u02ff") or c >= _EMOJI)
    scripts = ((c, unicodedata.name(c, "").split(" ")[0]) for c in letters)
    return "".join(c for c, script in scripts if script not in _SCRIPTS)


@dataclass
class _Paper:
    """Everything a template sets, as plain values; each source is cited once.

    Attributes:
        keys: Of the references that there are.
        heights: Path of a picture → its height, as a share of its width.
        cited: Those already cited.
    """

    keys: set[str]
    heights: Mapping[str, float]
    cited: set[str] = field(default_factory=set)

    def build(self, report: Report, template: Template) -> dict[str, Any]:
        """What the template reads from ``paper.json``."""
        word = ", ".join(notice.word for notice in report.notices).capitalize()
        first = [section for section in report.sections if section.place == Place.FIRST]
        body = [s for s in report.sections if s.place != Place.FOLDED or s.key in _IN_BODY]
        appendix = [section for section in report.sections if section not in body]
        notices = " ".join(notice.text for notice in report.notices)
        return {
            "template": template,
            "title": _set_line(report.title),
            "running": _set_line(report.title)[:90],
            "facts": _set_line(report.facts),
            "authors": list(map(_set_line, report.authors)),
            "course": _set_line(report.course) if report.course else None,
            "notices": [f"{_set_line(word)}.", _set_line(notices)] if word else [],
            "abstract": self._cite(_write_abstract(report, first)),
            "slides": self._build_slides(first, report.figures),
            "body": list(map(self._build_section, body)),
            "appendix": list(map(self._build_section, appendix)),
        }

    def _build_section(self, section: Section) -> dict[str, Any]:
        is_first = section.place == Place.FIRST
        parts: list[dict[str, Any]] = []
        for place, part in enumerate(section.parts):
            if is_first and isinstance(part, Statement):  # the abstract
                continue
            parts += self._build_part(part, f"{section.key}-{place}")
        if is_first:
            lead = "Each variant with its cost and accuracy, and how they differ"
            parts.insert(0, {"kind": "text", "words": [lead]})
        labels = [part["label"] for part in parts if part["kind"] == "table"]
        labels += [f["label"] for part in parts if part["kind"] == "pair" for f in part["figures"]]
        return {"title": _set_line(section.title), "parts": parts, "labels": labels[:6]}

    def _build_part(self, part: Part, name: str) -> Iterator[dict[str, Any]]:
        """Nothing of what is folded away on the page, and of lists that the paper has itself."""
        match part:
            case str():
                yield {"kind": "text", "words": self._cite(part)}
            case Statement():
                yield {"kind": "text", "words": self._cite(part.text)}
            case DataTable():
                if not part.is_folded:
                    yield {"kind": "table", **self._build_table(part), "label": f"table-{name}"}
            case Figure():
                yield {"kind": "pair", "figures": [self._build_figure(part)]}
            case Pair():
                yield {"kind": "pair", "figures": list(map(self._build_figure, part.figures))}
            case Listing():
                if not part.caption.startswith(_CITATIONS):
                    lines = "\n".join(map(clean_line, part.text.splitlines()))
                    yield {"kind": "listing", "caption": _set_line(part.caption), "text": lines}

    def _build_table(self, data: DataTable) -> dict[str, Any]:
        caption, count = data.caption, len(data.rows)
        if count > _MOST_ROWS:
            caption += f" The first {_MOST_ROWS} of {count:,} rows."
        lengths = _measure_columns(data)
        return {
            "caption": self._cite(caption),
            "headings": list(map(_set_line, data.headings)),
            "rows": [self._set_row(row, data.words) for row in data.rows[:_MOST_ROWS]],
            "words": sorted(data.words),
            # Shares of what is left of the line; 0: as wide as the longest cell.
            "widths": [0 if n <= _FIT else 1 + (n > 2 * _FIT) for n in lengths],
            "letters": sum(min(n, _FIT) + _GAP for n in lengths),
        }

    def _set_row(self, row: Sequence[str], words: Sequence[int]) -> list[Any]:
        return [self._cite(cell) if i in words else [_set_line(cell)] for i, cell in enumerate(row)]

    def _build_figure(self, figure: Figure) -> dict[str, Any]:
        path = f"{FIGURES}/{figure.name}.pdf"
        return {
            "path": path,
            "height": self.heights[path],
            "alt": _set_line(f"{figure.title}. {figure.description}"),
            "title": _set_line(figure.title),
            "caption": self._cite(figure.caption),
            "label": f"figure-{figure.name}",
        }

    def _build_slides(self, first: Sequence[Section], figures: Sequence[Figure]) -> dict[str, Any]:
        cited, self.cited = self.cited, set(self.keys)  # slides cite nothing
        tables = [self._build_table(data) for result in first for data in result.tables[:1]]
        shown = [self._build_figure(figure) for figure in figures if figure.name in _SLIDES]
        answer = [[_set_line(said.text)] for result in first for said in result.statements]
        self.cited = cited
        return {"answer": answer, "table": tables[0] if tables else None, "figures": shown}

    def _cite(self, text: str) -> list[str | dict[str, str]]:
        """The text, with a reference behind the first word that speaks of it."""
        line, start = _set_line(text), 0
        places = sorted(
            (found.end(), key)
            for word, key in _CITED.items()
            if key in self.keys - self.cited and (found := re.search(rf"{word}[\w’'–-]*", line))
        )
        parts: list[str | dict[str, str]] = []
        for end, key in places:
            self.cited.add(key)
            parts += [f"{line[start:end]} ", {"key": key}]
            start = end
        return [*parts, line[start:]]


def _write_abstract(report: Report, first: Sequence[Section]) -> str:
    """The result first, then what it rests on."""
    answer = " ".join(said.text for section in first for said in section.statements)
    basis = report.facts.split(" · ")
    return f"{answer} Basis: {', '.join(basis[:-1])}, made with wbcbench."


def _measure_height(picture: bytes) -> float:
    """The height of a PDF's page, as a share of its width."""
    size = _SIZE.search(picture)
    return float(size[2]) / float(size[1]) if size else 1.0


def _measure_columns(data: DataTable) -> list[int]:
    """The length of the longest cell of each column, or of the longest word of its heading."""
    columns = range(len(data.headings))
    words = [max(map(len, heading.split()), default=0) for heading in data.headings]
    cells = [max((len(row[i]) for row in data.rows), default=0) for i in columns]
    return list(map(max, zip(cells, words, strict=True)))


def _set_line(text: str) -> str:
    """Text on one line that can be broken anywhere it must be; what is endless is cut."""
    flat = clean_line(text)
    short = flat if len(flat) <= _LONGEST_TEXT else f"{flat[:_LONGEST_TEXT]}…"
    # Inside every stretch that is too long for a column there are places to break.
    return re.sub(rf"[^ -]{{{_LONGEST_WORD}}}(?=[^ -])", rf"\g<0>{_BREAK}", short)
