"""The content of each format of a report: one page, Markdown, tables, figures."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

from wbcbench.core.errors import unknown_name
from wbcbench.core.study_folder import CONTRASTS
from wbcbench.core.text import csv_cell, csv_quoted, latex_table
from wbcbench.report import (
    FIGURE_DATA,
    FIGURES,
    MOST_DATA_ROWS,
    MOST_ROWS,
    PAGE,
    PAPERS,
    TEXT,
    DataTable,
    Figure,
    Listing,
    Pair,
    Part,
    Report,
    Statement,
    Value,
)
from wbcbench.report.study import ReportStudy
from wbcbench.report.style import clean_line, inline_svg, to_pdf, to_svg
from wbcbench.report.summaries import SUMMARY_FILE, build_summary_rows
from wbcbench.report.words import make_anchor

if TYPE_CHECKING:
    from jinja2 import Template as Page

    from wbcbench.report.paper import Template

Files = dict[str, bytes]
"""Content by path below the report's folder."""

_MARKUP = re.compile(r"([\\`*_\[\]|~$])")
_MARKUP_AT_START = re.compile(r"^([-+#=]|\d+[.)](?=\s|$))")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def build_files(report: Report, study: ReportStudy, formats: Iterable[str]) -> Files:
    """Every file of the formats, the page first; nothing is written.

    Raises:
        UsageError: There is no such format.
    """
    files: Files = {}
    for name in known_formats(formats):
        files |= FORMATS[name](report, study)
    return files


def known_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """The formats that were named, each once, in the order of ``FORMATS``.

    Raises:
        UsageError: There is no such format.
    """
    names = set(formats)
    for name in sorted(names - set(FORMATS)):
        raise unknown_name("report format", name, FORMATS)
    return tuple(name for name in FORMATS if name in names)


def _build_tables(report: Report, render: Callable[[DataTable], bytes], ending: str) -> Files:
    """``tables/<section>-<n>.<ending>``."""
    return {
        f"tables/{section.key}-{number}.{ending}": render(data)
        for section in report.sections
        for number, data in enumerate(section.tables, start=1)
    }


def _build_markdown(report: Report, study: ReportStudy) -> Files:
    """The Markdown shows the pictures beside it."""
    return {TEXT: to_markdown(report), **_build_svg(report, study)}


def _build_csv(report: Report, study: ReportStudy) -> Files:
    """The tables, one line a row, the numbers of the figures, and the tables of the study."""
    from wbcbench.compare.result import format_contrasts_csv

    files = _build_tables(report, to_csv, "csv")
    comparison = study.comparison
    if comparison and (comparison.effects or comparison.claims):
        files[CONTRASTS] = format_contrasts_csv(comparison).encode()
    rows = build_summary_rows(study)
    lines = [tuple(rows[0]), *(tuple(row.values()) for row in rows)] if rows else []
    return {**files, **figure_data(report), SUMMARY_FILE: _format_csv(lines)}


def _build_svg(report: Report, _: ReportStudy) -> Files:
    return {f"{FIGURES}/{figure.name}.svg": to_svg(figure).encode() for figure in report.figures}


def _build_pdf(template: Template, report: Report, _: ReportStudy) -> Files:
    from wbcbench.report.paper import to_paper

    pictures = {f"{FIGURES}/{figure.name}.pdf": to_pdf(figure) for figure in report.figures}
    return {PAPERS[template]: to_paper(report, pictures, template), **pictures}


def _build_interactive(report: Report, study: ReportStudy) -> Files:
    from wbcbench.report.interactive import INTERACTIVE_FILE, to_interactive

    return {INTERACTIVE_FILE: to_interactive(report, study, load_template("interactive.html.j2"))}


FORMATS: Mapping[str, Callable[[Report, ReportStudy], Files]] = {
    "html": lambda report, _: {PAGE: to_html(report)},
    "md": _build_markdown,
    "tex": lambda report, _: _build_tables(report, to_latex, "tex"),
    "csv": _build_csv,
    "svg": _build_svg,
    "pdf": partial(_build_pdf, "plain"),
    "ieee": partial(_build_pdf, "ieee"),
    "slides": partial(_build_pdf, "slides"),
    "interactive": _build_interactive,
}


def figure_data(report: Report) -> Files:
    """``figure-data/<figure>.csv``: the numbers behind each picture."""
    return {f"{FIGURE_DATA}/{figure.name}.csv": to_csv(figure.data) for figure in report.figures}


def to_csv(data: DataTable) -> bytes:
    """UTF-8, LF, one header line; numbers unrounded where the table has them."""
    rows: Sequence[Sequence[Value]] = data.values or data.rows
    return _format_csv([data.headings, *rows])


def _format_csv(lines: Sequence[Sequence[Value]]) -> bytes:
    return "".join(f"{','.join(map(_format_cell, line))}\n" for line in lines).encode()


