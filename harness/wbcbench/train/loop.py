"""Warm-up, training epoch by epoch, the scores of TEST, and inference in batches."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from wbcbench.core import window
from wbcbench.core.errors import WbcbenchError
from wbcbench.core.record import Epoch, Inference
from wbcbench.core.window import WARMUP, Clock
from wbcbench.data.dataset import CLASSES, ImageSet
from wbcbench.train import inputs
from wbcbench.train.network import scale_pixels
from wbcbench.train.scores import score, write_predictions
from wbcbench.train.stage import Phases, ProgressReporter, Stage
from wbcbench.train.tensorboard_log import EPOCHS_FILE, ScalarLog, add_epoch

WARM_UP_CALLS = 3
"""Calls before each window: the first one of a batch size compiles or picks kernels."""


def warm_up(stage: Stage) -> None:
    """Make ``warmup_steps`` training steps and a forward pass, and undo them; 0 leaves it out."""
    steps = min(stage.spec.warmup_steps, stage.steps_per_epoch)
    if steps == 0:
        return
    stage.wire.send_phase(WARMUP)
    few = warm_up_excerpt(stage.sets.train, steps=steps, batch_size=stage.spec.batch_size)
    with stage.wire.phases.window(WARMUP), undo_training(stage.model):
        stage.model.fit(inputs.training(few, stage.spec), shuffle=False, verbose=0)
        stage.forward.probabilities(inputs.evaluation(few))


def train(stage: Stage) -> bool:
    """Train; return whether every epoch was made.

    Raises:
        NanLossError: The loss of an epoch, or of its validation, is not finite.
    """
    spec, wire = stage.spec, stage.wire
    progress = ProgressReporter(
        wire.messenger, wire.clock, epochs=spec.epochs, steps=stage.steps_per_epoch
    )
    with ScalarLog(stage.run.tensorboard_dir / EPOCHS_FILE) as log:
        marks = EpochMarks(stage, progress, log)
        stage.model.fit(
            stage.batches.train,
            epochs=spec.epochs,
            callbacks=[progress, marks],
            shuffle=False,  # the batches come shuffled
            verbose=0,
        )
    return marks.finished == spec.epochs


class NanLossError(WbcbenchError):
    """The loss is no longer a number; nothing after it means anything."""

    @classmethod
    def at_end_of(cls, epoch: int, what: str) -> NanLossError:
        """The error for an epoch, counted from 1."""
        return cls(
            f"The {what} at the end of epoch {epoch}: training has diverged and cannot recover. "
            "Try a smaller --learning-rate, or float32 instead of half precision."
        )


# Only epoch hooks are overridden here: a batch hook would make Keras wait for every batch
# (harness/decisions/0006-what-counts-as-train.md). The validation pass runs inside
# ``on_epoch_end``, after the training steps have been stamped, so that the two never share a
# window.
class EpochMarks(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Marks ``train``, ``epoch-<k>`` and ``validate-<k>``, counting epochs from 1."""

    def __init__(self, stage: Stage, progress: ProgressReporter, log: ScalarLog) -> None:
        """Mark the epochs of ``stage`` and send each when it has ended."""
        super().__init__()
        self._stage, self._progress, self._log = stage, progress, log
        self._phases = stage.wire.phases
        self._start_s = 0.0
        self.finished = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Open the windows of training steps."""
        self._start_s = self._phases.edge_s()
        if epoch == 0:
            self._phases.open(window.TRAIN, self._start_s)
        self._phases.open(window.epoch(epoch + 1), self._start_s)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Close the training steps, validate, send the epoch."""
        stage, phases, index = self._stage, self._phases, epoch + 1
        end_s = phases.edge_s()
        phases.close(window.epoch(index), end_s)
        means = logs or {}
        trained = Epoch(
            index=index,
            start_s=self._start_s,
            end_s=end_s,
            evaluate_end_s=end_s,
            loss=float(means["loss"]),
            accuracy=float(means["accuracy"]),
            val_loss=None,
            val_accuracy=None,
            val_balanced_accuracy=None,
            images_seen=len(stage.sets.train),
            learning_rate=float(self.model.optimizer.learning_rate.numpy()),
        )
        if not math.isfinite(float(means["loss"])):
            phases.close(window.TRAIN, end_s)
            self._send(trained)
            raise NanLossError.at_end_of(index, f"training loss is {trained.loss}")
        phases.open(window.validate(index), end_s)
        self._progress.send_validation()
        probabilities = stage.forward.probabilities(stage.batches.validation)
        scores = score(probabilities, stage.sets.validation.labels, None, CLASSES)
        evaluate_end_s = phases.edge_s()
        phases.close(window.validate(index), evaluate_end_s)
        val_loss = math.nan if scores.loss is None else scores.loss
        if not math.isfinite(val_loss):  # the last step of the epoch made it so
            phases.close(window.TRAIN, evaluate_end_s)
            self._send(replace(trained, evaluate_end_s=evaluate_end_s))
            raise NanLossError.at_end_of(index, f"validation loss is {val_loss}")
        self.finished = index
        if stage.wire.control.is_stopping or index == stage.spec.epochs:
            phases.close(window.TRAIN, evaluate_end_s)
            self.model.stop_training = True
        self._send(
            replace(
                trained,
                evaluate_end_s=evaluate_end_s,
                val_loss=scores.loss,
                val_accuracy=scores.accuracy,
                val_balanced_accuracy=scores.balanced_accuracy,
            )
        )

    def _send(self, epoch: Epoch) -> None:
        self._stage.wire.messenger.send({"epoch": epoch})
        add_epoch(self._log, epoch)


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


