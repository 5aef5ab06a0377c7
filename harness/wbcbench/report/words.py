"""Rows of tables in sentences; pure: the same row gives the same sentence."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbcbench.compare.effects import read_image_answers
from wbcbench.compare.metric import Settings
from wbcbench.compare.render import STATUS_WORDS, decimals, format_p, format_status
from wbcbench.compare.result import Comparison, count_tests
from wbcbench.core.text import (
    UNKNOWN,
    Error,
    count_of,
    human_duration,
    human_energy,
    human_energy_within,
    human_share,
)
from wbcbench.core.trace import Origin
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import ENERGY, Row, format_range, get_mean
from wbcbench.stats.bootstrap import compute_percentile_interval, resample
from wbcbench.stats.intervals import Interval

_LONGEST = 40

ContrastRow = Mapping[str, Any]

_METRICS = {
    "primary_energy_train_j": "energy in training",
    "energy_gpu_train_j": "GPU energy in training",
    "time_train_s": "time in training",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
}
_UNITS = {"%": " %", "pp": " percentage points", "": ""}
_INTERVALS = {
    "t": "Student's t on the differences within blocks, from three blocks on",
    "bootstrap": "BCa bootstrap of the differences within blocks, from fifteen blocks on",
}

MOST_RUNS = 10
"""Of one variant: further runs change the average of a few images, and reading them takes time."""

Pair = tuple[float, float]


def make_anchor(source: str, row: str) -> str:
    """An id of letters, digits and hyphens, different for each row of each table."""
    words = re.sub(r"[^a-z0-9]+", "-", f"{source.removesuffix('.csv')} {row}".lower())
    digest = hashlib.sha256(f"{source}\n{row}".encode()).hexdigest()[:8]
    return f"{words.strip('-')[:_LONGEST].strip('-')}-{digest}"


def describe_analysis(study: ReportStudy) -> Iterator[tuple[str, str]]:
    """Question and answer; only the reason where nothing was compared."""
    comparison = study.comparison
    if comparison is None:
        yield "comparison", study.why_not_compared or "Nothing was compared."
        return
    settings = comparison.settings
    yield (
        "unit of comparison",
        "The block: one seed with every variant once. Differences are taken inside blocks; joules, "
        "seconds, watts and rates as logarithms of ratios, accuracies as they are.",
    )
    yield "primary family", _describe_family(comparison)
    yield (
        "intervals",
        f"{_INTERVALS[settings.method]}; 95 %. Those of a variant's mean stay above zero (joules, "
        "seconds, watts, rates) or within 0 and 1 (accuracies). Intervals of accuracy over "
        "photographs come from a cluster bootstrap: whole photographs are resampled within each "
        "class.",
    )
    yield from [("tests", "none")] if settings.untested else _describe_tests(settings)
    yield (
        "cost of the target",
        "Kaplan and Meier's median over runs; a run that never reached the target counts as one "
        "that cost more than it used. Nothing is filled in.",
    )


def _describe_tests(settings: Settings) -> Iterator[tuple[str, str]]:
    yield (
        "tests",
        "Exact paired sign-flip test over all patterns of signs; p is corrected within the family "
        f"by Holm's method at {100 * settings.alpha:g} %.",
    )
    yield (
        "equivalence",
        f"Two one-sided tests at 5 %, corrected within the family by Holm's method, against "
        f"±{settings.region_pct:g} % (joules, seconds) and ±{settings.region_pp:g} percentage "
        "points (accuracies).",
    )


def _describe_family(comparison: Comparison) -> str:
    primary = [effect for effect in comparison.effects if effect.family == "primary"]
    if not primary:
        return "No contrast: there is nothing to compare."
    contrasts = dict.fromkeys(f"{e.contrast} ({e.against})" for e in primary)
    metrics = dict.fromkeys(format_metric(e.metric.name) for e in primary)
    untested = comparison.settings.untested
    tests = count_of(count_tests(primary, comparison.settings), "test")
    return (
        f"{', '.join(contrasts)}; each on {' and '.join(metrics)}: "
        f"{'nothing is tested' if untested else tests}. "
        "Other contrasts are secondary: estimates only."
    )


def format_metric(name: str) -> str:
    """The name of a column in a sentence."""
    return _METRICS.get(name, name.replace("_", " "))


def describe_contrast(row: ContrastRow) -> str:
    """The result of a line of ``contrasts.csv`` with its number, interval, p and status."""
    status = STATUS_WORDS.get(row["energy_status"] or "")
    return f"{_describe_result(row)}; {status}." if status else f"{_describe_result(row)}."


def _describe_result(row: ContrastRow) -> str:
    """The sentence up to the status of the joules."""
    contrast, against, estimate = row["contrast"], row["against"], row["estimate"]
    interacts = contrast == "interaction"
    question = f"the interaction {against}" if interacts else f"{contrast} instead of {against}"
    status = row["energy_status"]
    kind = f"{status} " if status not in {None, "measured"} else ""
    metric = kind + format_metric(row["metric"])
    unit = _UNITS.get(row["unit"], f" {row['unit']}")
    if estimate is None:
        return f"The effect of {question} on {metric} is inconclusive: no complete block"
    if row["ci_low"] is None:
        return (
            f"In {count_of(row['n'], 'repetition')}, {metric} differed by {estimate:+.3g}{unit} "
            f"with {question}: an estimate without an interval, so no difference is shown"
        )
    digits = decimals(Interval(row["ci_low"], row["ci_high"], row["ci_method"]))
    is_tested = row["result"] != "not tested"
    p_holm = row["p_equivalence_holm" if row["result"] == "equivalent" else "p_holm"]
    p = f", p = {format_p(p_holm)} after Holm's correction" if is_tested else ""
    tested = (
        f"(95 % interval {row['ci_low']:+.{digits}f} to {row['ci_high']:+.{digits}f}"
        f"{' ' if row['unit'] else ''}{row['unit']}{p}, {row['n']} repetitions)"
    )
    signed = f"{estimate:+.{digits}f}{unit}"
    if row["result"] == "different":
        size = f"{signed.lstrip('+-')} {'lower' if estimate < 0 else 'higher'}"
        if interacts:
            return (
                f"The two factors do not simply add up ({against}): together, {metric} was {size} "
                f"{tested}"
            )
        return f"With {contrast}, {metric} was {size} than with {against} {tested}"
    if row["result"] == "equivalent":
        metric = f"{metric[:1].upper()}{metric[1:]}"
        claim = (
            f"{metric} shows practically no interaction {against}"
            if interacts
            else f"{metric} is practically the same with {contrast} as with {against}"
        )
        return f"{claim}: {signed} {tested}, shown to lie within ±{row['rope_high']:g}{unit}"
    outcome = "is inconclusive" if is_tested else "was not tested"
    return f"The effect of {question} on {metric} {outcome}: {signed} {tested}"


def describe_variant(row: Row) -> str:
    """The cost and accuracy of a configuration, with both errors of each."""
    energy = f"used {format_both_errors(row)} in" if row[ENERGY] is not None else "trained for"
    photographs = format_photographs(row)
    accuracy = (
        f", plain accuracy {human_share(row['accuracy'])} (95 % CI over photographs {photographs})"
        if photographs != UNKNOWN
        else ""
    )
    return (
        f"{row['configuration']} {energy} {human_duration(row['time_train_s'])} and "
        f"reached a balanced accuracy of {human_share(row['balanced_accuracy'])}"
        f"{accuracy} ({count_of(row['n'], 'run')})."
    )


def format_both_errors(row: Row) -> str:
    """``41.2 kJ ± 600 J (runs) ± 9 J (reading) ± 2.1 kJ (board)``, and the joules' status."""
    errors_j: dict[str, Error | None] = {}
    # Of an estimate the scatter over runs would pass for its error, which nobody knows.
    if row["energy_status"] != Origin.ESTIMATED:
        mean = get_mean(row, ENERGY)
        sides = (mean.mean - mean.low, mean.high - mean.mean) if mean else None
        errors_j = {
            "runs": sides if mean and mean.has_interval else None,
            "reading": row["energy_reading_j"],
            "board": row["energy_board_j"],
        }
    text = human_energy_within(row[ENERGY], **errors_j)
    return text + format_status(row["energy_status"] or "")


