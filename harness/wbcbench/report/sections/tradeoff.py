"""Energy against accuracy: what the joules bought, with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wbcbench.core.text import count_of, energy_scale
from wbcbench.energy.metrics import pareto_front
from wbcbench.report import Block, DataTable, Figure, Statement, drawing
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import ENERGY, SUMMARY_FILE, format_number
from wbcbench.stats.intervals import LEAST_FOR_ELLIPSE, Interval, ellipse, level_interval
from wbcbench.table.view import Run

_LINE_IN = 0.21  # of a label, with a little air
_PLOT_SHARE = 0.8  # of the picture's height
_MOST_WITH_SHARE = 6
# Without intervals the frame itself must keep noise from appearing as a difference.
_LEAST_SPAN = {False: 0.12, True: 0.02}
_LEAST_RATIO = {False: 0.2, True: 0.02}


# Where a comparison was made its complete blocks are what is averaged, so that these are the means
# of the tables, and every configuration is compared on the same seeds. Without one it is all
# comparable runs.
@dataclass(frozen=True, slots=True)
class Centre:
    """One configuration's mean.

    Attributes:
        variant: Its label.
        energy_j: Mean joules of training.
        accuracy: Mean balanced accuracy.
        interval_j: 95 % t interval of ``energy_j``, above zero; ``None`` with fewer than three.
        interval_accuracy: The same of ``accuracy``, within 0 and 1.
        points: Joules and balanced accuracy of the runs that were averaged.
        front_share: Share of resampled sets of blocks in which the configuration is on the Pareto
            front; ``None`` without two complete blocks.
    """

    variant: str
    energy_j: float
    accuracy: float
    interval_j: Interval | None
    interval_accuracy: Interval | None
    points: tuple[tuple[float, float], ...]
    front_share: float | None = None


def compute_centres(study: ReportStudy) -> list[Centre]:
    """The mean of every configuration with known points, in the comparison's order."""
    compared = study.comparison.configurations if study.comparison else ()
    shares = {summary.label: summary.front_share for summary in compared}
    plotted = set(_select_plotted(study))
    centres = []
    for configuration in study.configurations:
        runs = [run for run in study.metered(configuration) if run in plotted]
        energies = [run.row[ENERGY] for run in runs]
        accuracies = [run.row["balanced_accuracy"] for run in runs]
        if runs:
            centre = Centre(
                variant=configuration.label,
                energy_j=math.fsum(energies) / len(runs),
                accuracy=math.fsum(accuracies) / len(runs),
                interval_j=level_interval(np.asarray(energies, dtype=np.float64), "ratio"),
                interval_accuracy=level_interval(np.asarray(accuracies, dtype=np.float64), "share"),
                points=tuple(zip(energies, accuracies, strict=True)),
                front_share=shares.get(configuration.label),
            )
            centres.append(centre)
    return centres


def _select_plotted(study: ReportStudy) -> list[Run]:
    """Comparable runs with a balanced accuracy."""
    return [run for run in study.comparable if run.row["balanced_accuracy"] is not None]


def select_front(centres: Sequence[Centre]) -> list[Centre]:
    """The means on the Pareto front of energy and accuracy, by rising energy."""
    return [centres[i] for i in pareto_front([(c.energy_j, c.accuracy) for c in centres])]


def build_tradeoff(study: ReportStudy) -> Block | None:
    """Energy against accuracy: what the joules bought, with its uncertainty."""
    centres = compute_centres(study)
    if not centres:
        return None
    blocks = study.blocks_used
    over = f"over {count_of(blocks, 'complete block')}" if blocks else "over runs"
    return Block(
        "trade-off",
        "What the joules bought",
        tables=(_build_table(study, centres, over),),
        figures=(_build_figure(study, centres, over),),
        claims=tuple(_iterate_claims(study, centres)),
    )


