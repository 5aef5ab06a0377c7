"""Figure 2: differences from the baseline, beside the region of practical equivalence."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from wbcbench.compare.render import name_contrast
from wbcbench.compare.result import ContrastResult, Effect
from wbcbench.compare.sentences import name_metric
from wbcbench.core.text import count_of
from wbcbench.report import Cells, DataTable, Figure, style
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import build_data_table, format_signed

if TYPE_CHECKING:
    from wbcbench.report.style import Axes, Canvas, Styles

HEADINGS = (
    "contrast", "against", "metric", "difference", "from", "to", "unit", "region from", "region to",
    "result", "seeds",
)  # fmt: skip
MOST_ROWS = 12
_ROW_IN, _AROUND_IN = 0.44, 1.05
_SHORTEST_IN = style.SIZE_IN[1]


def build_differences(study: ReportStudy) -> Figure | None:
    """The primary contrasts; ``None`` where nothing was compared."""
    comparison = study.comparison
    effects = [
        e
        for e in (comparison.effects if comparison else ())
        if e.family == "primary" and e.estimate is not None and math.isfinite(e.estimate)
    ]
    if not effects:
        return None
    contrasts = list(dict.fromkeys(map(name_contrast, effects)))
    against = {effect.against for effect in effects}
    title = f"Differences from {against.pop()}" if len(against) == 1 else "Differences"
    tested = any(e.result is not ContrastResult.NOT_TESTED for e in effects)
    words = [
        "95 % CI; filled: different after Holm." if tested else "95 % CI; not tested.",
        "Grey: too small to matter." if any(e.region for e in effects) else "",
        f"{MOST_ROWS} of {count_of(len(contrasts), 'contrast')}."
        if len(contrasts) > MOST_ROWS
        else "",
    ]
    return Figure(
        "differences",
        title,
        "; ".join(map(_describe, effects[: 2 * MOST_ROWS])),
        " ".join(filter(None, words)) + study.stamp_of(e.metric.name for e in effects),
        build_data_table(
            f"Differences within seeds.{study.stamp}",
            HEADINGS,
            [_build_row(effect) for effect in effects],
            (0, 1, 2, 6, 9),
        ),
        partial(draw_differences, study.styles),
    )


def _describe(effect: Effect) -> str:
    unit, interval = f" {effect.metric.unit}", effect.interval
    ends = f" [{format_signed(interval.low)}, {format_signed(interval.high)}]" if interval else ""
    about = f"{name_contrast(effect)}, {name_metric(effect)}"
    return f"{about}: {format_signed(effect.estimate)}{unit}{ends}"


def _build_row(effect: Effect) -> tuple[str | float | None, ...]:
    interval = effect.interval
    return (
        effect.contrast,
        effect.against,
        name_metric(effect),
        effect.estimate,
        interval.low if interval else None,
        interval.high if interval else None,
        effect.metric.unit,
        *(effect.region or (None, None)),
        effect.result.value,
        effect.n,
    )


def draw_differences(styles: Styles, data: DataTable) -> Canvas:
    """Draw the rows of ``build_differences``: a plot for each metric, a line for each contrast."""
    rows = list(data.select(*HEADINGS))
    contrasts = list(dict.fromkeys(row[0] for row in rows))[:MOST_ROWS]
    metrics = list(dict.fromkeys((row[2], row[6]) for row in rows))[:3]
    height_in = max(_SHORTEST_IN, len(contrasts) * _ROW_IN + _AROUND_IN)
    canvas, (plots,) = style.create_plots(
        1, len(metrics), (style.WIDTH_IN, height_in), share_y=True
    )
    for plot, (metric, unit) in zip(plots, metrics, strict=True):
        own = [row for row in rows if row[2] == metric and row[0] in contrasts]
        _draw_metric(plot, styles, contrasts, own)
        plot.set_xlabel(f"{metric} ({unit or 'own unit'})")
    names = style.make_short_labels(contrasts)
    plots[0].set_yticks(range(len(contrasts)), [names[contrast] for contrast in contrasts])
    plots[0].set_ylim(len(contrasts) - 0.4, -0.6)
    return canvas


def _draw_metric(plot: Axes, styles: Styles, contrasts: list[str], rows: list[Cells]) -> None:
    from matplotlib.ticker import MaxNLocator

    low, high = rows[0][7:9]
    if low is not None:
        plot.axvspan(low, high, color="#808080", alpha=0.22, linewidth=0)
    plot.axvline(0.0, color=style.INK, linewidth=1.0)
    for contrast, _, _, estimate, start, end, _, _, _, result, _ in rows:
        y = contrasts.index(contrast)
        look = styles.get(contrast)
        colour = look.colour if look else style.INK
        if start is not None:
            plot.plot([start, end], [y, y], color=colour, linewidth=2.2, marker="|")
        face = colour if result == ContrastResult.DIFFERENT else "#ffffff"
        plot.plot(
            [estimate], [y], look.shape if look else "o",
            color=colour, markersize=7.5, markerfacecolor=face,
        )  # fmt: skip
    plot.margins(x=0.12)
    plot.xaxis.set_major_locator(MaxNLocator(nbins=4))
    plot.grid(visible=False, axis="y")
    plot.tick_params(axis="y", length=0)
