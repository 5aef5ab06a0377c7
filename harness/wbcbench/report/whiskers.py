"""Means with two intervals each: a thick one over runs, a thin one over photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench.report.drawing import WIDTH_IN, axes
from wbcbench.report.labels import labels
from wbcbench.report.palette import INK, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

_ROW_IN = 0.2
_GROUP_IN = 0.22

Pair = tuple[float, float]


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


def picture(variants: Sequence[str], found: Sequence[Whisker], axis: str) -> Canvas:
    """Groups from the top down, in each the variants in order; a share from 0 to 1 across."""
    groups = list(dict.fromkeys(each.group for each in found))
    shown = [v for v in variants if any(each.variant == v for each in found)]
    height_in = 0.9 + 0.25 * len(shown) / 2
    height_in += len(groups) * (_GROUP_IN + _ROW_IN * len(shown))
    canvas, plot = axes((WIDTH_IN, height_in))
    room = len(shown) + _GROUP_IN / _ROW_IN
    for each in found:
        look = style(variants, each.variant)
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
    names = labels(shown)
    for variant in shown:
        look = style(variants, variant)
        plot.plot([], [], look.shape, color=look.colour, label=names[variant])
    canvas.legend(loc="outside upper left", ncols=2, frameon=False)
    return canvas
