"""The report typeset to submit: A4, numbered figures and tables, references, page numbers.

Typst compiles it offline with the fonts it brings along and without a date, so that the same
report gives the same bytes. Text from records reaches Typst as JSON and is set as text: no
character of it is markup.
"""

from __future__ import annotations

import json
import re
import tempfile
import unicodedata
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from wbcbench.core.errors import WbcbenchError
from wbcbench.core.text import printable
from wbcbench.report import FIGURES, Block, DataTable, Figure, Report, Statement

ABSTRACT = "answer"
"""Key of the section that is the abstract."""
CITATION = "citation"
"""Key of the section whose listing is the references, which the paper sets as such."""

_LONGEST_WORD = 18  # typst breaks lines between words and at hyphens alone
_LONGEST_TEXT = 3000
_MOST_ROWS = 120  # of a table: nobody reads a thousand on paper, and to set them takes 0.4 GB
_BREAK = "\u200b"  # a place where a line may break, of no width
_FIT = 40  # a text column no longer than this is as wide as its text
_LINE = 135  # letters of a table on an upright page
_GAP = 3  # letters between two columns
_WIDEST_CM, _TALLEST_CM, _TALLEST_ON_ITS_SIDE_CM = 11.2, 18.0, 13.5

_SCRIPTS = frozenset(  # first words of the names of characters that Typst's own fonts have
    (
        "LATIN", "GREEK", "CYRILLIC", "HEBREW", "ARABIC", "ARMENIAN", "GEORGIAN", "DEVANAGARI",
        "CHEROKEE", "MODIFIER", "SCRIPT", "OHM",
    )
)  # fmt: skip
_EMOJI = "\U0001f000"  # and what follows: pictures, and rare Chinese characters

_SIZE = re.compile(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]")


def to_paper(report: Report, pictures: Mapping[str, bytes]) -> bytes:
    """The report as PDF, with its figures as PDF, by path."""
    import typst

    package = resources.files("wbcbench.report")
    with tempfile.TemporaryDirectory(prefix="wbcbench-paper-") as name:
        folder = Path(name)
        (folder / FIGURES).mkdir()
        for path, data in pictures.items():
            (folder / path).write_bytes(data)
        content = json.dumps(_build_paper(report, pictures))
        (folder / "paper.json").write_text(content, encoding="utf-8")
        for path in ("templates/paper.typ", "references.bib"):
            (folder / Path(path).name).write_bytes((package / path).read_bytes())
        try:
            pdf: bytes = typst.compile(
                str(folder / "paper.typ"), root=name, ignore_system_fonts=True, timestamp=0
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


def _build_paper(report: Report, pictures: Mapping[str, bytes]) -> dict[str, Any]:
    """Everything the template sets, as plain values."""
    labels = {
        (data.source, key): _make_label(block, i)
        for block in report.blocks
        for i, data in enumerate(block.tables)
        for key in data.keys
    }
    abstract = [block for block in report.blocks if block.key == ABSTRACT]
    return {
        "title": _format_text(report.title),
        "running": _format_text(report.title)[:90],
        "facts": _format_text(report.facts),
        "authors": list(map(_format_text, report.authors)),
        "course": _format_text(report.course) if report.course else None,
        "banners": list(map(_format_text, report.banners)),
        "abstract": [
            claim
            for block in abstract
            for claim in (
                *(_build_claim(claim, labels) for claim in block.claims),
                *({"text": _format_text(text), "table": None} for text in block.paragraphs),
            )
        ],
        # The abstract stands above; what else its section holds has a part of its own.
        "parts": [
            _build_part(block, labels, pictures)
            for block in report.blocks
            if block.key != ABSTRACT or block.tables or block.figures or block.chips
        ],
    }


def _build_part(
    block: Block, labels: Mapping[tuple[str, str], str], pictures: Mapping[str, bytes]
) -> dict[str, Any]:
    is_abstract = block.key == ABSTRACT
    is_wide = any(map(_is_wide, block.tables))
    return {
        "title": _format_text(block.title),
        "wide": is_wide,
        "claims": [] if is_abstract else [_build_claim(claim, labels) for claim in block.claims],
        "paragraphs": [] if is_abstract else list(map(_format_text, block.paragraphs)),
        "chips": [
            {"about": _format_text(chip.about), "words": _format_text(chip.words)}
            for chip in block.chips
        ],
        "tables": [
            _build_table(data, _make_label(block, i)) for i, data in enumerate(block.tables)
        ],
        "figures": [_build_figure(figure, pictures, is_wide) for figure in block.figures],
        "listings": [
            {
                "caption": _format_text(listing.caption),
                "text": "\n".join(map(printable, listing.text.splitlines())),
            }
            for listing in block.listings
            if block.key != CITATION
        ],
    }


def _make_label(block: Block, i: int) -> str:
    return f"table-{block.key}-{i + 1}"


def _build_claim(claim: Statement, labels: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    return {"text": _format_text(claim.text), "table": labels.get((claim.source, claim.row))}


def _build_table(data: DataTable, label: str) -> dict[str, Any]:
    caption, count = data.caption, len(data.rows)
    if count > _MOST_ROWS:
        caption += f" The first {_MOST_ROWS} of {count:,} rows; the page has all of them."
    return {
        "caption": _format_text(caption),
        "headings": list(map(_format_text, data.headings)),
        "rows": [list(map(_format_text, row)) for row in data.rows[:_MOST_ROWS]],
        "words": sorted(data.words),
        # Shares of what is left of the line; 0: as wide as the longest cell.
        "widths": [0 if n <= _FIT else 1 + (n > 2 * _FIT) for n in _measure_columns(data)],
        "label": label,
    }


def _measure_columns(data: DataTable) -> list[int]:
    """The length of the longest cell of each column."""
    columns = range(len(data.headings))
    return [max((len(row[i]) for row in data.rows), default=0) for i in columns]


def _is_wide(data: DataTable) -> bool:
    """Whether its cells do not fit on an upright page without being folded."""
    return sum(min(length, _FIT) + _GAP for length in _measure_columns(data)) > _LINE


def _build_figure(figure: Figure, pictures: Mapping[str, bytes], is_wide: bool) -> dict[str, Any]:
    path = f"{FIGURES}/{figure.name}.pdf"
    tallest_cm = _TALLEST_ON_ITS_SIDE_CM if is_wide else _TALLEST_CM
    size = _SIZE.search(pictures[path])
    width_over_height = float(size[1]) / float(size[2]) if size else 1.0
    return {
        "path": path,
        "alt": _format_text(f"{figure.title}. {figure.description}"),
        "caption": _format_text(figure.caption),
        "width": min(_WIDEST_CM, tallest_cm * width_over_height),
        "label": f"figure-{figure.name}",
    }


def _format_text(text: str) -> str:
    """Text on one line that can be broken anywhere it must be; what is endless is cut."""
    flat = " ".join(printable(text).split())
    short = flat if len(flat) <= _LONGEST_TEXT else f"{flat[:_LONGEST_TEXT]}…"
    # Inside every stretch that is too long for a column there are places to break.
    return re.sub(rf"[^ -]{{{_LONGEST_WORD}}}(?=[^ -])", rf"\g<0>{_BREAK}", short)
