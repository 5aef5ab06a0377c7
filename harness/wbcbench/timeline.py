"""Seconds and joules from the start of training to the end of each epoch of one run.

A record holds joules by window, so this adds the windows that lie end to end inside ``train``:
the epochs' training steps and the validation passes between them.
"""

from __future__ import annotations

from dataclasses import dataclass

from wbcbench.energy import Window
from wbcbench.headline import TRAIN, Speaker, spoken_energy_j
from wbcbench.metrics import Reached, energy_to_accuracy, sum_if_all_known
from wbcbench.records import Epoch, RunRecord

EPOCH = "epoch-"
VALIDATION = "validate-"

# Marks are sent by one process one after the other, so that windows which share an edge may lie
# microseconds apart; a stretch counts as covered when this share of it is.
_COVERED_SHARE = 0.98


@dataclass(frozen=True, slots=True)
class Point:
    """The state at the end of one epoch's training steps.

    Attributes:
        epoch: The epoch; its validation metrics belong to the weights of this moment.
        time_s: Seconds since the start of ``train``; ``None`` if that start is unknown.
        energy_j: Joules since then; ``None`` if a part is unknown.
    """

    epoch: Epoch
    time_s: float | None
    energy_j: float | None


def timeline(record: RunRecord, who: Speaker | None) -> list[Point]:
    """One point for each finished epoch, in order."""
    train = record.window(TRAIN)
    return [_point(record, who, train, epoch) for epoch in record.epochs]


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


def _point(record: RunRecord, who: Speaker | None, train: Window | None, epoch: Epoch) -> Point:
    if train is None:
        return Point(epoch, None, None)
    time_s = epoch.end_s - train.start_s
    parts = [part for part in _parts(record) if _inside(part, train.start_s, epoch.end_s)]
    covered_s = sum(part.duration_s for part in parts)
    if covered_s < _COVERED_SHARE * time_s:
        return Point(epoch, time_s, None)
    energies = [spoken_energy_j(record, who, part.name) for part in parts]
    return Point(epoch, time_s, sum_if_all_known(energies))


def _parts(record: RunRecord) -> list[Window]:
    return [window for window in record.windows if window.name.startswith((EPOCH, VALIDATION))]


def _inside(window: Window, start_s: float, end_s: float) -> bool:
    middle_s = (window.start_s + window.end_s) / 2
    return start_s <= middle_s <= end_s
