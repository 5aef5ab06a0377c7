"""Training, epoch by epoch: marks at the edges, validation, the end after a bad loss or a stop.

Only epoch hooks are overridden here: a batch hook would make Keras wait for every batch
(harness/decisions/0051-epoch-marks-and-progress.md). The validation pass runs inside
``on_epoch_end``, after the training steps have been stamped, so that the two never share a window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from wbcbench.core import window
from wbcbench.core.errors import WbcbenchError
from wbcbench.core.record import Epoch, Scores
from wbcbench.train.control import Control
from wbcbench.train.phases import Phases
from wbcbench.train.progress import Progress


class NanLossError(WbcbenchError):
    """The training loss is no longer a number; nothing after it means anything."""


@dataclass(frozen=True, slots=True)
class EpochListeners:
    """Who is asked and told at the end of an epoch.

    Attributes:
        validate: Scores the network on the validation images.
        tell: Takes the finished epoch.
    """

    validate: Callable[[], Scores]
    tell: Callable[[Epoch], None]


class EpochMarks(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Marks ``train``, ``epoch-<k>`` and ``validate-<k>``, counting epochs from 1."""

    def __init__(
        self,
        phases: Phases,
        control: Control,
        progress: Progress,
        listeners: EpochListeners,
        *,
        epochs: int,
        images: int,
    ) -> None:
        """Mark ``epochs`` epochs of ``images`` images each."""
        super().__init__()
        self._phases = phases
        self._control = control
        self._progress = progress
        self._listeners = listeners
        self._epochs = epochs
        self._images = images
        self._start_s = 0.0
        self.finished = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Open the windows of training steps."""
        self._start_s = self._phases.edge_s()
        if epoch == 0:
            self._phases.open(window.TRAIN, self._start_s)
        self._phases.open(window.epoch(epoch + 1), self._start_s)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Close the training steps, validate, tell the epoch."""
        end_s = self._phases.edge_s()
        self._phases.close(window.epoch(epoch + 1), end_s)
        told = logs or {}
        loss, accuracy = float(told["loss"]), float(told["accuracy"])
        if not math.isfinite(loss):
            self._give_up(epoch + 1, end_s, loss, accuracy)
        scores = self._validated(epoch + 1, end_s)
        evaluate_end_s = self._phases.edge_s()
        self._phases.close(window.validate(epoch + 1), evaluate_end_s)
        self.finished = epoch + 1
        if self._control.is_stopping or self.finished == self._epochs:
            self._phases.close(window.TRAIN, evaluate_end_s)
            self.model.stop_training = True
        self._listeners.tell(
            self._epoch(epoch + 1, (end_s, evaluate_end_s), (loss, accuracy), scores)
        )

    def _validated(self, index: int, start_s: float) -> Scores:
        self._phases.open(window.validate(index), start_s)
        self._progress.validating()
        return self._listeners.validate()

    def _give_up(self, index: int, end_s: float, loss: float, accuracy: float) -> None:
        self._phases.close(window.TRAIN, end_s)
        self._listeners.tell(self._epoch(index, (end_s, end_s), (loss, accuracy), None))
        raise NanLossError(
            f"The training loss is {loss} at the end of epoch {index}: training has diverged and "
            "cannot recover. Try a smaller --learning-rate, or float32 instead of half precision."
        )

    def _epoch(
        self,
        index: int,
        ends_s: tuple[float, float],
        fitted: tuple[float, float],
        scores: Scores | None,
    ) -> Epoch:
        return Epoch(
            index=index,
            start_s=self._start_s,
            end_s=ends_s[0],
            evaluate_end_s=ends_s[1],
            loss=fitted[0],
            accuracy=fitted[1],
            val_loss=scores.loss if scores else None,
            val_accuracy=scores.accuracy if scores else None,
            val_balanced_accuracy=scores.balanced_accuracy if scores else None,
            images_seen=self._images,
            learning_rate=float(self.model.optimizer.learning_rate.numpy()),
        )
