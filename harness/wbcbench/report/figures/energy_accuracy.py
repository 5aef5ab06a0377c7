"""Figure 1: energy against accuracy, with the Pareto front of the means."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from wbcbench.core.text import energy_scale
from wbcbench.energy.metrics import pareto_front
from wbcbench.report import Cells, DataTable, Figure, style
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import ENERGY, build_data_table
from wbcbench.stats.intervals import LEAST_FOR_ELLIPSE, ellipse, level_interval

if TYPE_CHECKING:
    from wbcbench.report.style import Axes, Canvas, Styles

HEADINGS = (
    "variant", "run", "energy in training (J)", "accuracy", "energy from (J)", "to (J)",
    "accuracy from", "to", "on the front", "share of resamples",
)  # fmt: skip
MEAN = "mean"
"""In the column of runs: the row of a variant's mean."""

# Without intervals the frame itself must keep noise from appearing as a difference.
_LEAST_SPAN = {False: 12.0, True: 2.0}  # percentage points
_LEAST_RATIO = {False: 0.2, True: 0.02}
_MARGIN = 0.62
_ARM_POINTS = 24
_FEWEST = 8  # seeds, before a share of resamples says anything


def build_tradeoff(study: ReportStudy) -> Figure | None:
    """What the joules bought; ``None`` where no run has both joules and an accuracy.

    Means are over complete seeds where a comparison was made, so that they are those of the tables.
    """
    values = _collect_means(study) + _collect_runs(study)
    if len(values) <= 2:  # a single run is a point in an empty plane
        return None
    means = [row for row in values if row[1] == MEAN]
    data = build_data_table(f"Means and runs.{study.energy_stamp}", HEADINGS, values, (0, 1, 8))
    return Figure(
        "energy-accuracy",
        "Energy against accuracy",
        "; ".join(f"{row[0]}: {row[2]:.4g} J, accuracy {row[3]:.3f}" for row in means),
        " ".join(_iterate_legend(study, values)) + study.energy_stamp,
        data,
        partial(draw_tradeoff, study.styles, study.energy_kind),
    )


def _collect_means(study: ReportStudy) -> list[Cells]:
    compared = study.comparison.configurations if study.comparison else ()
    shares = {summary.label: summary.front_share for summary in compared}
    rows = []
    for configuration in study.configurations:
        runs = [run for run in study.metered(configuration) if run.row["accuracy"] is not None]
        if runs:
            energies = np.array([run.row[ENERGY] for run in runs], dtype=np.float64)
            accuracies = np.array([run.row["accuracy"] for run in runs], dtype=np.float64)
            spans = (level_interval(energies, "ratio"), level_interval(accuracies, "share"))
            ends = [
                end for span in spans for end in ((span.low, span.high) if span else (None,) * 2)
            ]
            means = (math.fsum(energies) / len(runs), math.fsum(accuracies) / len(runs))
            rows.append((configuration.label, *means, ends, shares.get(configuration.label)))
    front = pareto_front([(energy_j, accuracy) for _, energy_j, accuracy, _, _ in rows])
    if study.comparison and study.comparison.blocks.boards.is_spread:
        front = []  # of means over unlike boards
    # The shares are of the accuracy that is compared: none where its front is another.
    is_same = {rows[i][0] for i in front} == {each.label for each in compared if each.on_front}
    if study.energy_status == "estimated" or study.blocks_used < _FEWEST or not is_same:
        rows = [(*row[:-1], None) for row in rows]
    return [
        (label, MEAN, energy_j, accuracy, *ends, "yes" if place in front else "no", share)
        for place, (label, energy_j, accuracy, ends, share) in enumerate(rows)
    ]


def _collect_runs(study: ReportStudy) -> list[Cells]:
    return [
        (study.label_of(run), run.run_id, run.row[ENERGY], run.row["accuracy"], *(None,) * 6)
        for configuration in study.configurations
        for run in study.metered(configuration)
        if run.row["accuracy"] is not None
    ]


def _iterate_legend(study: ReportStudy, values: list[Cells]) -> Iterator[str]:
    means = [row for row in values if row[1] == MEAN]
    runs = len(values) - len(means)
    if runs > style.MOST_MARKS:
        yield f"Shaded: how {runs:,} runs lie."
    elif runs > len(means):
        yield "Faint: runs; solid: means."
    if any(row[4] is not None for row in means):
        yield "Crosses: 95 % CI."
    if sum(row[8] == "yes" for row in means) > 1:
        yield "Dashed: Pareto front of the means."
    if any(row[9] is not None for row in means) and len(means) <= len(style.COLOURS):
        yield "Per cent: resampled seeds that put a variant on the front."