def _iterate_claims(study: ReportStudy, centres: list[Centre]) -> Iterator[Statement]:
    """The Pareto front, and how sure it is; nothing of a single configuration."""
    if len(centres) < 2:
        return
    front = [centre.variant for centre in select_front(centres)]
    yield Statement(
        "front",
        f"On the Pareto front of {study.energy_kind}energy and accuracy, on average: "
        f"{', '.join(front)}. The means are uncertain, and so is this front.",
        SUMMARY_FILE,
        "",
        {centre.variant: centre.variant in front for centre in centres},
    )
    shares = {c.variant: c.front_share for c in centres if c.front_share is not None}
    if shares:
        items = ", ".join(f"{variant} in {100 * share:.0f} %" for variant, share in shares.items())
        text = (
            f"When {count_of(study.blocks_used, 'block')} of runs are resampled with replacement, "
            f"2,000 times, these are on the front: {items}."
        )
        yield Statement("front-share", text, SUMMARY_FILE, "", shares)


def _build_table(study: ReportStudy, centres: list[Centre], over: str) -> DataTable:
    front = select_front(centres)
    rows = tuple(
        (
            centre.variant,
            str(len(centre.points)),
            format_number(centre.energy_j),
            *map(format_number, _list_ends(centre.interval_j)),
            format_number(centre.accuracy),
            *map(format_number, _list_ends(centre.interval_accuracy)),
            "yes" if centre in front else "no",
            "unknown" if centre.front_share is None else f"{100 * centre.front_share:.1f} %",
        )
        for centre in centres
    )
    headings = (
        "variant",
        "runs",
        "energy in training (J)",
        "95 % from (J)",
        "to (J)",
        "balanced accuracy",
        "95 % from",
        "to",
        "on the front",
        "share of resamples",
    )
    caption = (
        f"Means {over} with their 95 % t interval, which is unknown with fewer than three runs; it "
        "holds the runs' scatter and not the meter's own error. Energy: "
        f"{study.energy_words}.{study.stamp}"
    )
    return DataTable(caption, headings, rows, (0, 8))


def _list_ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (interval.low, interval.high) if interval else (None, None)


def _build_figure(study: ReportStudy, centres: list[Centre], over: str) -> Figure:
    description = "; ".join(
        f"{c.variant}: {c.energy_j:.4g} J, balanced accuracy {c.accuracy:.3f}" for c in centres
    )
    runs = _select_plotted(study)
    caption = (
        f"{''.join(_iterate_legend(runs, centres, over))}Further left costs less, further up is "
        f"better. The axes need not start at zero. Energy: {study.energy_words}.{study.stamp}"
    )
    rows = tuple(
        (
            run.run_id,
            study.label_of(run),
            format_number(run.row[ENERGY]),
            str(run.row["primary_status"]),
            format_number(run.row["balanced_accuracy"]),
        )
        for run in runs
    )
    headings = ("run", "variant", "energy in training (J)", "status", "balanced accuracy")
    table_caption = f"The points of the figure. {study.energy_words}.{study.stamp}"
    data = DataTable(table_caption, headings, rows, (0, 1, 3))
    return Figure(
        "energy-accuracy",
        lambda: _draw(study, runs, centres),
        "Energy in training against balanced accuracy on TEST",
        description,
        caption,
        data,
    )


def _iterate_legend(runs: list[Run], centres: list[Centre], over: str) -> Iterator[str]:
    if len(runs) > len(centres):
        yield f"Faint: runs. Solid: mean of a variant {over}. "
    if any(centre.interval_j is not None for centre in centres):
        yield "Crosses: 95 % t intervals of the means. "
    if any(len(centre.points) >= LEAST_FOR_ELLIPSE for centre in centres):
        yield "Ellipses: joint 95 % regions of the means. "
    if len(select_front(centres)) > 1:
        yield "Dashed: the Pareto front of the means. "
    if _has_shares(centres):
        yield "Per cent: how often a variant is on that front when blocks are resampled. "


