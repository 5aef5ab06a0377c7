"""The report typeset for handing in: A4, numbered figures and tables, references, page numbers.

Typst compiles it offline with the fonts it brings along and without a date, so that the same
report gives the same bytes. What a record holds reaches Typst as JSON and is set as text: no
character of it is markup.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from wbcbench.core.errors import WbcbenchError
from wbcbench.core.text import printable
from wbcbench.report import FIGURES, Block, DataTable, Figure, Report, Statement
from wbcbench.report.study import ReportStudy

ABSTRACT = "answer"
"""Key of the section that is the abstract."""
CITATION = "citation"
"""Key of the section whose listing is the references, which the paper sets as such."""

_LONGEST_WORD = 18  # typst breaks lines between words and at hyphens alone
_LONGEST_TEXT = 3000
_BREAK = "\u200b"  # a place where a line may break, of no width
_FIT = 40  # a column of words no longer than this is as wide as they are
_LINE = 135  # letters of a table on an upright page
_GAP = 3  # letters between two columns
_WIDEST_CM, _TALLEST_CM, _TALLEST_ON_ITS_SIDE_CM = 11.2, 18.0, 13.5

_SIZE = re.compile(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]")


def to_paper(report: Report, study: ReportStudy, pictures: Mapping[str, bytes]) -> bytes:
    """The report as PDF.

    Args:
        report: What it says.
        study: Whose plan may name author and course.
        pictures: The figures as PDF, by path.
    """
    page = resources.files("wbcbench.report")
    with tempfile.TemporaryDirectory(prefix="wbcbench-paper-") as name:
        folder = Path(name)
        (folder / FIGURES).mkdir()
        for path, data in pictures.items():
            (folder / path).write_bytes(data)
        (folder / "paper.json").write_text(
            json.dumps(_paper(report, study, pictures)), encoding="utf-8"
        )
        for path in ("templates/paper.typ", "references.bib"):
            (folder / Path(path).name).write_bytes((page / path).read_bytes())
        return _compiled(folder)


def _compiled(folder: Path) -> bytes:
    import typst

    try:
        made: bytes = typst.compile(
            str(folder / "paper.typ"),
            root=str(folder),
            ignore_system_fonts=True,
            timestamp=0,
        )
    except typst.TypstError as error:
        raise WbcbenchError(
            f"The report could not be typeset: {error}. Every other format can still be made, e.g. "
            "with --format html,md,tex,csv,svg; please report this."
        ) from error
    return made


def _paper(report: Report, study: ReportStudy, pictures: Mapping[str, bytes]) -> dict[str, Any]:
    """Everything the template sets, as plain values."""
    by_row = dict(_rows(report))
    author, course = _handed_in_by(study)
    return {
        "title": _words(report.title),
        "running": _words(report.title)[:90],
        "facts": _words(report.facts),
        "authors": [_words(author)] if author else [],
        "course": _words(course) if course else None,
        "banners": [_words(banner) for banner in report.banners],
        "abstract": [
            claim
            for block in report.blocks
            if block.key == ABSTRACT
            for claim in (
                *(_claim(each, by_row) for each in block.claims),
                *({"text": _words(text), "table": None} for text in block.paragraphs),
            )
        ],
        "parts": [_part(block, by_row, pictures) for block in report.blocks if _has_part(block)],
    }


def _handed_in_by(study: ReportStudy) -> tuple[str | None, str | None]:
    submission = study.plan.submission if study.plan else None
    return (submission.author, submission.course) if submission else (None, None)


def _has_part(block: Block) -> bool:
    """The abstract stands above; what else its section holds has a part of its own."""
    return block.key != ABSTRACT or bool(block.tables or block.figures or block.chips)


def _part(
    block: Block, by_row: Mapping[tuple[str, str], str], pictures: Mapping[str, bytes]
) -> dict[str, Any]:
    is_abstract = block.key == ABSTRACT
    is_wide = any(map(_is_wide, block.tables))
    listings = () if block.key == CITATION else block.listings
    return {
        "title": _words(block.title),
        "wide": is_wide,
        "claims": [] if is_abstract else [_claim(claim, by_row) for claim in block.claims],
        "paragraphs": [] if is_abstract else [_words(text) for text in block.paragraphs],
        "chips": [{"about": _words(c.about), "words": _words(c.words)} for c in block.chips],
        "tables": [_table(data, _label(block, i)) for i, data in enumerate(block.tables)],
        "figures": [_figure(figure, pictures, is_wide) for figure in block.figures],
        "listings": [
            {"caption": _words(each.caption), "text": _lines(each.text)} for each in listings
        ],
    }


def _rows(report: Report) -> Iterator[tuple[tuple[str, str], str]]:
    """The label of the table in which a claim's row stands."""
    for block in report.blocks:
        for i, data in enumerate(block.tables):
            for key in data.keys:
                yield (data.source, key), _label(block, i)


def _label(block: Block, i: int) -> str:
    return f"table-{block.key}-{i + 1}"


def _claim(claim: Statement, by_row: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    return {"text": _words(claim.text), "table": by_row.get((claim.source, claim.row))}


def _table(data: DataTable, label: str) -> dict[str, Any]:
    return {
        "caption": _words(data.caption),
        "headings": [_words(heading) for heading in data.headings],
        "rows": [[_words(cell) for cell in row] for row in data.rows],
        "words": sorted(data.words),
        "widths": [_width(data, i) for i in range(len(data.headings))],
        "label": label,
    }


def _width(data: DataTable, i: int) -> int:
    """The share of a column in what is left of the line; 0: as wide as its longest cell."""
    longest = max((len(row[i]) for row in data.rows), default=0)
    return 0 if longest <= _FIT else 1 + (longest > 2 * _FIT)


def _is_wide(data: DataTable) -> bool:
    """Whether its cells do not fit on an upright page without being folded."""
    longest = (
        max((len(row[i]) for row in data.rows), default=0) for i in range(len(data.headings))
    )
    return sum(min(length, _FIT) + _GAP for length in longest) > _LINE


def _figure(figure: Figure, pictures: Mapping[str, bytes], is_wide: bool) -> dict[str, Any]:
    path = f"{FIGURES}/{figure.name}.pdf"
    tallest_cm = _TALLEST_ON_ITS_SIDE_CM if is_wide else _TALLEST_CM
    return {
        "path": path,
        "alt": _words(f"{figure.title}. {figure.description}"),
        "caption": _words(figure.caption),
        "width": min(_WIDEST_CM, tallest_cm * _width_over_height(pictures[path])),
        "label": f"figure-{figure.name}",
    }


def _width_over_height(picture: bytes) -> float:
    """Of a PDF's page; 1 where it does not say."""
    found = _SIZE.search(picture)
    return float(found[1]) / float(found[2]) if found else 1.0


def _words(text: str) -> str:
    """Text on one line that can be broken anywhere it must be; what is endless is cut."""
    flat = " ".join(printable(text).split())
    short = flat if len(flat) <= _LONGEST_TEXT else f"{flat[:_LONGEST_TEXT]}…"
    return " ".join(_breakable(word) for word in short.split(" "))


def _breakable(word: str) -> str:
    """The word with places to break inside every stretch that is too long for a column."""
    return "-".join(
        _BREAK.join(part[i : i + _LONGEST_WORD] for i in range(0, len(part), _LONGEST_WORD))
        for part in word.split("-")
    )


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.splitlines())
