"""Runs as marks, and means with two intervals each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench.report.drawing import INK, WIDTH_IN, new_plot, short_labels, variant_style
from wbcbench.report.study import ReportStudy
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# More marks than this would weigh more than the rest of the page.
_MOST = 150

DOT = 3.0  # points

_ROW_IN = 0.2
_GROUP_IN = 0.22

Pair = tuple[float, float]


def draw_runs(plot: Axes, study: ReportStudy, points: Sequence[tuple[Run, float, float]]) -> None:
    """Draw ``[n]`` runs at their points; each variant is labelled once, for a legend."""
    names = short_labels(study.variants)
    for variant in study.variants:
        own = [(x, y) for run, x, y in points if run.spec.variant == variant]
        if not own:
            continue
        look = variant_style(study.variants, variant)
        x, y = ([point[i] for point in own] for i in (0, 1))
        if len(points) > _MOST:
            _draw_dots(plot, x, y, look.colour)
            x, y = [], []
        mark = {"color": look.colour, "markersize": 6, "markeredgewidth": 0}
        plot.plot(x, y, look.shape, label=names[variant], **mark)  # type: ignore[arg-type]


# A mark of matplotlib weighs about a hundred bytes in an SVG; a line of no length with round ends
# is a dot too, and thousands of them are one path.
def _draw_dots(
    plot: Axes, x: Sequence[float], y: Sequence[float], colour: str, size: float = DOT
) -> None:
    """Round dots at ``[n]`` points, in the axes' own units; nothing for none."""
    draw_strokes(plot, zip(x, y, y, strict=True), colour, size)


def draw_strokes(
    plot: Axes, spans: Iterable[tuple[float, float, float]], colour: str, size: float = DOT
) -> None:
    """Upright strokes with round ends: ``x``, from, to; one of no length is a dot."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    points = [point for x, low, high in spans for point in ((x, low), (x, high))]
    if not points:
        return
    codes = [Path.MOVETO, Path.LINETO] * (len(points) // 2)
    path = Path(points, codes)
    path.should_simplify = False  # it would take dots for nothing
    ends = {"edgecolor": colour, "linewidth": size, "capstyle": "round"}
    plot.add_patch(PathPatch(path, facecolor="none", **ends))


def draw_boxes(
    plot: Axes,
    spans: Iterable[tuple[float, float]],
    heights: tuple[float, float],
    colour: str,
    alpha: float,
) -> None:
    """Areas from one place to another, as one path; heights are shares of the plot's."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    low, high = heights
    corners = [[(a, low), (b, low), (b, high), (a, high), (a, low)] for a, b in spans]
    if not corners:
        return
    codes = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY] * len(corners)
    path = Path([corner for each in corners for corner in each], codes)
    across = plot.get_xaxis_transform()
    plot.add_patch(PathPatch(path, facecolor=colour, alpha=alpha, linewidth=0, transform=across))


@dataclass(frozen=True, slots=True)
class Whisker:
    """One mean of one variant in one group of rows.

    Attributes:
        group: Label of the rows it stands among.
        variant: Whose colour and shape it has.
        mean: Where the mark stands.
        by_seed, by_photograph: Intervals; ``None`` is not drawn.
    """

    group: str
    variant: str
    mean: float
    by_seed: Pair | None
    by_photograph: Pair | None


def draw_whiskers(variants: Sequence[str], found: Sequence[Whisker], axis: str) -> Canvas:
    """Groups from the top down, in each the variants in order; a share from 0 to 1 across."""
    groups = list(dict.fromkeys(each.group for each in found))
    shown = [v for v in variants if any(each.variant == v for each in found)]
    height_in = 0.9 + 0.25 * len(shown) / 2
    height_in += len(groups) * (_GROUP_IN + _ROW_IN * len(shown))
    canvas, plot = new_plot((WIDTH_IN, height_in))
    room = len(shown) + _GROUP_IN / _ROW_IN
    for each in found:
        look = variant_style(variants, each.variant)
        y = groups.index(each.group) * room + shown.index(each.variant)
        if each.by_photograph:
            plot.plot(each.by_photograph, [y, y], color=look.colour, linewidth=1.1)
        if each.by_seed:
            plot.plot(
                each.by_seed,
                [y, y],
                color=look.colour,
                linewidth=4.5,
                alpha=0.55,
                solid_capstyle="butt",
            )
        plot.plot(
            [each.mean], [y], look.shape, color=look.colour, markersize=7, markeredgecolor=INK
        )
    middle = (len(shown) - 1) / 2
    plot.set_yticks([i * room + middle for i in range(len(groups))], groups)
    plot.set_ylim(len(groups) * room - _GROUP_IN / _ROW_IN / 2 - 0.5, -1.0)
    plot.set_xlabel(axis)
    names = short_labels(shown)
    for variant in shown:
        look = variant_style(variants, variant)
        plot.plot([], [], look.shape, color=look.colour, label=names[variant])
    canvas.legend(loc="outside upper left", ncols=2, frameon=False)
    return canvas