def draw_tradeoff(styles: Styles, kind: str, data: DataTable) -> Canvas:
    """Draw the rows of ``build_tradeoff``."""
    canvas, plot = style.create_plot()
    rows = list(data.select(*HEADINGS))
    means = [row for row in rows if row[1] == MEAN]
    divisor, unit = energy_scale(max(row[2] for row in rows))
    runs = [(row[0], row[2] / divisor, 100 * row[3]) for row in rows if row[1] != MEAN]
    has_intervals = all(row[4] is not None for row in means)
    energies = [x for row in rows for x in (row[2], row[4], row[5]) if x is not None]
    accuracies = [100 * y for row in rows for y in (row[3], row[6], row[7]) if y is not None]
    energies = [x / divisor for x in energies]
    style.choose_scale(plot, "x", energies)
    if plot.get_xscale() == "log":
        plot.set_xlim(min(energies) / 1.25, max(energies) * 1.25)
    else:
        least = _LEAST_RATIO[has_intervals] * max(energies)
        plot.set_xlim(style.pad_limits(energies, _MARGIN, least))
    plot.set_ylim(style.pad_limits(accuracies, _MARGIN, _LEAST_SPAN[has_intervals]))
    style.draw_runs(plot, styles, runs)
    obstacles = [(x, y) for _, x, y in runs[: style.MOST_MARKS]]
    obstacles += _draw_front(plot, [row for row in means if row[8] == "yes"], divisor)
    for label, _, energy_j, accuracy, low_j, high_j, low, high, *_ in means:
        look, at = styles[label], (energy_j / divisor, 100 * accuracy)
        own = [(x, y) for name, x, y in runs if name == label]
        if LEAST_FOR_ELLIPSE <= len(own) <= style.MOST_MARKS:
            obstacles += _draw_ellipse(plot, own, look.colour)
        if low_j is not None and low is not None:
            ends = ((low_j / divisor, high_j / divisor), (100 * low, 100 * high))
            style.draw_cross(plot, at, ends, look.colour)
        plot.plot(*at, look.shape, color=look.colour, markersize=8, markeredgecolor=style.INK)
    if len(means) <= len(style.COLOURS):
        obstacles += _trace_crosses(means, divisor)
        style.draw_labels(
            canvas, plot, [_label_mean(row, divisor, len(means)) for row in means], obstacles
        )
    else:
        style.add_legend(canvas, styles, (row[0] for row in means))
    plot.set_xlabel(f"{kind}energy in training ({unit})")
    plot.set_ylabel("accuracy on TEST (%)")
    return canvas


def _label_mean(row: Cells, divisor: float, count: int) -> style.Point:
    name = style.trim_label(row[0])
    share = "" if row[9] is None or count < 2 else f"\n{100 * row[9]:.0f} % on front"
    return f"{name}{share}", row[2] / divisor, 100 * row[3]


def _trace_crosses(means: list[Cells], divisor: float) -> Iterator[tuple[float, float]]:
    """Points along the arms of each cross, which no label should hide."""
    for _, _, energy_j, accuracy, low_j, high_j, low, high, *_ in means:
        for share in range(_ARM_POINTS + 1) if low_j is not None and low is not None else ():
            at = share / _ARM_POINTS
            yield (low_j + at * (high_j - low_j)) / divisor, 100 * accuracy
            yield energy_j / divisor, 100 * (low + at * (high - low))


def _draw_front(plot: Axes, front: list[Cells], divisor: float) -> list[tuple[float, float]]:
    """Returns points along its steps."""
    corners = sorted((row[2] / divisor, 100 * row[3]) for row in front)
    if len(corners) < 2:
        return []
    look: dict[str, Any] = {"color": style.INK, "linestyle": "--", "linewidth": 1.0, "alpha": 0.7}
    plot.step(*zip(*corners, strict=True), where="post", **look)
    shares = [share / _ARM_POINTS for share in range(_ARM_POINTS + 1)]
    steps = [
        [(x + share * (right - x), y), (right, y + share * (top - y))]
        for (x, y), (right, top) in pairwise(corners)
        for share in shares
    ]
    return [point for step in steps for point in step]


def _draw_ellipse(
    plot: Axes, points: list[tuple[float, float]], colour: str
) -> list[tuple[float, float]]:
    """Returns the points of its outline."""
    outline = ellipse(points)
    if outline is None:
        return []
    plot.plot(outline[:, 0], outline[:, 1], color=colour, linewidth=0.9)
    return [(x, y) for x, y in outline.tolist()]
