"""Confusion matrices of several variants beside each other: counts, and shares of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench.report.drawing import WIDTH_IN, panels
from wbcbench.report.palette import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLUMNS = 2
_DEEPEST = 0.6  # of the fill: text stays legible on it in light and dark
_SHORT = 3


@dataclass(frozen=True, slots=True)
class Matrix:
    """One variant's counts.

    Attributes:
        title: Above it.
        classes: Names of the rows, which are the true classes.
        said: Names of the columns: the classes, and the unused output if it was ever said.
        counts: ``[true][said]``.
    """

    title: str
    classes: tuple[str, ...]
    said: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def shares(self) -> list[list[float | None]]:
        """Each count as a share of its row; ``None`` in a row without images."""
        sums = [sum(row) for row in self.counts]
        return [
            [count / total if total else None for count in row]
            for row, total in zip(self.counts, sums, strict=True)
        ]


def abbreviated(name: str) -> str:
    """A class name as short as a tick label must be."""
    return name[:_SHORT].upper()


def picture(matrices: Sequence[Matrix]) -> Canvas:
    """Two in a row; one alone takes the whole width."""
    columns = min(COLUMNS, len(matrices))
    rows = -(-len(matrices) // columns)
    height_in = 3.0 if columns == COLUMNS else 3.8
    canvas, grid = panels(rows, columns, (WIDTH_IN, height_in * rows))
    plots = [plot for line in grid for plot in line]
    for plot in plots[len(matrices) :]:
        plot.remove()
    for matrix, plot in zip(matrices, plots, strict=False):
        _draw(plot, matrix)
    canvas.supxlabel("what the network said", fontsize="medium")
    canvas.supylabel("true class", fontsize="medium")
    return canvas


def _draw(plot: Axes, matrix: Matrix) -> None:
    plot.grid(visible=False)
    for i, row in enumerate(matrix.shares()):
        for j, share in enumerate(row):
            _cell(plot, (j, i), share, matrix.counts[i][j])
    plot.set_xlim(-0.5, len(matrix.said) - 0.5)
    plot.set_ylim(len(matrix.classes) - 0.5, -0.5)
    for ticks, names in ((plot.set_xticks, matrix.said), (plot.set_yticks, matrix.classes)):
        ticks(range(len(names)), [abbreviated(name) for name in names], fontsize="small")
    plot.tick_params(length=0)
    plot.set_title(matrix.title, fontsize="small", loc="left")


def _cell(plot: Axes, at: tuple[int, int], share: float | None, count: int) -> None:
    """One cell: filled as deep as its share, with the share above the count."""
    from matplotlib.patches import Rectangle

    x, y = at
    told = "–" if share is None else f"{100 * share:.0f} %"
    fill = {"facecolor": COLOURS[0], "alpha": _DEEPEST * (share or 0.0), "linewidth": 0}
    cell = plot.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **fill))  # type: ignore[arg-type]
    words = {"horizontalalignment": "center", "verticalalignment": "center"}
    for artist in (
        cell,
        plot.text(x, y - 0.14, told, fontsize=10.5, **words),  # type: ignore[arg-type]
        plot.text(x, y + 0.24, f"{count:,}", fontsize=8.5, **words),  # type: ignore[arg-type]
    ):
        artist.set_in_layout(False)  # inside the axes whatever they say; asking takes a second
