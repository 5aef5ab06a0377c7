"""The surface figures are drawn on, and one figure as SVG and as PDF that are always the same.

Matplotlib's object interface alone: no window system is asked for, and what is set is set only
while a figure is drawn and saved. A figure holds how it is drawn, not the drawing: whoever wants a
picture asks for it here. Text stays text, so that it can be read, searched and scaled.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from html import escape
from typing import IO, TYPE_CHECKING, Any

from wbcbench.report.labels import plain
from wbcbench.report.lighter import lighter
from wbcbench.report.palette import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import FigureCanvasBase
    from matplotlib.figure import Figure as Canvas

    from wbcbench.report import Figure

# In inches: narrow, so that text stays legible when a phone shrinks the picture to its width.
WIDTH_IN = 5.6
SIZE_IN = (WIDTH_IN, 4.2)

_SETTINGS = {
    "svg.hashsalt": "wbcbench",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "hatch.linewidth": 0.8,
}

# Points: what both formats are always saved at.
_DPI = 72

# One figure stands in the page and beside it: drawn once, however often it is asked for.
_KEPT = 64


def axes(size_in: tuple[float, float] = SIZE_IN) -> tuple[Canvas, Axes]:
    """One plot, ready to draw on; to be called while a figure is being drawn."""
    canvas, grid = panels(1, 1, size_in)
    return canvas, grid[0][0]


def panels(
    rows: int,
    columns: int,
    size_in: tuple[float, float] = SIZE_IN,
    *,
    share_x: bool = False,
    share_y: bool = False,
    heights: Sequence[float] | None = None,
) -> tuple[Canvas, list[list[Axes]]]:
    """Several plots, ``[rows][columns]``; to be called while a figure is being drawn.

    Args:
        rows: Plots below each other.
        columns: Plots beside each other.
        size_in: Width and height of the whole, in inches.
        share_x: Whether plots below each other share their horizontal axis.
        share_y: Whether plots beside each other share their vertical axis.
        heights: Relative heights of the rows.
    """
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=size_in, layout="constrained")
    grid = canvas.subplots(
        rows,
        columns,
        sharex="col" if share_x else False,
        sharey="row" if share_y else False,
        squeeze=False,
        height_ratios=heights,
    )
    for plot in grid.flat:
        plot.spines[["top", "right"]].set_visible(False)
        plot.grid(visible=True, color="#808080", alpha=0.25, linewidth=0.6)
        plot.set_axisbelow(True)
    return canvas, [list(row) for row in grid]


def cross(
    plot: Axes,
    at: tuple[float, float],
    half: tuple[float | None, float | None],
    colour: str,
) -> None:
    """An interval in both directions around a mean; an unknown half-width draws nothing."""
    (x, y), (half_x, half_y) = at, half
    bar = {"color": colour, "linewidth": 1.6, "capsize": 3.5, "zorder": 2.5}
    if half_x is not None:
        plot.errorbar([x], [y], xerr=[half_x], fmt="none", **bar)  # type: ignore[arg-type]
    if half_y is not None:
        plot.errorbar([x], [y], yerr=[half_y], fmt="none", **bar)  # type: ignore[arg-type]


@lru_cache(maxsize=_KEPT)
def to_svg(figure: Figure) -> str:
    """The figure as a file: ids prefixed by its name, title and description inside, no date."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _settings():
        _save(figure.draw(), FigureCanvasSVG, out, nothing)
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", out.getvalue(), flags=re.DOTALL)
    return _spoken(_prefixed(lighter(text, figure.name), figure.name), figure)


@lru_cache(maxsize=_KEPT)
def to_pdf(figure: Figure) -> bytes:
    """The figure as a page of its own size with its fonts inside, no date."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    out = io.BytesIO()
    words = {"Title": plain(figure.title), "CreationDate": None, "Creator": None, "Producer": None}
    with _settings():
        _save(figure.draw(), FigureCanvasPdf, out, words)
    return out.getvalue()


def inline(svg: str) -> str:
    """The same picture for a page: no prologue, no ground, ink in the reader's text colour."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r' (width|height)="[\d.]+pt"', "", body, count=2)
    body = re.sub(r'<g id="[^"]*patch_1">.*?</g>\s*', "", body, count=1, flags=re.DOTALL)
    # The plots' own grounds.
    body = body.replace("fill: #ffffff", "fill: none")
    return body.replace(INK, "currentColor")


def _save(
    canvas: Canvas, surface: type[FigureCanvasBase], out: IO[Any], words: Mapping[str, str | None]
) -> None:
    """Find room for everything, then save: saving alone would draw it all twice to find room.

    Room is found on the surface and at the scale that it is saved with.
    """
    engine = canvas.get_layout_engine()
    on = surface(canvas)
    canvas.dpi = _DPI
    if engine is not None:
        engine.execute(canvas)
    canvas.set_layout_engine(None)
    on.print_figure(out, format=on.get_default_filetype(), metadata=words)


@contextmanager
def _settings() -> Iterator[None]:
    """This project's settings and nobody else's, while a figure is drawn and saved."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)  # type: ignore[arg-type]
        yield


def _prefixed(svg: str, name: str) -> str:
    """Every id made the picture's own; two pictures of one page may not share one."""
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    return re.sub(r'href="#', f'href="#{name}-', svg)


def _spoken(svg: str, figure: Figure) -> str:
    name = figure.name
    start, end = svg.index("<svg"), svg.index(">", svg.index("<svg"))
    words = f' role="img" aria-labelledby="{name}-title {name}-desc">'
    spoken = (
        f'\n <title id="{name}-title">{escape(plain(figure.title))}</title>'
        f'\n <desc id="{name}-desc">{escape(plain(figure.description))}</desc>'
    )
    return svg[:start] + svg[start:end] + words + spoken + svg[end + 1 :]
