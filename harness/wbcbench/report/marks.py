"""One mark a run, in its variant's colour and shape; dots of one path where runs are many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wbcbench.report.dots import dots
from wbcbench.report.evidence import ReportStudy
from wbcbench.report.labels import labels
from wbcbench.report.palette import style
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More marks than this would weigh more than the rest of the page.
_MOST = 150


def marks(plot: Axes, study: ReportStudy, points: Sequence[tuple[Run, float, float]]) -> None:
    """Draw ``[n]`` runs at their points; each variant is labelled once, for a legend."""
    names = labels(study.variants)
    for variant in study.variants:
        own = [(x, y) for run, x, y in points if run.spec.variant == variant]
        if not own:
            continue
        look = style(study.variants, variant)
        x, y = ([point[i] for point in own] for i in (0, 1))
        if len(points) > _MOST:
            dots(plot, x, y, look.colour)
            x, y = [], []
        mark = {"color": look.colour, "markersize": 6, "markeredgewidth": 0}
        plot.plot(x, y, look.shape, label=names[variant], **mark)  # type: ignore[arg-type]
