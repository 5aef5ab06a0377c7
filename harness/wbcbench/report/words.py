"""Rows of tables in sentences; pure: the same row gives the same words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbcbench.compare.effects import ImageAnswers, read_image_answers
from wbcbench.compare.render import decimals, p_words, status_words
from wbcbench.compare.result import Comparison
from wbcbench.core.text import UNKNOWN, count_of, human_duration, human_energy, human_share
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import ENERGY, Row
from wbcbench.stats.bootstrap import percentile_interval, resample
from wbcbench.stats.intervals import Floats, Interval

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
_NO_MEASUREMENT = {
    "estimated": "the joules are estimated, not measured, so no saving or cost is shown",
    "simulated": "the joules are those of a simulated sensor, so this shows nothing about energy",
    "measured": "the joules are measured",
}

MOST_RUNS = 10
"""Of one variant: further runs change the average of a few images, and reading them takes time."""

Pair = tuple[float, float]


def anchor(source: str, row: str) -> str:
    """An id of letters, digits and hyphens, different for each row of each table."""
    words = re.sub(r"[^a-z0-9]+", "-", f"{source.removesuffix('.csv')} {row}".lower())
    digest = hashlib.sha256(f"{source}\n{row}".encode()).hexdigest()[:8]
    return f"{words.strip('-')[:_LONGEST].strip('-')}-{digest}"


def analysis_lines(study: ReportStudy) -> Iterator[tuple[str, str]]:
    """Question and answer; nothing but the reason where nothing was compared."""
    found = study.comparison
    if found is None:
        yield "comparison", study.why_not_compared or "Nothing was compared."
        return
    yield (
        "unit of comparison",
        (
            "The block: one seed with every variant once. Differences are taken inside blocks; "
            "joules and seconds as logarithms of ratios, accuracies as they are."
        ),
    )
    yield "primary family", _family(found)
    yield "intervals", _intervals(found)
    yield (
        "tests",
        (
            "Exact paired sign-flip test over all patterns of signs; p is corrected within the "
            f"family by Holm's method at {100 * found.settings.alpha:g} %."
        ),
    )
    yield (
        "equivalence",
        (
            f"Two one-sided tests at 5 % against ±{found.settings.region_pct:g} % (joules, "
            f"seconds) and ±{found.settings.region_pp:g} percentage points (accuracies)."
        ),
    )
    yield (
        "cost of the target",
        (
            "Kaplan and Meier's median over runs; a run that never reached the target counts as "
            "one that cost more than it used. Nothing is filled in."
        ),
    )


def _family(found: Comparison) -> str:
    primary = [effect for effect in found.effects if effect.family == "primary"]
    if not primary:
        return "No contrast: there is nothing to compare."
    contrasts = dict.fromkeys(f"{e.contrast} ({e.against})" for e in primary)
    metrics = dict.fromkeys(metric_words(e.metric.name) for e in primary)
    return (
        f"{', '.join(contrasts)}; each on {' and '.join(metrics)}: "
        f"{count_of(len(primary), 'test')}. Pairs of variants are secondary: estimates only."
    )


def _intervals(found: Comparison) -> str:
    how = {
        "t": "Student's t on the differences within blocks, from three blocks on",
        "bootstrap": "BCa bootstrap of the differences within blocks, from fifteen blocks on",
    }
    return (
        f"{how[found.settings.method]}; 95 %. Intervals of accuracy by photograph draw whole "
        "photographs within each class."
    )


def metric_words(name: str) -> str:
    """A column's name as people say it."""
    return _METRICS.get(name, name.replace("_", " "))


def contrast_name(contrast: str, against: str) -> str:
    """``regulariser batchnorm vs dropout``; an interaction is *of* two factors."""
    return f"{contrast} {'of' if contrast == 'interaction' else 'vs'} {against}"


def contrast_sentence(row: ContrastRow) -> str:
    """A line of ``contrasts.csv``: what it shows, with its number, interval, p and status."""
    made = {"different": _differs, "equivalent": _equivalent}
    words = _without_interval if row["ci_low"] is None else made.get(row["result"], _open)
    told = words(row)
    status = _NO_MEASUREMENT.get(row["energy_status"] or "")
    return f"{told}; {status}." if status else f"{told}."


def _differs(row: ContrastRow) -> str:
    if row["contrast"] == "interaction":
        return f"{_interaction(row)} {_size(row)} {_tested(row)}"
    with_, than = _sides(row)
    return f"With {with_}, {_metric(row)} was {_size(row)} than with {than} {_tested(row)}"


