"""Energy against accuracy: what the joules bought, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wbcbench.core.text import count_of, energy_scale
from wbcbench.energy.metrics import pareto_front
from wbcbench.report import Block, DataTable, Figure, Statement
from wbcbench.report.drawing import (
    INK,
    SIZE_IN,
    WIDTH_IN,
    draw_cross,
    in_margin,
    new_plot,
    short_labels,
    variant_style,
)
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import SUMMARY_FILE, number_words
from wbcbench.stats.intervals import LEAST_FOR_ELLIPSE, ellipse, t_interval
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NAME = "energy-accuracy"
TITLE = "Energy in training against balanced accuracy on TEST"

_LINE_IN = 0.21  # of a label, with a little air
_PLOT_SHARE = 0.8  # of the picture's height
_MOST_WITH_SHARE = 6
# Without intervals the frame itself must keep noise from looking like a difference.
_LEAST_SPAN = {False: 0.12, True: 0.02}
_LEAST_RATIO = {False: 0.2, True: 0.02}


def tradeoff_section(study: ReportStudy) -> Block | None:
    """Energy against accuracy: what the joules bought, and how sure that is."""
    found = variant_means(study)
    if not found:
        return None
    return Block(
        "trade-off",
        "What the joules bought",
        tables=(_means(study, found),),
        figures=(_figure(study, found),),
        claims=tuple(_claims(study, found)),
    )


def _claims(study: ReportStudy, found: list[Centre]) -> Iterator[Statement]:
    """Who is on the front, and how sure that is; nothing of a single arm."""
    if len(found) < 2:
        return
    on_front = {each.variant for each in means_on_front(found)}
    names = ", ".join(each.variant for each in means_on_front(found))
    yield Statement(
        "front",
        f"Beaten by none on both {study.energy_kind}energy and accuracy, on average: {names}. The "
        "means are uncertain, and so is this front.",
        SUMMARY_FILE,
        "",
        {each.variant: each.variant in on_front for each in found},
    )
    shares = {each.variant: each.front_share for each in found if each.front_share is not None}
    if shares:
        told = ", ".join(f"{variant} in {100 * share:.0f} %" for variant, share in shares.items())
        blocks = count_of(study.blocks_used, "block")
        text = (
            f"When {blocks} of runs are drawn anew with replacement, 2,000 times, these are on the "
            f"front: {told}."
        )
        yield Statement("front-share", text, SUMMARY_FILE, "", shares)


def _means(study: ReportStudy, found: list[Centre]) -> DataTable:
    on_front = {each.variant for each in means_on_front(found)}
    rows = tuple(
        (
            each.variant,
            str(len(each.points)),
            number_words(each.energy_j),
            number_words(each.half_j),
            number_words(each.accuracy),
            number_words(each.half_accuracy),
            "yes" if each.variant in on_front else "no",
            "unknown" if each.front_share is None else f"{100 * each.front_share:.1f} %",
        )
        for each in found
    )
    headings = (
        "variant",
        "runs",
        "energy in training (J)",
        "± 95 % (J)",
        "balanced accuracy",
        "± 95 %",
        "on the front",
        "share of resamples",
    )
    caption = (
        f"Means {_over(study)} with the half-width of their 95 % t interval, which is unknown with "
        f"fewer than three runs; it holds the runs' scatter and not the meter's own error. Energy: "
        f"{study.energy_words}.{study.stamp}"
    )
    return DataTable(caption, headings, rows, frozenset({0, 6}))


def _over(study: ReportStudy) -> str:
    blocks = study.blocks_used
    return f"over {count_of(blocks, 'complete block')}" if blocks else "over runs"


def _figure(study: ReportStudy, found: list[Centre]) -> Figure:
    description = "; ".join(
        f"{each.variant}: {each.energy_j:.4g} J, balanced accuracy {each.accuracy:.3f}"
        for each in found
    )
    runs = _plotted_runs(study)
    caption = (
        f"{''.join(_legend(study, runs, found))}Further left costs less, further up is better. "
        f"The axes need not start at zero. Energy: {study.energy_words}.{study.stamp}"
    )
    data = _data(study, runs)
    return Figure(NAME, lambda: _picture(study, runs, found), TITLE, description, caption, data)


def _legend(study: ReportStudy, runs: list[Run], found: list[Centre]) -> Iterator[str]:
    if len(runs) > len(found):
        yield f"Faint: runs. Solid: mean of a variant {_over(study)}. "
    if any(each.half_j is not None for each in found):
        yield "Crosses: 95 % t intervals of the means. "
    if any(len(each.points) >= LEAST_FOR_ELLIPSE for each in found):
        yield "Ellipses: joint 95 % regions of the means. "
    if len(means_on_front(found)) > 1:
        yield "Dashed: means that none beats on both axes. "
    if _tells_share(found):
        yield "Per cent: how often a variant is on that front when blocks are drawn anew. "


def _tells_share(found: Sequence[Centre]) -> bool:
    return 1 < len(found) <= _MOST_WITH_SHARE and found[0].front_share is not None


def _picture(study: ReportStudy, runs: list[Run], found: list[Centre]) -> Canvas:
    lines = len(found) * (2 if _tells_share(found) else 1)
    height_in = max(SIZE_IN[1], lines * _LINE_IN / _PLOT_SHARE)
    canvas, plot = new_plot((WIDTH_IN, height_in))
    divisor, unit = energy_scale(max(run.row["primary_energy_train_j"] for run in runs))
    _frame(plot, runs, found, divisor)
    plot.set_xlabel(f"energy in training ({unit})")
    plot.set_ylabel("balanced accuracy, TEST")
    _draw_runs(plot, study, runs, divisor)
    _draw_front(plot, found, divisor)
    for each in found:
        _draw_mean(plot, study, each, divisor)
    _label(plot, found, divisor, height_in)
    return canvas


def _frame(plot: Axes, runs: list[Run], found: list[Centre], divisor: float) -> None:
    """Room around points and intervals, and never so little that noise looks like a difference."""
    known = all(each.half_j is not None for each in found)
    energies = [run.row["primary_energy_train_j"] / divisor for run in runs]
    accuracies = [run.row["balanced_accuracy"] for run in runs]
    for each in found:
        half_j, half = each.half_j or 0.0, each.half_accuracy or 0.0
        energies += [(each.energy_j - half_j) / divisor, (each.energy_j + half_j) / divisor]
        accuracies += [each.accuracy - half, each.accuracy + half]
    plot.set_ylim(*_limits(accuracies, _LEAST_SPAN[known]))
    plot.set_xlim(*_limits(energies, _LEAST_RATIO[known] * max(energies)))


def _limits(values: list[float], least_span: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    span = max(high - low, least_span)
    middle = (low + high) / 2
    return middle - 0.58 * span, middle + 0.58 * span


def _draw_runs(plot: Axes, study: ReportStudy, runs: list[Run], divisor: float) -> None:
    for variant, own in study.by_label(runs).items():
        look = variant_style(study.labels, variant)
        plot.plot(
            [run.row["primary_energy_train_j"] / divisor for run in own],
            [run.row["balanced_accuracy"] for run in own],
            look.shape,
            color=look.colour,
            alpha=0.7,
            markersize=4.5,
            markeredgewidth=0,
        )


def _draw_front(plot: Axes, found: list[Centre], divisor: float) -> None:
    steps = means_on_front(found)
    if len(steps) > 1:
        x, y = [each.energy_j / divisor for each in steps], [each.accuracy for each in steps]
        plot.step(x, y, where="post", color=INK, linestyle="--", linewidth=1.0, alpha=0.7)


def _draw_mean(plot: Axes, study: ReportStudy, each: Centre, divisor: float) -> None:
    look = variant_style(study.labels, each.variant)
    at = (each.energy_j / divisor, each.accuracy)
    half_j = None if each.half_j is None else each.half_j / divisor
    draw_cross(plot, at, (half_j, each.half_accuracy), look.colour)
    outline = ellipse(each.points)
    if outline is not None:
        plot.plot(outline[:, 0] / divisor, outline[:, 1], color=look.colour, linewidth=0.9)
    plot.plot(
        *([value] for value in at),
        look.shape,
        color=look.colour,
        markersize=9,
        markeredgecolor=INK,
        zorder=3,
    )


def _label(plot: Axes, found: list[Centre], divisor: float, height_in: float) -> None:
    names = short_labels(each.variant for each in found)
    tells = _tells_share(found)
    told = {
        each.variant: f"\nfront: {100 * each.front_share:.0f} %"
        for each in found
        if tells and each.front_share is not None
    }
    named = [
        (names[each.variant] + told.get(each.variant, ""), each.energy_j / divisor, each.accuracy)
        for each in found
    ]
    in_margin(plot, named, (2 if tells else 1) * _LINE_IN / (_PLOT_SHARE * height_in))


def _data(study: ReportStudy, runs: list[Run]) -> DataTable:
    rows = tuple(
        (
            run.run_id,
            study.label_of(run),
            number_words(run.row["primary_energy_train_j"]),
            str(run.row["primary_status"]),
            number_words(run.row["balanced_accuracy"]),
        )
        for run in runs
    )
    headings = ("run", "variant", "energy in training (J)", "status", "balanced accuracy")
    caption = f"The points of the figure. {study.energy_words}.{study.stamp}"
    return DataTable(caption, headings, rows, frozenset({0, 1, 3}))


# Where a comparison was made its complete blocks are what is averaged, so that these are the means
# of the tables, and every configuration is held against the same seeds. Without one it is all runs
# that may stand together.
@dataclass(frozen=True, slots=True)
class Centre:
    """One arm's mean.

    Attributes:
        arm: Its label.
        energy_j: Mean joules of training.
        accuracy: Mean balanced accuracy.
        half_j: Half-width of the 95 % t interval of ``energy_j``; ``None`` with fewer than three.
        half_accuracy: The same of ``accuracy``.
        points: Joules and balanced accuracy of the runs that were averaged.
        front_share: Share of resampled sets of blocks in which the arm is on the front; ``None``
            without two complete blocks.
    """

    variant: str
    energy_j: float
    accuracy: float
    half_j: float | None
    half_accuracy: float | None
    points: tuple[tuple[float, float], ...]
    front_share: float | None = None


def _plotted_runs(study: ReportStudy) -> list[Run]:
    """Runs with known joules and a finite balanced accuracy that may stand on one axis."""
    return [run for run in study.comparable if _is_known(run.row["balanced_accuracy"])]


def variant_means(study: ReportStudy) -> list[Centre]:
    """Every arm's mean, in the comparison's order; an arm without known points has none."""
    compared = study.comparison
    shares = (
        {variant.label: variant.front_share for variant in compared.configurations}
        if compared
        else {}
    )
    known = {run.run_id for run in _plotted_runs(study)}
    used = {
        each.label: [run for run in study.metered(each) if run.run_id in known]
        for each in study.configurations
    }
    return [_centre(variant, own, shares.get(variant)) for variant, own in used.items() if own]


def means_on_front(found: Sequence[Centre]) -> list[Centre]:
    """The means that none beats on both energy and accuracy, by rising energy."""
    return [found[i] for i in pareto_front([(each.energy_j, each.accuracy) for each in found])]


def _centre(variant: str, runs: Sequence[Run], share: float | None) -> Centre:
    joules = [run.row["primary_energy_train_j"] for run in runs]
    accuracies = [run.row["balanced_accuracy"] for run in runs]
    return Centre(
        variant=variant,
        energy_j=math.fsum(joules) / len(runs),
        accuracy=math.fsum(accuracies) / len(runs),
        half_j=_half(joules),
        half_accuracy=_half(accuracies),
        points=tuple(zip(joules, accuracies, strict=True)),
        front_share=share,
    )


def _half(values: Sequence[float]) -> float | None:
    found = t_interval(np.asarray(values, dtype=np.float64))
    return (found.high - found.low) / 2 if found else None


def _is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
