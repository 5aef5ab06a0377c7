"""The report as Markdown that a code host renders, with the figures beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wbcbench.report import Block, DataTable, Figure, Report

_ANYWHERE = re.compile(r"([\\`*_\[\]|~$])")
_AT_START = re.compile(r"^([-+#=]|\d+[.)](?=\s|$))")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def to_markdown(report: Report) -> bytes:
    """The same content as the page; nothing from records can become markup."""
    return ("\n\n".join(_parts(report)) + "\n").encode()


def plain(text: str) -> str:
    """Text that Markdown shows as it is: on one line, with every sign of markup disarmed."""
    flat = " ".join(text.split())
    safe = "".join(_ENTITIES.get(sign, sign) for sign in flat)
    disarmed = _ANYWHERE.sub(r"\\\1", safe)
    return _AT_START.sub(lambda found: found[0][:-1] + "\\" + found[0][-1], disarmed)


def _parts(report: Report) -> Iterator[str]:
    yield f"# {plain(report.title)}"
    yield plain(report.facts)
    for banner in report.banners:
        yield f"> **Mind:** {plain(banner)}"
    for block in report.blocks:
        yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    yield f"## {plain(block.title)}"
    yield from (plain(paragraph) for paragraph in block.paragraphs)
    for data in block.tables:
        yield plain(data.caption)
        yield _table(data)
    for figure in block.figures:
        yield from _figure(figure)


def _figure(figure: Figure) -> Iterator[str]:
    yield f"![{plain(figure.title)}](figures/{figure.name}.svg)"
    yield f"*{plain(figure.caption)}*"
    yield "<details><summary>The numbers behind this figure</summary>"
    yield _table(figure.data)
    yield "</details>"


def _table(data: DataTable) -> str:
    aligns = [":--" if i in data.words else "--:" for i in range(len(data.headings))]
    lines = [data.headings, tuple(aligns), *data.rows]
    return "\n".join(
        "| " + " | ".join(aligns if i == 1 else map(plain, line)) + " |"
        for i, line in enumerate(lines)
    )
