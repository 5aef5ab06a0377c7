"""The report as one page that needs nothing else: no script, no network, no file beside it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from wbcbench.core.text import printable
from wbcbench.report import Report
from wbcbench.report.anchors import anchor
from wbcbench.report.drawing import inline, to_svg

if TYPE_CHECKING:
    from jinja2 import Template


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
    environment.filters["picture"] = lambda figure: Markup(inline(to_svg(figure)))
    environment.globals["anchor"] = anchor
    return environment.get_template("page.html.j2")


def _readable(value: object) -> object:
    """Text without signs that no page may hold or that turn the direction of what follows."""
    from markupsafe import Markup

    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value.replace("\t", " "))
    return value
