"""Figure 3: learning curves over the joules spent, with seconds on a second axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

import numpy as np

from wbcbench.core.text import count_of, energy_scale
from wbcbench.report import Cells, DataTable, Figure, style
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import build_data_table
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from wbcbench.report.style import Axes, Canvas, Styles

HEADINGS = (
    "variant", "run", "epoch", "energy since the start (J)", "training time (s)", "score", "target",
)  # fmt: skip
# More lines than these add nothing, and make a page too large to load.
MOST_LINES = 64
_STEPS = 8
# If no run's mean power is further from the mean than this, one axis serves joules and seconds.
_SAME_POWER = 0.05


def build_learning_curves(study: ReportStudy) -> Figure | None:
    """How the score grew with the joules, or with seconds where no joules are known."""
    runs = study.comparable or study.done
    targets = {(run.spec.target_metric, run.spec.target_value) for run in runs}
    target = runs[0].spec.target_value if len(targets) == 1 else None
    rows: list[Cells] = [
        (study.label_of(run), run.run_id, *point, target)
        for run in runs
        for point in _list_points(study, run, in_joules=bool(study.comparable))
    ]
    if not rows:
        return None
    metric = runs[0].spec.target_metric.replace("val_", "validation ").replace("_", " ")
    last = {str(row[1]): row for row in rows}
    return Figure(
        "learning-curves",
        f"{metric[:1].upper()}{metric[1:]} over {'joules' if study.comparable else 'seconds'}",
        "; ".join(
            f"{name}: {row[5]:.3f} after epoch {row[2]}" for name, row in [*last.items()][:40]
        ),
        " ".join(_iterate_legend(len(last), len(study.labels), target)) + study.energy_stamp,
        build_data_table(f"The end of each epoch.{study.energy_stamp}", HEADINGS, rows, (0, 1)),
        partial(draw_learning, study.styles, metric),
    )


def _list_points(study: ReportStudy, run: Run, *, in_joules: bool) -> Iterator[Cells]:
    curve = study.evidence[run].curve
    points = zip(curve.epochs, curve.energy_j, curve.time_s, curve.score, strict=True)
    return (point for point in points if not in_joules or point[1] is not None)


def _iterate_legend(runs: int, variants: int, target: float | None) -> Iterator[str]:
    if runs > MOST_LINES:
        yield f"Median of {count_of(runs, 'run')} and the middle 80 %."
    elif runs > variants:
        yield "Thin: runs; thick: median."
    if target is not None:
        yield "Dotted: the target."


def draw_learning(styles: Styles, metric: str, data: DataTable) -> Canvas:
    """Draw the rows of ``build_learning_curves``."""
    canvas, plot = style.create_plot()
    rows = list(data.select(*HEADINGS))
    in_joules, target = rows[0][3] is not None, rows[0][6]
    divisor, unit = energy_scale(max(row[3] for row in rows)) if in_joules else (1.0, "s")
    curves: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for variant, run, _, energy_j, time_s, score, _ in rows:
        cost = (energy_j if in_joules else time_s) / divisor
        curves.setdefault(variant, {}).setdefault(run, []).append((cost, score, time_s))
    count = sum(map(len, curves.values()))
    labels = [
        (
            variant,
            *_draw_variant(plot, styles[variant], [*own.values()], is_banded=count > MOST_LINES),
        )
        for variant, own in curves.items()
    ]
    lines = [np.asarray(line.get_xydata()).tolist() for line in plot.lines]
    drawn = [point for line in lines for point in _trace_line(line)]
    if target is not None:
        plot.axhline(target, color=style.INK, linestyle=":", linewidth=1.4)
    quantity = "energy since the start of training" if in_joules else "training time"
    plot.set_xlabel(f"{quantity} ({unit})")
    plot.set_ylabel(metric)
    plot.margins(x=0.02, y=0.08)
    plot.set_xlim(left=0.0, right=plot.get_xlim()[1] * 1.02)
    ends = [own[-1] for runs in curves.values() for own in runs.values()]
    power = _find_common_power(ends) if in_joules else None
    if power:
        seconds: Any = (lambda cost: cost / power, lambda time_s: time_s * power)
        above = plot.secondary_xaxis("top", functions=seconds)
        above.set_xlabel("seconds", fontsize=10)
    if len(labels) <= len(style.COLOURS):
        names = style.make_short_labels(name for name, _, _ in labels)
        style.draw_labels(canvas, plot, [(names[n], x, y) for n, x, y in labels], drawn)
    else:
        style.add_legend(canvas, styles, curves)
    return canvas


def _trace_line(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Points along a line, which no label should hide."""
    yield from points[:1]
    for (x, y), (right, top) in pairwise(points):
        for step in range(1, _STEPS + 1):
            yield x + step / _STEPS * (right - x), y + step / _STEPS * (top - y)


def _draw_variant(
    plot: Axes,
    look: style.Style,
    curves: Sequence[Sequence[tuple[float, float, float]]],
    *,
    is_banded: bool,
) -> tuple[float, float]:
    """The runs and the median of one variant; returns the place of its label."""
    shared = min(map(len, curves))
    columns = [[curve[i] for curve in curves] for i in range(shared)]
    costs = [median(point[0] for point in column) for column in columns]
    scores = [median(point[1] for point in column) for column in columns]
    if is_banded and len(curves) > 1:
        spans = [quantiles([point[1] for point in column], n=10) for column in columns]
        low, high = [span[0] for span in spans], [span[-1] for span in spans]
        plot.fill_between(costs, low, high, color=look.colour, alpha=0.18, linewidth=0)
    elif not is_banded:
        width, alpha = (1.6, 1.0) if len(curves) == 1 else (0.7, 0.4)
        for curve in curves:
            x, y, _ = zip(*curve, strict=True)
            plot.plot(x, y, color=look.colour, linewidth=width, alpha=alpha)
    if len(curves) > 1:
        plot.plot(costs, scores, color=look.colour, linestyle=look.dash, linewidth=2.2)
    plot.plot(costs[-1:], scores[-1:], look.shape, color=look.colour, markersize=6)
    return costs[-1], scores[-1]


def _find_common_power(ends: Sequence[tuple[float, float, float]]) -> float | None:
    """Mean power in the axis' unit over seconds, if it is so similar that joules are seconds."""
    power = sum(cost for cost, _, _ in ends) / sum(time_s for _, _, time_s in ends)
    ratios = (cost / time_s / power for cost, _, time_s in ends)
    return power if all(abs(ratio - 1) <= _SAME_POWER for ratio in ratios) else None
