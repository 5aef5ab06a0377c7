"""What each format of a report holds. To add one: a function and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from wbcbench.core.errors import unknown_name
from wbcbench.report import Figure, Report, summary_rows
from wbcbench.report.drawing import to_pdf, to_svg
from wbcbench.report.evidence import ReportStudy
from wbcbench.report.html import to_html
from wbcbench.report.markdown import to_markdown
from wbcbench.report.tables import figure_data, rows_csv, tables_csv, tables_tex

Files = dict[str, bytes]
"""Content by path below the report's folder."""


def files(report: Report, study: ReportStudy, formats: Iterable[str]) -> Files:
    """Every file of the formats, the page first; nothing is written.

    Raises:
        UsageError: There is no such format.
    """
    made: Files = {}
    for name in known_formats(formats):
        made |= FORMATS[name](report, study)
    return made


def known_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """The formats that were named, each once, in this module's order.

    Raises:
        UsageError: There is no such format.
    """
    asked = set(formats)
    for name in sorted(asked - set(FORMATS)):
        raise unknown_name("report format", name, FORMATS)
    return tuple(name for name in FORMATS if name in asked)


def _html(report: Report, _: ReportStudy) -> Files:
    return {"report.html": to_html(report)}


def _markdown(report: Report, study: ReportStudy) -> Files:
    """The Markdown shows the pictures beside it."""
    return {"report.md": to_markdown(report), **_svg(report, study)}


def _tex(report: Report, _: ReportStudy) -> Files:
    return tables_tex(report)


def _csv(report: Report, study: ReportStudy) -> Files:
    return {
        **tables_csv(report),
        **figure_data(report),
        **_contrasts(study),
        summary_rows.FILE: rows_csv(summary_rows.summary_rows(study)),
    }


def _svg(report: Report, _: ReportStudy) -> Files:
    return {f"figures/{each.name}.svg": to_svg(each).encode() for each in _figures(report)}


def _pdf(report: Report, study: ReportStudy) -> Files:
    from wbcbench.report.paper import to_paper

    pictures = {f"figures/{each.name}.pdf": to_pdf(each) for each in _figures(report)}
    return {"report.pdf": to_paper(report, study, pictures), **pictures}


def _interactive(report: Report, study: ReportStudy) -> Files:
    from wbcbench.report.interactive import FILE, to_interactive

    return {FILE: to_interactive(report, study)}


def _contrasts(study: ReportStudy) -> Files:
    from wbcbench.compare.result import as_csv

    found = study.comparison
    return {"contrasts.csv": as_csv(found).encode()} if found and found.effects else {}


def _figures(report: Report) -> list[Figure]:
    return [figure for block in report.blocks for figure in block.figures]


FORMATS: Mapping[str, Callable[[Report, ReportStudy], Files]] = {
    "html": _html,
    "md": _markdown,
    "tex": _tex,
    "csv": _csv,
    "svg": _svg,
    "pdf": _pdf,
    "interactive": _interactive,
}
