"""``summary.csv``: one row an arm, unrounded; what the summary on the page is told from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from wbcbench.compare.design import Configuration
from wbcbench.energy.metrics import mean_known, ratio
from wbcbench.report import Value
from wbcbench.report.evidence import ReportStudy, known
from wbcbench.report.means import Mean, mean_of
from wbcbench.stats.intervals import censored_median
from wbcbench.table.view import Run

FILE = "summary.csv"

Row = Mapping[str, Value]

ENERGY = "headline_energy_train_j"
_OF_ENERGY = (ENERGY, "headline_energy_train_net_j", "energy_per_train_image_j")
_OF_ALL = ("balanced_accuracy", "accuracy", "time_train_s")


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
        row |= _mean(column, known(metered, column))
    row |= _mean("power_mean_w", _powers_w(metered))
    for column in _OF_ALL:
        row |= _mean(column, known(used, column))
    return row | _errors(row, used, metered) | _target(used, metered)


def _status(runs: Sequence[Run]) -> str | None:
    return str(runs[0].row["headline_status"]) if runs else None


def _mean(column: str, values: Sequence[float]) -> dict[str, Value]:
    found = mean_of(values)
    parts = (found.mean, found.low, found.high) if found else (None, None, None)
    ends = ("", "_low", "_high")
    cells = {f"{column}{end}": value for end, value in zip(ends, parts, strict=True)}
    return {f"{column}_n": found.n if found else 0, **cells}


def _powers_w(runs: Sequence[Run]) -> list[float]:
    found = [ratio(run.train_energy_j, run.row["time_train_s"]) for run in runs]
    return [power_w for power_w in found if power_w is not None]


def _errors(row: Row, used: Sequence[Run], metered: Sequence[Run]) -> dict[str, Value]:
    """What the interval over runs does not hold: the meter's error, and the few photographs."""
    energy = mean_in(row, ENERGY)
    lows, highs = (known(used, f"accuracy_ci_{end}") for end in ("low", "high"))
    return {
        "energy_runs_j": (energy.high - energy.low) / 2 if energy and energy.n > 2 else None,
        "energy_meter_j": _meter_j(metered),
        "accuracy_photographs_low": min(lows, default=None),
        "accuracy_photographs_high": max(highs, default=None),
        "accuracy_leak_free": mean_known(known(used, "accuracy_leak_free")),
    }


def _meter_j(runs: Sequence[Run]) -> float | None:
    """The meter's half-width for the mean: its own, and the sensor's gain, which all runs share."""
    own_j = mean_known(known(runs, "headline_uncertainty_train_j"))
    gains = [run.gain_error for run in runs]
    energies = [run.train_energy_j for run in runs]
    gain_j = mean_known(
        [g * e for g, e in zip(gains, energies, strict=True) if g is not None and e is not None]
    )
    return own_j if own_j is None or gain_j is None else math.hypot(own_j, gain_j)


def _target(used: Sequence[Run], metered: Sequence[Run]) -> dict[str, Value]:
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
