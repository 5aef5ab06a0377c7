"""Warm-up, training epoch by epoch and loop by loop, the scores of TEST, inference in batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from wbcbench.core import window
from wbcbench.core.errors import WbcbenchError
from wbcbench.core.record import Epoch, Inference, TrainingLoop
from wbcbench.core.spec import count_loops
from wbcbench.core.window import COMPILE, CUT_LOOP, TRAIN, WARMUP, Clock
from wbcbench.data.dataset import CLASSES
from wbcbench.train.inputs import shuffle_epoch
from wbcbench.train.network import scale_pixels
from wbcbench.train.paths import EpochMeans
from wbcbench.train.scores import predicted, score, write_predictions
from wbcbench.train.snapshot import Snapshot, copy_weights, digest_weights, set_weights
from wbcbench.train.stage import Phases, ProgressReporter, Stage
from wbcbench.train.tensorboard_log import EPOCHS_FILE, ScalarLog, add_epoch

WARM_UP_CALLS = 3
"""Calls before each window: the first one of a batch size compiles or picks kernels."""

COMPILED_STEPS = 2  # a full batch, and a smaller one if there is any
TIMED_S = 0.5  # of steps that tell how long a training is
MOST_KEPT = 100  # loops whose last weights are kept until they are scored, a megabyte each


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """From where to train, and how often.

    Attributes:
        loops: How often.
        initial: The network as it is then; ``None`` where it is not needed.
    """

    loops: int
    initial: Snapshot | None = None


# The first steps of a process cost many times a later one. They are made on real batches, with the
# very functions, batch shapes and optimiser that training uses; then every variable they moved is
# put back, so that training goes exactly as if there had been no warm-up.
def warm_up(stage: Stage) -> Start:
    """Compile, make ``warmup_steps`` training steps and a forward pass, and undo them.

    With 0 steps all of that is left out, and the first epoch pays for compiling; but loops are to
    be alike, so that what they need is compiled. Where their number follows the length of a
    training, steps are timed for it.
    """
    spec, phases, path = stage.spec, stage.wire.phases, stage.path
    order = shuffle_epoch(len(stage.sets.train), spec.seed, 1)
    is_timed = spec.loops == "auto" or (spec.loops is None and stage.is_on_gpu)
    loops = spec.loops if isinstance(spec.loops, int) else 1
    if not spec.warmup_steps and not is_timed and loops == 1:
        return Start(1)
    stage.wire.send_phase(COMPILE)
    with phases.window(COMPILE):
        initial = Snapshot(stage.model)
        path.train_last(order, min(COMPILED_STEPS, stage.steps_per_epoch))
        stage.forward.compile(stage.images.validation)
        stage.forward.compile(stage.images.test)
    if spec.warmup_steps or is_timed:
        stage.wire.send_phase(WARMUP)
        with phases.window(WARMUP):
            path.train_last(order, min(max(spec.warmup_steps, 1), stage.steps_per_epoch))
            if is_timed:
                loops = count_loops(spec.epochs * time_epoch_s(stage), spec.train_window_s)
    initial.restore()
    if loops > 1:
        stage.wire.messenger.send({"loops": loops})
    return Start(loops, initial)


def time_epoch_s(stage: Stage) -> float:
    """Return how long the steps of an epoch take, by as many as tell; nothing undoes them."""
    order = shuffle_epoch(len(stage.sets.train), stage.spec.seed, 1)
    steps = 1
    while True:
        start_s = stage.wire.phases.edge_s()
        stage.path.train_last(order, steps)
        length_s = stage.wire.phases.edge_s() - start_s
        if length_s >= TIMED_S or steps == stage.steps_per_epoch:
            return length_s / steps * stage.steps_per_epoch
        steps = min(4 * steps, stage.steps_per_epoch)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What was trained.

    Attributes:
        is_whole: Whether every epoch of every loop was made, and nobody asked to stop.
        loops: Those that were ended; none where the training was not to be repeated.
        last_weights: At the end of each of the first of them.
    """

    is_whole: bool
    loops: tuple[TrainingLoop, ...] = ()
    last_weights: tuple[list[tf.Tensor], ...] = ()