def _equivalent(row: ContrastRow) -> str:
    shown = f"shown to lie within ±{row['rope_high']:g}{_unit(row)}"
    metric = f"{_metric(row)[:1].upper()}{_metric(row)[1:]}"
    if row["contrast"] == "interaction":
        told = f"{metric} shows practically no interaction {row['against']}"
    else:
        told = "{} is practically the same with {} as with {}".format(metric, *_sides(row))
    return f"{told}: {_signed(row)} {_tested(row)}, {shown}"


def _open(row: ContrastRow) -> str:
    return (
        f"Whether {_question(row)} changes {_metric(row)} cannot be told: {_signed(row)} "
        f"{_tested(row)}"
    )


def _without_interval(row: ContrastRow) -> str:
    if row["estimate"] is None:
        return f"Whether {_question(row)} changes {_metric(row)} cannot be told: no block"
    return (
        f"In {count_of(row['n'], 'block')}, {_metric(row)} differed by {_signed(row)} with "
        f"{_question(row)}: an estimate without an interval, so no difference is shown"
    )


def _sides(row: ContrastRow) -> tuple[str, str]:
    return str(row["contrast"]), str(row["against"])


def _question(row: ContrastRow) -> str:
    if row["contrast"] == "interaction":
        return f"the interaction {row['against']}"
    return "{} instead of {}".format(*_sides(row))


def _interaction(row: ContrastRow) -> str:
    return f"The two factors do not simply add up ({row['against']}): together, {_metric(row)} was"


def _metric(row: ContrastRow) -> str:
    """What is compared; joules that no sensor read say so in the same breath."""
    status = row["energy_status"]
    kind = f"{status} " if status not in {None, "measured"} else ""
    return kind + metric_words(row["metric"])


def _unit(row: ContrastRow) -> str:
    return _UNITS.get(row["unit"], f" {row['unit']}")


def _size(row: ContrastRow) -> str:
    way = "lower" if row["estimate"] < 0 else "higher"
    return f"{_estimate(row).lstrip('+-')}{_unit(row)} {way}"


def _signed(row: ContrastRow) -> str:
    return f"{_estimate(row)}{_unit(row)}"


def _estimate(row: ContrastRow) -> str:
    if row["ci_low"] is None:
        return f"{row['estimate']:+.3g}"
    return f"{row['estimate']:+.{_decimals(row)}f}"


def _tested(row: ContrastRow) -> str:
    low, high = (f"{row[end]:+.{_decimals(row)}f}" for end in ("ci_low", "ci_high"))
    return (
        f"(95 % interval {low} to {high}{' ' if row['unit'] else ''}{row['unit']}, p = "
        f"{p_words(row['p_holm'])} after Holm's correction, {row['n']} blocks)"
    )


def _decimals(row: ContrastRow) -> int:
    return decimals(Interval(row["ci_low"], row["ci_high"], row["ci_method"]))


def variant_sentence(row: Row) -> str:
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


# The runs of a variant are averaged image by image; then photographs are drawn anew. More runs do
# not make this interval narrower, for all of them saw the same photographs.
@dataclass(frozen=True, slots=True)
class IntervalsByPhotograph:
    """95 % intervals of one variant, photographs drawn anew.

    Attributes:
        accuracy: On all test images.
        leakage_free: On those of cells that TRAIN does not show; ``None`` if there are none.
        recall: By class name.
        runs: How many runs were averaged.
    """

    accuracy: Pair
    leakage_free: Pair | None
    recall: Mapping[str, Pair]
    runs: int


def by_photograph(paths: Sequence[Path]) -> IntervalsByPhotograph | None:
    """The intervals of runs that saw the same images.

    ``None`` without predictions, where photographs are unknown, or where runs saw other images.

    Raises:
        UsageError: A file of predictions is damaged.
    """
    read = [read_image_answers(path) for path in paths[:MOST_RUNS]]
    if not read or any(each.images != read[0].images for each in read):
        return None
    first = read[0]
    if not first.images or (first.photographs < 0).any():
        return None
    share = np.mean([each.right for each in read], axis=0)
    return _intervals_from_answers(first, share, len(read))


def _intervals_from_answers(first: ImageAnswers, share: Floats, runs: int) -> IntervalsByPhotograph:
    names, labels = np.unique(first.truth, return_inverse=True)
    every = np.ones(len(labels), dtype=np.bool_)

    def interval(mask: NDArray[np.bool_]) -> Pair:
        drawn = resample(share[mask], labels[mask], first.photographs[mask])
        return percentile_interval(drawn.mean)

    return IntervalsByPhotograph(
        accuracy=interval(every),
        leakage_free=None if first.seen.all() else interval(~first.seen),
        recall={str(name): interval(labels == i) for i, name in enumerate(names)},
        runs=runs,
    )
