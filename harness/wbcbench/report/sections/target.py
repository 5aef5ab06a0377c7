"""Energy to target: what it cost each run to become good enough, or that it never did."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench.core.text import energy_scale
from wbcbench.report import Block, DataTable, Figure, Statement
from wbcbench.report.drawing import INK, WIDTH_IN, new_plot, short_labels, variant_style
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import SUMMARY_FILE, number_words, summary_rows
from wbcbench.report.words import reached_words, target_sentence
from wbcbench.stats.intervals import Censored, censored_median
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NAME = "energy-to-target"
MOST_VARIANTS = 24

_ROW_IN = 0.62
_AROUND_IN = 1.0
_ARROW = 0.05  # of the axis
_LIFT = 0.34  # of a row: the name stands above its marks


@dataclass(frozen=True, slots=True)
class Tried:
    """What one run spent until it reached the target, or in all if it never did.

    ``counted`` says whether it is one of the runs that the tables count, too.
    """

    run: Run
    cost: float
    reached: bool
    counted: bool


def target_section(study: ReportStudy) -> Block | None:
    """Energy to target: what it cost each run to become good enough, or that it never did.

    Every run is a mark, reached or not, beside the median of its arm.
    """
    joules = bool(study.comparable)
    found = _found(study, joules=joules)
    targets = {
        (each.run.spec.target_metric, each.run.spec.target_value)
        for own in found.values()
        for each in own
    }
    if not found:
        return None
    if len(targets) > 1:
        words = "The runs were given different targets, so their costs are not put on one axis."
        return Block("target", "Energy to target", (words,))
    figure = _figure(study, found, joules=joules)
    claims = tuple(_claims(study, found))
    return Block("target", figure.title, (_words(found),), figures=(figure,), claims=claims)


def _found(study: ReportStudy, *, joules: bool) -> dict[str, list[Tried]]:
    """By arm, arms without any such run left out."""
    counted = {
        run.run_id
        for each in study.configurations
        for run in study.metered(each) or study.used(each)
    }
    runs = study.comparable if joules else study.done
    tried = {
        variant: [
            each
            for run in own
            if (each := _tried(run, joules=joules, counted=run.run_id in counted))
        ]
        for variant, own in study.by_label(runs).items()
    }
    return {variant: own for variant, own in tried.items() if own}


def medians(found: dict[str, list[Tried]]) -> dict[str, Censored]:
    """How many counted runs reached the target, and the Kaplan–Meier median of the cost."""
    counted = {variant: [each for each in own if each.counted] for variant, own in found.items()}
    return {
        variant: censored_median([each.cost for each in own], [each.reached for each in own])
        for variant, own in counted.items()
    }


def _tried(run: Run, *, joules: bool, counted: bool) -> Tried | None:
    """``None`` where nobody can say whether it reached the target, or at what cost."""
    reached = run.row["target_reached"]
    if reached is None:
        return None
    to_target, whole = (
        ("energy_to_target_j", "primary_energy_train_j")
        if joules
        else ("time_to_target_s", "time_train_s")
    )
    cost = run.row[to_target if reached else whole]
    if cost is None or not math.isfinite(cost):
        return None
    return Tried(run, float(cost), bool(reached), counted)


def _words(found: dict[str, list[Tried]]) -> str:
    spec = next(iter(found.values()))[0].run.spec
    metric = spec.target_metric.replace("val_", "validation ").replace("_", " ")
    return (
        f"The target, fixed before the runs, is a {metric} of {spec.target_value:g}. The cost is "
        "counted to the end of the first epoch that reaches it. A run that never did tells only "
        "that its cost lies above all it spent; it is counted as such and no value is made up."
    )


def _claims(study: ReportStudy, found: dict[str, list[Tried]]) -> Iterator[Statement]:
    rows = [row for row in summary_rows(study) if row["arm"] in found and row["target_runs"]]
    for place, row in enumerate(rows[:MOST_VARIANTS], start=1):
        yield Statement(f"target-{place}", target_sentence(row), SUMMARY_FILE, str(row["arm"]), row)


def _told(each: Censored, *, joules: bool) -> str:
    cost_j, cost_s = (each.median, None) if joules else (None, each.median)
    return reached_words(each.reached, each.runs, cost_j, cost_s)


def _figure(study: ReportStudy, found: dict[str, list[Tried]], *, joules: bool) -> Figure:
    title = "Energy to target" if joules else "Time to target"
    told = medians(found)
    description = "; ".join(
        f"{variant}: {_told(each, joules=joules)}" for variant, each in told.items()
    )
    return Figure(
        NAME,
        lambda: _picture(study, found, joules=joules),
        title,
        description,
        "".join(_caption(study, found, joules=joules)),
        _data(study, found, joules=joules),
    )


def _caption(study: ReportStudy, found: dict[str, list[Tried]], *, joules: bool) -> Iterator[str]:
    runs = [each for own in found.values() for each in own]
    if any(each.reached for each in runs):
        yield "Filled: a run that reached the target. "
    if not all(each.reached for each in runs):
        yield "Hollow with an arrow: a run that spent this much and never did. "
    if any(each.median is not None for each in medians(found).values()):
        yield "Upright bar: median of a variant, unreached runs counted (Kaplan–Meier). "
    if not all(each.counted for each in runs):
        yield "Runs of blocks that are not complete are drawn and not counted. "
    if len(found) > MOST_VARIANTS:
        yield f"The first {MOST_VARIANTS} of {len(found)} variants are drawn. "
    energy = f"Energy: {study.energy_words}" if joules else "Seconds, because no energy was read"
    yield f"{energy}.{study.stamp}"


def _picture(study: ReportStudy, found: dict[str, list[Tried]], *, joules: bool) -> Canvas:
    drawn = dict(list(found.items())[:MOST_VARIANTS])
    canvas, plot = new_plot((WIDTH_IN, len(drawn) * _ROW_IN + _AROUND_IN))
    largest = max(each.cost for own in drawn.values() for each in own)
    divisor, unit = energy_scale(largest) if joules else (1.0, "s")
    plot.set_xlim(0.0, 1.12 * largest / divisor)
    told = medians(drawn)
    names = short_labels(drawn)
    for row, (variant, own) in enumerate(drawn.items()):
        _draw_runs(plot, study, row, own, divisor)
        _draw_median(plot, row, told[variant], divisor)
        count = f"{told[variant].reached} of {told[variant].runs} reached"
        plot.annotate(
            f"{names[variant]}: {count}",
            (0.0, row - _LIFT),
            (4, 0),
            textcoords="offset points",
            va="center",
        )
    plot.set_ylim(len(drawn) - 0.5, -0.7)
    plot.set_yticks([])
    plot.grid(visible=False, axis="y")
    what = "energy" if joules else "training time"
    plot.set_xlabel(f"{what} until the target or the end ({unit})")
    return canvas


def _draw_runs(plot: Axes, study: ReportStudy, row: int, own: list[Tried], divisor: float) -> None:
    look = variant_style(study.labels, study.label_of(own[0].run))
    hit = [each.cost / divisor for each in own if each.reached]
    missed = [each.cost / divisor for each in own if not each.reached]
    mark = {"color": look.colour, "markersize": 7.0, "alpha": 0.85}
    plot.plot(hit, [row] * len(hit), look.shape, **mark)  # type: ignore[arg-type]
    length = _ARROW * plot.get_xlim()[1]
    _, tips, _ = plot.errorbar(
        missed, [row] * len(missed), xerr=length, xlolims=True, fmt="none", ecolor=look.colour
    )
    for tip in tips:
        tip.set_color(look.colour)
    plot.plot(missed, [row] * len(missed), look.shape, markerfacecolor="#ffffff", **mark)  # type: ignore[arg-type]


def _draw_median(plot: Axes, row: int, found: Censored, divisor: float) -> None:
    if found.median is not None:
        x = found.median / divisor
        plot.plot([x, x], [row - 0.2, row + 0.3], color=INK, linewidth=2.2)


def _data(study: ReportStudy, found: dict[str, list[Tried]], *, joules: bool) -> DataTable:
    told = medians(found)
    rows = tuple(
        (
            each.run.run_id,
            variant,
            "reached" if each.reached else "not reached",
            number_words(each.cost),
            number_words(told[variant].median),
        )
        for variant, own in found.items()
        for each in own
    )
    unit = "J" if joules else "s"
    headings = (
        "run",
        "variant",
        "target",
        f"spent until then or in all ({unit})",
        f"variant's median ({unit})",
    )
    caption = (
        "The marks of the figure; a median is unknown where fewer than half of the runs reached "
        f"the target. {study.energy_words}.{study.stamp}"
    )
    return DataTable(caption, headings, rows, frozenset({0, 1, 2}))
