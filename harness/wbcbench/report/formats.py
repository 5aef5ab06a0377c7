"""What each format of a report holds: one page, Markdown, tables, figures."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from wbcbench.core.errors import unknown_name
from wbcbench.core.study_folder import CONTRASTS
from wbcbench.core.text import csv_quoted, latex_table, printable, safe_text
from wbcbench.report import (
    FIGURE_DATA,
    FIGURES,
    PAGE,
    PAPER,
    TEXT,
    Block,
    Chip,
    DataTable,
    Figure,
    Listing,
    Report,
    Statement,
    Value,
)
from wbcbench.report.drawing import inline_svg, to_pdf, to_svg
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import SUMMARY_FILE, summary_rows
from wbcbench.report.words import anchor

if TYPE_CHECKING:
    from jinja2 import Template

Files = dict[str, bytes]
"""Content by path below the report's folder."""

_MARKUP = re.compile(r"([\\`*_\[\]|~$])")
_MARKUP_AT_START = re.compile(r"^([-+#=]|\d+[.)](?=\s|$))")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def report_files(report: Report, study: ReportStudy, formats: Iterable[str]) -> Files:
    """Every file of the formats, the page first; nothing is written.

    Raises:
        UsageError: There is no such format.
    """
    made: Files = {}
    for name in known_formats(formats):
        made |= FORMATS[name](report, study)
    return made


def known_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """The formats that were named, each once, in the order of ``FORMATS``.

    Raises:
        UsageError: There is no such format.
    """
    asked = set(formats)
    for name in sorted(asked - set(FORMATS)):
        raise unknown_name("report format", name, FORMATS)
    return tuple(name for name in FORMATS if name in asked)


def _html(report: Report, _: ReportStudy) -> Files:
    return {PAGE: to_html(report)}


def _markdown(report: Report, study: ReportStudy) -> Files:
    """The Markdown shows the pictures beside it."""
    return {TEXT: to_markdown(report), **_svg(report, study)}


def _latex_files(report: Report, _: ReportStudy) -> Files:
    return tables_tex(report)


def _csv(report: Report, study: ReportStudy) -> Files:
    return {
        **tables_csv(report),
        **figure_data(report),
        **_contrasts(study),
        SUMMARY_FILE: _rows_csv(summary_rows(study)),
    }


def _svg(report: Report, _: ReportStudy) -> Files:
    return {f"{FIGURES}/{each.name}.svg": to_svg(each).encode() for each in _figures(report)}


def _pdf(report: Report, study: ReportStudy) -> Files:
    from wbcbench.report.paper import to_paper

    pictures = {f"{FIGURES}/{each.name}.pdf": to_pdf(each) for each in _figures(report)}
    return {PAPER: to_paper(report, study, pictures), **pictures}


def _interactive(report: Report, study: ReportStudy) -> Files:
    from wbcbench.report.interactive import INTERACTIVE_FILE, to_interactive

    return {INTERACTIVE_FILE: to_interactive(report, study)}


def _contrasts(study: ReportStudy) -> Files:
    from wbcbench.compare.result import contrasts_csv

    found = study.comparison
    return {CONTRASTS: contrasts_csv(found).encode()} if found and found.effects else {}


def _figures(report: Report) -> list[Figure]:
    return [figure for block in report.blocks for figure in block.figures]


FORMATS: Mapping[str, Callable[[Report, ReportStudy], Files]] = {
    "html": _html,
    "md": _markdown,
    "tex": _latex_files,
    "csv": _csv,
    "svg": _svg,
    "pdf": _pdf,
    "interactive": _interactive,
}


def tables_tex(report: Report) -> dict[str, bytes]:
    """``tables/<section>-<n>.tex``: one ``tabular`` a file, its caption in a comment."""
    return {f"tables/{name}.tex": _tex(data) for name, data in _tables(report)}


def tables_csv(report: Report) -> dict[str, bytes]:
    """``tables/<section>-<n>.csv``: one line a row; numbers unrounded where the table has them."""
    return {f"tables/{name}.csv": to_csv(data) for name, data in _tables(report)}


def figure_data(report: Report) -> dict[str, bytes]:
    """``figure-data/<figure>.csv``: the numbers behind each picture."""
    return {
        f"{FIGURE_DATA}/{figure.name}.csv": to_csv(figure.data)
        for block in report.blocks
        for figure in block.figures
    }


def to_csv(data: DataTable) -> bytes:
    """UTF-8, LF, one header line; no cell is carried out by a spreadsheet."""
    rows: Sequence[Sequence[Value]] = data.values or data.rows
    return _lines([data.headings, *rows])


def _rows_csv(rows: Sequence[Mapping[str, Value]]) -> bytes:
    """Rows with their columns' names, unrounded; nothing for no rows."""
    lines: list[Sequence[Value]] = [tuple(rows[0])] if rows else []
    return _lines([*lines, *(tuple(row.values()) for row in rows)])


