"""The surface figures are drawn on: colours, labels, and files that are always the same."""

from __future__ import annotations

import io
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache
from html import escape
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib import axes, figure
    from matplotlib.backend_bases import FigureCanvasBase

    from wbcbench.report import Figure

    Axes = axes.Axes
    Canvas = figure.Figure

Ends = tuple[float | None, float | None]
Point = tuple[str, float, float]
"""Of a run: its variant, and where it lies."""

# Okabe and Ito (2008), distinct for people with colour-blindness, darkened so that each has 3:1 on
# white and on near-black. Shape, dashes and label repeat what the colour says.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#A0529A", "#B07A00", "#2C8FC4")
SHAPES = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))
_SIGNS = dict(zip(SHAPES, "●■▲◆▼✚", strict=True))

GREYS = (
    "#c9c9c9", "#a3a3a3", "#dedede", "#7d7d7d", "#b6b6b6", "#8f8f8f", "#5c5c5c", "#ffffff",
    "#d2d2d2", "#707070", "#ebebeb", "#989898", "#e4e4e4", "#adadad", "#4a4a4a",
)  # fmt: skip
"""For parts that are no variant: those beside each other differ."""

# What is not measured is not drawn as a plain surface.
HATCHES: Mapping[str, str] = {"measured": "", "estimated": "///", "simulated": ".."}

# Stands for the reader's own text colour; replaced when the picture is set into a page.
INK = "#1b1b1f"

# In inches: narrow, so that text stays legible when a phone shrinks the picture to its width.
WIDTH_IN = 5.4
SIZE_IN = (WIDTH_IN, 3.3)

MOST_MARKS = 200
"""Runs that are drawn one by one; of more, how densely they lie."""

_SQUARES, _SHADES = 24, 5
_CORNERS = ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))

LABEL_LENGTH = 26
_LABEL_TAIL = 10
_LETTER_EM = 0.6  # mean width of a letter of the font
_RINGS_PT = (8, 14, 22, 32, 44, 58, 74)  # distances at which a place for a label is looked for
_HIDDEN, _OUTSIDE = 1000, 300  # points that a label may hide rather than a label, or leave the axes
_DIRECTIONS = tuple(
    (dx, dy) for dx in (1.0, 0.5, 0.0, -0.5, -1.0) for dy in (1.0, 0.5, 0.0, -0.5, -1.0) if dx or dy
)
# Lines of a legend for which every figure has room, and the height of each further one.
_LEGEND_COLUMNS, _LEGEND_LINES, _LEGEND_LINE_IN = 2, 3, 0.22
# Axes are logarithmic where values spread over more than this.
_LOG_FROM = 5.0

_SETTINGS = {
    "svg.hashsalt": "wbcbench",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "hatch.linewidth": 0.8,
}

# Points: what both formats are always saved at.
_DPI = 72

# One figure stands in the page and beside it: drawn once, however often it is needed.
_CACHE_SIZE = 64


@dataclass(frozen=True, slots=True)
class Style:
    """Colour, shape and dash of one variant in every figure."""

    colour: str
    shape: str
    dash: str | tuple[int, tuple[int, ...]]

    @property
    def sign(self) -> str:
        """Its shape as a character."""
        return _SIGNS[self.shape]


Styles = Mapping[str, Style]
"""The style of each variant of a study, by label."""


