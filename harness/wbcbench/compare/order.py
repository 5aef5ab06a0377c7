"""The order in which compared runs were carried out: whether it was balanced, and any drift."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import fmean, median

from wbcbench.compare.design import Blocks, ComparisonDesign
from wbcbench.compare.metric import PRIMARY, TIME
from wbcbench.stats.intervals import Interval
from wbcbench.stats.order import Balance, count_balance, fit_drift
from wbcbench.table.view import Run

_LONGEST_PAUSE = 3.0  # times the usual time from start to start: a night between two sessions


@dataclass(frozen=True, slots=True)
class HourlyDrift:
    """How a quantity rose over the run order, each configuration having its own level.

    Attributes:
        quantity: In words.
        unit: W or J; ``per_hour`` and ``interval`` are in it, an hour.
        per_hour: At the mean level; below zero where it fell.
        interval: 95 %.
        bias_pct: What the drift alone adds to the difference of those two configurations whose
            mean places in the blocks lie farthest apart.
    """

    quantity: str
    unit: str
    per_hour: float
    interval: Interval
    bias_pct: float

    @property
    def is_seen(self) -> bool:
        """Whether the interval excludes zero."""
        return self.interval.excludes(0.0)


@dataclass(frozen=True, slots=True)
class RunOrder:
    """The order of the runs that are compared.

    Attributes:
        balance: How often each configuration ran at each place of a block and after each other.
        drifts: Of mean power and joules; empty where they are unknown.
    """

    balance: Balance
    drifts: tuple[HourlyDrift, ...]


def find_order(design: ComparisonDesign, blocks: Blocks) -> RunOrder | None:
    """The order in which the runs were started.

    ``None`` without two configurations in a block, or where runs started at the same time.
    """
    labels = [configuration.label for configuration in design.configurations]
    runs = [run for block in blocks.runs for run in block]
    starts = {run: datetime.fromisoformat(run.record.started_utc) for run in runs}
    if len(labels) < 2 or not runs or len(set(starts.values())) < len(runs):
        return None
    names = {run: label for block in blocks.runs for run, label in zip(block, labels, strict=True)}
    orders = [
        [names[run] for run in sorted(block, key=starts.__getitem__)] for block in blocks.runs
    ]
    hours = _count_hours(starts)
    quantities: tuple[tuple[str, str, Callable[[Run], float | None]], ...] = (
        ("mean power", "W", _mean_power_w),
        ("energy", "J", lambda run: run.number(PRIMARY)),
    )
    found = (_fit_hourly(*quantity, names, hours) for quantity in quantities)
    return RunOrder(count_balance(orders), tuple(drift for drift in found if drift))


def _count_hours(starts: dict[Run, datetime]) -> dict[Run, float]:
    """Hours of work from the first start to each; pauses between sessions hardly count."""
    ordered = sorted(starts, key=starts.__getitem__)
    gaps_s = [(starts[b] - starts[a]).total_seconds() for a, b in pairwise(ordered)]
    longest_s = _LONGEST_PAUSE * median(gaps_s)
    hours, passed_s = {ordered[0]: 0.0}, 0.0
    for run, gap_s in zip(ordered[1:], gaps_s, strict=True):
        passed_s += min(gap_s, longest_s)
        hours[run] = passed_s / 3600
    return hours


def _mean_power_w(run: Run) -> float | None:
    energy_j, time_s = run.number(PRIMARY), run.number(TIME)
    return energy_j / time_s if energy_j is not None and time_s else None


def _fit_hourly(
    quantity: str,
    unit: str,
    read: Callable[[Run], float | None],
    names: dict[Run, str],
    hours: dict[Run, float],
) -> HourlyDrift | None:
    """A line through the logarithms, so that large and small configurations drift alike."""
    values = [value for run in names if (value := read(run)) is not None and value > 0]
    if len(values) < len(names):
        return None
    places = [hours[run] for run in names]
    drift = fit_drift(places, [math.log(value) for value in values], list(names.values()))
    if drift is None or drift.interval is None:
        return None
    level = fmean(values)
    return HourlyDrift(
        quantity,
        unit,
        level * drift.slope,
        drift.interval.transform(lambda slope: level * slope),
        100 * math.expm1(abs(drift.slope) * _farthest_apart(places, list(names.values()))),
    )


def _farthest_apart(places: Sequence[float], names: Sequence[str]) -> float:
    """The largest difference between the mean places of two names; blocks hold all names."""
    means = [
        fmean(place for place, other in zip(places, names, strict=True) if other == name)
        for name in set(names)
    ]
    return max(means) - min(means)
