"""Power over the phases of a run, drawn: bands, dots, steps and gaps. Knows no records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench.report.dots import boxes, strokes
from wbcbench.report.drawing import WIDTH_IN, panels
from wbcbench.report.labels import spread
from wbcbench.report.palette import COLOURS, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_LABELS_IN, _PANEL_IN = 1.9, 2.5
_GREY = "#808080"
_LABEL_SHARE = 0.055  # of the width: an upright label with a little air
_MINUTES_FROM_S = 600.0
_STROKE = 1.8  # points
_FOOT = 0.02  # height of the ticks at the foot, as a share of the plot

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn; all times on one clock, powers in watts.

    Attributes:
        dots: Time, lowest and highest reading.
        steps: Edges, and mean power from each edge on.
        phases: Name, start and end.
        passes: Spans marked at the foot.
        gaps: Spans without a reading.
        start_s: What the picture calls zero.
    """

    dots: Sequence[tuple[float, float, float]]
    steps: tuple[Sequence[float], Sequence[float]]
    phases: Sequence[tuple[str, float, float]]
    passes: Sequence[Span]
    gaps: Sequence[Span]
    start_s: float

    def draw(self) -> Canvas:
        """The picture: one plot for dots and one for steps, of what there is."""
        shown = [
            draw for draw, known in ((self._dots, self.dots), (self._steps, self.steps[0])) if known
        ]
        size_in = (WIDTH_IN, _LABELS_IN + _PANEL_IN * len(shown))
        canvas, grid = panels(len(shown), 1, size_in, share_x=True)
        scale, unit = self._scale()
        for draw, (plot,) in zip(shown, grid, strict=True):
            self._bands(plot, scale)
            draw(plot, scale)
            plot.set_ylim(0.0, 1.06 * self._most_w())
            plot.set_xlim(*(self._at(t, scale) for t in self._reach()))
        self._label(grid[0][0], scale)
        passes = [(self._at(a, scale), self._at(b, scale)) for a, b in self.passes]
        boxes(grid[-1][0], passes, (0.0, _FOOT), INK, 0.9)
        grid[-1][0].set_xlabel(f"time since the run began ({unit})")
        return canvas

    def _dots(self, plot: Axes, scale: float) -> None:
        strokes(plot, [(self._at(t, scale), a, b) for t, a, b in self.dots], COLOURS[0], _STROKE)
        plot.set_ylabel("power, as read (W)")

    def _steps(self, plot: Axes, scale: float) -> None:
        edges, power_w = self.steps
        x = [self._at(t, scale) for t in edges]
        plot.step(x, power_w, where="post", color=COLOURS[1], linewidth=1.3)
        plot.set_ylabel("from counter (W)")

    def _bands(self, plot: Axes, scale: float) -> None:
        every = [(self._at(a, scale), self._at(b, scale)) for _, a, b in self.phases]
        boxes(plot, every[::2], (0.0, 1.0), _GREY, 0.16)
        boxes(plot, every[1::2], (0.0, 1.0), _GREY, 0.06)
        torn = [(self._at(a, scale), self._at(b, scale)) for a, b in self.gaps]
        boxes(plot, torn, (0.0, 1.0), COLOURS[3], 0.5)

    def _label(self, plot: Axes, scale: float) -> None:
        """Names stand upright above the plot, joined to the middle of their bands."""
        left, right = plot.get_xlim()
        middles = [(self._at(a, scale) + self._at(b, scale)) / 2 for _, a, b in self.phases]
        places = spread(middles, _LABEL_SHARE * (right - left))
        top = plot.get_ylim()[1]
        for (name, _, _), middle, place in zip(self.phases, middles, places, strict=True):
            plot.annotate(
                phase_name(name),
                (middle, top),
                xytext=(place, 1.06 * top),
                rotation=90,
                ha="center",
                va="bottom",
                fontsize="small",
                annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.6, "alpha": 0.6},
            )

    def _at(self, t_s: float, scale: float) -> float:
        return (t_s - self.start_s) / scale

    def _scale(self) -> tuple[float, str]:
        first_s, last_s = self._reach()
        return (60.0, "min") if last_s - first_s >= _MINUTES_FROM_S else (1.0, "s")

    def _reach(self) -> Span:
        seen = [t for t, _, _ in self.dots] + list(self.steps[0])
        every = seen + [t for _, a, b in self.phases for t in (a, b)]
        return min(every), max(every)

    def _most_w(self) -> float:
        every = [high for _, _, high in self.dots] + [w for w in self.steps[1] if not math.isnan(w)]
        return max(every, default=1.0) or 1.0


def phase_name(name: str) -> str:
    """The name of a window as a label."""
    return name.replace("_", " ").replace("-", " ")