def format_target(row: Row) -> str:
    """``19.6 kJ (8 of 8)``: Kaplan and Meier's median, and how many runs reached the target."""
    if not row["target_runs"]:
        return UNKNOWN
    count = f"({row['target_reached']} of {row['target_runs']})"
    if row["energy_to_target_j"] is not None:
        return f"{human_energy(row['energy_to_target_j'])} {count}"
    if row["time_to_target_s"] is not None:
        return f"{human_duration(row['time_to_target_s'])} {count}"
    return f"never {count}" if not row["target_reached"] else f"not by half {count}"


def describe_target(row: Row) -> str:
    """How many runs of a configuration reached the target, and at what median cost."""
    cost_j, cost_s = (row[name] for name in ("energy_to_target_j", "time_to_target_s"))
    status = format_status(row["energy_status"] or "") if cost_j is not None else ""
    words = format_reached(row["target_reached"], row["target_runs"], cost_j, cost_s)
    return f"{row['configuration']}: {words}{status}."


def format_reached(reached: int, runs: int, cost_j: float | None, cost_s: float | None) -> str:
    """``8 of 8 runs reached it; median cost 7.92 kJ (Kaplan–Meier)``."""
    count = f"{reached} of {count_of(runs, 'run')} reached it"
    if cost_j is None and cost_s is None:
        return f"{count}; fewer than half, so the median cost is unknown"
    cost = human_energy(cost_j) if cost_j is not None else human_duration(cost_s)
    return f"{count}; median cost {cost} (Kaplan–Meier)"