def _has_shares(centres: Sequence[Centre]) -> bool:
    return 1 < len(centres) <= _MOST_WITH_SHARE and centres[0].front_share is not None


def _draw(study: ReportStudy, runs: list[Run], centres: list[Centre]) -> drawing.Canvas:
    lines = 2 if _has_shares(centres) else 1
    height_in = max(drawing.SIZE_IN[1], len(centres) * lines * _LINE_IN / _PLOT_SHARE)
    canvas, plot = drawing.create_plot((drawing.WIDTH_IN, height_in))
    divisor, unit = energy_scale(max(run.row[ENERGY] for run in runs))
    _set_limits(plot, runs, centres, divisor)
    plot.set_xlabel(f"energy in training ({unit})")
    plot.set_ylabel("balanced accuracy, TEST")
    for variant, own in study.by_label(runs).items():
        style = drawing.choose_style(study.labels, variant)
        plot.plot(
            [run.row[ENERGY] / divisor for run in own],
            [run.row["balanced_accuracy"] for run in own],
            style.shape,
            color=style.colour,
            alpha=0.7,
            markersize=4.5,
            markeredgewidth=0,
        )
    front = select_front(centres)
    if len(front) > 1:
        x, y = [c.energy_j / divisor for c in front], [c.accuracy for c in front]
        plot.step(x, y, where="post", color=drawing.INK, linestyle="--", linewidth=1.0, alpha=0.7)
    for centre in centres:
        _draw_mean(plot, study, centre, divisor)
    names = drawing.make_short_labels(centre.variant for centre in centres)
    labels = []
    for centre in centres:
        share = centre.front_share if lines == 2 else None
        text = names[centre.variant] + ("" if share is None else f"\nfront: {100 * share:.0f} %")
        labels.append((text, centre.energy_j / divisor, centre.accuracy))
    drawing.draw_margin_labels(plot, labels, lines * _LINE_IN / (_PLOT_SHARE * height_in))
    return canvas


def _set_limits(plot: drawing.Axes, runs: list[Run], centres: list[Centre], divisor: float) -> None:
    """Room around points and intervals, and never so little that noise appears as a difference."""
    has_intervals = all(centre.interval_j is not None for centre in centres)
    energies = [run.row[ENERGY] / divisor for run in runs]
    accuracies = [run.row["balanced_accuracy"] for run in runs]
    for centre in centres:
        energies += [x / divisor for x in _list_ends(centre.interval_j) if x is not None]
        accuracies += [y for y in _list_ends(centre.interval_accuracy) if y is not None]
    least = _LEAST_RATIO[has_intervals] * max(energies)
    plot.set_xlim(drawing.pad_limits(energies, 0.58, least))
    plot.set_ylim(drawing.pad_limits(accuracies, 0.58, _LEAST_SPAN[has_intervals]))


def _draw_mean(plot: drawing.Axes, study: ReportStudy, centre: Centre, divisor: float) -> None:
    style = drawing.choose_style(study.labels, centre.variant)
    x, y = centre.energy_j / divisor, centre.accuracy
    interval = centre.interval_j.transform(lambda j: j / divisor) if centre.interval_j else None
    drawing.draw_cross(plot, (x, y), (interval, centre.interval_accuracy), style.colour)
    outline = ellipse(centre.points)
    if outline is not None:
        # As the intervals: above zero joules, within 0 and 1.
        x_j = centre.energy_j * np.exp(outline[:, 0] / centre.energy_j - 1)
        y_within = np.clip(outline[:, 1], 0.0, 1.0)
        plot.plot(x_j / divisor, y_within, color=style.colour, linewidth=0.9)
    mark = {"color": style.colour, "markersize": 9, "markeredgecolor": drawing.INK, "zorder": 3}
    plot.plot([x], [y], style.shape, **mark)  # type: ignore[arg-type]