def _format_cell(cell: Value) -> str:
    """A number needs no plus, and a cell that begins with one may be taken for a formula."""
    is_number = isinstance(cell, str) and _is_number(cell)
    return csv_quoted(str(cell).removeprefix("+")) if is_number else csv_cell(cell)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and text.isascii() and text == text.strip()
    except ValueError:
        return False


def to_latex(data: DataTable) -> bytes:
    """One ``tabular``, its caption in a comment."""
    rows = [list(map(_flatten, row)) for row in data.rows]
    text = latex_table(list(map(_flatten, data.headings)), rows)
    return f"% {_flatten(data.caption)}\n{text}\n".encode()


def _flatten(text: str) -> str:
    """Text on one line and without control characters: an empty line would end a table's cell."""
    return clean_line(text)


def to_html(report: Report) -> bytes:
    """The page. Everything from records is escaped; only our own pictures are set as they are."""
    return load_template("page.html.j2").render(report=report).encode()


@cache
def load_template(name: str) -> Page:
    """A page of ``templates/``; text from records is escaped, and freed of what steers a reader."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def clean(value: object) -> object:
        """Text without signs that no page may hold or that turn the direction of what follows."""
        is_text = isinstance(value, str) and not isinstance(value, Markup)
        return clean_text(value) if is_text else value  # type: ignore[arg-type]

    def emphasise(statement: Statement) -> Markup:
        """The sentence, each of its strong words bold where it first stands."""
        text, start = Markup(), 0
        whole = clean_text(statement.text)
        for word in map(clean_text, statement.strong):
            place = whole.find(word, start)
            if word and place >= 0:
                text += whole[start:place] + Markup("<b>{}</b>").format(word)
                start = place + len(word)
        return text + whole[start:]

    environment = Environment(
        loader=PackageLoader("wbcbench.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=clean,
    )
    # The picture's texts were escaped when it was drawn.
    environment.filters["picture"] = lambda figure: Markup(inline_svg(to_svg(figure)))
    environment.filters["emphasise"] = emphasise
    environment.filters["kind"] = lambda part: type(part).__name__
    environment.globals |= {
        "anchor": make_anchor,
        "most_rows": MOST_ROWS,
        "most_data_rows": MOST_DATA_ROWS,
    }
    return environment.get_template(name)


def clean_text(text: str) -> str:
    """Text without characters that no page may hold or that turn the direction of the rest."""
    return "".join(c for c in text.replace("\t", " ") if c.isprintable() or c == "\n")


def to_markdown(report: Report) -> bytes:
    """The same content as the page; nothing from records can become markup."""
    return ("\n\n".join(_iterate_parts(report)) + "\n").encode()


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is: on one line, with every sign of markup disarmed."""
    flat = clean_line(text).translate(_ENTITIES)
    disarmed = _MARKUP.sub(r"\\\1", flat)
    return _MARKUP_AT_START.sub(lambda match: f"{match[0][:-1]}\\{match[0][-1]}", disarmed)


def _iterate_parts(report: Report) -> Iterator[str]:
    yield f"# {escape_markdown(report.title)}"
    if report.byline:
        yield escape_markdown(report.byline)
    yield escape_markdown(report.facts)
    for notice in report.notices:
        yield f"> **{notice.word.capitalize()}:** {escape_markdown(notice.text)}"
    for section in report.sections:
        yield f"## {escape_markdown(section.title)}"
        if section.summary:
            yield f"*{escape_markdown(section.summary)}*"
        for part in section.parts:
            yield from _iterate_lines(part, report.rows)


def _iterate_lines(part: Part, rows: frozenset[tuple[str, str]]) -> Iterator[str]:
    match part:
        case str():
            yield escape_markdown(part)
        case Statement():
            yield _format_claim(part, rows)
        case DataTable():
            yield escape_markdown(part.caption)
            yield _format_table(part)
        case Pair():
            for figure in part.figures:
                yield from _iterate_lines(figure, rows)
        case Figure():
            yield f"![{escape_markdown(part.title)}](figures/{part.name}.svg)"
            yield f"*{escape_markdown(f'{part.title}. {part.caption}')}*"
        case Listing():
            yield escape_markdown(part.caption)
            # Fenced by more backticks than the lines have anywhere.
            longest = max(map(len, re.findall("`+", part.text)), default=0)
            fence = "`" * max(3, longest + 1)
            yield f"{fence}text\n{clean_text(part.text)}\n{fence}"


def _format_claim(claim: Statement, rows: frozenset[tuple[str, str]]) -> str:
    text = escape_markdown(claim.text)
    if (claim.source, claim.row) not in rows:
        return text
    return f"{text} [Row in the table](#{make_anchor(claim.source, claim.row)})"


def _format_table(data: DataTable) -> str:
    aligns = [":--" if i in data.words else "--:" for i in range(len(data.headings))]
    rows = [list(map(escape_markdown, row)) for row in data.rows[:MOST_ROWS]]
    for row, key in zip(rows, data.keys, strict=False):
        row[0] = f'<a id="{make_anchor(data.source, key)}"></a>{row[0]}'
    lines = [map(escape_markdown, data.headings), aligns, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
