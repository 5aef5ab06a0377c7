"""Figure 7: runs in the order in which they were carried out, which shows drift."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from wbcbench.compare.boards import name_board
from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import count_of
from wbcbench.core.window import unix_s
from wbcbench.report import Cells, DataTable, Figure, Statement, style
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import build_data_table
from wbcbench.stats.order import Drift, fit_drift
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from wbcbench.report.style import Canvas, Styles

# Less than this around the mean would let noise appear as a difference.
_LEAST_SPAN_PCT = 1.0
_PANEL_IN = 1.45
_PAUSE_S = 3600.0

HEADINGS = ("variant", "run", "place")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A column that may drift.

    Attributes:
        column: Of the results table.
        name: For sentences.
        axis: For the vertical axis.
        unit: Of the drift.
        is_relative: Whether each run is compared with the mean of its own variant, in per cent.
    """

    column: str
    name: str
    axis: str
    unit: str
    is_relative: bool

    @property
    def heading(self) -> str:
        """For a table."""
        mean = " above the variant's mean" if self.is_relative else ""
        return f"{self.name}{mean} ({self.unit})"


QUANTITIES = (
    Quantity("primary_energy_train_j", "Energy", "energy (± %)", "%", is_relative=True),
    Quantity("gpu_temp_mean_c", "GPU temperature", "GPU (°C)", "°C", is_relative=False),
    Quantity("gpu_clock_mean_mhz", "GPU clock", "clock (± %)", "%", is_relative=True),
)


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity of the runs that know it, in the order of the runs.

    Attributes:
        quantity: Which.
        points: Place in the order, run and value: per cent above its variant's mean, or in the
            unit.
        drift: ``None`` where it cannot be separated from a difference between variants.
    """

    quantity: Quantity
    points: list[tuple[int, Run, float]]
    drift: Drift | None

    @property
    def has_drift(self) -> bool:
        """Whether the interval of the drift excludes zero."""
        return bool(self.drift and self.drift.interval and self.drift.interval.excludes(0.0))


def collect_series(study: ReportStudy) -> list[Series]:
    """Energy, temperature and clock over the places of the runs; empty where no order is known.

    Several boards have an order each, and no line goes through all of them.
    """
    places = _find_places(study.runs) if len(study.comparable) > 1 else None
    if places is None or len(set(map(name_board, study.comparable))) > 1:
        return []
    return [item for quantity in QUANTITIES if (item := _build_series(study, quantity, places))]


def _find_places(runs: tuple[Run, ...]) -> dict[Run, int] | None:
    """The place of each run: as planned, else by its start; ``None`` where neither is unique."""
    planned = [run.spec.order_global for run in runs]
    if len(set(planned)) == len(runs):
        return dict(zip(runs, planned, strict=True))
    starts = {str(run.row["started_utc"]): run for run in runs}
    if len(starts) < len(runs):
        return None
    return {starts[start]: place for place, start in enumerate(sorted(starts), start=1)}


def _build_series(study: ReportStudy, quantity: Quantity, places: dict[Run, int]) -> Series | None:
    """One quantity of the runs that know it; ``None`` if none does or it says nothing."""
    ordered = sorted(study.comparable, key=lambda run: places[run])
    cells = ((run, run.number(quantity.column)) for run in ordered)
    known = [(run, v) for run, v in cells if v is not None and (v > 0 or not quantity.is_relative)]
    if not known:
        return None
    values = [value for _, value in known]
    groups = [study.label_of(run) for run, _ in known]
    if quantity.is_relative:
        values = _compare_with_mean(values, groups)
    drift = fit_drift([float(places[run]) for run, _ in known], values, groups)
    # One run of a variant is at its own mean, which says nothing.
    if drift is None and quantity.is_relative:
        return None
    points = [(places[run], run, v) for (run, _), v in zip(known, values, strict=True)]
    return Series(quantity, points, drift)


def _compare_with_mean(values: list[float], groups: list[str]) -> list[float]:
    """How far each value lies above the mean of its group, in per cent."""
    by_group: dict[str, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        by_group.setdefault(group, []).append(value)
    means = {group: math.fsum(own) / len(own) for group, own in by_group.items()}
    return [100 * (v / means[group] - 1) for v, group in zip(values, groups, strict=True)]


def describe_order(study: ReportStudy, series: list[Series]) -> Iterator[str]:
    """What a drift means for the comparison; empty where there is none."""
    if not any(item.has_drift for item in series if item.quantity is QUANTITIES[0]):
        return
    order = study.comparison.order if study.comparison else None
    if order is not None and order.balance.is_exact:
        yield "The balanced order keeps this drift out of the contrasts, not out of the joules."
    elif len(study.configurations) > 1:
        yield "The order is not balanced: a difference between variants may be this drift."
    if _was_paused(study.runs):
        yield (
            "Some runs are separated by a pause of more than an hour. If something changed in it "
            "(another host of a virtual machine, for example), energy changed in one step, and the "
            "line shows that step as a drift."
        )


def _was_paused(runs: tuple[Run, ...]) -> bool:
    spans = sorted(
        (unix_s(str(run.row["started_utc"])), unix_s(str(run.row["ended_utc"]))) for run in runs
    )
    return any(later[0] - before[1] > _PAUSE_S for before, later in pairwise(spans))


def build_drift_statements(study: ReportStudy, series: list[Series]) -> Iterator[Statement]:
    """One for each quantity whose drift is known."""
    for place, item in enumerate(series, start=1):
        if (drift := item.drift) is None:
            continue
        interval = drift.interval
        values = {
            "runs": drift.runs,
            "slope": drift.slope,
            "low": interval.low if interval else None,
            "high": interval.high if interval else None,
        }
        text = describe_drift(study, item.quantity, drift)
        yield Statement(f"drift-{place}", text, RUNS_TABLE, "", values)


def describe_drift(study: ReportStudy, quantity: Quantity, drift: Drift) -> str:
    """One drift as a sentence, with its interval."""
    name, unit, interval = quantity.name, quantity.unit, drift.interval
    if quantity is QUANTITIES[0]:
        name = f"{study.energy_kind}energy".capitalize()
    slope = (
        f"{name} {'rose' if drift.slope >= 0 else 'fell'} by {abs(drift.slope):.2g} {unit} a run"
    )
    if interval is None:
        return f"{slope} over {count_of(drift.runs, 'run')}, too few for an interval."
    span = f"(95 % CI {interval.low:+.2g} to {interval.high:+.2g} {unit} a run)"
    return f"{slope} {span}." if interval.excludes(0.0) else f"{name}: no drift is shown {span}."


def build_run_order(study: ReportStudy, series: list[Series]) -> Figure | None:
    """The figure of these series; ``None`` without any."""
    if not series:
        return None
    cells = [{run: value for _, run, value in item.points} for item in series]
    placed = sorted({(place, run.run_id, run) for item in series for place, run, _ in item.points})
    rows: list[Cells] = [
        (study.label_of(run), run_id, place, *(own.get(run) for own in cells))
        for place, run_id, run in placed
    ]
    known = [(item.quantity, item.drift) for item in series if item.drift]
    relative = "per cent: above the variant's own mean; " if series[0].quantity.is_relative else ""
    return Figure(
        "run-order",
        "Runs in the order in which they were carried out",
        " ".join(describe_drift(study, *pair) for pair in known) or "No drift is known.",
        f"One mark a run; {relative}dashed: drift.{study.energy_stamp}",
        build_data_table(
            f"In the order of the runs.{study.energy_stamp}",
            (*HEADINGS, *(item.quantity.heading for item in series)),
            rows,
            (0, 1),
        ),
        partial(draw_run_order, study.styles, [item.quantity for item in series]),
    )


def draw_run_order(styles: Styles, quantities: list[Quantity], data: DataTable) -> Canvas:
    """Draw the rows of ``build_run_order``: a plot for each quantity."""
    from matplotlib.ticker import MaxNLocator

    size_in = (style.WIDTH_IN, 1.2 + _PANEL_IN * len(quantities))
    canvas, grid = style.create_plots(len(quantities), 1, size_in, share_x=True)
    shown = dict.fromkeys(row[0] for row in data.values)
    for quantity, (plot,) in zip(quantities, grid, strict=True):
        rows = [
            row for row in data.select("variant", "place", quantity.heading) if row[2] is not None
        ]
        style.draw_runs(plot, styles, rows, alpha=0.9)
        places, values = [row[1] for row in rows], [row[2] for row in rows]
        drift = fit_drift(places, values, [row[0] for row in rows])
        if drift is not None:
            middle_x, middle_y = math.fsum(places) / len(rows), math.fsum(values) / len(rows)
            ends = (min(places), max(places))
            y = [middle_y + drift.slope * (end - middle_x) for end in ends]
            plot.plot(ends, y, color=style.INK, linewidth=1.0, linestyle="--", alpha=0.8)
        plot.set_ylabel(quantity.axis)
        plot.set_ylim(style.pad_limits(values, 0.65, _LEAST_SPAN_PCT))
        plot.margins(x=0.04)
    grid[-1][0].set_xlabel("place in the order of the runs")
    grid[-1][0].xaxis.set_major_locator(MaxNLocator(integer=True))
    style.add_legend(canvas, styles, shown)
    return canvas