def score_test(stage: Stage) -> None:
    """Predict TEST, keep the predictions, send the scores.

    Scores are sent for TEST as published and, where photographs are known, for TEST without the
    images of cells that TRAIN shows as well.
    """
    stage.wire.send_phase(window.EVALUATE)
    images = stage.sets.test
    with stage.wire.phases.window(window.EVALUATE):
        probabilities = stage.forward.probabilities(stage.batches.test)
    write_predictions(stage.run.predictions_path, images, probabilities)
    subsets = {"test": np.ones(len(images), dtype=np.bool_)}
    if stage.dataset.grouped and not images.also_in_train.all():
        subsets["test_leakage_free"] = ~images.also_in_train
    for name, chosen in subsets.items():
        photographs = images.original_id[chosen] if stage.dataset.grouped else None
        scores = score(probabilities[chosen], images.labels[chosen], photographs, CLASSES)
        stage.wire.messenger.send({"scores": {"name": name, **asdict(scores)}})


def measure_inference(stage: Stage) -> bool:
    """Measure the inference windows; return whether all that were requested were measured."""
    if stage.spec.inference_s <= 0:
        return True
    loop = InferenceLoop(
        lambda images: stage.forward(scale_pixels(images)).numpy(), stage.sets.test.images
    )
    for batch_size in window.INFERENCE_BATCHES:
        if stage.wire.control.is_stopping:
            return False
        stage.wire.send_phase(window.infer(batch_size))
        inference = loop.measure(
            stage.wire.phases, stage.wire.clock, batch_size, stage.spec.inference_s
        )
        stage.wire.messenger.send({"inference": inference})
    return True


class InferenceLoop:
    """Predicts one batch after the other, each when the one before is done."""

    def __init__(
        self, predict: Callable[[NDArray[np.uint8]], object], images: NDArray[np.uint8]
    ) -> None:
        """Feed ``predict`` from ``images`` in their order, again and again."""
        self._predict = predict
        self._images = images
        self._next = 0

    def predict_batch(self, batch_size: int) -> None:
        """Predict one batch of exactly ``batch_size`` images."""
        positions = np.arange(self._next, self._next + batch_size) % len(self._images)
        self._predict(self._images[positions])
        self._next = int(positions[-1] + 1)

    def measure(
        self, phases: Phases, clock: Clock, batch_size: int, duration_s: float
    ) -> Inference:
        """Predict for at least ``duration_s`` in a window ``infer-b<batch_size>``."""
        for _ in range(WARM_UP_CALLS):
            self.predict_batch(batch_size)
        name, images = window.infer(batch_size), 0
        with phases.window(name):
            end_s = clock.now_s() + duration_s
            while clock.now_s() < end_s:
                self.predict_batch(batch_size)
                images += batch_size
        return Inference(name, batch_size, images)