# The window ``train`` reaches over all loops. Its joules and seconds, without those of validation,
# are shared by the number of loops (``energy.appraise``).
def train(stage: Stage, start: Start) -> Trained:
    """Train as often as ``start`` says, each time from the same weights, seeds and order.

    The epochs of the first time are validated and stated: that is the training of the run. The
    others make the same steps, so that the window is long enough to be measured well.

    Raises:
        NanLossError: The loss of an epoch, or of its validation, is not finite.
    """
    wire, model, loops = stage.wire, stage.model, start.loops
    initial = start.initial if loops > 1 else None
    trainer = EpochTrainer(stage, loops)
    epochs = trainer.train_validated()
    is_whole = len(epochs) == stage.spec.epochs and not wire.control.is_stopping
    if initial is None or not is_whole:
        wire.phases.close(TRAIN, epochs[-1].evaluate_end_s)
        return Trained(is_whole)
    done = [_describe_loop(1, [(e.start_s, e.end_s) for e in epochs], epochs[-1])]
    weights, end_s = [copy_weights(model)], epochs[-1].evaluate_end_s
    try:
        while len(done) < loops and not wire.control.is_stopping:
            initial.restore()
            spans, means = trainer.train_again(len(done) + 1)
            if len(spans) < stage.spec.epochs:
                break
            done.append(_describe_loop(len(done) + 1, spans, means))
            end_s = spans[-1][1]
            if len(weights) < MOST_KEPT:
                weights.append(copy_weights(model))
    finally:  # a loop that was not ended is in the joules of no training
        for loop in done:
            wire.messenger.send({"loop": loop})
        wire.phases.close(TRAIN, end_s)
        if len(done) < loops:
            wire.phases.open(CUT_LOOP, end_s)
            wire.phases.close(CUT_LOOP, wire.clock.now_s())
    set_weights(model, weights[0])
    is_whole = len(done) == loops and not wire.control.is_stopping
    return Trained(is_whole, tuple(done), tuple(weights))


def _describe_loop(
    index: int, spans: list[tuple[float, float]], last: Epoch | EpochMeans
) -> TrainingLoop:
    return TrainingLoop(index, tuple(spans), last.loss, last.accuracy)


class NanLossError(WbcbenchError):
    """The loss is no longer a number; nothing after it means anything."""

    @classmethod
    def at_end_of(cls, epoch: int, what: str) -> NanLossError:
        """The error for an epoch, counted from 1."""
        return cls(
            f"The {what} at the end of epoch {epoch}: training has diverged and cannot recover. "
            "Try a smaller --learning-rate, or float32 instead of half precision."
        )


