"""Seconds and joules of training up to the end of each epoch of one run.

Only training steps count, as in ``train``: validation is counted apart, so that a run that looks
more often does not seem to learn more dearly.
"""

from __future__ import annotations

from dataclasses import dataclass

from wbcbench.core import window
from wbcbench.core.record import Epoch, RunRecord
from wbcbench.energy.headline import Speaker, spoken_energy_j
from wbcbench.energy.metrics import Reached, energy_to_accuracy, sum_if_all_known


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """The state at the end of one epoch's training steps.

    Attributes:
        epoch: The epoch; its validation metrics belong to the weights of this moment.
        time_s: Seconds of training steps so far.
        energy_j: Joules of the same steps; ``None`` if those of one epoch are unknown.
    """

    epoch: Epoch
    time_s: float
    energy_j: float | None


def timeline(record: RunRecord, who: Speaker | None) -> list[TimelinePoint]:
    """One point for each finished epoch, in order."""
    costs = [spoken_energy_j(record, who, window.epoch(each.index)) for each in record.epochs]
    times = [each.end_s - each.start_s for each in record.epochs]
    return [
        TimelinePoint(epoch, sum(times[: i + 1]), sum_if_all_known(costs[: i + 1]))
        for i, epoch in enumerate(record.epochs)
    ]


def cost_of_target(record: RunRecord, who: Speaker | None) -> Reached | None:
    """What it took to reach the plan's target; ``None`` if this run never did."""
    points = timeline(record, who)
    return energy_to_accuracy(
        [target_score(record, point.epoch) for point in points],
        record.spec.target_value,
        [point.time_s for point in points],
        [point.energy_j for point in points],
    )


def target_score(record: RunRecord, epoch: Epoch) -> float | None:
    """The plan's target metric after one epoch; ``None`` if it was not worked out."""
    scores = {
        "accuracy": epoch.accuracy,
        "val_accuracy": epoch.val_accuracy,
        "val_balanced_accuracy": epoch.val_balanced_accuracy,
    }
    return scores.get(record.spec.target_metric)
