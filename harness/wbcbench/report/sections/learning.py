"""Learning curves: how accuracy grew with the energy spent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal

import numpy as np

from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import count_of, energy_scale
from wbcbench.energy.source import TimelinePoint, target_score, timeline
from wbcbench.report import Block, DataTable, Figure, Statement
from wbcbench.report.drawing import (
    INK,
    SIZE_IN,
    WIDTH_IN,
    in_margin,
    new_plots,
    short_labels,
    variant_style,
)
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import number_words
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas
    from numpy.typing import ArrayLike

    Conversion = Callable[[ArrayLike], ArrayLike]

NAME = "learning-curves"

# More lines than these say nothing more, and make a page nobody can load.
MOST_LINES = 64
# If no run's mean power is further from the mean than this, one axis serves joules and seconds.
_SAME_POWER = 0.05
_LINE_IN = 0.21
_TWO_PANELS_IN = 7.0

Cost = Literal["joules", "seconds"]


@dataclass(frozen=True, slots=True)
class Axis:
    """What a horizontal axis holds."""

    cost: Cost
    label: str
    divisor: float


def learning_section(study: ReportStudy) -> Block | None:
    """Learning curves over joules: how accuracy grew with the energy spent, not with epochs."""
    curves = curves_of(study, study.comparable, joules=True)
    axes = [_joules_axis(curves), _seconds_axis()] if curves else [_seconds_axis()]
    curves = curves or curves_of(study, study.done, joules=False)
    if not curves:
        return None
    figures = (_figure(study, curves, axes),)
    return Block("learning", "How accuracy grew", figures=figures, claims=(_claim(curves),))


def _joules_axis(curves: list[Curve]) -> Axis:
    divisor, unit = energy_scale(max(curve.energy_j[-1] for curve in curves))
    return Axis("joules", f"energy since the start of training ({unit})", divisor)


def _seconds_axis() -> Axis:
    return Axis("seconds", "training time (s)", 1.0)


def _claim(curves: list[Curve]) -> Statement:
    """How many reached the target that was fixed before the runs."""
    targets = {(c.run.spec.target_metric, c.run.spec.target_value) for c in curves}
    reached = sum(bool(curve.run.row["target_reached"]) for curve in curves)
    values = {"target_reached": reached, "runs": len(curves), "targets": len(targets)}
    text = (
        "The runs were given different targets, so none is drawn."
        if len(targets) > 1
        else f"Target fixed before the runs: {_metric(curves)} of {_target(curves):g}. "
        f"{reached} of {count_of(len(curves), 'run')} reached it."
    )
    return Statement("reached", text, RUNS_TABLE, "", values)


def _metric(curves: list[Curve]) -> str:
    return curves[0].run.spec.target_metric.replace("val_", "validation ").replace("_", " ")


def _target(curves: list[Curve]) -> float | None:
    """The target's value; ``None`` where the runs were given different ones."""
    values = {curve.run.spec.target_value for curve in curves}
    return values.pop() if len(values) == 1 else None


def _figure(study: ReportStudy, curves: list[Curve], axes: list[Axis]) -> Figure:
    title = f"Validation accuracy over {axes[0].cost}"
    description = "; ".join(
        f"{each.run.run_id}: {each.score[-1]:.3f} after {len(each.score)} epochs"
        for each in _drawn(curves)
    )
    power_w = _common_power_w(curves) if len(axes) > 1 else None
    shown = axes[:1] if power_w else axes
    return Figure(
        NAME,
        lambda: _picture(study, curves, shown, power_w),
        title,
        description,
        _caption(study, curves, shown, power_w),
        _data(study, curves, axes[0].cost == "joules"),
    )


