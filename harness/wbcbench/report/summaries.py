"""The numbers behind the summary: means, their intervals, what the whole study cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wbcbench.compare.design import Configuration
from wbcbench.core.run_folder import study_runs
from wbcbench.core.study_folder import RUNS_TABLE, pilot_study
from wbcbench.core.text import UNKNOWN, count_of, human_energy
from wbcbench.core.units import kwh_from_j
from wbcbench.energy.metrics import mean_known, ratio
from wbcbench.report import Statement, Value
from wbcbench.report.study import ReportStudy, known_values
from wbcbench.stats.intervals import censored_median, t_interval
from wbcbench.table.derive import Sum, spent, sum_spent
from wbcbench.table.view import Run

SUMMARY_FILE = "summary.csv"

Row = Mapping[str, Value]

ENERGY = "primary_energy_train_j"
_OF_ENERGY = (ENERGY, "primary_energy_train_above_idle_j", "energy_per_train_image_j")
_OF_ALL = ("balanced_accuracy", "accuracy", "time_train_s")

T_INTERVAL = "95 % t"
EXTREMES = "lowest–highest"
_DIGITS = 3

_DATA_DIGITS = 6
_MOST_PLACES = 6


def summary_rows(study: ReportStudy) -> list[Row]:
    """One row for each arm, in order."""
    return [_row(study, each) for each in study.configurations]


def mean_in(row: Row, column: str) -> Mean | None:
    """A column's mean with its interval, as the row holds it."""
    n, mean, low, high = (row[f"{column}{part}"] for part in ("_n", "", "_low", "_high"))
    if not isinstance(n, int) or None in (mean, low, high):
        return None
    return Mean(n, float(mean or 0), float(low or 0), float(high or 0))


def _row(study: ReportStudy, configuration: Configuration) -> Row:
    used, metered = study.used(configuration), study.metered(configuration)
    row: dict[str, Value] = {
        "arm": configuration.label,
        "runs_tried": len(configuration.runs),
        "n": len(used),
        "energy_status": _status(metered),
    }
    for column in _OF_ENERGY:
        row |= _mean_cells(column, known_values(metered, column))
    row |= _mean_cells("power_mean_w", _powers_w(metered))
    for column in _OF_ALL:
        row |= _mean_cells(column, known_values(used, column))
    return row | _error_cells(row, used, metered) | _target_cells(used, metered)


def _status(runs: Sequence[Run]) -> str | None:
    return str(runs[0].row["primary_status"]) if runs else None


def _mean_cells(column: str, values: Sequence[float]) -> dict[str, Value]:
    found = mean_of(values)
    parts = (found.mean, found.low, found.high) if found else (None, None, None)
    ends = ("", "_low", "_high")
    cells = {f"{column}{end}": value for end, value in zip(ends, parts, strict=True)}
    return {f"{column}_n": found.n if found else 0, **cells}


def _powers_w(runs: Sequence[Run]) -> list[float]:
    found = [ratio(run.train_energy_j, run.row["time_train_s"]) for run in runs]
    return [power_w for power_w in found if power_w is not None]


def _error_cells(row: Row, used: Sequence[Run], metered: Sequence[Run]) -> dict[str, Value]:
    """What the interval over runs does not hold: the meter's error, and the few photographs."""
    energy = mean_in(row, ENERGY)
    lows, highs = (known_values(used, f"accuracy_ci_{end}") for end in ("low", "high"))
    return {
        "energy_runs_j": (energy.high - energy.low) / 2 if energy and energy.n > 2 else None,
        "energy_meter_j": _meter_j(metered),
        "accuracy_photographs_low": min(lows, default=None),
        "accuracy_photographs_high": max(highs, default=None),
        "accuracy_leakage_free": mean_known(known_values(used, "accuracy_leakage_free")),
    }


def _meter_j(runs: Sequence[Run]) -> float | None:
    """The meter's half-width for the mean: its own, and the sensor's gain, which all runs share."""
    own_j = mean_known(known_values(runs, "primary_uncertainty_train_j"))
    gains = [run.gain_error for run in runs]
    energies = [run.train_energy_j for run in runs]
    gain_j = mean_known(
        [g * e for g, e in zip(gains, energies, strict=True) if g is not None and e is not None]
    )
    return own_j if own_j is None or gain_j is None else math.hypot(own_j, gain_j)


def _target_cells(used: Sequence[Run], metered: Sequence[Run]) -> dict[str, Value]:
    """Cost of the target: k of n, and Kaplan and Meier's median; in seconds without joules."""
    runs = metered or used
    by_energy = bool(metered)
    cost, total = (
        ("energy_to_target_j", ENERGY) if by_energy else ("time_to_target_s", "time_train_s")
    )
    tried = [run for run in runs if run.row["target_reached"] is not None]
    hits = [bool(run.row["target_reached"]) for run in tried]
    costs = [run.row[cost if hit else total] for run, hit in zip(tried, hits, strict=True)]
    whole = bool(tried) and None not in costs
    median = censored_median(costs, hits).median if whole else None
    return {
        "target_runs": len(tried),
        "target_reached": sum(hits),
        "energy_to_target_j": median if by_energy else None,
        "time_to_target_s": None if by_energy else median,
    }


