"""The numbers behind the summary: means, their intervals, the cost of the whole study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wbcbench.compare.boards import combine_gains
from wbcbench.compare.design import Configuration
from wbcbench.core.text import UNKNOWN
from wbcbench.energy.metrics import mean_known, ratio
from wbcbench.report import DataTable, Value
from wbcbench.report.study import ReportStudy, known_values
from wbcbench.stats.intervals import Scale, compute_censored_median, level_interval
from wbcbench.table.view import Run

SUMMARY_FILE = "summary.csv"

NONE = "–"
"""Of what is not known, in a table."""

Row = Mapping[str, Any]
"""Cells of ``summary.csv`` by column; ``None`` is unknown."""

ENERGY = "primary_energy_train_j"
WALL = "energy_wall_train_j"
_BOARD = "primary_board_uncertainty_train_j"
_OF_ENERGY = (ENERGY, "primary_energy_train_above_idle_j", "energy_per_train_image_j", WALL)
_SHARES = ("balanced_accuracy", "accuracy")
_OF_ALL = (*_SHARES, "time_train_s")
_POWER = "power_mean_w"

INTERVAL_COLUMNS = frozenset(
    {f"{column}_{end}" for column in (*_OF_ENERGY, _POWER, *_OF_ALL) for end in ("low", "high")}
    | {"energy_runs_j"}
)
"""Cells that follow from an interval over runs."""

_DIGITS = 3

_DATA_DIGITS = 6
_MOST_PLACES = 6


@dataclass(frozen=True, slots=True)
class Mean:
    """Over runs.

    Attributes:
        n: How many.
        mean: Of them.
        low, high: 95 % t interval from three runs on, above zero for joules, seconds and watts and
            within 0 and 1 for accuracies; else the lowest and highest.
    """

    n: int
    mean: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        """Whether ``low`` and ``high`` are the interval."""
        return self.n > 2


def build_summary_rows(study: ReportStudy) -> list[Row]:
    """One row for each configuration, in order."""
    return [_build_row(study, configuration) for configuration in study.configurations]


def _build_row(study: ReportStudy, configuration: Configuration) -> Row:
    used, metered = study.used(configuration), study.metered(configuration)
    powers_w = [ratio(run.row[ENERGY], run.row["time_train_s"]) for run in metered]
    row: dict[str, Value] = {
        "configuration": configuration.label,
        "runs_tried": len(configuration.runs),
        "n": len(used),
        "energy_status": str(metered[0].row["primary_status"]) if metered else None,
    }
    for column in _OF_ENERGY:
        row |= _build_mean_cells(column, known_values(metered, column))
    row |= _build_mean_cells(_POWER, [w for w in powers_w if w is not None])
    for column in _OF_ALL:
        row |= _build_mean_cells(column, known_values(used, column))
    photographs = _find_photograph_interval(study, configuration.label, used)
    errors = _build_error_cells(row, used, metered, photographs)
    return row | errors | _build_target_cells(used, metered)


def _find_photograph_interval(
    study: ReportStudy, label: str, used: Sequence[Run]
) -> Sequence[float | None]:
    """The interval of the runs' mean answers; of a single run, its own, which is the same."""
    if len(used) == 1:
        return [used[0].number(f"accuracy_ci_{end}") for end in ("low", "high")]
    summaries = study.comparison.configurations if study.comparison else ()
    means = next((each.accuracy for each in summaries if each.label == label), None)
    return (means.low, means.high) if means else (None, None)


def _build_mean_cells(column: str, values: Sequence[float]) -> dict[str, Value]:
    mean = compute_mean(values, "share" if column in _SHARES else "ratio")
    parts = (mean.n, mean.mean, mean.low, mean.high) if mean else (0, None, None, None)
    ends = ("_n", "", "_low", "_high")
    return {f"{column}{end}": value for end, value in zip(ends, parts, strict=True)}


def get_mean(row: Row, column: str) -> Mean | None:
    """A column's mean with its interval, as the row holds it."""
    parts = [row[f"{column}{part}"] for part in ("_n", "", "_low", "_high")]
    return None if None in parts else Mean(*parts)


def _build_error_cells(
    row: Row, used: Sequence[Run], metered: Sequence[Run], over_photographs: Sequence[float | None]
) -> dict[str, Value]:
    """What the interval over runs leaves out: the meter's error, and the few photographs."""
    energy = get_mean(row, ENERGY)
    return {
        "energy_runs_j": (energy.high - energy.low) / 2 if energy and energy.has_interval else None,
        "energy_reading_j": mean_known(known_values(metered, "primary_uncertainty_train_j")),
        "energy_board_j": _combine_gains(metered),
        "accuracy_photographs_low": over_photographs[0],
        "accuracy_photographs_high": over_photographs[1],
        "accuracy_leakage_free": mean_known(known_values(used, "accuracy_leakage_free")),
    }


