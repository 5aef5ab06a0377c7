"""Learning curves over joules: how accuracy grew with the energy spent, not with epochs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench.report import Block, DataTable, Figure
from wbcbench.report.page.drawing import axes
from wbcbench.report.page.evidence import Evidence, Run
from wbcbench.report.page.labels import in_margin, labels
from wbcbench.report.page.palette import INK, style
from wbcbench.runs.timeline import target_score, timeline
from wbcbench.writing.show_units import count_of, energy_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NAME = "learning-curves"


@dataclass(frozen=True, slots=True)
class Curve:
    """One run's validation metric over what it had cost; ``cost`` is joules, or seconds."""

    run: Run
    epochs: list[int]
    cost: list[float]
    score: list[float]


@dataclass(frozen=True, slots=True)
class Axis:
    """What the horizontal axis holds: joules, or seconds where no joules are known."""

    title: str
    column: str
    unit: str
    divisor: float
    words: str


def section(study: Evidence) -> Block | None:
    """One line a run; joules where they are known, else seconds, and then it says so."""
    curves = [curve for run in study.comparable if (curve := _curve(run, joules=True))]
    joules = bool(curves)
    if not joules:
        curves = [curve for run in study.done if (curve := _curve(run, joules=False))]
    if not curves:
        return None
    figure = _figure(study, curves, _axis(study, curves, joules=joules))
    return Block("learning", "How accuracy grew", _words(curves), figures=(figure,))


def _curve(run: Run, *, joules: bool) -> Curve | None:
    """The run's points with both coordinates known; ``None`` if there are none."""
    points = [
        (point.epoch.index, cost, score)
        for point in timeline(run.record, run.view.headline)
        if (cost := point.energy_j if joules else point.time_s) is not None
        and (score := target_score(run.record, point.epoch)) is not None
    ]
    if not points:
        return None
    epochs, costs, scores = zip(*points, strict=True)
    return Curve(run, list(epochs), list(costs), list(scores))


def _axis(study: Evidence, curves: list[Curve], *, joules: bool) -> Axis:
    if not joules:
        words = "Seconds stand for joules here, because no energy was read"
        return Axis("Validation accuracy over seconds", "time (s)", "time (s)", 1.0, words)
    divisor, unit = energy_scale(max(curve.cost[-1] for curve in curves))
    return Axis(
        "Validation accuracy over joules",
        "energy since the start (J)",
        f"energy since the start of training ({unit})",
        divisor,
        f"Energy: {study.energy_words}",
    )


def _words(curves: list[Curve]) -> tuple[str, ...]:
    spec = curves[0].run.record.spec
    reached = sum(bool(curve.run.row["target_reached"]) for curve in curves)
    return (
        f"Target fixed before the runs: {_metric(curves)} of {spec.target_value:g}. "
        f"{reached} of {count_of(len(curves), 'run')} reached it.",
    )


def _metric(curves: list[Curve]) -> str:
    return curves[0].run.record.spec.target_metric.replace("val_", "validation ").replace("_", " ")


def _figure(study: Evidence, curves: list[Curve], axis: Axis) -> Figure:
    description = "; ".join(
        f"{curve.run.record.run_id}: {curve.score[-1]:.3f} after {len(curve.epochs)} epochs"
        for curve in curves
    )
    caption = (
        f"One line a run, a point after each epoch; dotted: the target. {axis.words}. Validation "
        f"images are of photographs the network was not trained on, where these are known."
        f"{study.stamp}"
    )
    data = _data(study, curves, axis)
    return Figure(
        NAME, lambda: _picture(study, curves, axis), axis.title, description, caption, data
    )


def _picture(study: Evidence, curves: list[Curve], axis: Axis) -> Canvas:
    canvas, plot = axes()
    _draw(plot, study, curves, axis)
    return canvas


def _draw(plot: Axes, study: Evidence, curves: list[Curve], axis: Axis) -> None:
    for curve in curves:
        look = style(study.variants, curve.run.variant)
        x = [cost / axis.divisor for cost in curve.cost]
        plot.plot(
            x, curve.score, color=look.colour, marker=look.shape, markersize=3.5, linewidth=1.2
        )
    target = curves[0].run.record.spec.target_value
    plot.axhline(target, color=INK, linestyle=":", linewidth=1.4)
    plot.annotate("target", (0.0, target), (3, 3), textcoords="offset points", fontsize="small")
    plot.set_xlabel(axis.unit)
    plot.set_ylabel(_metric(curves))
    plot.set_xlim(left=0.0)
    plot.margins(x=0.02, y=0.08)
    _label(plot, curves, axis)


def _label(plot: Axes, curves: list[Curve], axis: Axis) -> None:
    """One label a variant, at the end of its longest line, outside the axes."""
    longest = {c.run.variant: c for c in sorted(curves, key=lambda c: c.cost[-1])}
    names = labels(longest)
    ends = [(names[v], c.cost[-1] / axis.divisor, c.score[-1]) for v, c in sorted(longest.items())]
    in_margin(plot, ends)


def _data(study: Evidence, curves: list[Curve], axis: Axis) -> DataTable:
    rows = tuple(
        (curve.run.record.run_id, str(epoch), f"{cost:.1f}", f"{score:.4f}")
        for curve in curves
        for epoch, cost, score in zip(curve.epochs, curve.cost, curve.score, strict=True)
    )
    headings = ("run", "epoch", axis.column, _metric(curves))
    return DataTable(f"The points of the figure. {axis.words}.{study.stamp}", headings, rows)
