"""Many points as one path: a figure of thousands of marks that still fits into a page.

A mark of matplotlib weighs about a hundred bytes in an SVG; a line of no length with round ends is
a dot too, and thousands of them are one path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOT = 3.0  # points


def dots(
    plot: Axes, x: Sequence[float], y: Sequence[float], colour: str, size: float = DOT
) -> None:
    """Round dots at ``[n]`` points, in the axes' own units; nothing for none."""
    strokes(plot, zip(x, y, y, strict=True), colour, size)


def strokes(
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


def boxes(
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
