"""Warm-up and training, epoch by epoch."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from wbcbench.core import window
from wbcbench.core.errors import WbcbenchError
from wbcbench.core.record import Epoch, Scores
from wbcbench.core.window import WARMUP
from wbcbench.data.dataset import CLASSES, ImageSet
from wbcbench.train import inputs
from wbcbench.train.scores import score
from wbcbench.train.stage import Control, Phases, Progress, Stage
from wbcbench.train.tensorboard_log import EPOCHS_FILE, ScalarLog, add_epoch


def warm_up(stage: Stage) -> None:
    """Make ``warmup_steps`` training steps and a forward pass, and undo them; 0 leaves it out."""
    steps = min(stage.spec.warmup_steps, stage.steps_per_epoch)
    if steps == 0:
        return
    stage.wire.progress(WARMUP)
    few = warm_up_excerpt(stage.sets.train, steps=steps, batch_size=stage.spec.batch_size)
    with stage.wire.phases.window(WARMUP), undo_training(stage.model):
        stage.model.fit(inputs.training(few, stage.spec), shuffle=False, verbose=0)
        stage.forward.probabilities(inputs.evaluation(few))


def train(stage: Stage) -> bool:
    """Train; return whether every epoch was made.

    Raises:
        NanLossError: The loss of an epoch is not finite.
    """
    spec, wire = stage.spec, stage.wire
    progress = Progress(wire.messenger, wire.clock, epochs=spec.epochs, steps=stage.steps_per_epoch)
    with ScalarLog(stage.run.tensorboard_dir / EPOCHS_FILE) as log:
        marks = EpochMarks(
            wire.phases,
            wire.control,
            progress,
            _listeners(stage, log),
            epochs=spec.epochs,
            images=len(stage.sets.train),
        )
        stage.model.fit(
            stage.batches.train,
            epochs=spec.epochs,
            callbacks=[progress, marks],
            shuffle=False,  # the batches come shuffled
            verbose=0,
        )
    return marks.finished == spec.epochs


def _listeners(stage: Stage, log: ScalarLog) -> EpochListeners:
    labels = stage.sets.validation.labels

    def validate() -> Scores:
        probabilities = stage.forward.probabilities(stage.batches.validation)
        return score(probabilities, labels, None, CLASSES)

    def tell(epoch: Epoch) -> None:
        stage.wire.messenger.send({"epoch": epoch})
        add_epoch(log, epoch)

    return EpochListeners(validate, tell)


# Only epoch hooks are overridden here: a batch hook would make Keras wait for every batch
# (harness/decisions/0051-epoch-marks-and-progress.md). The validation pass runs inside
# ``on_epoch_end``, after the training steps have been stamped, so that the two never share a
# window.
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


# The first steps of a process cost many times a later one. They are made on real batches, with the
# very functions, batch shapes and optimiser that training uses; then every variable they moved is
# put back, so that training goes exactly as if there had been no warm-up.
@contextmanager
def undo_training(model: keras.Model) -> Iterator[None]:
    """Put back all that training moves, on leaving: a compiled ``model`` is as it was.

    That is: weights, moving averages, the state of dropout's generators, the optimiser's moments
    and its step, metrics; and the generators of Python and numpy.
    """
    if not model.optimizer.built:  # to build a loss-scaling optimiser twice doubles its variables
        model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    before = [np.array(variable.numpy()) for variable in variables]
    python, numpy = random.getstate(), np.random.get_state()
    yield
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    model.reset_metrics()
    random.setstate(python)
    np.random.set_state(numpy)


def warm_up_excerpt(images: ImageSet, *, steps: int, batch_size: int) -> ImageSet:
    """Return images for ``steps`` batches whose last is as small as the last of a whole epoch.

    An epoch's last batch is smaller than the others, and a compiled step is compiled once for
    each size: warming up on full batches alone would leave one compilation to the first epoch.
    With a single step there is only a full batch.
    """
    full = len(images) // batch_size
    last = len(images) % batch_size
    taken = min(steps - 1 if last else steps, full)
    positions = np.arange(max(taken, 1) * batch_size)
    if last and steps > 1:
        positions = np.append(positions, np.arange(len(images) - last, len(images)))
    return images.take(positions)