def _caption(
    study: ReportStudy, curves: list[Curve], axes: list[Axis], power_w: float | None
) -> str:
    drawn = _drawn(curves)
    few = f" Of {len(curves)} runs {len(drawn)} are drawn." if len(drawn) < len(curves) else ""
    medians = any(len(own) > 1 for own in _by_arm(curves).values())
    thick = (
        " Thick: median cost and median score of a variant's runs, epoch by epoch."
        if medians
        else ""
    )
    energy = (
        f" Energy: {study.energy_words}."
        if axes[0].cost == "joules"
        else " Seconds stand for joules here, because no energy was read."
    )
    above = (
        f" Seconds above: at the mean power of {power_w:.4g} W, from which no run's mean power "
        f"is further than {100 * _SAME_POWER:g} %."
        if power_w
        else ""
    )
    return (
        f"Thin: one line a run, from the end of its first epoch on.{few}{thick} Dotted: the target."
        f"{energy}{above} Validation passes cost neither joules nor seconds here. Validation "
        "images are of photographs the network was not trained on, where these are known."
        f"{study.stamp}"
    )


def _common_power_w(curves: list[Curve]) -> float | None:
    """Mean power of all runs, if they are so alike that joules are seconds."""
    energy_j = sum(curve.energy_j[-1] for curve in curves)
    power_w = energy_j / sum(curve.time_s[-1] for curve in curves)
    alike = all(
        abs(curve.energy_j[-1] / curve.time_s[-1] / power_w - 1) <= _SAME_POWER for curve in curves
    )
    return power_w if alike else None


def _by_arm(curves: list[Curve]) -> dict[str, list[Curve]]:
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        found.setdefault(curve.variant, []).append(curve)
    return found