def format_photographs(row: Row) -> str:
    """``0.70–0.90``: the accuracy's 95 % interval for other photographs."""
    return format_range([row[f"accuracy_photographs_{end}"] for end in ("low", "high")])


# The runs of a variant are averaged image by image; then whole photographs are resampled. More runs
# do not make this interval narrower, because all of them were tested on the same photographs.
@dataclass(frozen=True, slots=True)
class PhotographIntervals:
    """95 % intervals of one variant over photographs (cluster bootstrap).

    Attributes:
        accuracy: On all test images.
        leakage_free: On those of cells that TRAIN does not show; ``None`` if there are none.
        recall: By class name.
    """

    accuracy: Pair
    leakage_free: Pair | None
    recall: Mapping[str, Pair]


def compute_photograph_intervals(paths: Sequence[Path]) -> PhotographIntervals | None:
    """The intervals of runs that were tested on the same images.

    ``None`` without predictions, where photographs are unknown, or where the images differ.

    Raises:
        UsageError: A file of predictions is damaged.
    """
    answers = [read_image_answers(path) for path in paths[:MOST_RUNS]]
    if not answers or any(answer.images != answers[0].images for answer in answers):
        return None
    first = answers[0]
    if not first.images or (first.photographs < 0).any():
        return None
    share = np.mean([answer.right for answer in answers], axis=0)
    names, labels = np.unique(first.truth, return_inverse=True)
    every = np.ones(len(labels), dtype=np.bool_)

    def compute_interval(mask: NDArray[np.bool_]) -> Pair:
        drawn = resample(share[mask], labels[mask], first.photographs[mask])
        return compute_percentile_interval(drawn.mean)

    return PhotographIntervals(
        accuracy=compute_interval(every),
        leakage_free=None if first.is_in_train.all() else compute_interval(~first.is_in_train),
        recall={str(name): compute_interval(labels == i) for i, name in enumerate(names)},
    )