def _lines(lines: Sequence[Sequence[Value]]) -> bytes:
    return "".join(f"{','.join(map(_cell, line))}\n" for line in lines).encode()


def _tables(report: Report) -> Iterator[tuple[str, DataTable]]:
    for block in report.blocks:
        for number, data in enumerate(block.tables, start=1):
            yield f"{block.key}-{number}", data


def _tex(data: DataTable) -> bytes:
    rows = [[_flat(cell) for cell in row] for row in data.rows]
    text = latex_table([_flat(heading) for heading in data.headings], rows)
    return f"% {_flat(data.caption)}\n{text}\n".encode()


def _flat(text: str) -> str:
    """Text on one line and without control characters: an empty line would end a table's cell."""
    return " ".join(printable(text).split())


def _cell(cell: Value) -> str:
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str):
        # A number needs no plus, and a cell that begins with one may be taken for a formula.
        return csv_quoted(cell.removeprefix("+") if _is_number(cell) else safe_text(cell))
    return repr(cell)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and text.isascii() and text == text.strip()
    except ValueError:
        return False


def to_html(report: Report) -> bytes:
    """The page. Everything from records is escaped; only our own pictures are set as they are."""
    return _template().render(report=report).encode()


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("wbcbench.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_readable,
    )
    # The picture's texts were escaped when it was drawn.
    environment.filters["picture"] = lambda figure: Markup(inline_svg(to_svg(figure)))
    environment.globals["anchor"] = anchor
    return environment.get_template("page.html.j2")


def _readable(value: object) -> object:
    """Text without signs that no page may hold or that turn the direction of what follows."""
    from markupsafe import Markup

    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value.replace("\t", " "))
    return value


def to_markdown(report: Report) -> bytes:
    """The same content as the page; nothing from records can become markup."""
    return ("\n\n".join(_parts(report)) + "\n").encode()


def plain_markdown(text: str) -> str:
    """Text that Markdown shows as it is: on one line, with every sign of markup disarmed."""
    flat = printable(" ".join(text.split()))
    safe = "".join(_ENTITIES.get(sign, sign) for sign in flat)
    disarmed = _MARKUP.sub(r"\\\1", safe)
    return _MARKUP_AT_START.sub(lambda found: found[0][:-1] + "\\" + found[0][-1], disarmed)


def _parts(report: Report) -> Iterator[str]:
    yield f"# {plain_markdown(report.title)}"
    yield plain_markdown(report.facts)
    for banner in report.banners:
        yield f"> **Mind:** {plain_markdown(banner)}"
    rows = report.rows
    for block in report.blocks:
        yield from _block(block, rows)


def _block(block: Block, rows: frozenset[tuple[str, str]]) -> Iterator[str]:
    yield f"## {plain_markdown(block.title)}"
    yield from (_claim(claim, rows) for claim in block.claims)
    if block.chips:
        yield "\n".join(map(_chip, block.chips))
    yield from (plain_markdown(paragraph) for paragraph in block.paragraphs)
    for data in block.tables:
        yield plain_markdown(data.caption)
        yield _table(data)
    for figure in block.figures:
        yield from _figure(figure)
    for listing in block.listings:
        yield from _listing(listing)


def _claim(claim: Statement, rows: frozenset[tuple[str, str]]) -> str:
    text = plain_markdown(claim.text)
    if (claim.source, claim.row) not in rows:
        return text
    return f"{text} [Row in the table](#{anchor(claim.source, claim.row)})"


def _chip(chip: Chip) -> str:
    mark = " (caution)" if chip.mind else ""
    return f"- **{plain_markdown(chip.about)}:** {plain_markdown(chip.words)}{mark}"


def _listing(listing: Listing) -> Iterator[str]:
    """Fenced by more backticks than the lines have anywhere."""
    yield plain_markdown(listing.caption)
    longest = max((len(run) for run in re.findall("`+", listing.text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}text\n{printable(listing.text)}\n{fence}"


def _figure(figure: Figure) -> Iterator[str]:
    yield f"![{plain_markdown(figure.title)}](figures/{figure.name}.svg)"
    yield f"*{plain_markdown(figure.caption)}*"
    yield "<details><summary>The numbers behind this figure</summary>"
    yield _table(figure.data)
    yield "</details>"


def _table(data: DataTable) -> str:
    aligns = [":--" if i in data.words else "--:" for i in range(len(data.headings))]
    rows = [list(map(plain_markdown, row)) for row in data.rows]
    for row, key in zip(rows, data.keys, strict=False):
        row[0] = f'<a id="{anchor(data.source, key)}"></a>{row[0]}'
    lines = [map(plain_markdown, data.headings), aligns, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
