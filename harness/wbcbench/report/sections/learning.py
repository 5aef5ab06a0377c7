"""Learning curves: how accuracy grew with the energy spent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import count_of, energy_scale
from wbcbench.energy.source import target_score, timeline
from wbcbench.report import Block, DataTable, Figure, Statement, drawing
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import format_number
from wbcbench.table.view import Run

# More lines than these add nothing, and make a page too large to load.
MOST_LINES = 64
# If no run's mean power is further from the mean than this, one axis serves joules and seconds.
_SAME_POWER = 0.05
_LINE_IN = 0.21
_TWO_PANELS_IN = 7.0

Cost = Literal["joules", "seconds"]


@dataclass(frozen=True, slots=True)
class Axis:
    """A horizontal axis."""

    cost: Cost
    label: str
    divisor: float


@dataclass(frozen=True, slots=True)
class Curve:
    """One run's validation metric at the end of its epochs.

    Attributes:
        run: Whose.
        variant: Label of its configuration.
        epochs: Those with known cost and metric.
        energy_j: Joules of training steps up to each; empty where joules are unknown.
        time_s: Seconds of the same steps.
        score: The plan's target metric.
    """

    run: Run
    variant: str
    epochs: tuple[int, ...]
    energy_j: tuple[float, ...]
    time_s: tuple[float, ...]
    score: tuple[float, ...]

    def costs(self, kind: Cost) -> tuple[float, ...]:
        """The joules or seconds spent until the end of each epoch."""
        return self.energy_j if kind == "joules" else self.time_s


def build_curves(study: ReportStudy, runs: Iterable[Run], kind: Cost) -> list[Curve]:
    """A curve for each run with a point; of ``joules`` only points whose joules are known."""
    curves = []
    for run in runs:
        points = [
            (point.epoch.index, point.energy_j or math.nan, point.time_s, score)
            for point in timeline(run.record, run.primary)
            if (score := target_score(run.record, point.epoch)) is not None
            and math.isfinite(score)
            and point.time_s > 0
            and (kind == "seconds" or (point.energy_j or 0.0) > 0)
        ]
        if points:
            epochs, energies, times, scores = zip(*points, strict=True)
            energies = energies if kind == "joules" else ()
            curves.append(Curve(run, study.label_of(run), epochs, energies, times, scores))
    return curves


def compute_medians(curves: Sequence[Curve], kind: Cost) -> tuple[list[float], list[float]]:
    """Median cost and median score, epoch by epoch, over those epochs that every run has.

    With later epochs it would be the median of the longer runs only.
    """
    shared = sorted(set.intersection(*(set(curve.epochs) for curve in curves)))
    costs = [dict(zip(c.epochs, c.costs(kind), strict=True)) for c in curves]
    scores = [dict(zip(c.epochs, c.score, strict=True)) for c in curves]
    return (
        [median(by_epoch[epoch] for by_epoch in costs) for epoch in shared],
        [median(by_epoch[epoch] for by_epoch in scores) for epoch in shared],
    )


def build_learning(study: ReportStudy) -> Block | None:
    """Learning curves over joules: how accuracy grew with the energy spent, not with epochs."""
    axes = [Axis("seconds", "training time (s)", 1.0)]
    curves = build_curves(study, study.comparable, "joules")
    if curves:
        divisor, unit = energy_scale(max(curve.energy_j[-1] for curve in curves))
        label = f"energy since the start of training ({unit})"
        axes.insert(0, Axis("joules", label, divisor))
    curves = curves or build_curves(study, study.done, "seconds")
    if not curves:
        return None
    figures = (_build_figure(study, curves, axes),)
    return Block("learning", "How accuracy grew", figures=figures, claims=(_build_claim(curves),))


def _build_claim(curves: list[Curve]) -> Statement:
    """How many reached the target that was fixed before the runs."""
    targets = {(c.run.spec.target_metric, c.run.spec.target_value) for c in curves}
    reached = sum(bool(curve.run.row["target_reached"]) for curve in curves)
    values = {"target_reached": reached, "runs": len(curves), "targets": len(targets)}
    text = (
        "The runs had different targets, so none is drawn."
        if len(targets) > 1
        else f"Target fixed before the runs: {_format_metric(curves)} of {_find_target(curves):g}. "
        f"{reached} of {count_of(len(curves), 'run')} reached it."
    )
    return Statement("reached", text, RUNS_TABLE, "", values)


def _format_metric(curves: list[Curve]) -> str:
    return curves[0].run.spec.target_metric.replace("val_", "validation ").replace("_", " ")


def _find_target(curves: list[Curve]) -> float | None:
    """The target's value; ``None`` where the runs had different ones."""
    values = {curve.run.spec.target_value for curve in curves}
    return values.pop() if len(values) == 1 else None


def _build_figure(study: ReportStudy, curves: list[Curve], axes: list[Axis]) -> Figure:
    description = "; ".join(
        f"{curve.run.run_id}: {curve.score[-1]:.3f} after {len(curve.score)} epochs"
        for curve in _select_drawn(curves)
    )
    power_w = _find_common_power_w(curves) if len(axes) > 1 else None
    shown = axes[:1] if power_w else axes
    return Figure(
        "learning-curves",
        lambda: _draw(study, curves, shown, power_w),
        f"Validation accuracy over {axes[0].cost}",
        description,
        " ".join(_iterate_caption(study, curves, axes[0].cost, power_w)) + study.stamp,
        _build_data(study, curves, axes[0].cost),
    )