def _drawn(curves: list[Curve]) -> list[Curve]:
    """All curves, or as many as say something, evenly over the arms."""
    configurations = _by_arm(curves)
    most = max(MOST_LINES // len(configurations), 1)
    return [curve for own in configurations.values() for curve in own[:: -(-len(own) // most)]]


def _picture(
    study: ReportStudy, curves: list[Curve], axes: list[Axis], power_w: float | None
) -> Canvas:
    height_in = max(
        SIZE_IN[1] if len(axes) == 1 else _TWO_PANELS_IN,
        len(_by_arm(curves)) * len(axes) * _LINE_IN / 0.7,
    )
    canvas, grid = new_plots(len(axes), 1, (WIDTH_IN, height_in))
    for (plot,), axis in zip(grid, axes, strict=True):
        _draw(plot, study, curves, axis, _LINE_IN / (0.75 * height_in / len(axes)))
    if power_w:
        above = grid[0][0].secondary_xaxis("top", functions=_conversion(axes[0], power_w))
        above.set_xlabel(f"seconds at {power_w:.4g} W")
    return canvas


def _draw(plot: Axes, study: ReportStudy, curves: list[Curve], axis: Axis, share: float) -> None:
    joules = axis.cost == "joules"
    configurations = _by_arm(curves)
    alone = all(len(own) == 1 for own in configurations.values())
    for curve in _drawn(curves):
        look = variant_style(study.labels, curve.variant)
        x = [cost / axis.divisor for cost in curve.cost(joules=joules)]
        width, alpha = (1.4, 1.0) if alone else (0.8, 0.55)
        plot.plot(x, curve.score, color=look.colour, linewidth=width, alpha=alpha)
        plot.plot(x[-1:], curve.score[-1:], look.shape, color=look.colour, markersize=4)
    ends = []
    for variant, own in configurations.items():
        ends.append(_draw_median(plot, study, variant, own, axis))
    _finish(plot, curves, axis)
    names = short_labels(configurations)
    in_margin(plot, [(names[variant], x, y) for variant, x, y in ends], share)


def _conversion(axis: Axis, power_w: float) -> tuple[Conversion, Conversion]:
    """From the lower axis to seconds, and back."""
    watts = power_w / axis.divisor
    return lambda energy: np.asarray(energy) / watts, lambda time_s: np.asarray(time_s) * watts


def _draw_median(
    plot: Axes, study: ReportStudy, variant: str, own: list[Curve], axis: Axis
) -> tuple[str, float, float]:
    """The median step line of one arm; returns the arm and where its label belongs."""
    look = variant_style(study.labels, variant)
    costs, scores = medians(own, joules=axis.cost == "joules")
    if len(own) == 1 or len(costs) < 2:
        longest = max(own, key=lambda curve: curve.cost(joules=axis.cost == "joules")[-1])
        return (
            variant,
            longest.cost(joules=axis.cost == "joules")[-1] / axis.divisor,
            longest.score[-1],
        )
    x = [cost / axis.divisor for cost in costs]
    plot.step(x, scores, where="post", color=look.colour, linestyle=look.dash, linewidth=2.2)
    return variant, x[-1], scores[-1]


def _finish(plot: Axes, curves: list[Curve], axis: Axis) -> None:
    target = _target(curves)
    if target is not None:
        plot.axhline(target, color=INK, linestyle=":", linewidth=1.4)
        # Said on the left, where curves have not risen yet.
        plot.annotate("target", (0.0, target), (3, 3), textcoords="offset points", fontsize="small")
    plot.set_xlabel(axis.label)
    plot.set_ylabel(_metric(curves))
    plot.margins(x=0.02, y=0.08)
    plot.set_xlim(left=0.0)


def _data(study: ReportStudy, curves: list[Curve], joules: bool) -> DataTable:
    rows = tuple(
        (
            curve.run.run_id,
            curve.variant,
            " ".join(map(str, curve.epochs)),
            *((_list(curve.energy_j),) if joules else ()),
            _list(curve.time_s),
            _list(curve.score),
        )
        for curve in curves
    )
    energy = ("energy since the start (J)",) if joules else ()
    headings = ("run", "variant", "epochs", *energy, "training time (s)", _metric(curves))
    caption = (
        "The points of the figure: each cell lists a run's values at the end of its epochs, in "
        f"order. {'Energy: ' + study.energy_words if joules else 'No energy was read'}."
        f"{study.stamp}"
    )
    return DataTable(caption, headings, rows, frozenset(range(len(headings))))


def _list(values: tuple[float, ...]) -> str:
    return " ".join(number_words(value, 5) for value in values)


@dataclass(frozen=True, slots=True)
class Curve:
    """One run's validation metric at the end of its epochs.

    Attributes:
        run: Whose.
        arm: What it is an instance of.
        epochs: Those with known cost and metric.
        energy_j: Joules of training steps up to each; empty where joules are not asked for.
        time_s: Seconds of the same steps.
        score: The plan's target metric.
    """

    run: Run
    variant: str
    epochs: tuple[int, ...]
    energy_j: tuple[float, ...]
    time_s: tuple[float, ...]
    score: tuple[float, ...]

    def cost(self, *, joules: bool) -> tuple[float, ...]:
        """What had been spent at the end of each epoch, in joules or in seconds."""
        return self.energy_j if joules else self.time_s


def curves_of(study: ReportStudy, runs: Iterable[Run], *, joules: bool) -> list[Curve]:
    """A curve for each run that has a point; with ``joules`` only points whose joules are known."""
    made = (_curve(study, run, joules=joules) for run in runs)
    return [curve for curve in made if curve]


def _curve(study: ReportStudy, run: Run, *, joules: bool) -> Curve | None:
    points = [
        (point, score)
        for point in timeline(run.record, run.primary)
        if (score := target_score(run.record, point.epoch)) is not None
        and math.isfinite(score)
        and point.time_s > 0
        and (not joules or _joules(point) > 0)
    ]
    if not points:
        return None
    return Curve(
        run=run,
        variant=study.label_of(run),
        epochs=tuple(point.epoch.index for point, _ in points),
        energy_j=tuple(_joules(point) for point, _ in points) if joules else (),
        time_s=tuple(point.time_s for point, _ in points),
        score=tuple(score for _, score in points),
    )


def _joules(point: TimelinePoint) -> float:
    """Not a number where they are unknown, so that no comparison holds."""
    return math.nan if point.energy_j is None else point.energy_j


def medians(curves: Sequence[Curve], *, joules: bool) -> tuple[list[float], list[float]]:
    """Median cost and median score, epoch by epoch, over those epochs that every run has.

    With later epochs it would be the median of the longer runs only.
    """
    shared = sorted(set.intersection(*(set(curve.epochs) for curve in curves)))
    costs = [dict(zip(c.epochs, c.cost(joules=joules), strict=True)) for c in curves]
    scores = [dict(zip(curve.epochs, curve.score, strict=True)) for curve in curves]
    return (
        [median(each[epoch] for each in costs) for epoch in shared],
        [median(each[epoch] for each in scores) for epoch in shared],
    )
