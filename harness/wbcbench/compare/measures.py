"""What is read off one run to test a claim; ``None`` where the run cannot say.

Accuracies of training are Keras': running means over the epoch, dropout active, so that with
dropout they lie below what the same weights would reach without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from wbcbench.core.record import Epoch, RunRecord
from wbcbench.core.window import TRAIN
from wbcbench.energy.metrics import mean_known


@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity of a run.

    Attributes:
        meaning: One line for people.
        read: From a record and the check's ``at``.
        needs_at: Whether ``at`` must be given.
        unit: For people; empty for shares and counts.
    """

    meaning: str
    read: Callable[[RunRecord, float], float | None]
    needs_at: bool = False
    unit: str = ""


def _final_train_accuracy(record: RunRecord, _: float) -> float | None:
    return record.epochs[-1].accuracy if record.epochs else None


def _stuck(record: RunRecord, times_chance: float) -> float | None:
    if not record.epochs or record.test is None:
        return None
    return float(record.epochs[-1].accuracy < times_chance / len(record.test.classes))


def _epochs_below(record: RunRecord, accuracy: float) -> float | None:
    """A run that never gets there spent all its epochs below: nothing is made up for it."""
    values = _validation(record.epochs)
    reached = (i for i, value in enumerate(values) if value >= accuracy)
    return float(next(reached, len(values))) if values else None


def _generalisation_gap(record: RunRecord, last_share: float) -> float | None:
    gaps = [
        None if epoch.val_accuracy is None else epoch.accuracy - epoch.val_accuracy
        for epoch in _last(record.epochs, last_share)
    ]
    return mean_known(gaps)


def _validation_movement(record: RunRecord, last_share: float) -> float | None:
    values = _validation(_last(record.epochs, last_share))
    moves = [abs(b - a) for a, b in pairwise(values)]
    return sum(moves) / len(moves) if moves else None


def _test_accuracy(record: RunRecord, _: float) -> float | None:
    return record.test.accuracy if record.test else None


def _test_accuracy_leak_free(record: RunRecord, _: float) -> float | None:
    return record.test_leak_free.accuracy if record.test_leak_free else None


def _epochs_until_near_best(record: RunRecord, within: float) -> float | None:
    values = _validation(record.epochs)
    if not values:
        return None
    return float(1 + next(i for i, value in enumerate(values) if value >= max(values) - within))


def _train_time_s(record: RunRecord, _: float) -> float | None:
    window = record.window(TRAIN)
    return window.duration_s if window else None


def _validation(epochs: tuple[Epoch, ...]) -> list[float]:
    return [epoch.val_accuracy for epoch in epochs if epoch.val_accuracy is not None]


def _last(epochs: tuple[Epoch, ...], share: float) -> tuple[Epoch, ...]:
    return epochs[len(epochs) - math.ceil(share * len(epochs)) :]


MEASURES: Mapping[str, Measure] = {
    "final_train_accuracy": Measure("training accuracy of the last epoch", _final_train_accuracy),
    "stuck": Measure(
        "whether the last training accuracy is below `at` × chance", _stuck, needs_at=True
    ),
    "epochs_below": Measure(
        "epochs before validation accuracy first reaches `at`; all if never",
        _epochs_below,
        needs_at=True,
    ),
    "generalisation_gap": Measure(
        "training minus validation accuracy, mean over the last `at` of the epochs",
        _generalisation_gap,
        needs_at=True,
    ),
    "validation_movement": Measure(
        "mean absolute change of validation accuracy from epoch to epoch, last `at` of the epochs",
        _validation_movement,
        needs_at=True,
    ),
    "test_accuracy": Measure("accuracy on TEST as published", _test_accuracy),
    "test_accuracy_leak_free": Measure(
        "accuracy on TEST without cells that TRAIN shows", _test_accuracy_leak_free
    ),
    "epochs_until_near_best": Measure(
        "first epoch within `at` of the run's best validation accuracy",
        _epochs_until_near_best,
        needs_at=True,
    ),
    "train_time_s": Measure("length of the window `train`", _train_time_s, unit="s"),
}