class EpochTrainer:
    """Trains epochs and marks them; stops after an epoch when it is asked to."""

    def __init__(self, stage: Stage, loops: int) -> None:
        """Train the network of ``stage``."""
        self._stage, self._phases = stage, stage.wire.phases
        self._progress = ProgressReporter(
            stage.wire.messenger,
            stage.wire.clock,
            epochs=stage.spec.epochs,
            steps=stage.steps_per_epoch,
            loops=loops,
        )

    def train_validated(self) -> list[Epoch]:
        """Mark ``train``, ``epoch-<k>`` and ``validate-<k>``, and send each epoch.

        ``train`` stays open unless the loss is no number.
        """
        stage, epochs = self._stage, list[Epoch]()
        with ScalarLog(stage.run.tensorboard_dir / EPOCHS_FILE) as log:
            for index in range(1, stage.spec.epochs + 1):
                start_s = self._phases.edge_s()
                if index == 1:
                    self._phases.open(TRAIN, start_s)
                self._phases.open(window.epoch(index), start_s)
                epoch, problem = self._validate(self._train(index, start_s))
                if problem:
                    self._phases.close(TRAIN, epoch.evaluate_end_s)
                stage.wire.messenger.send({"epoch": epoch})
                add_epoch(log, epoch)
                if problem:
                    raise NanLossError.at_end_of(index, problem)
                epochs.append(epoch)
                if stage.wire.control.is_stopping:
                    break
        return epochs

    def _train(self, index: int, start_s: float) -> Epoch:
        """Make the steps of an epoch; its validation is still to come."""
        stage = self._stage
        self._progress.begin_epoch(index)
        means = self._make_steps(index)
        end_s = self._phases.edge_s()
        self._phases.close(window.epoch(index), end_s)
        return Epoch(
            index=index,
            start_s=start_s,
            end_s=end_s,
            evaluate_end_s=end_s,
            loss=means.loss,
            accuracy=means.accuracy,
            val_loss=None,
            val_accuracy=None,
            val_balanced_accuracy=None,
            images_seen=len(stage.sets.train),
            learning_rate=float(stage.model.optimizer.learning_rate.numpy()),
        )

    def _validate(self, epoch: Epoch) -> tuple[Epoch, str]:
        """Return the epoch with its validation, and what shows that training has diverged."""
        stage = self._stage
        if epoch.loss is None or not math.isfinite(epoch.loss):
            return epoch, f"training loss is {epoch.loss}"
        self._phases.open(window.validate(epoch.index), epoch.end_s)
        self._progress.begin_validation()
        probabilities = stage.forward.probabilities(stage.images.validation)
        scores = score(probabilities, stage.sets.validation.labels, None, CLASSES)
        end_s = self._phases.edge_s()
        self._phases.close(window.validate(epoch.index), end_s)
        epoch = replace(epoch, evaluate_end_s=end_s)
        val_loss = math.nan if scores.loss is None else scores.loss
        if not math.isfinite(val_loss):  # the last step of the epoch made it so
            return epoch, f"validation loss is {val_loss}"
        validated = replace(
            epoch,
            val_loss=scores.loss,
            val_accuracy=scores.accuracy,
            val_balanced_accuracy=scores.balanced_accuracy,
        )
        return validated, ""

    def train_again(self, loop: int) -> tuple[list[tuple[float, float]], EpochMeans]:
        """Make the same steps again, without validation; return the epochs' spans, the last means.

        Marks would take longer than a short epoch: the spans are sent once a loop has ended.
        """
        spans, start_s = list[tuple[float, float]](), self._phases.edge_s()
        means = EpochMeans(math.nan, math.nan)
        for index in range(1, self._stage.spec.epochs + 1):
            self._progress.begin_epoch(index, loop)
            means = self._make_steps(index)
            end_s = self._phases.edge_s()
            if not math.isfinite(means.loss):
                raise NanLossError.at_end_of(index, f"training loss of loop {loop} is {means.loss}")
            spans.append((start_s, end_s))
            start_s = end_s
            if self._stage.wire.control.is_stopping:
                break
        return spans, means

    def _make_steps(self, index: int) -> EpochMeans:
        order = shuffle_epoch(len(self._stage.sets.train), self._stage.spec.seed, index)
        return self._stage.path.train_epoch(order, self._progress.report)


def score_test(stage: Stage) -> None:
    """Predict TEST, keep the predictions, send the scores.

    Scores are sent for TEST as published and, where photographs are known, for TEST without the
    images of cells that TRAIN shows as well.
    """
    stage.wire.send_phase(window.EVALUATE)
    images = stage.sets.test
    with stage.wire.phases.window(window.EVALUATE):
        probabilities = stage.forward.probabilities(stage.images.test)
    write_predictions(stage.run.predictions_path, images, probabilities)
    subsets = {"test": np.ones(len(images), dtype=np.bool_)}
    if stage.dataset.grouped and not images.also_in_train.all():
        subsets["test_leakage_free"] = ~images.also_in_train
    for name, chosen in subsets.items():
        photographs = images.original_id[chosen] if stage.dataset.grouped else None
        scores = score(probabilities[chosen], images.labels[chosen], photographs, CLASSES)
        stage.wire.messenger.send({"scores": {"name": name, **asdict(scores)}})


def score_loops(stage: Stage, trained: Trained) -> None:
    """Predict TEST with the last weights of each loop, and send how they came out.

    Equal weights give equal predictions, and are not asked again.
    """
    if not trained.loops:
        return
    stage.wire.send_phase(window.EVALUATE)
    known: dict[str, float] = {}
    with stage.wire.phases.window(window.EVALUATE_LOOPS):
        for loop, weights in zip(trained.loops, trained.last_weights, strict=False):
            set_weights(stage.model, weights)
            digest = digest_weights(stage.model)
            if digest not in known:
                right = predicted(stage.forward.probabilities(stage.images.test))
                known[digest] = float((right == stage.sets.test.labels).mean())
            scored = replace(loop, weights_sha256=digest, test_accuracy=known[digest])
            stage.wire.messenger.send({"loop": scored})
        set_weights(stage.model, trained.last_weights[0])


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
