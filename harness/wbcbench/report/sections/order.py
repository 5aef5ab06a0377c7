"""Runs in the order in which they were carried out: whether the machine drifted."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from wbcbench.compare.design import TREATMENTS
from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import count_of
from wbcbench.report import Block, DataTable, Figure, Statement, drawing
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import format_cell
from wbcbench.stats.order import Drift, fit_drift
from wbcbench.table.view import Run

# Less than this around the mean would let noise appear as a difference.
_LEAST_SPAN_PCT = 1.0
_PANEL_IN = 1.9


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

    @property
    def values(self) -> list[float]:
        """The values of the points."""
        return [value for _, _, value in self.points]


def build_order(study: ReportStudy) -> Block | None:
    """Runs in the order in which they were carried out: whether the machine drifted.

    Energy, GPU temperature and clock over the places of the runs, and their drift in words.
    """
    if len(study.comparable) < 2:
        return None
    places = _find_places(study.runs)
    key, title = "order", "Run order and drift"
    if places is None:
        words = "The order of the runs is not known, so drift cannot be determined."
        return Block(key, title, (words,))
    runs = sorted(study.comparable, key=lambda run: places[run])
    series = [item for quantity in QUANTITIES if (item := _build_series(quantity, runs, places))]
    spare = sorted({place for run, place in places.items() if run not in runs})
    figures = (_build_figure(study, series, spare),) if series else ()
    claims = tuple(_iterate_claims(series))
    return Block(key, title, tuple(_iterate_words(study, series)), figures=figures, claims=claims)


def _find_places(runs: tuple[Run, ...]) -> dict[Run, int] | None:
    """The place of each run: as planned, else by its start; ``None`` where neither is unique."""
    planned = [run.spec.order_global for run in runs]
    if len(set(planned)) == len(runs):
        return dict(zip(runs, planned, strict=True))
    starts = sorted({run.record.started_utc for run in runs})
    if len(starts) < len(runs):
        return None
    return {run: starts.index(run.record.started_utc) + 1 for run in runs}


def _build_series(quantity: Quantity, runs: list[Run], places: dict[Run, int]) -> Series | None:
    """One quantity of the runs that know it; ``None`` if none does or it says nothing."""
    known = [(run, value) for run in runs if (value := _read_value(run, quantity)) is not None]
    if not known:
        return None
    values = [value for _, value in known]
    # The variant with its settings: runs of one group should be equal.
    groups: list[Hashable] = [
        (run.spec.variant, *(getattr(run.spec, name) for name in TREATMENTS)) for run, _ in known
    ]
    if quantity.is_relative:
        values = _compare_with_mean(values, groups)
    drift = fit_drift([float(places[run]) for run, _ in known], values, groups)
    # One run of a variant is at its own mean, which says nothing.
    if drift is None and quantity.is_relative:
        return None
    points = [(places[run], run, v) for (run, _), v in zip(known, values, strict=True)]
    return Series(quantity, points, drift)


def _read_value(run: Run, quantity: Quantity) -> float | None:
    value = run.row[quantity.column]
    if value is None or (quantity.is_relative and value <= 0):
        return None
    return float(value)


def _compare_with_mean(values: list[float], groups: list[Hashable]) -> list[float]:
    """How far each value lies above the mean of its group, in per cent."""
    by_group: dict[Hashable, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        by_group.setdefault(group, []).append(value)
    means = {group: math.fsum(own) / len(own) for group, own in by_group.items()}
    return [100 * (v / means[group] - 1) for v, group in zip(values, groups, strict=True)]


def _iterate_words(study: ReportStudy, series: list[Series]) -> Iterator[str]:
    if not any(item.drift for item in series):
        yield (
            "Every variant ran once, so drift of the machine cannot be separated from a difference "
            "between variants."
        )
    elif any(item.has_drift for item in series if item.quantity is QUANTITIES[0]):
        order = study.comparison.order if study.comparison else None
        if order is not None:
            yield (
                "The balanced order keeps this drift out of the contrasts, not out of the joules."
                if order.balance.is_exact
                else "The order is not balanced: a difference between variants may be this drift."
            )
        elif len(study.configurations) > 1:
            yield "The order inside the blocks is unknown: a difference may be this drift."


def _iterate_claims(series: list[Series]) -> Iterator[Statement]:
    """One for each quantity, where the drift of any is known."""
    if not any(item.drift for item in series):
        return
    for place, item in enumerate(series, start=1):
        drift = item.drift
        interval = drift.interval if drift else None
        values = {
            "runs": drift.runs if drift else None,
            "slope": drift.slope if drift else None,
            "low": interval.low if interval else None,
            "high": interval.high if interval else None,
        }
        yield Statement(f"drift-{place}", _describe_drift(item), RUNS_TABLE, "", values)


def _describe_drift(series: Series) -> str:
    """One drift as a sentence, with its interval."""
    drift, name, unit = series.drift, series.quantity.name, series.quantity.unit
    if drift is None:
        return f"{name}: the drift is not known."
    slope = (
        f"{name} {'rose' if drift.slope >= 0 else 'fell'} by {abs(drift.slope):.2g} {unit} a run"
    )
    if drift.interval is None:
        return f"{slope} over {count_of(drift.runs, 'run')}, too few for an interval."
    low, high = drift.interval.low, drift.interval.high
    end = "" if series.has_drift else ": no drift is shown"
    return f"{slope} (95 % interval {low:+.2g} to {high:+.2g} {unit}){end}."


def _build_figure(study: ReportStudy, series: list[Series], spare: list[int]) -> Figure:
    title = f"{', '.join(item.quantity.name for item in series)} in the order of the runs"
    description = " ".join(map(_describe_drift, series))
    legend = _iterate_legend(series, spare)
    caption = " ".join((*legend, f"Energy: {study.energy_words}.{study.stamp}"))
    data = _build_data(study, series)
    return Figure(
        "run-order", lambda: _draw(study, series, spare), title, description, caption, data
    )


def _iterate_legend(series: list[Series], spare: list[int]) -> Iterator[str]:
    yield "One mark a run."
    if any(item.quantity.is_relative for item in series):
        yield (
            "Per cent: above or below the mean of the same variant, so that a difference between "
            "variants is no drift."
        )
    if any(item.drift for item in series):
        yield "Dashed: the drift."
    if spare:
        yield "× at the foot: a run whose joules are not used."
    if any(item.quantity.column.startswith("gpu_") for item in series):
        yield "GPU temperature and clock: means in training, as the driver reported them."
    else:
        yield "No GPU reported its temperature or clock."


def _draw(study: ReportStudy, series: list[Series], spare: list[int]) -> drawing.Canvas:
    from matplotlib.ticker import MaxNLocator

    size_in = (drawing.WIDTH_IN, 1.0 + _PANEL_IN * len(series))
    canvas, grid = drawing.create_plots(len(series), 1, size_in, share_x=True)
    for item, (plot,) in zip(series, grid, strict=True):
        _draw_series(plot, study, item)
    lowest = grid[-1][0]
    foot = lowest.get_xaxis_transform()
    lowest.plot(spare, [0.04] * len(spare), "x", color=drawing.INK, markersize=5, transform=foot)
    lowest.set_xlabel("place in the order of the runs")
    lowest.xaxis.set_major_locator(MaxNLocator(integer=True))
    drawing.add_legend(canvas, grid[0][0])
    return canvas


def _draw_series(plot: drawing.Axes, study: ReportStudy, series: Series) -> None:
    drawing.draw_runs(plot, study, [(run, place, value) for place, run, value in series.points])
    places, values = [place for place, _, _ in series.points], series.values
    if series.drift is not None:
        middle_x, middle_y = math.fsum(places) / len(places), math.fsum(values) / len(values)
        ends = (min(places), max(places))
        y = [middle_y + series.drift.slope * (end - middle_x) for end in ends]
        plot.plot(ends, y, color=drawing.INK, linewidth=1.0, linestyle="--", alpha=0.8)
    plot.set_ylabel(series.quantity.axis)
    plot.set_ylim(drawing.pad_limits(values, 0.65, _LEAST_SPAN_PCT))
    plot.margins(x=0.04)


def _build_data(study: ReportStudy, series: list[Series]) -> DataTable:
    cells = [{run: value for _, run, value in item.points} for item in series]
    forms = ["+.2f" if item.quantity.is_relative else ".1f" for item in series]
    placed = {(place, run.run_id, run) for item in series for place, run, _ in item.points}
    rows = tuple(
        (
            run_id,
            str(place),
            *(format_cell(own.get(run), form) for own, form in zip(cells, forms, strict=True)),
        )
        for place, run_id, run in sorted(placed, key=lambda item: item[:2])
    )
    headings = (item.quantity.heading for item in series)
    caption = f"The marks of the figure. {study.energy_words}.{study.stamp}"
    return DataTable(caption, ("run", "place", *headings), rows)
