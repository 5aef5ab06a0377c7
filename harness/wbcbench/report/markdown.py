"""The report as Markdown that a code host renders, with the figures beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wbcbench.core.text import printable
from wbcbench.report import Block, Chip, DataTable, Figure, Listing, Report, Statement
from wbcbench.report.anchors import anchor

_ANYWHERE = re.compile(r"([\\`*_\[\]|~$])")
_AT_START = re.compile(r"^([-+#=]|\d+[.)](?=\s|$))")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def to_markdown(report: Report) -> bytes:
    """The same content as the page; nothing from records can become markup."""
    return ("\n\n".join(_parts(report)) + "\n").encode()


def plain(text: str) -> str:
    """Text that Markdown shows as it is: on one line, with every sign of markup disarmed."""
    flat = printable(" ".join(text.split()))
    safe = "".join(_ENTITIES.get(sign, sign) for sign in flat)
    disarmed = _ANYWHERE.sub(r"\\\1", safe)
    return _AT_START.sub(lambda found: found[0][:-1] + "\\" + found[0][-1], disarmed)


def _parts(report: Report) -> Iterator[str]:
    yield f"# {plain(report.title)}"
    yield plain(report.facts)
    for banner in report.banners:
        yield f"> **Mind:** {plain(banner)}"
    rows = report.rows
    for block in report.blocks:
        yield from _block(block, rows)


def _block(block: Block, rows: frozenset[tuple[str, str]]) -> Iterator[str]:
    yield f"## {plain(block.title)}"
    yield from (_claim(claim, rows) for claim in block.claims)
    if block.chips:
        yield "\n".join(map(_chip, block.chips))
    yield from (plain(paragraph) for paragraph in block.paragraphs)
    for data in block.tables:
        yield plain(data.caption)
        yield _table(data)
    for figure in block.figures:
        yield from _figure(figure)
    for listing in block.listings:
        yield from _listing(listing)


def _claim(claim: Statement, rows: frozenset[tuple[str, str]]) -> str:
    text = plain(claim.text)
    if (claim.source, claim.row) not in rows:
        return text
    return f"{text} [Row in the table](#{anchor(claim.source, claim.row)})"


def _chip(chip: Chip) -> str:
    mark = " (caution)" if chip.mind else ""
    return f"- **{plain(chip.about)}:** {plain(chip.words)}{mark}"


def _listing(listing: Listing) -> Iterator[str]:
    """Fenced by more backticks than the lines have anywhere."""
    yield plain(listing.caption)
    longest = max((len(run) for run in re.findall("`+", listing.text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}text\n{printable(listing.text)}\n{fence}"


def _figure(figure: Figure) -> Iterator[str]:
    yield f"![{plain(figure.title)}](figures/{figure.name}.svg)"
    yield f"*{plain(figure.caption)}*"
    yield "<details><summary>The numbers behind this figure</summary>"
    yield _table(figure.data)
    yield "</details>"


def _table(data: DataTable) -> str:
    aligns = [":--" if i in data.words else "--:" for i in range(len(data.headings))]
    rows = [list(map(plain, row)) for row in data.rows]
    for row, key in zip(rows, data.keys, strict=False):
        row[0] = f'<a id="{anchor(data.source, key)}"></a>{row[0]}'
    lines = [map(plain, data.headings), aligns, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