@dataclass(frozen=True, slots=True)
class Mean:
    """Over runs.

    Attributes:
        n: How many.
        mean: Of them.
        low, high: 95 % t interval from three runs on, else the lowest and highest.
    """

    n: int
    mean: float
    low: float
    high: float

    @property
    def how(self) -> str:
        """What ``low`` and ``high`` are; empty for a single run."""
        return "" if self.n < 2 else T_INTERVAL if self.n > 2 else EXTREMES


def mean_of(values: Sequence[float]) -> Mean | None:
    """The mean of finite values; ``None`` if there is none."""
    found = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    if not len(found):
        return None
    interval = t_interval(found)
    low, high = (interval.low, interval.high) if interval else (found.min(), found.max())
    return Mean(len(found), float(found.mean()), float(low), float(high))


def mean_words(found: Mean | None, divisor: float = 1.0) -> str:
    """``41.2 [40.6, 41.8]``; of two runs ``41.2 (40.9–41.5)``, of one ``41.2``."""
    if found is None:
        return UNKNOWN
    values = [value / divisor for value in (found.mean, found.low, found.high)]
    digits = _decimals(*values)
    mean, low, high = (f"{value:.{digits}f}" for value in values)
    if found.n < 2:
        return mean
    return f"{mean} [{low}, {high}]" if found.how == T_INTERVAL else f"{mean} ({low}–{high})"


def _decimals(mean: float, low: float, high: float) -> int:
    """Three digits of the mean, or two of the half-width where that is finer; at most one more."""
    usual = _DIGITS - 1 - (math.floor(math.log10(abs(mean))) if mean else 0)
    half = (high - low) / 2
    finer = 1 - math.floor(math.log10(half)) if half > 0 else usual
    return max(min(max(usual, finer), usual + 1), 0)


def number_words(value: float | None, digits: int = _DATA_DIGITS) -> str:
    """``5303.74``, ``0.799556``; what is not known or not finite is ``unknown``, never zero."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    size = math.floor(math.log10(abs(value))) + 1 if value else 1
    return f"{value:.{min(max(digits - max(size, 0), 0), _MOST_PLACES)}f}"


def signed_words(value: float | None, digits: int = 4) -> str:
    """``+2.813``, ``-6.913``: a difference."""
    told = number_words(value, digits)
    return f"+{told}" if value is not None and value > 0 and told != UNKNOWN else told


def cost_claim(study: ReportStudy) -> tuple[Statement, ...]:
    """One sentence with the joules of everything that was carried out; none without joules."""
    all_runs, wasted = _sums(study)
    pilots = _pilots(study)
    if not all_runs.energy_j:
        return ()
    values: dict[str, Value] = {
        "runs": all_runs.runs,
        "runs_unknown": all_runs.unknown,
        "runs_wasted": wasted.runs,
        "pilots": pilots.runs,
        **{f"energy_{status}_j": j for status, j in sorted(all_runs.energy_j.items())},
        **{f"energy_wasted_{status}_j": j for status, j in sorted(wasted.energy_j.items())},
        **{f"energy_pilots_{status}_j": j for status, j in sorted(pilots.energy_j.items())},
    }
    return (Statement("cost", _cost_words(all_runs, wasted, pilots), RUNS_TABLE, "", values),)


def _cost_words(all_runs: Sum, wasted: Sum, pilots: Sum) -> str:
    told = (
        f"The whole study used {_joules(all_runs)}: {count_of(all_runs.runs, 'run')}, idle phases "
        "and failed runs included"
    )
    if all_runs.unknown:
        told += f", and more that is not known of {count_of(all_runs.unknown, 'run')}"
    if wasted.runs:
        told += f"; {_joules(wasted)} of it went into {count_of(wasted.runs, 'run')} without result"
    if pilots.runs:
        told += f"; beside these, {count_of(pilots.runs, 'pilot run')} used {_joules(pilots)}"
    return f"{told}."


def _joules(found: Sum) -> str:
    """``1.44 MJ (0.401 kWh, measured)``; joules of different status are not added."""
    parts = [
        f"{human_energy(energy_j)} ({kwh_from_j(energy_j):.3g} kWh, {status})"
        for status, energy_j in sorted(found.energy_j.items())
    ]
    return " and ".join(parts) or "an unknown energy"


def _sums(study: ReportStudy) -> tuple[Sum, Sum]:
    bad = [run for run in study.runs if not run.is_done]
    return (
        sum_spent(spent(run.record) for run in study.runs),
        sum_spent(spent(run.record) for run in bad),
    )


def _pilots(study: ReportStudy) -> Sum:
    if study.folder is None:
        return sum_spent(())
    runs = study_runs(study.folder.parent, pilot_study(study.name))
    return sum_spent(spent(run.read_record()) for run in runs if run.is_finished)