def _iterate_caption(
    study: ReportStudy, curves: list[Curve], kind: Cost, power_w: float | None
) -> Iterator[str]:
    yield "Thin: one line a run, from the end of its first epoch on."
    drawn = _select_drawn(curves)
    if len(drawn) < len(curves):
        yield f"Of {len(curves)} runs {len(drawn)} are drawn."
    if any(len(own) > 1 for own in _group_by_variant(curves).values()):
        yield "Thick: median cost and median score of a variant's runs, epoch by epoch."
    yield "Dotted: the target."
    if kind == "joules":
        yield f"Energy: {study.energy_words}."
    else:
        yield "Seconds are drawn instead of joules, because no energy was read."
    if power_w:
        yield (
            f"Seconds above: at the mean power of {power_w:.4g} W, from which no run's mean power "
            f"is further than {100 * _SAME_POWER:g} %."
        )
    yield (
        "Validation passes cost neither joules nor seconds here. Validation images are of "
        "photographs the network was not trained on, where these are known."
    )


def _find_common_power_w(curves: list[Curve]) -> float | None:
    """Mean power of all runs, if it is so similar that joules are seconds."""
    energy_j = sum(curve.energy_j[-1] for curve in curves)
    power_w = energy_j / sum(curve.time_s[-1] for curve in curves)
    ratios = (curve.energy_j[-1] / curve.time_s[-1] / power_w for curve in curves)
    return power_w if all(abs(ratio - 1) <= _SAME_POWER for ratio in ratios) else None


def _group_by_variant(curves: list[Curve]) -> dict[str, list[Curve]]:
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.variant, []).append(curve)
    return groups


def _select_drawn(curves: list[Curve]) -> list[Curve]:
    """All curves, or as many as a picture can hold, evenly over the configurations."""
    groups = _group_by_variant(curves)
    most = max(MOST_LINES // len(groups), 1)
    return [curve for own in groups.values() for curve in own[:: -(-len(own) // most)]]


def _draw(
    study: ReportStudy, curves: list[Curve], axes: list[Axis], power_w: float | None
) -> drawing.Canvas:
    lines_in = len(_group_by_variant(curves)) * len(axes) * _LINE_IN
    height_in = max(drawing.SIZE_IN[1] if len(axes) == 1 else _TWO_PANELS_IN, lines_in / 0.7)
    canvas, grid = drawing.create_plots(len(axes), 1, (drawing.WIDTH_IN, height_in))
    for (plot,), axis in zip(grid, axes, strict=True):
        _draw_panel(plot, study, curves, axis, _LINE_IN / (0.75 * height_in / len(axes)))
    if power_w:
        watts = power_w / axes[0].divisor
        functions = (lambda energy: energy / watts, lambda time_s: time_s * watts)
        above = grid[0][0].secondary_xaxis("top", functions=functions)
        above.set_xlabel(f"seconds at {power_w:.4g} W")
    return canvas


def _draw_panel(
    plot: drawing.Axes, study: ReportStudy, curves: list[Curve], axis: Axis, share: float
) -> None:
    groups = _group_by_variant(curves)
    is_single = all(len(own) == 1 for own in groups.values())
    width, alpha = (1.4, 1.0) if is_single else (0.8, 0.55)
    for curve in _select_drawn(curves):
        style = drawing.choose_style(study.labels, curve.variant)
        x = [cost / axis.divisor for cost in curve.costs(axis.cost)]
        plot.plot(x, curve.score, color=style.colour, linewidth=width, alpha=alpha)
        plot.plot(x[-1:], curve.score[-1:], style.shape, color=style.colour, markersize=4)
    names = drawing.make_short_labels(groups)
    ends = [
        (names[variant], *_draw_median(plot, study, variant, own, axis))
        for variant, own in groups.items()
    ]
    target = _find_target(curves)
    if target is not None:
        plot.axhline(target, color=drawing.INK, linestyle=":", linewidth=1.4)
        # Written on the left, where curves have not risen yet.
        plot.annotate("target", (0.0, target), (3, 3), textcoords="offset points", fontsize="small")
    plot.set_xlabel(axis.label)
    plot.set_ylabel(_format_metric(curves))
    plot.margins(x=0.02, y=0.08)
    plot.set_xlim(left=0.0)
    drawing.draw_margin_labels(plot, ends, share)


def _draw_median(
    plot: drawing.Axes, study: ReportStudy, variant: str, curves: list[Curve], axis: Axis
) -> tuple[float, float]:
    """The median step line of one configuration; returns the place of its label."""
    style = drawing.choose_style(study.labels, variant)
    costs, scores = compute_medians(curves, axis.cost)
    if len(curves) == 1 or len(costs) < 2:
        longest = max(curves, key=lambda curve: curve.costs(axis.cost)[-1])
        return longest.costs(axis.cost)[-1] / axis.divisor, longest.score[-1]
    x = [cost / axis.divisor for cost in costs]
    plot.step(x, scores, where="post", color=style.colour, linestyle=style.dash, linewidth=2.2)
    return x[-1], scores[-1]


def _build_data(study: ReportStudy, curves: list[Curve], kind: Cost) -> DataTable:
    def join(values: tuple[float, ...]) -> str:
        return " ".join(format_number(value, 5) for value in values)

    rows = tuple(
        (
            curve.run.run_id,
            curve.variant,
            " ".join(map(str, curve.epochs)),
            *((join(curve.energy_j),) if kind == "joules" else ()),
            join(curve.time_s),
            join(curve.score),
        )
        for curve in curves
    )
    energy = ("energy since the start (J)",) if kind == "joules" else ()
    headings = ("run", "variant", "epochs", *energy, "training time (s)", _format_metric(curves))
    source = f"Energy: {study.energy_words}" if kind == "joules" else "No energy was read"
    caption = (
        "The points of the figure: each cell lists a run's values at the end of its epochs, in "
        f"order. {source}.{study.stamp}"
    )
    return DataTable(caption, headings, rows, tuple(range(len(headings))))
