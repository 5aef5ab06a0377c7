"""An energy column as a running total, whether it holds one or the energy of each interval."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from wbcbench.energy.wall_logs.vocabulary import ColumnName, quote

TOTAL, INTERVAL = "total", "interval"
_FEWEST_RISES = 10  # readings of one interval each do not rise so often and never fall
_FEW_FALLS, _MANY_FALLS = 2, 0.1  # a meter is set to zero at midnight, not at every tenth reading
_NEAR_ZERO = 0.1
_AGREE = 0.2
_MOST_STEP = 1.5  # of the usual interval


def decide_energy(
    name: ColumnName,
    t_s: Sequence[float],
    energy_j: Sequence[float | None],
    power_w: Sequence[float | None],
) -> str:
    """``total`` or ``interval``: by the readings themselves, by power beside them, by the name.

    Args:
        name: The column's.
        t_s: Seconds of the rows, shape ``[n]``.
        energy_j: What it holds, in joules; ``None`` where it has no reading.
        power_w: A column of power beside it; empty if there is none.

    Raises:
        ValueError: It could be either.
    """
    pairs = list(pairwise(joules for joules in energy_j if joules is not None))
    rises, falls = sum(b > a for a, b in pairs), sum(b < a for a, b in pairs)
    drops = sum(b < a and b > _NEAR_ZERO * a for a, b in pairs)  # not set to zero
    says_interval = name.has("interval")
    if power_w and (choice := _compare_with_power(t_s, energy_j, power_w)):
        return choice
    if falls > max(_FEW_FALLS, _MANY_FALLS * len(pairs)):
        return INTERVAL
    is_rising = rises >= _FEWEST_RISES or (rises > 0 and name.has("running"))
    if is_rising and not drops and falls <= _FEW_FALLS and not says_interval:
        return TOTAL
    if says_interval and not name.has("running") and (falls or rises < _FEWEST_RISES):
        return INTERVAL
    raise ValueError(
        f"its column {quote(name.text)} may hold a running total or the energy of each "
        "interval; say which with --energy total or --energy interval"
    )


def _compare_with_power(
    t_s: Sequence[float], energy_j: Sequence[float | None], power_w: Sequence[float | None]
) -> str:
    rows = [row for row in zip(t_s, energy_j, power_w, strict=True) if None not in row]
    drawn_j = sum((b[0] - a[0]) * ((a[2] or 0) + (b[2] or 0)) / 2 for a, b in pairwise(rows))
    if drawn_j <= 0:
        return ""
    total_j = (rows[-1][1] or 0.0) - (rows[0][1] or 0.0)
    sum_j = sum(row[1] or 0.0 for row in rows[1:])
    is_total, is_interval = (abs(j - drawn_j) <= _AGREE * drawn_j for j in (total_j, sum_j))
    return "" if is_total == is_interval else TOTAL if is_total else INTERVAL


def add_intervals(
    t_s: Sequence[float], energy_j: Sequence[float | None], is_at_start: bool
) -> list[float | None]:
    """Energies of the intervals that begin or end at each time as a running total.

    After a row that is missing or has no reading the total begins anew at zero, so that nothing
    is said of the joules that were not logged.
    """
    usual_s = median(b - a for a, b in pairwise(t_s))
    totals, sum_j, before_s = list[float | None](), 0.0, t_s[0]
    for now_s, joules in zip(t_s, energy_j, strict=True):
        if joules is None:
            totals.append(None)
            continue
        is_next = now_s - before_s <= _MOST_STEP * usual_s
        sum_j = sum_j if is_next else 0.0
        added_j = joules if is_next or is_at_start else 0.0
        totals.append(sum_j if is_at_start else sum_j + added_j)
        sum_j += added_j
        before_s = now_s
    return totals
