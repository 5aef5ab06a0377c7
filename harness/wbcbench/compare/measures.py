"""Quantities of a run that the claims of a file are about."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from wbcbench.core.record import Epoch, RunRecord
from wbcbench.core.window import TRAIN
from wbcbench.energy.metrics import mean_known


# Accuracies of training are Keras': running means over the epoch, dropout active, so that with
# dropout they lie below what the same weights would reach without it.
@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity of a run.

    Attributes:
        meaning: One line for people.
        read: From a record and the check's ``at``.
        needs_at: Whether ``at`` must be given.
        unit: For people; empty for shares and counts.
        scale: ``property``: a run has it (1) or not (0), so that there is a share of runs;
            ``ratio``: compared on the logarithmic scale, as seconds always are: means are
            geometric, intervals never reach below zero, differences are per cent.
    """

    meaning: str
    read: Callable[[RunRecord, float], float | None]
    needs_at: bool = False
    unit: str = ""
    scale: Literal["plain", "property", "ratio"] = "plain"


def _read_stuck(record: RunRecord, times_chance: float) -> float | None:
    if not record.epochs or record.test is None:
        return None
    return float(record.epochs[-1].accuracy < times_chance / len(record.test.classes))


def _count_epochs_below(record: RunRecord, accuracy: float) -> float | None:
    """A run that never gets there spent all its epochs below: no value is invented for it."""
    values = _select_validation(record.epochs)
    reached = (i for i, value in enumerate(values) if value >= accuracy)
    return float(next(reached, len(values))) if values else None


def _mean_generalisation_gap(record: RunRecord, last_share: float) -> float | None:
    gaps = [
        None if epoch.val_accuracy is None else epoch.accuracy - epoch.val_accuracy
        for epoch in _select_last(record.epochs, last_share)
    ]
    return mean_known(gaps)


def _mean_validation_movement(record: RunRecord, last_share: float) -> float | None:
    values = _select_validation(_select_last(record.epochs, last_share))
    return mean_known([abs(b - a) for a, b in pairwise(values)])


def _find_near_best(record: RunRecord, within: float) -> float | None:
    values = _select_validation(record.epochs)
    near = (i for i, value in enumerate(values, start=1) if value >= max(values) - within)
    return float(next(near)) if values else None


def _train_time_s(record: RunRecord, _: float) -> float | None:
    window = record.window(TRAIN)
    return window.duration_s if window else None


def _select_validation(epochs: tuple[Epoch, ...]) -> list[float]:
    return [epoch.val_accuracy for epoch in epochs if epoch.val_accuracy is not None]


def _select_last(epochs: tuple[Epoch, ...], share: float) -> tuple[Epoch, ...]:
    return epochs[len(epochs) - math.ceil(share * len(epochs)) :]


MEASURES: Mapping[str, Measure] = {
    "final_train_accuracy": Measure(
        "training accuracy of the last epoch",
        lambda record, _: record.epochs[-1].accuracy if record.epochs else None,
    ),
    "stuck": Measure(
        "whether the last training accuracy is below `at` × chance",
        _read_stuck,
        needs_at=True,
        scale="property",
    ),
    "epochs_below": Measure(
        "epochs before validation accuracy first reaches `at`; all if never",
        _count_epochs_below,
        needs_at=True,
    ),
    "generalisation_gap": Measure(
        "training minus validation accuracy, mean over the last `at` of the epochs",
        _mean_generalisation_gap,
        needs_at=True,
    ),
    "validation_movement": Measure(
        "mean absolute change of validation accuracy from epoch to epoch, last `at` of the epochs",
        _mean_validation_movement,
        needs_at=True,
    ),
    "test_accuracy": Measure(
        "accuracy on TEST as published",
        lambda record, _: record.test.accuracy if record.test else None,
    ),
    "test_accuracy_leakage_free": Measure(
        "accuracy on TEST without cells that TRAIN shows",
        lambda record, _: record.test_leakage_free.accuracy if record.test_leakage_free else None,
    ),
    "epochs_until_near_best": Measure(
        "first epoch within `at` of the run's best validation accuracy",
        _find_near_best,
        needs_at=True,
    ),
    "train_time_s": Measure(
        "length of the window `train`; geometric mean", _train_time_s, unit="s", scale="ratio"
    ),
}
