"""Runs in the order in which they were carried out: whether the machine drifted meanwhile."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench.compare.design import TREATMENTS
from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import count_of
from wbcbench.report import Block, DataTable, Figure, Statement
from wbcbench.report.drawing import INK, WIDTH_IN, new_plots
from wbcbench.report.marks import draw_runs
from wbcbench.report.study import ReportStudy
from wbcbench.stats.tests import Drift, fit_drift
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NAME = "run-order"

# Less than this around the mean would let noise look like a difference.
_LEAST_SPAN_PCT = 1.0
_PANEL_IN = 1.9


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is looked at.

    Attributes:
        column: Of the results table.
        name: For sentences.
        axis: For the vertical axis.
        unit: Of the drift.
        relative: Whether each run is set against the mean of its own variant, in per cent.
    """

    column: str
    name: str
    axis: str
    unit: str
    relative: bool


QUANTITIES = (
    Quantity("primary_energy_train_j", "Energy", "energy (± %)", "%", relative=True),
    Quantity("gpu_temp_mean_c", "GPU temperature", "GPU (°C)", "°C", relative=False),
    Quantity("gpu_clock_mean_mhz", "GPU clock", "clock (± %)", "%", relative=True),
)


@dataclass(frozen=True, slots=True)
class Placed:
    """A run, its place, and what was run there: the same for runs that should be alike."""

    run: Run
    place: int
    group: Hashable


@dataclass(frozen=True, slots=True)
class Seen:
    """One quantity over the places of the runs that know it.

    Attributes:
        quantity: Which.
        runs: In order of place.
        values: As drawn: per cent above the group's mean, or in the unit.
        drift: ``None`` where it cannot be told.
    """

    quantity: Quantity
    runs: list[Placed]
    values: list[float]
    drift: Drift | None


def order_section(study: ReportStudy) -> Block | None:
    """Runs in the order in which they were carried out: whether the machine drifted meanwhile.

    Energy, GPU temperature and clock over the places of the runs, and their drift in words.
    """
    if len(study.comparable) < 2:
        return None
    numbers = _run_places(study.runs)
    if numbers is None:
        return _block(("The order of the runs is not known, so drift cannot be looked for.",))
    order = {run.run_id: place for run, place in zip(study.runs, numbers, strict=True)}
    runs = [Placed(run, order[run.run_id], _run_group(run)) for run in study.comparable]
    runs.sort(key=lambda each: each.place)
    seen = [found for quantity in QUANTITIES if (found := _quantity_over_places(quantity, runs))]
    spare = sorted(set(numbers) - {each.place for each in runs})
    figures = (_figure(study, seen, spare),) if seen else ()
    return _block(tuple(_words(study, seen)), figures, tuple(_claims(seen)))


def _block(
    words: tuple[str, ...],
    figures: tuple[Figure, ...] = (),
    claims: tuple[Statement, ...] = (),
) -> Block:
    return Block("order", "Run order and drift", words, figures=figures, claims=claims)


def _run_places(runs: tuple[Run, ...]) -> list[int] | None:
    """The place of each run: as planned, else by its start; ``None`` where neither tells."""
    planned = [run.spec.order_global for run in runs]
    if len(set(planned)) == len(runs):
        return planned
    starts = [run.record.started_utc for run in runs]
    ranks = {start: i + 1 for i, start in enumerate(sorted(set(starts)))}
    return [ranks[start] for start in starts] if len(ranks) == len(runs) else None


def _run_group(run: Run) -> Hashable:
    """The variant with its settings: runs of one group should be alike."""
    spec = run.spec
    return (spec.variant, *(getattr(spec, name) for name in TREATMENTS))


def _quantity_over_places(quantity: Quantity, runs: list[Placed]) -> Seen | None:
    """One quantity of the runs that know it; ``None`` if none does or there is nothing to see."""
    known = [(each, value) for each in runs if (value := _value(each.run, quantity)) is not None]
    if not known:
        return None
    kept, values = [each for each, _ in known], [value for _, value in known]
    groups = [each.group for each in kept]
    where = [float(each.place) for each in kept]
    drawn = _against_own_mean(values, groups) if quantity.relative else values
    found = fit_drift(where, drawn, groups)
    # One run of a variant stands at its own mean, which says nothing.
    return None if found is None and quantity.relative else Seen(quantity, kept, drawn, found)


def _value(run: Run, quantity: Quantity) -> float | None:
    value = run.row[quantity.column]
    if value is None or not math.isfinite(value) or (quantity.relative and value <= 0):
        return None
    return float(value)


def _against_own_mean(values: list[float], groups: list[Hashable]) -> list[float]:
    means: dict[Hashable, float] = {}
    for each in set(groups):
        own = [value for value, of in zip(values, groups, strict=True) if of == each]
        means[each] = math.fsum(own) / len(own)
    return [100 * (v / means[of] - 1) for v, of in zip(values, groups, strict=True)]


def _words(study: ReportStudy, seen: list[Seen]) -> Iterator[str]:
    found = next((each for each in seen if each.drift), None)
    if found is None:
        yield (
            "Every variant ran once, so drift of the machine cannot be told from a difference "
            "between variants."
        )
        return
    if any(_is_shown(each.drift) for each in seen if each.quantity is QUANTITIES[0]):
        yield (
            "Blocks in random order keep this drift out of the contrasts, not out of the joules."
            if study.plan
            else "Without a planned order a difference between variants may be this drift."
        )


