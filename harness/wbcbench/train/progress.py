"""Where training stands inside a long epoch, told at most twice a second.

Keras calls batch hooks in step with training unless a callback says ``async_safe``: then it hands
the numbers, which it fetches after every batch anyway, to a thread of its own. So this costs
training nothing; only epochs are *marked*, here is only told
(harness/decisions/0051-epoch-marks-and-progress.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from wbcbench.core.run_folder import Messenger
from wbcbench.core.window import TRAIN, VALIDATION_PHASE, Clock

PERIOD_S = 0.5


class Progress(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Tells the step, and the loss and accuracy of the epoch so far."""

    async_safe = True  # Keras may call on_train_batch_end from another thread, and late

    def __init__(self, messenger: Messenger, clock: Clock, *, epochs: int, steps: int) -> None:
        """Tell of ``epochs`` epochs of ``steps`` steps each."""
        super().__init__()
        self._messenger = messenger
        self._clock = clock
        self._epochs = epochs
        self._steps = steps
        self._epoch = 0
        self._told_s = 0.0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tell that the steps of an epoch begin."""
        self._epoch = epoch + 1
        self._tell(TRAIN, 0, {})

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tell where the epoch stands, unless that was told a moment ago."""
        if self._clock.now_s() - self._told_s >= PERIOD_S:
            self._tell(TRAIN, batch + 1, logs or {})

    def validating(self) -> None:
        """Tell that the epoch's validation begins."""
        self._tell(VALIDATION_PHASE, self._steps, {})

    def _tell(self, phase: str, step: int, logs: Mapping[str, Any]) -> None:
        self._told_s = self._clock.now_s()
        place = {
            "phase": phase,
            "epoch": self._epoch,
            "epochs": self._epochs,
            "step": min(step, self._steps),
            "steps": self._steps,
        }
        means = {name: float(logs[name]) for name in ("loss", "accuracy") if name in logs}
        self._messenger.send({"progress": place | means})
