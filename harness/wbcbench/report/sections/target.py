"""Energy to target: what each run spent to reach the target, or that it never did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wbcbench.core.text import energy_scale
from wbcbench.report import Block, DataTable, Figure, Statement, drawing
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import SUMMARY_FILE, build_summary_rows, format_number
from wbcbench.report.words import describe_target, format_reached
from wbcbench.stats.intervals import Censored, compute_censored_median
from wbcbench.table.view import Run

MOST_VARIANTS = 24

_ROW_IN = 0.62
_AROUND_IN = 1.0
_ARROW = 0.05  # of the axis
_LIFT = 0.34  # of a row: the name stands above its marks


@dataclass(frozen=True, slots=True)
class RunCost:
    """What one run spent until it reached the target, or in all if it never did.

    ``is_counted`` says whether it is one of the runs that the tables count, too.
    """

    run: Run
    cost: float
    reached: bool
    is_counted: bool


@dataclass(frozen=True, slots=True)
class TargetCosts:
    """The costs of a study in joules, or in seconds where no joules are known.

    Attributes:
        study: Whose.
        in_joules: The unit.
        by_variant: Costs of the runs of each configuration that has any.
    """

    study: ReportStudy
    in_joules: bool
    by_variant: dict[str, list[RunCost]]

    @property
    def costs(self) -> list[RunCost]:
        """Every run's."""
        return [cost for own in self.by_variant.values() for cost in own]

    @property
    def medians(self) -> dict[str, Censored]:
        """How many counted runs reached the target, and the Kaplan–Meier median of the cost."""
        counted = {v: [c for c in own if c.is_counted] for v, own in self.by_variant.items()}
        return {
            variant: compute_censored_median([c.cost for c in own], [c.reached for c in own])
            for variant, own in counted.items()
        }


def build_target(study: ReportStudy) -> Block | None:
    """Energy to target: what each run spent to reach the target, or that it never did.

    Every run is a mark, reached or not, beside the median of its configuration.
    """
    target = _collect_costs(study)
    specs = [cost.run.spec for cost in target.costs]
    if not specs:
        return None
    if len({(spec.target_metric, spec.target_value) for spec in specs}) > 1:
        words = "The runs had different targets, so their costs are not put on one axis."
        return Block("target", "Energy to target", (words,))
    metric = specs[0].target_metric.replace("val_", "validation ").replace("_", " ")
    words = (
        f"The target, fixed before the runs, is a {metric} of {specs[0].target_value:g}. The cost "
        "is counted to the end of the first epoch that reaches it. Of a run that never did, only "
        "a lower bound of its cost is known, which is all it spent; it counts as such, and no "
        "value is invented."
    )
    figure = _build_figure(target)
    claims = tuple(_iterate_claims(target))
    return Block("target", figure.title, (words,), figures=(figure,), claims=claims)


def _collect_costs(study: ReportStudy) -> TargetCosts:
    counted = {
        run
        for configuration in study.configurations
        for run in study.metered(configuration) or study.used(configuration)
    }
    in_joules = bool(study.comparable)
    to_target, total = (
        ("energy_to_target_j", "primary_energy_train_j")
        if in_joules
        else ("time_to_target_s", "time_train_s")
    )
    by_variant: dict[str, list[RunCost]] = {}
    for variant, runs in study.by_label(study.comparable or study.done).items():
        for run in runs:
            reached = run.row["target_reached"]
            cost = None if reached is None else run.row[to_target if reached else total]
            if cost is not None:
                run_cost = RunCost(run, float(cost), bool(reached), run in counted)
                by_variant.setdefault(variant, []).append(run_cost)
    return TargetCosts(study, in_joules, by_variant)


def _iterate_claims(target: TargetCosts) -> Iterator[Statement]:
    rows = [
        row
        for row in build_summary_rows(target.study)
        if row["configuration"] in target.by_variant and row["target_runs"]
    ]
    for place, row in enumerate(rows[:MOST_VARIANTS], start=1):
        text, key = describe_target(row), row["configuration"]
        yield Statement(f"target-{place}", text, SUMMARY_FILE, key, row)


