"""Every run's validation metric over what it had cost, and the median of several runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from wbcbench.energy.source import TimelinePoint, target_score, timeline
from wbcbench.report.evidence import ReportStudy
from wbcbench.table.view import Run


@dataclass(frozen=True, slots=True)
class Curve:
    """One run's validation metric at the end of its epochs.

    Attributes:
        run: Whose.
        arm: What it is an instance of.
        epochs: Those with known cost and metric.
        energy_j: Joules of training steps up to each; empty where joules are not asked for.
        time_s: Seconds of the same steps.
        score: The plan's target metric.
    """

    run: Run
    arm: str
    epochs: tuple[int, ...]
    energy_j: tuple[float, ...]
    time_s: tuple[float, ...]
    score: tuple[float, ...]

    def cost(self, *, joules: bool) -> tuple[float, ...]:
        """What had been spent at the end of each epoch, in joules or in seconds."""
        return self.energy_j if joules else self.time_s


def curves_of(study: ReportStudy, runs: Iterable[Run], *, joules: bool) -> list[Curve]:
    """A curve for each run that has a point; with ``joules`` only points whose joules are known."""
    made = (_curve(study, run, joules=joules) for run in runs)
    return [curve for curve in made if curve]


def _curve(study: ReportStudy, run: Run, *, joules: bool) -> Curve | None:
    points = [
        (point, score)
        for point in timeline(run.record, run.headline)
        if (score := target_score(run.record, point.epoch)) is not None
        and math.isfinite(score)
        and point.time_s > 0
        and (not joules or _joules(point) > 0)
    ]
    if not points:
        return None
    return Curve(
        run=run,
        arm=study.label_of(run),
        epochs=tuple(point.epoch.index for point, _ in points),
        energy_j=tuple(_joules(point) for point, _ in points) if joules else (),
        time_s=tuple(point.time_s for point, _ in points),
        score=tuple(score for _, score in points),
    )


def _joules(point: TimelinePoint) -> float:
    """Not a number where they are unknown, so that no comparison holds."""
    return math.nan if point.energy_j is None else point.energy_j


def medians(curves: Sequence[Curve], *, joules: bool) -> tuple[list[float], list[float]]:
    """Median cost and median score, epoch by epoch, over those epochs that every run has.

    With later epochs it would be the median of the longer runs only.
    """
    shared = sorted(set.intersection(*(set(curve.epochs) for curve in curves)))
    costs = [dict(zip(c.epochs, c.cost(joules=joules), strict=True)) for c in curves]
    scores = [dict(zip(curve.epochs, curve.score, strict=True)) for curve in curves]
    return (
        [median(each[epoch] for each in costs) for epoch in shared],
        [median(each[epoch] for each in scores) for epoch in shared],
    )
