"""The numbers behind the summary: means, their intervals, the cost of the whole study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wbcbench.compare.design import Configuration
from wbcbench.core.run_folder import study_runs
from wbcbench.core.study_folder import RUNS_TABLE, pilot_study
from wbcbench.core.text import UNKNOWN, count_of, human_energy
from wbcbench.core.trace import Origin
from wbcbench.core.units import kwh_from_j
from wbcbench.energy.metrics import mean_known, ratio
from wbcbench.report import Statement, Value
from wbcbench.report.study import ReportStudy, known_values
from wbcbench.stats.intervals import Scale, compute_censored_median, level_interval
from wbcbench.table.derive import Sum, spent, sum_spent
from wbcbench.table.view import Run

SUMMARY_FILE = "summary.csv"

Row = Mapping[str, Any]
"""Cells of ``summary.csv`` by column; ``None`` is unknown."""

ENERGY = "primary_energy_train_j"
_OF_ENERGY = (ENERGY, "primary_energy_train_above_idle_j", "energy_per_train_image_j")
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
    powers_w = [ratio(run.train_energy_j, run.row["time_train_s"]) for run in metered]
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
        "energy_board_j": mean_known(known_values(metered, "primary_board_uncertainty_train_j")),
        "accuracy_photographs_low": over_photographs[0],
        "accuracy_photographs_high": over_photographs[1],
        "accuracy_leakage_free": mean_known(known_values(used, "accuracy_leakage_free")),
    }


def _build_target_cells(used: Sequence[Run], metered: Sequence[Run]) -> dict[str, Value]:
    """Cost of the target: k of n, and Kaplan and Meier's median; in seconds without joules."""
    by_energy = bool(metered)
    cost, total = (
        ("energy_to_target_j", ENERGY) if by_energy else ("time_to_target_s", "time_train_s")
    )
    runs = [run for run in metered or used if run.row["target_reached"] is not None]
    hits = [bool(run.row["target_reached"]) for run in runs]
    costs = [run.row[cost if hit else total] for run, hit in zip(runs, hits, strict=True)]
    median = compute_censored_median(costs, hits).median if runs and None not in costs else None
    return {
        "target_runs": len(runs),
        "target_reached": sum(hits),
        "energy_to_target_j": median if by_energy else None,
        "time_to_target_s": None if by_energy else median,
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
    if mean is None:
        return UNKNOWN
    values = [value / divisor for value in (mean.mean, mean.low, mean.high)]
    # Three digits of the mean, or two of the half-width where that is finer; at most one more.
    usual = _DIGITS - 1 - (math.floor(math.log10(abs(values[0]))) if values[0] else 0)
    half = (values[2] - values[1]) / 2
    finer = 1 - math.floor(math.log10(half)) if half > 0 else usual
    digits = max(min(max(usual, finer), usual + 1), 0)
    centre, low, high = (f"{value:.{digits}f}" for value in values)
    if mean.n < 2:
        return centre
    return f"{centre} [{low}, {high}]" if mean.has_interval else f"{centre} ({low}–{high})"


def format_number(value: float | None, digits: int = _DATA_DIGITS) -> str:
    """``5303.74``, ``0.799556``; what is not known or not finite is ``unknown``, never zero."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    size = math.floor(math.log10(abs(value))) + 1 if value else 1
    return f"{value:.{min(max(digits - max(size, 0), 0), _MOST_PLACES)}f}"


def format_cell(value: float | None, form: str) -> str:
    """A number of a table; a dash where it is not known."""
    return "–" if value is None else f"{value:{form}}"


def format_range(ends: Sequence[float | None] | None, digits: int = 2) -> str:
    """``0.70–0.90``: an interval."""
    known = [end for end in ends or () if end is not None]
    return "–".join(f"{end:.{digits}f}" for end in known) if len(known) == 2 else UNKNOWN


def format_signed(value: float | None, digits: int = 4) -> str:
    """``+2.813``, ``-6.913``: a difference."""
    text = format_number(value, digits)
    return f"+{text}" if value is not None and value > 0 and text != UNKNOWN else text


def build_cost_claim(study: ReportStudy) -> tuple[Statement, ...]:
    """One sentence with the joules of every run and pilot; none without joules."""
    total = sum_spent(spent(run) for run in study.runs)
    wasted = sum_spent(spent(run) for run in study.runs if not run.is_done)
    folder = study.folder
    pilot_runs = study_runs(folder.parent, pilot_study(study.name)) if folder else []
    pilots = sum_spent(spent(Run(run.read_record())) for run in pilot_runs if run.is_finished)
    if not total.energy_j:
        return ()
    values: dict[str, Value] = {
        "runs": total.runs,
        "runs_unknown": total.unknown,
        "runs_wasted": wasted.runs,
        "pilots": pilots.runs,
    }
    for name, part in (("energy", total), ("energy_wasted", wasted), ("energy_pilots", pilots)):
        values |= {f"{name}_{status}_j": j for status, j in sorted(part.energy_j.items())}
    text = (
        f"The whole study used {_format_sum(total)}: {count_of(total.runs, 'run')}, idle phases "
        "and failed runs included"
    )
    if total.unknown:
        text += f", and more that is not known of {count_of(total.unknown, 'run')}"
    if wasted.runs:
        runs = count_of(wasted.runs, "run")
        text += f"; {_format_sum(wasted)} of it went into {runs} without result"
    if pilots.runs:
        runs = count_of(pilots.runs, "pilot run")
        text += f"; in addition, {runs} used {_format_sum(pilots)}"
    return (Statement("cost", f"{text}.", RUNS_TABLE, "", values),)


def _format_sum(total: Sum) -> str:
    """``1.44 MJ (0.401 kWh, measured)``; joules of different status are not added."""
    parts = [
        f"{human_energy(energy_j)} ({kwh_from_j(energy_j):.3g} kWh, {status})"
        for status, energy_j in sorted(
            total.energy_j.items(), key=lambda item: Origin(item[0]).rank
        )
    ]
    return " and ".join(parts) or "an unknown energy"