def choose_styles(variants: Iterable[str]) -> Styles:
    """A style of its own for each variant, which depends on the set of variants alone."""
    n = len(COLOURS)
    # Beyond six the shapes shift against the colours.
    return {
        variant: Style(COLOURS[i % n], SHAPES[(i + i // n) % n], DASHES[(i + i // n) % n])
        for i, variant in enumerate(sorted(set(variants)))
    }


# Matplotlib's object interface alone: it needs no window system, and settings hold only while a
# figure is drawn and saved. A figure holds how it is drawn, not the drawing. Text stays text, so
# that it can be read, searched and scaled.
def create_plot(size_in: tuple[float, float] = SIZE_IN) -> tuple[Canvas, Axes]:
    """One plot, ready to draw on; to be called while a figure is being drawn."""
    canvas, grid = create_plots(1, 1, size_in)
    return canvas, grid[0][0]


def create_plots(
    rows: int,
    columns: int,
    size_in: tuple[float, float] = SIZE_IN,
    *,
    share_x: bool = False,
    share_y: bool = False,
) -> tuple[Canvas, list[list[Axes]]]:
    """Several plots, ``[rows][columns]``; to be called while a figure is being drawn.

    Args:
        rows: Plots below each other.
        columns: Plots beside each other.
        size_in: Width and height of the whole, in inches.
        share_x: Whether plots below each other share their horizontal axis.
        share_y: Whether plots beside each other share their vertical axis.
    """
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=size_in, layout="constrained")
    grid = canvas.subplots(
        rows,
        columns,
        sharex="col" if share_x else False,
        sharey="row" if share_y else False,
        squeeze=False,
    )
    for plot in grid.flat:
        plot.spines[["top", "right"]].set_visible(False)
        plot.grid(visible=True, color="#808080", alpha=0.25, linewidth=0.6)
        plot.set_axisbelow(True)
    return canvas, [list(row) for row in grid]


def pad_limits(values: Sequence[float], share: float, least_span: float) -> tuple[float, float]:
    """Limits around all values: ``share`` of their span on each side of the middle.

    A span below ``least_span`` counts as that, so that noise does not appear as a difference.
    """
    low, high = min(values), max(values)
    reach = share * max(high - low, least_span)
    return (low + high) / 2 - reach, (low + high) / 2 + reach


def choose_scale(plot: Axes, axis: str, values: Sequence[float]) -> None:
    """A logarithmic axis where the values spread over a factor of five, with plain numbers."""
    low, high = min(values), max(values)
    if low > 0 and high > _LOG_FROM * low:
        from matplotlib.ticker import LogLocator, NullFormatter

        getattr(plot, f"set_{axis}scale")("log")
        ticks = getattr(plot, f"{axis}axis")
        ticks.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ticks.set_major_formatter("{x:g}")
        ticks.set_minor_formatter(NullFormatter())


def draw_cross(
    plot: Axes, at: tuple[float, float], ends: tuple[Ends, Ends], colour: str, width: float = 1.6
) -> None:
    """An interval in both directions around a mean; an unknown one draws nothing."""
    for name, mean, (low, high) in zip(("xerr", "yerr"), at, ends, strict=True):
        if low is not None and high is not None:
            # Of equal runs the ends may lie beyond the mean by rounding.
            sides = [[max(mean - low, 0.0)], [max(high - mean, 0.0)]]
            bar: dict[str, Any] = {name: sides, "linewidth": width, "capsize": 3, "zorder": 2.5}
            plot.errorbar([at[0]], [at[1]], fmt="none", color=colour, **bar)


def draw_runs(plot: Axes, styles: Styles, points: Sequence[Point], alpha: float = 0.45) -> None:
    """Mark each run at its point; of very many, how densely those of each variant lie."""
    for variant, style in styles.items():
        own = [(x, y) for name, x, y in points if name == variant]
        if own and len(points) <= MOST_MARKS:
            mark: dict[str, Any] = {"color": style.colour, "markersize": 4.5, "markeredgewidth": 0}
            plot.plot(*zip(*own, strict=True), style.shape, alpha=alpha, **mark)
        elif own:
            _draw_density(plot, own, style.colour)


def _draw_density(plot: Axes, points: Sequence[tuple[float, float]], colour: str) -> None:
    """Squares of the plane, the darker the more points lie in them; those of a shade are one."""
    import numpy as np
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    x, y = np.asarray(points).T
    is_log = plot.get_xscale() == "log"
    counts, columns, rows = np.histogram2d(np.log(x) if is_log else x, y, bins=_SQUARES)
    columns = np.exp(columns) if is_log else columns
    shades = np.ceil(_SHADES * counts / counts.max())
    for shade in range(1, _SHADES + 1):
        corners = [
            [(columns[i + right], rows[j + up]) for right, up in _CORNERS]
            for i, j in np.argwhere(shades == shade)
        ]
        if corners:
            outline = Outline.make_compound_path(*(Outline(c, closed=True) for c in corners))
            alpha = 0.1 + 0.7 * shade / _SHADES
            plot.add_patch(PathPatch(outline, color=colour, alpha=alpha, linewidth=0, zorder=1))


def add_legend(canvas: Canvas, styles: Styles, names: Iterable[str]) -> None:
    """The marks of these variants, above the whole figure, which many make taller."""
    from matplotlib.lines import Line2D

    labels = make_short_labels(names)
    more = -(-len(labels) // _LEGEND_COLUMNS) - _LEGEND_LINES
    canvas.set_figheight(canvas.get_figheight() + _LEGEND_LINE_IN * max(more, 0))
    handles = [
        Line2D(
            [], [], color=styles[n].colour, marker=styles[n].shape, linestyle="", label=labels[n]
        )
        for n in labels
    ]
    canvas.legend(
        handles=handles, loc="outside upper left", ncols=_LEGEND_COLUMNS, frameon=False, fontsize=10
    )


@lru_cache(maxsize=_CACHE_SIZE)
def to_svg(figure: Figure) -> str:
    """The figure as a file: ids prefixed by its name, title and description inside, no date."""
    import_matplotlib()
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    _save(figure, FigureCanvasSVG, out, dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", out.getvalue(), flags=re.DOTALL)
    # Two pictures of one page may not share an id.
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{figure.name}-", svg)
    end = svg.index(">", svg.index("<svg"))
    name, title, description = figure.name, *map(clean_line, (figure.title, figure.description))
    labels = (
        f' role="img" aria-labelledby="{name}-title {name}-desc">'
        f'\n <title id="{name}-title">{escape(title)}</title>'
        f'\n <desc id="{name}-desc">{escape(description)}</desc>'
    )
    return svg[:end] + labels + svg[end + 1 :]


@lru_cache(maxsize=_CACHE_SIZE)
def to_pdf(figure: Figure) -> bytes:
    """The figure as a page of its own size with its fonts inside, no date."""
    import_matplotlib()
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    out = io.BytesIO()
    metadata = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    _save(figure, FigureCanvasPdf, out, {"Title": clean_line(figure.title), **metadata})
    return out.getvalue()


def inline_svg(svg: str) -> str:
    """The same picture for a page: no prologue, no ground, ink in the reader's text colour."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r' (width|height)="[\d.]+pt"', "", body, count=2)
    body = re.sub(r'<g id="[^"]*patch_1">.*?</g>\s*', "", body, count=1, flags=re.DOTALL)
    # The plots' own grounds.
    body = body.replace("fill: #ffffff", "fill: none")
    return body.replace(INK, "currentColor")


def _save(
    figure: Figure,
    surface: type[FigureCanvasBase],
    out: IO[Any],
    metadata: Mapping[str, str | None],
) -> None:
    with _apply_settings():
        target = surface(_draw(figure))
        target.print_figure(out, format=target.get_default_filetype(), metadata=metadata)


@lru_cache(maxsize=_CACHE_SIZE)
def _draw(figure: Figure) -> Canvas:
    """Draw it once for all formats, and find room for everything: saving alone would do it twice.

    Room is found at the scale that it is saved with, and always on the same surface.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    canvas = figure.draw(figure.data)
    engine = canvas.get_layout_engine()
    FigureCanvasSVG(canvas)
    canvas.dpi = _DPI
    if engine is not None:
        engine.execute(canvas)
    canvas.set_layout_engine(None)
    return canvas


@cache
def import_matplotlib() -> Any:
    """Import it without a user's settings: a wrong one ends the import.

    A ``matplotlibrc`` in the current folder comes before everything else, so it is left for once.
    """
    here, names = Path(__file__).parent, ("MPLBACKEND", "MATPLOTLIBRC")
    chosen = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ["MATPLOTLIBRC"] = os.devnull
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # a home that is read-only is no fault
    try:
        with chdir(here) if Path("matplotlibrc").exists() else nullcontext():
            return import_module("matplotlib")
    finally:
        del os.environ["MATPLOTLIBRC"]
        os.environ |= chosen


@contextmanager
def _apply_settings() -> Iterator[None]:
    """This project's settings and nobody else's, while a figure is drawn and saved."""
    mpl = import_matplotlib()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def clean_line(text: str) -> str:
    """The text on one line, without signs that no picture can hold or that turn its direction."""
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())


def trim_label(name: str, length: int = LABEL_LENGTH) -> str:
    """A label that fits into a picture: its middle goes, because names often differ at the end."""
    flat = clean_line(name)
    if len(flat) <= length:
        return flat
    return f"{flat[: length - _LABEL_TAIL - 1]}…{flat[-_LABEL_TAIL:]}"


def make_short_labels(names: Iterable[str]) -> dict[str, str]:
    """A short label for each name; names that are equal when cut are numbered."""
    labels: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for name in sorted(set(names)):
        label = trim_label(name)
        counts[label] += 1
        number = f" ({counts[label]})" if counts[label] > 1 else ""
        labels[name] = label[: LABEL_LENGTH - len(number)] + number
    return labels


def draw_labels(
    canvas: Canvas, plot: Axes, labels: Sequence[Point], obstacles: Sequence[tuple[float, float]]
) -> None:
    """Write each label near its point where it lies on no other point and on no other label.

    Places are tried from near to far; where none is free, the one that hides least is taken. A
    label that had to go far is joined to its point by a line.

    Args:
        canvas: Of the plot.
        plot: With its limits already set; they do not change any more.
        labels: Texts and their points, in the axes' own units.
        obstacles: Further points that should stay visible.
    """
    engine = canvas.get_layout_engine()
    if engine is not None:
        engine.execute(canvas)  # where the axes lie decides how far apart points are
    import numpy as np

    to_points, frame = plot.transData.transform, plot.get_window_extent()
    marks = [(x, y) for _, x, y in labels]
    points = to_points(np.array([*obstacles, *marks, *marks, *marks]))
    pixel = canvas.dpi / 72
    taken: list[Box] = []
    for text, x, y in labels:
        lines, at = text.splitlines(), to_points((x, y))
        size = (max(map(len, lines)) * _LETTER_EM * 10 * pixel, 12.5 * pixel * len(lines))
        places = []
        for ring, (dx, dy) in product(_RINGS_PT, _DIRECTIONS):
            left = at[0] + dx * ring * pixel - size[0] * (1 - dx) / 2
            low = at[1] + dy * ring * pixel - size[1] * (1 - dy) / 2
            box = (left, low, left + size[0], low + size[1])
            inside = (points > np.array(box[:2]) - 2) & (points < np.array(box[2:]) + 2)
            cost = int(inside.all(axis=1).sum()) + _HIDDEN * sum(
                _overlap(box, each) for each in taken
            )
            is_outside = left < frame.x0 or box[2] > frame.x1
            is_outside |= low < frame.y0 or box[3] > frame.y1
            places.append((cost + _OUTSIDE * is_outside + ring / 60, box))
        _, box = min(places)
        taken.append(box)
        shift = ((box[0] - at[0]) / pixel, (box[1] - at[1]) / pixel)
        gap = max(box[0] - at[0], at[0] - box[2], box[1] - at[1], at[1] - box[3])
        line = {"arrowstyle": "-", "color": INK, "linewidth": 0.5, "alpha": 0.6}
        plot.annotate(
            text, (x, y), shift, textcoords="offset points", fontsize=10, va="bottom",
            arrowprops=line if gap > _RINGS_PT[1] * pixel else None, annotation_clip=False,
            linespacing=1.1,
        ).set_in_layout(False)  # fmt: skip


Box = tuple[float, float, float, float]


def _overlap(box: Box, other: Box) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def draw_label(
    plot: Axes, text: str, at: tuple[float, float], place: tuple[float, float], **style: Any
) -> None:
    """A text at ``place`` outside the axes, joined to the point ``at`` by a thin line."""
    line = {"arrowstyle": "-", "color": INK, "linewidth": 0.6, "alpha": 0.6}
    plot.annotate(text, at, xytext=place, annotation_clip=False, arrowprops=line, **style)


def spread_places(wanted: Sequence[float], gap: float) -> list[float]:
    """Places for labels near the wanted ones and at least ``gap`` apart, in the same order.

    Neighbours that are too close become a group that is centred on its members' mean.
    """

    def lowest(group: list[tuple[float, int]]) -> float:
        centre = sum(value for value, _ in group) / len(group)
        return centre - gap * (len(group) - 1) / 2

    groups: list[list[tuple[float, int]]] = []
    for value, i in sorted((value, i) for i, value in enumerate(wanted)):
        groups.append([(value, i)])
        while len(groups) > 1 and lowest(groups[-1]) - lowest(groups[-2]) < gap * len(groups[-2]):
            last = groups.pop()
            groups[-1] += last
    places = [0.0] * len(wanted)
    for group in groups:
        for rank, (_, i) in enumerate(group):
            places[i] = lowest(group) + rank * gap
    return places
