"""The mean of every arm in joules and balanced accuracy, how sure it is, and who is on the front.

Where a comparison was made its complete blocks are what is averaged, so that these are the means
of the tables, and every arm is held against the same seeds. Without one it is all runs that may
stand together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wbcbench.energy.metrics import pareto_front
from wbcbench.report.evidence import ReportStudy
from wbcbench.stats.intervals import t_interval
from wbcbench.table.view import Run


@dataclass(frozen=True, slots=True)
class Centre:
    """One arm's mean.

    Attributes:
        arm: Its label.
        energy_j: Mean joules of training.
        accuracy: Mean balanced accuracy.
        half_j: Half-width of the 95 % t interval of ``energy_j``; ``None`` with fewer than three.
        half_accuracy: The same of ``accuracy``.
        points: Joules and balanced accuracy of the runs that were averaged.
        front_share: Share of resampled sets of blocks in which the arm is on the front; ``None``
            without two complete blocks.
    """

    arm: str
    energy_j: float
    accuracy: float
    half_j: float | None
    half_accuracy: float | None
    points: tuple[tuple[float, float], ...]
    front_share: float | None = None


def plotted(study: ReportStudy) -> list[Run]:
    """Runs with known joules and a finite balanced accuracy that may stand on one axis."""
    return [run for run in study.comparable if _is_known(run.row["balanced_accuracy"])]


def centres(study: ReportStudy) -> list[Centre]:
    """Every arm's mean, in the comparison's order; an arm without known points has none."""
    compared = study.comparison
    shares = {arm.label: arm.front_share for arm in compared.arms} if compared else {}
    known = {run.run_id for run in plotted(study)}
    used = {
        each.label: [run for run in study.metered(each) if run.run_id in known]
        for each in study.configurations
    }
    return [_centre(arm, own, shares.get(arm)) for arm, own in used.items() if own]


def blocks_used(study: ReportStudy) -> int:
    """How many complete blocks the means stand for; 0 where they stand for runs."""
    return len(study.comparison.blocks.runs) if study.comparison else 0


def front(found: Sequence[Centre]) -> list[Centre]:
    """The means that none beats on both energy and accuracy, by rising energy."""
    return [found[i] for i in pareto_front([(each.energy_j, each.accuracy) for each in found])]


def _centre(arm: str, runs: Sequence[Run], share: float | None) -> Centre:
    joules = [run.row["headline_energy_train_j"] for run in runs]
    accuracies = [run.row["balanced_accuracy"] for run in runs]
    return Centre(
        arm=arm,
        energy_j=math.fsum(joules) / len(runs),
        accuracy=math.fsum(accuracies) / len(runs),
        half_j=_half(joules),
        half_accuracy=_half(accuracies),
        points=tuple(zip(joules, accuracies, strict=True)),
        front_share=share,
    )


def _half(values: Sequence[float]) -> float | None:
    found = t_interval(np.asarray(values, dtype=np.float64))
    return (found.high - found.low) / 2 if found else None


def _is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
