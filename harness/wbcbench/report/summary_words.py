"""A row of ``summary.csv`` in words; pure: the same row gives the same words."""

from __future__ import annotations

from typing import Any

from wbcbench.compare.render import status_words
from wbcbench.core.text import UNKNOWN, count_of, human_duration, human_energy, human_share
from wbcbench.report.summary_rows import ENERGY, Row


def arm_sentence(row: Row) -> str:
    """What an arm used and reached, with both errors of each."""
    energy = f"used {both_errors(row)} in" if row[ENERGY] is not None else "trained for"
    return (
        f"{row['arm']} {energy} {human_duration(_number(row, 'time_train_s'))} and reached a "
        f"balanced accuracy of {human_share(_number(row, 'balanced_accuracy'))}"
        f"{_photographs(row)} ({count_of(int(row['n'] or 0), 'run')})."
    )


def both_errors(row: Row) -> str:
    """``41.2 kJ ± 0.6 kJ (runs) ± 2.1 kJ (meter)``, and what kind of joules they are."""
    told = human_energy(_number(row, ENERGY))
    for column, name in (("energy_runs_j", "runs"), ("energy_meter_j", "meter")):
        if row[column] is not None:
            told += f" ± {human_energy(_number(row, column))} ({name})"
    return told + _status(row)


def target_words(row: Row) -> str:
    """``19.6 kJ (8 of 8)``: Kaplan and Meier's median, and how many runs reached the target."""
    if not row["target_runs"]:
        return UNKNOWN
    of = f"({row['target_reached']} of {row['target_runs']})"
    if row["energy_to_target_j"] is not None:
        return f"{human_energy(_number(row, 'energy_to_target_j'))} {of}"
    if row["time_to_target_s"] is not None:
        return f"{human_duration(_number(row, 'time_to_target_s'))} {of}"
    return f"never {of}" if not row["target_reached"] else f"not by half {of}"


def target_sentence(row: Row) -> str:
    """How many runs of an arm reached the target, and at what median cost."""
    cost_j, cost_s = (_number(row, name) for name in ("energy_to_target_j", "time_to_target_s"))
    told = reached_words(
        int(row["target_reached"] or 0), int(row["target_runs"] or 0), cost_j, cost_s
    )
    return f"{row['arm']}: {told}{_status(row) if cost_j is not None else ''}."


def reached_words(reached: int, runs: int, cost_j: float | None, cost_s: float | None) -> str:
    """``8 of 8 runs reached it; median cost 7.92 kJ (Kaplan–Meier)``."""
    count = f"{reached} of {count_of(runs, 'run')} reached it"
    if cost_j is None and cost_s is None:
        return f"{count}; fewer than half, so the median cost is unknown"
    cost = human_energy(cost_j) if cost_j is not None else human_duration(cost_s)
    return f"{count}; median cost {cost} (Kaplan–Meier)"


def photographs_words(row: Row) -> str:
    """``0.70–0.90``: the accuracy's 95 % interval for other photographs."""
    low, high = (_number(row, f"accuracy_photographs_{end}") for end in ("low", "high"))
    return UNKNOWN if low is None or high is None else f"{low:.2f}–{high:.2f}"


def _status(row: Row) -> str:
    return status_words(str(row["energy_status"] or ""))


def _photographs(row: Row) -> str:
    words = photographs_words(row)
    accuracy = human_share(_number(row, "accuracy"))
    return "" if words == UNKNOWN else f", plain accuracy {accuracy} (by photograph {words})"


def _number(row: Row, column: str) -> float | None:
    value: Any = row[column]
    return None if value is None else float(value)
