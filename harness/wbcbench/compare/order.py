"""The order in which compared runs were carried out: whether it was balanced, and any drift."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

import numpy as np
from numpy.typing import NDArray

from wbcbench.compare.boards import name_board
from wbcbench.compare.design import Blocks, ComparisonDesign
from wbcbench.compare.metric import PRIMARY, TIME
from wbcbench.stats.intervals import LEAST_FOR_T, Floats, Interval, Labels, t_quantile
from wbcbench.stats.order import Balance, Drift, count_balance, fit_drift
from wbcbench.table.view import Run

_LONGEST_PAUSE = 3.0  # times the usual time from start to start: beyond it a new session begins
# Of the time within blocks, the share that variants do not have in common. In a fixed order there
# is none, and a drift within blocks cannot be told from a difference.
LEAST_VARIED = 0.1


@dataclass(frozen=True, slots=True)
class HourlyDrift:
    """How a quantity rose over the run order.

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
        is_varied: Whether it varies enough between blocks for a drift within them to be seen.
        drifts: Of mean power and joules, within blocks or, where the order does not vary, from
            block to block; empty where they are unknown.
    """

    balance: Balance
    is_varied: bool
    drifts: tuple[HourlyDrift, ...]


def find_order(design: ComparisonDesign, blocks: Blocks) -> RunOrder | None:
    """The order in which the runs were started.

    ``None`` without two configurations in a block, where two of its runs started together, and
    where runs of a block come from several boards, of which each has an order of its own.
    """
    labels = [configuration.label for configuration in design.configurations]
    starts = {r: datetime.fromisoformat(str(r.row["started_utc"])) for b in blocks.runs for r in b}
    together = any(len({starts[run] for run in block}) < len(block) for block in blocks.runs)
    if len(labels) < 2 or not blocks.runs or together or blocks.boards.is_spread:
        return None
    ordered = [
        [label for _, label in sorted(zip((starts[run] for run in block), labels, strict=True))]
        for block in blocks.runs
    ]
    hours, sessions, is_whole = _count_hours(blocks, starts)
    quantities: tuple[tuple[str, str, Callable[[Run], float | None]], ...] = (
        ("mean power", "W", _mean_power_w),
        ("energy", "J", lambda run: run.number(PRIMARY)),
    )
    hours, sessions = hours[is_whole], sessions[is_whole]
    if len(hours) < LEAST_FOR_T:
        return RunOrder(count_balance(ordered), is_varied=False, drifts=())
    apart = _remove_means(hours)
    within = hours - hours.mean(axis=1, keepdims=True)
    is_varied = float((apart**2).sum()) > LEAST_VARIED * float((within**2).sum())
    values = ((*q[:2], _collect_values(blocks, q[2])) for q in quantities)
    found = (
        _fit_hourly(quantity, unit, value[is_whole], hours, sessions, is_varied=is_varied)
        for quantity, unit, value in values
        if value is not None
    )
    return RunOrder(count_balance(ordered), is_varied, tuple(drift for drift in found if drift))


def _count_hours(
    blocks: Blocks, starts: Mapping[Run, datetime]
) -> tuple[Floats, Labels, NDArray[np.bool_]]:
    """``[blocks, configurations]`` hours from the start of the session, and each block's session.

    A machine that rested is another machine, and so is another board: a drift goes on within a
    session only. The third is which blocks lie in one session.
    """
    gaps_s, boards = list[float](), dict[str, list[Run]]()
    for run in sorted(starts, key=starts.__getitem__):
        own = boards.setdefault(name_board(run), [])
        gaps_s += [(starts[run] - starts[own[-1]]).total_seconds()] if own else []
        own.append(run)
    longest_s = _LONGEST_PAUSE * median(gaps_s or [0.0])
    session, hours = -1, dict[Run, tuple[float, int]]()
    for own in boards.values():
        for before, run in zip([None, *own], own, strict=False):
            if before is None or (starts[run] - starts[before]).total_seconds() > longest_s:
                session, first = session + 1, starts[run]
            hours[run] = (starts[run] - first) / timedelta(hours=1), session
    table = np.array([[hours[run][0] for run in block] for block in blocks.runs])
    sessions = np.array([[hours[run][1] for run in block] for block in blocks.runs])
    return table, sessions[:, 0], np.ptp(sessions, axis=1) == 0


def _mean_power_w(run: Run) -> float | None:
    energy_j, time_s = run.number(PRIMARY), run.number(TIME)
    return energy_j / time_s if energy_j is not None and time_s else None


def _collect_values(blocks: Blocks, read: Callable[[Run], float | None]) -> Floats | None:
    """``[blocks, configurations]``; ``None`` if one is unknown or not above zero."""
    values = [[read(run) for run in block] for block in blocks.runs]
    is_known = all(value is not None and value > 0 for row in values for value in row)
    return np.array(values, dtype=np.float64) if is_known else None


def _remove_means(values: Floats) -> Floats:
    """What is left of ``[blocks, configurations]`` without the means of either."""
    rows, columns = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    return np.asarray(values - rows - columns + values.mean())


def _fit_hourly(
    quantity: str, unit: str, values: Floats, hours: Floats, sessions: Labels,
    *, is_varied: bool,
) -> HourlyDrift | None:  # fmt: skip
    """A line through the logarithms, so that large and small configurations drift alike.

    What a block shares is not the drift's, so the line is taken within blocks; in an order that
    does not vary, through the means of the blocks of each session.
    """
    logs = np.log(values)
    drift = (
        _fit_within(hours, logs)
        if is_varied
        else fit_drift(hours.mean(axis=1).tolist(), logs.mean(axis=1).tolist(), sessions.tolist())
    )
    if drift is None or drift.interval is None:
        return None
    level = float(values.mean())
    places = (hours - hours.mean(axis=1, keepdims=True)).mean(axis=0)
    return HourlyDrift(
        quantity,
        unit,
        level * drift.slope,
        drift.interval.transform(lambda slope: level * slope),
        100 * math.expm1(abs(drift.slope) * float(np.ptp(places))),
    )


def _fit_within(hours: Floats, logs: Floats) -> Drift | None:
    """Ordinary least squares with a level for each block and each configuration."""
    blocks, size = hours.shape
    x, y = _remove_means(hours), _remove_means(logs)
    slope = float((x * y).sum() / (x**2).sum())
    freedom = (blocks - 1) * (size - 1) - 1
    if freedom < 1:
        return None
    error = math.sqrt(float(((y - slope * x) ** 2).sum()) / freedom / float((x**2).sum()))
    half = t_quantile(freedom + 1) * error
    return Drift(slope, Interval(slope - half, slope + half, "t"), blocks * size, size)