def _build_figure(target: TargetCosts) -> Figure:
    title = "Energy to target" if target.in_joules else "Time to target"
    parts = []
    for variant, median in target.medians.items():
        costs = (median.median, None) if target.in_joules else (None, median.median)
        parts.append(f"{variant}: {format_reached(median.reached, median.runs, *costs)}")
    caption = "".join(_iterate_caption(target))
    return Figure(
        "energy-to-target",
        lambda: _draw(target),
        title,
        "; ".join(parts),
        caption,
        _build_data(target),
    )


def _iterate_caption(target: TargetCosts) -> Iterator[str]:
    if any(cost.reached for cost in target.costs):
        yield "Filled: a run that reached the target. "
    if not all(cost.reached for cost in target.costs):
        yield "Hollow with an arrow: a run that spent this much and never did. "
    if any(median.median is not None for median in target.medians.values()):
        yield "Upright bar: median of a variant, unreached runs counted (Kaplan–Meier). "
    if not all(cost.is_counted for cost in target.costs):
        yield "Runs of blocks that are not complete are drawn and not counted. "
    if len(target.by_variant) > MOST_VARIANTS:
        yield f"The first {MOST_VARIANTS} of {len(target.by_variant)} variants are drawn. "
    energy = target.study.energy_words
    yield f"Energy: {energy}" if target.in_joules else "Seconds, because no energy was read"
    yield f".{target.study.stamp}"


def _draw(target: TargetCosts) -> drawing.Canvas:
    drawn = dict(list(target.by_variant.items())[:MOST_VARIANTS])
    canvas, plot = drawing.create_plot((drawing.WIDTH_IN, len(drawn) * _ROW_IN + _AROUND_IN))
    largest = max(cost.cost for own in drawn.values() for cost in own)
    divisor, unit = energy_scale(largest) if target.in_joules else (1.0, "s")
    plot.set_xlim(0.0, 1.12 * largest / divisor)
    medians, names = target.medians, drawing.make_short_labels(drawn)
    for row, (variant, own) in enumerate(drawn.items()):
        _draw_runs(plot, target.study, row, own, divisor)
        median = medians[variant]
        if median.median is not None:
            x = median.median / divisor
            plot.plot([x, x], [row - 0.2, row + 0.3], color=drawing.INK, linewidth=2.2)
        plot.annotate(
            f"{names[variant]}: {median.reached} of {median.runs} reached",
            (0.0, row - _LIFT),
            (4, 0),
            textcoords="offset points",
            va="center",
        )
    plot.set_ylim(len(drawn) - 0.5, -0.7)
    plot.set_yticks([])
    plot.grid(visible=False, axis="y")
    cost = "energy" if target.in_joules else "training time"
    plot.set_xlabel(f"{cost} until the target or the end ({unit})")
    return canvas


def _draw_runs(
    plot: drawing.Axes, study: ReportStudy, row: int, costs: list[RunCost], divisor: float
) -> None:
    style = drawing.choose_style(study.labels, study.label_of(costs[0].run))
    hit = [cost.cost / divisor for cost in costs if cost.reached]
    missed = [cost.cost / divisor for cost in costs if not cost.reached]
    mark: dict[str, Any] = {"color": style.colour, "markersize": 7.0, "alpha": 0.85}
    plot.plot(hit, [row] * len(hit), style.shape, **mark)
    rows, length = [row] * len(missed), _ARROW * plot.get_xlim()[1]
    _, tips, _ = plot.errorbar(
        missed, rows, xerr=length, xlolims=True, fmt="none", ecolor=style.colour
    )
    for tip in tips:
        tip.set_color(style.colour)
    plot.plot(missed, rows, style.shape, markerfacecolor="#ffffff", **mark)


def _build_data(target: TargetCosts) -> DataTable:
    medians = target.medians
    rows = tuple(
        (
            cost.run.run_id,
            variant,
            "reached" if cost.reached else "not reached",
            format_number(cost.cost),
            format_number(medians[variant].median),
        )
        for variant, own in target.by_variant.items()
        for cost in own
    )
    unit = "J" if target.in_joules else "s"
    spent, median = f"spent until then or in all ({unit})", f"variant's median ({unit})"
    caption = (
        "The marks of the figure; a median is unknown where fewer than half of the runs reached "
        f"the target. {target.study.energy_words}.{target.study.stamp}"
    )
    return DataTable(caption, ("run", "variant", "target", spent, median), rows, (0, 1, 2))
