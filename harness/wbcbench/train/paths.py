"""Two ways to train an epoch: the same mathematics on the same images in the same order.

``ResidentPath`` makes an epoch in one call into TensorFlow, from images that lie on the device;
nothing is copied to the host before the epoch has ended. ``FitPath`` is the plain loop of Keras,
which returns to Python after each step. Both make the ``train_step`` of the compiled network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from wbcbench.core.window import Clock
from wbcbench.train.inputs import PlacedImages

BATCHES_AHEAD = 2
PROGRESS_PERIOD_S = 0.5
FIRST_STEPS = 8  # of an epoch in pieces, before their pace is known

Order = NDArray[np.int64]
Report = Callable[[int, Mapping[str, Any]], None]
"""Is given the steps made so far, and ``loss`` and ``accuracy`` of the epoch so far."""


class EpochMeans(NamedTuple):
    """Means over the images of an epoch, each as it was at its own step."""

    loss: float
    accuracy: float


class TrainingPath(Protocol):
    """What trains the network of a run."""

    def train_epoch(self, order: Order, report: Report) -> EpochMeans:
        """Train on all images in ``order``; the last batch may be smaller."""

    def train_last(self, order: Order, steps: int) -> None:
        """Make the last ``steps`` steps of an epoch in ``order``."""


class ResidentPath:
    """Trains an epoch in one call; on a processor in a few, so that progress can be reported."""

    def __init__(
        self, model: keras.Model, images: PlacedImages, batch_size: int, clock: Clock
    ) -> None:
        """Train the compiled ``model`` on ``images`` where they lie, as its ``jit_compile`` says.

        Images in the machine's memory while a GPU trains are copied over batch by batch.
        """
        self._model, self._clock = model, clock
        self._steps, self._rest = divmod(len(images), batch_size)
        self._is_in_pieces = not tf.config.get_visible_devices("GPU")
        self._step_s: float | None = None
        _build_metrics(model, images)
        # XLA compiles for one device: a loop that fetches its images from another stays outside.
        is_one_device = self._is_in_pieces or not images.is_on_host
        jit_compile = bool(model.jit_compile)
        # As in ``fit``, a step does not know how many images it gets: it rounds as there.
        step = tf.function(
            lambda pixels, labels: model.train_step((pixels, labels)),
            input_signature=[
                tf.TensorSpec([None, *model.input_shape[1:]], tf.float32),
                tf.TensorSpec([None, *model.output_shape[1:]], tf.float32),
            ],
            jit_compile=jit_compile and not is_one_device,
            experimental_attributes={"_noinline": True},
        )

        def make_steps(order: tf.Tensor, first: tf.Tensor, end: tf.Tensor) -> None:
            def make_step(index: tf.Tensor) -> tf.Tensor:
                step(*images.batch(tf.slice(order, [index * batch_size], [batch_size])))
                return index + 1

            tf.while_loop(lambda index: index < end, make_step, [first], parallel_iterations=1)

        def make_rest(order: tf.Tensor) -> None:
            step(*images.batch(order[self._steps * batch_size :]))

        compiled = jit_compile and is_one_device
        self._make_steps = tf.function(make_steps, jit_compile=compiled)
        self._make_rest = tf.function(make_rest, jit_compile=compiled)

    def train_epoch(self, order: Order, report: Report) -> EpochMeans:
        """See ``TrainingPath``."""
        self._model.reset_metrics()
        positions, step = tf.constant(order), 0
        while step < self._steps:
            start_s, end = self._clock.now_s(), min(step + self._piece, self._steps)
            self._make_steps(positions, tf.constant(step), tf.constant(end))
            if self._is_in_pieces:
                self._step_s = (self._clock.now_s() - start_s) / (end - step)
                report(end, self._model.get_metrics_result())
            step = end
        if self._rest:
            self._make_rest(positions)
        means = self._model.get_metrics_result()
        return EpochMeans(float(means["loss"]), float(means["accuracy"]))

    def train_last(self, order: Order, steps: int) -> None:
        """See ``TrainingPath``."""
        positions, full = tf.constant(order), steps - bool(self._rest)
        if full:
            self._make_steps(positions, tf.constant(self._steps - full), tf.constant(self._steps))
        if self._rest:
            self._make_rest(positions)

    @property
    def _piece(self) -> int:
        """Steps of one call."""
        if not self._is_in_pieces:
            return self._steps
        if not self._step_s:
            return FIRST_STEPS
        return max(math.ceil(PROGRESS_PERIOD_S / self._step_s), 1)


class FitPath:
    """Trains each epoch by a call of Keras' ``fit``."""

    def __init__(self, model: keras.Model, images: PlacedImages, batch_size: int) -> None:
        """Train the compiled ``model`` on batches that are gathered ahead."""
        self._model = model
        # ``fit`` asks for an iterator when it likes: the order is what the variable holds then.
        self._order = tf.Variable(tf.zeros(len(images), tf.int64))
        self._steps = math.ceil(len(images) / batch_size)

        def batch(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return images.batch(self._order[index * batch_size : (index + 1) * batch_size])

        indices = tf.data.Dataset.range(self._steps)
        options = tf.data.Options()
        options.autotune.enabled = False  # its thread may hold up the end by ten seconds
        self._batches = indices.map(batch).prefetch(BATCHES_AHEAD).with_options(options)

    def train_epoch(self, order: Order, report: Report) -> EpochMeans:
        """See ``TrainingPath``."""
        self._order.assign(order)
        means = self._fit(self._batches, [_BatchReports(report)])
        return EpochMeans(float(means["loss"]), float(means["accuracy"]))

    def train_last(self, order: Order, steps: int) -> None:
        """See ``TrainingPath``."""
        self._order.assign(order)
        self._fit(self._batches.skip(self._steps - steps), [])

    def _fit(self, batches: tf.data.Dataset, callbacks: list[Any]) -> dict[str, float]:
        history = self._model.fit(batches, callbacks=callbacks, shuffle=False, verbose=0)
        return {name: values[-1] for name, values in history.history.items()}


# Keras calls batch hooks in step with training unless a callback says ``async_safe``: then it hands
# the numbers, which it fetches after every batch anyway, to a thread of its own. So this costs
# training nothing (harness/decisions/0006-what-counts-as-train.md).
class _BatchReports(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    async_safe = True  # Keras may call on_train_batch_end from another thread, and late

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._report(batch + 1, logs or {})


def _build_metrics(model: keras.Model, images: PlacedImages) -> None:
    """Make the variables that Keras makes at the first step, which a loop cannot."""
    if not model.optimizer.built:  # to build a loss-scaling optimiser twice doubles its variables
        model.optimizer.build(model.trainable_variables)
    pixels, labels = images.batch(tf.zeros(1, tf.int64))
    outputs = model(pixels, training=False)
    model.compute_loss(pixels, labels, outputs)
    model.compute_metrics(pixels, labels, outputs)
    model.reset_metrics()