def _claims(seen: list[Seen]) -> Iterator[Statement]:
    """One for each quantity, where the drift of any can be told."""
    if not any(each.drift for each in seen):
        return
    for place, each in enumerate(seen, start=1):
        found = each.drift
        interval = found.interval if found else None
        values = {
            "runs": found.runs if found else None,
            "slope": found.slope if found else None,
            "low": interval.low if interval else None,
            "high": interval.high if interval else None,
        }
        yield Statement(f"drift-{place}", _describe_drift(each), RUNS_TABLE, "", values)


def _is_shown(found: Drift | None) -> bool:
    return bool(found and found.interval and found.interval.excludes(0.0))


def _describe_drift(seen: Seen) -> str:
    """One drift as a sentence, with what it adds up to over the study."""
    found, unit = seen.drift, seen.quantity.unit
    if found is None:
        return f"{seen.quantity.name}: no drift can be told."
    how = "rose" if found.slope >= 0 else "fell"
    slope = f"{seen.quantity.name} {how} by {abs(found.slope):.2g} {unit} a run"
    if found.interval is None:
        return f"{slope} over {count_of(found.runs, 'run')}, too few for an interval."
    low, high = found.interval.low, found.interval.high
    verdict = "" if _is_shown(found) else ": no drift is shown"
    return f"{slope} (95 % interval {low:+.2g} to {high:+.2g} {unit}){verdict}."


def _figure(study: ReportStudy, seen: list[Seen], spare: list[int]) -> Figure:
    names = [each.quantity.name for each in seen]
    title = f"{', '.join(names)} in the order of the runs"
    description = " ".join(_describe_drift(each) for each in seen)
    caption = " ".join((*_legend(seen, spare), f"Energy: {study.energy_words}.{study.stamp}"))
    data = _data(study, seen)
    return Figure(NAME, lambda: _picture(study, seen, spare), title, description, caption, data)


def _legend(seen: list[Seen], spare: list[int]) -> Iterator[str]:
    yield "One mark a run."
    if any(each.quantity.relative for each in seen):
        yield (
            "Per cent: above or below the mean of the same variant, so that a difference between "
            "variants is no drift."
        )
    if any(each.drift for each in seen):
        yield "Dashed: the drift."
    if spare:
        yield "× at the foot: a run whose joules are not used."
    if any(each.quantity.column.startswith("gpu_") for each in seen):
        yield "GPU temperature and clock: means in training, as the driver told them."
    else:
        yield "No GPU told its temperature or clock."


def _picture(study: ReportStudy, seen: list[Seen], spare: list[int]) -> Canvas:
    from matplotlib.ticker import MaxNLocator

    size_in = (WIDTH_IN, 1.0 + _PANEL_IN * len(seen))
    canvas, grid = new_plots(len(seen), 1, size_in, share_x=True)
    for each, (plot,) in zip(seen, grid, strict=True):
        _draw(plot, study, each)
    lowest = grid[-1][0]
    foot = lowest.get_xaxis_transform()
    lowest.plot(spare, [0.04] * len(spare), "x", color=INK, markersize=5, transform=foot)
    lowest.set_xlabel("place in the order of the runs")
    lowest.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = grid[0][0].get_legend_handles_labels()
    canvas.legend(*handles, loc="outside upper left", ncols=2, frameon=False)
    return canvas


def _draw(plot: Axes, study: ReportStudy, seen: Seen) -> None:
    draw_runs(plot, study, [(each.run, each.place, value) for each, value in _pairs(seen)])
    _draw_drift(plot, seen)
    plot.set_ylabel(seen.quantity.axis)
    _frame(plot, seen)


def _frame(plot: Axes, seen: Seen) -> None:
    low, high = min(seen.values), max(seen.values)
    span = max(high - low, _LEAST_SPAN_PCT)
    middle = (low + high) / 2
    plot.set_ylim(middle - 0.65 * span, middle + 0.65 * span)
    plot.margins(x=0.04)


def _draw_drift(plot: Axes, seen: Seen) -> None:
    if seen.drift is None:
        return
    x = [each.place for each in seen.runs]
    middle_x, middle_y = math.fsum(x) / len(x), math.fsum(seen.values) / len(x)
    ends = (min(x), max(x))
    y = [middle_y + seen.drift.slope * (end - middle_x) for end in ends]
    plot.plot(ends, y, color=INK, linewidth=1.0, linestyle="--", alpha=0.8)


def _data(study: ReportStudy, seen: list[Seen]) -> DataTable:
    found = {(each.quantity, p.run.run_id): v for each in seen for p, v in _pairs(each)}
    placed = {p.run.run_id: p.place for each in seen for p in each.runs}
    rows = tuple(
        (run_id, str(place), *(_cell(found.get((each.quantity, run_id)), each) for each in seen))
        for run_id, place in sorted(placed.items(), key=lambda item: item[1])
    )
    headings = ("run", "place", *(_heading(each.quantity) for each in seen))
    return DataTable(f"The marks of the figure. {study.energy_words}.{study.stamp}", headings, rows)


def _pairs(seen: Seen) -> Iterator[tuple[Placed, float]]:
    return zip(seen.runs, seen.values, strict=True)


def _heading(quantity: Quantity) -> str:
    above = " above the variant's mean" if quantity.relative else ""
    return f"{quantity.name}{above} ({quantity.unit})"


def _cell(value: float | None, seen: Seen) -> str:
    return "–" if value is None else f"{value:+.2f}" if seen.quantity.relative else f"{value:.1f}"