def _combine_gains(metered: Sequence[Run]) -> float | None:
    """The error of a mean by the gain of its boards, of the runs of which it is known."""
    known = [run for run in metered if run.row[_BOARD] is not None]
    if len({run.row["gpu_uuid_hash"] for run in known}) > 1:
        return combine_gains(known, _BOARD)
    return mean_known(known_values(known, _BOARD))


def _build_target_cells(used: Sequence[Run], metered: Sequence[Run]) -> dict[str, Value]:
    """Cost of the target: k of n, and Kaplan and Meier's medians of joules and seconds."""
    runs = [run for run in metered or used if run.row["target_reached"] is not None]
    hits = [bool(run.row["target_reached"]) for run in runs]

    def compute_median(cost: str, total: str) -> float | None:
        costs = [run.row[cost if hit else total] for run, hit in zip(runs, hits, strict=True)]
        return compute_censored_median(costs, hits).median if runs and None not in costs else None

    return {
        "target_runs": len(runs),
        "target_reached": sum(hits),
        "energy_to_target_j": compute_median("energy_to_target_j", ENERGY) if metered else None,
        "time_to_target_s": compute_median("time_to_target_s", "time_train_s"),
    }


def compute_mean(values: Sequence[float], scale: Scale) -> Mean | None:
    """The mean of finite values; ``None`` if there is none."""
    finite = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    if not len(finite):
        return None
    interval = level_interval(finite, scale)
    low, high = (interval.low, interval.high) if interval else (finite.min(), finite.max())
    return Mean(len(finite), float(finite.mean()), float(low), float(high))


def format_mean(mean: Mean | None, divisor: float = 1.0) -> str:
    """``41.2 [40.6, 41.8]``; of two runs ``41.2 (40.9–41.5)``, of one ``41.2``."""
    return format_means([mean], divisor)[0]


def format_means(means: Sequence[Mean | None], divisor: float = 1.0) -> list[str]:
    """The same of a column, all with the same number of decimals."""
    known = [mean for mean in means if mean is not None]
    largest = max((abs(mean.mean / divisor) for mean in known), default=0.0)
    # Three digits of the largest mean, and one more where the ends of an interval would look alike.
    digits = _DIGITS - 1 - (math.floor(math.log10(largest)) if largest else 0)
    widths = [(mean.high - mean.low) / divisor for mean in known if mean.has_interval]
    is_fine = any(0 < width < 2 * 10.0**-digits for width in widths)
    return [_format_ends(mean, divisor, max(digits + is_fine, 0)) for mean in means]


def _format_ends(mean: Mean | None, divisor: float, digits: int) -> str:
    if mean is None:
        return UNKNOWN
    ends = (mean.mean, mean.low, mean.high)
    centre, low, high = (f"{value / divisor:.{digits}f}" for value in ends)
    if mean.n < 2:
        return centre
    return f"{centre} [{low}, {high}]" if mean.has_interval else f"{centre} ({low}–{high})"


def build_data_table(
    caption: str,
    headings: Sequence[str],
    values: Sequence[Sequence[Value]],
    words: Sequence[int] = (0,),
) -> DataTable:
    """The table behind a figure: numbers as they are, and the same to read."""
    rows = tuple(tuple(map(format_value, row)) for row in values)
    numbers = tuple(map(tuple, values))
    return DataTable(caption, tuple(headings), rows, tuple(words), values=numbers)


def format_value(value: Value) -> str:
    """A cell to read; a dash where it is not known."""
    if value is None:
        return NONE
    if isinstance(value, float):
        return format_number(value)
    return str(value)


def format_number(value: float | None, digits: int = _DATA_DIGITS) -> str:
    """``5303.74``, ``0.799556``; what is not known or not finite is ``unknown``, never zero."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    size = math.floor(math.log10(abs(value))) + 1 if value else 1
    return f"{value:.{min(max(digits - max(size, 0), 0), _MOST_PLACES)}f}"


def format_range(ends: Sequence[float | None] | None, digits: int = 2) -> str:
    """``0.70–0.90``: an interval."""
    known = [end for end in ends or () if end is not None]
    return "–".join(f"{end:.{digits}f}" for end in known) if len(known) == 2 else UNKNOWN


def format_signed(value: float | None, digits: int = 4) -> str:
    """``+2.813``, ``-6.913``: a difference."""
    text = format_number(value, digits)
    return f"+{text}" if value is not None and value > 0 and text != UNKNOWN else text
