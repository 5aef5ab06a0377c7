"""Images for training and for evaluation: where they lie, in what order, and the forward pass."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from wbcbench.core.errors import UsageError
from wbcbench.core.record import DatasetFacts
from wbcbench.core.spec import RunSpec
from wbcbench.data.dataset import CLASSES, Dataset, ImageSet
from wbcbench.data.splits import split_validation
from wbcbench.train.network import scale_pixels

EVALUATION_BATCH_SIZE = 128
"""Part of no spec: it changes neither weights nor predictions, and runs stay comparable."""

HOST = "CPU:0"


def shuffle_epoch(images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the positions of all images in the order of one epoch, ``[images]``.

    The one definition of the order, for every path of training: it depends on nothing that was
    drawn before.

    Args:
        images: How many there are.
        seed: Of the run.
        epoch: Counted from 1.
    """
    return np.random.default_rng((seed, epoch)).permutation(images)


def digest_image_order(images: ImageSet, spec: RunSpec) -> str:
    """Return the SHA-256 of the images in the batches of the first epoch."""
    order, size = shuffle_epoch(len(images), spec.seed, 1), spec.batch_size
    total = hashlib.sha256()
    for first in range(0, len(order), size):
        batch = order[first : first + size]
        total.update("".join(images.sha256[position] for position in batch).encode() + b"\n")
    return total.hexdigest()


def one_hot(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return ``[n, 5]`` for labels 0–3: class ``c`` in column ``c + 1``, column 0 never used."""
    return np.eye(len(CLASSES) + 1, dtype=np.float32)[labels + 1]


class PlacedImages:
    """Images with their labels on a device, as uint8: a batch is scaled when it is made.

    As float32 the published set takes 0.96 GB; as uint8 it takes 0.24 GB.
    """

    def __init__(self, images: ImageSet, place: str) -> None:
        """Put ``images`` on ``place``, a device of TensorFlow's such as ``GPU:0``."""
        self._place = place
        with tf.device(place):
            self._pixels = tf.constant(images.images)
            self._labels = tf.constant(one_hot(images.labels))

    def __len__(self) -> int:
        """How many there are."""
        return int(self._pixels.shape[0])

    @property
    def is_on_host(self) -> bool:
        """Whether they lie in the machine's own memory."""
        return self._place == HOST

    def batch(self, positions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the images at ``positions``, float32 from 0 to 1, and their one-hot labels."""
        with tf.device(self._place):
            pixels = tf.gather(self._pixels, positions)
            labels = tf.gather(self._labels, positions)
        return scale_pixels(pixels), labels


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """The three sets of one run; with the ``published`` split, validation is TEST itself."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet


def divide_dataset(dataset: Dataset, spec: RunSpec) -> Sets:
    """Divide a data set as ``spec.validation`` says.

    Raises:
        UsageError: Too few images to hold any out, or fewer to train on than one batch.
    """
    if spec.validation == "published":
        sets = Sets(dataset.train, dataset.test, dataset.test)
    else:
        training, held_out = split_validation(
            dataset.train, fraction=spec.validation_fraction, seed=spec.split_seed
        )
        sets = Sets(dataset.train.take(training), dataset.train.take(held_out), dataset.test)
    if len(sets.train) < spec.batch_size:
        raise UsageError(
            f"The batch size is {spec.batch_size}, but there are only {len(sets.train)} images to "
            "train on. Choose a smaller --batch-size or give more images."
        )
    return sets


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """The images of the three sets where they lie; one that validates and tests lies there once."""

    train: PlacedImages
    validation: PlacedImages
    test: PlacedImages

    @property
    def is_on_host(self) -> bool:
        """Whether they lie in the machine's own memory."""
        return self.train.is_on_host


def place_images(sets: Sets, place: str) -> Placed:
    """Put the images of a run on ``place``, a device of TensorFlow's such as ``GPU:0``."""
    test = PlacedImages(sets.test, place)
    is_test = sets.validation is sets.test
    validation = test if is_test else PlacedImages(sets.validation, place)
    return Placed(PlacedImages(sets.train, place), validation, test)


def count_bytes(sets: Sets) -> int:
    """Return how much memory the images of a run need."""
    distinct = {id(images): images.images.nbytes for images in (sets.train, sets.test)}
    return sum((distinct | {id(sets.validation): sets.validation.images.nbytes}).values())


def dataset_facts(dataset: Dataset, sets: Sets) -> DatasetFacts:
    """Return what the record says of the data."""
    leaky = int(np.count_nonzero(dataset.test.also_in_train))
    return DatasetFacts(
        dataset_id=dataset.dataset_id,
        sha256=dataset.sha256,
        synthetic=dataset.synthetic,
        grouped=dataset.grouped,
        n_train=len(sets.train),
        n_val=len(sets.validation),
        n_test=len(sets.test),
        n_test_leaky=leaky if dataset.grouped else None,
        skipped=dataset.skipped,
    )


# Validation, test and the inference windows all use this one function, so they cannot differ.
class Forward:
    """A network in inference mode."""

    def __init__(self, model: keras.Model, *, jit_compile: bool) -> None:
        """Wrap ``model``; traced at the first call, once for all batch sizes."""
        self._jit_compile = jit_compile
        signature = [tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)]
        self._call = tf.function(
            lambda images: model(images, training=False),
            input_signature=signature,
            jit_compile=jit_compile,
        )
        self._passes: dict[PlacedImages, Any] = {}

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Return probabilities ``[batch, outputs]`` for float32 images scaled to 0…1."""
        return self._call(images)

    def compile(self, images: PlacedImages) -> None:
        """Make ready what ``probabilities`` calls, so that no measured pass pays for it."""
        if images not in self._passes:
            self._passes[images] = self._make_pass(images)
            if self._jit_compile:
                self._passes[images]()
            else:
                self._passes[images].get_concrete_function()
                self(images.batch(tf.zeros(min(EVALUATION_BATCH_SIZE, len(images)), tf.int64))[0])

    def probabilities(self, images: PlacedImages) -> NDArray[np.float32]:
        """Return probabilities ``[n, outputs]`` for all of ``images``, in one call."""
        self.compile(images)
        return np.asarray(self._passes[images]().numpy(), dtype=np.float32)

    def _make_pass(self, images: PlacedImages) -> Any:
        size = min(EVALUATION_BATCH_SIZE, len(images))
        full = len(images) // size

        def predict(positions: tf.Tensor) -> tf.Tensor:
            return self._call(images.batch(positions)[0])

        def predict_all() -> tf.Tensor:
            positions = tf.range(len(images), dtype=tf.int64)
            outputs = tf.map_fn(
                predict,
                tf.reshape(positions[: full * size], (full, size)),
                fn_output_signature=tf.float32,
                parallel_iterations=1,  # a batch's activations are large
            )
            outputs = tf.reshape(outputs, (full * size, -1))
            if full * size == len(images):
                return outputs
            return tf.concat([outputs, predict(positions[full * size :])], axis=0)

        return tf.function(predict_all, jit_compile=self._jit_compile and not images.is_on_host)
