"""The tested runs of one variant, and its means with both of their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wbcbench.core.record import Scores
from wbcbench.energy.metrics import mean_known
from wbcbench.report.by_photograph import IntervalsByPhotograph, by_photograph
from wbcbench.report.evidence import ReportStudy
from wbcbench.report.whiskers import Whisker
from wbcbench.stats.intervals import t_interval
from wbcbench.table.view import Run

ALL_IMAGES, LEAK_FREE = "all test images", "without leaks"

Pair = tuple[float, float]
Which = Literal["test", "test_leak_free"]


@dataclass(frozen=True, slots=True)
class Depth:
    """The finished runs of one variant that were tested on the same classes."""

    variant: str
    runs: tuple[Run, ...]
    photographs: IntervalsByPhotograph | None

    def scores(self, which: Which) -> list[Scores]:
        """Of each run, where known."""
        found = (getattr(run.record, which) for run in self.runs)
        return [scores for scores in found if scores is not None]

    def mean(self, name: str, which: Which = "test") -> float | None:
        """Mean of one score over the runs that know it."""
        return mean_known([getattr(scores, name) for scores in self.scores(which)])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the matrices."""
        return self.scores("test")[0].classes


def depth_of(study: ReportStudy, variant: str) -> Depth | None:
    """The largest set of this variant's runs with one list of classes."""
    tested = [run for run in study.done if run.spec.variant == variant and run.record.test]
    lists = [run.record.test.classes for run in tested if run.record.test]
    if not lists:
        return None
    usual = max(sorted(set(lists)), key=lists.count)
    runs = tuple(run for run, own in zip(tested, lists, strict=True) if own == usual)
    paths = [path for run in runs if (path := run.predictions_path)]
    return Depth(variant, runs, by_photograph(paths))


def by_seed(values: Sequence[float]) -> Pair | None:
    """95 % interval of the mean over runs, within 0 and 1; ``None`` with fewer than three."""
    found = t_interval(np.asarray(values, dtype=np.float64))
    return (max(found.low, 0.0), min(found.high, 1.0)) if found else None


def recalls(depth: Depth) -> list[Whisker]:
    """Recall of each class, averaged over runs."""
    found: list[Whisker] = []
    for name in depth.classes:
        every = [scores.recall.get(name) for scores in depth.scores("test")]
        known = [value for value in every if value is not None]
        if known:
            photographs = depth.photographs.recall.get(name) if depth.photographs else None
            mean = float(np.mean(known))
            found.append(Whisker(name.lower(), depth.variant, mean, by_seed(known), photographs))
    return found


def accuracies(depth: Depth) -> list[Whisker]:
    """Accuracy on all test images and on those without leaks, averaged over runs."""
    sets: list[tuple[str, Which, Pair | None]] = [
        (ALL_IMAGES, "test", depth.photographs.accuracy if depth.photographs else None),
        (LEAK_FREE, "test_leak_free", depth.photographs.leak_free if depth.photographs else None),
    ]
    found: list[Whisker] = []
    for group, which, interval in sets:
        values = [scores.accuracy for scores in depth.scores(which)]
        if values:
            mean = float(np.mean(values))
            found.append(Whisker(group, depth.variant, mean, by_seed(values), interval))
    return found
