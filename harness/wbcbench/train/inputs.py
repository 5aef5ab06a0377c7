"""Images as batches for training and for evaluation, and the forward pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
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
from wbcbench.train.network import (
    evaluation_batches,
    shuffle_positions,
    training_batches,
)

EVALUATION_BATCH_SIZE = 128
"""Part of no spec: it changes neither weights nor predictions, and runs stay comparable."""


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """The pipelines of one run."""

    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset


def batches(sets: Sets, spec: RunSpec) -> Batches:
    """Make the three pipelines of a run; where TEST validates, it is held in memory once."""
    test = evaluation(sets.test)
    validation = test if sets.validation is sets.test else evaluation(sets.validation)
    return Batches(training(sets.train, spec), validation, test)


def training(images: ImageSet, spec: RunSpec) -> tf.data.Dataset:
    """Batches of ``spec.batch_size``, shuffled anew each epoch; the last may be smaller."""
    labels = one_hot(images.labels)
    return training_batches(images.images, labels, batch_size=spec.batch_size, seed=spec.seed)


def digest_image_order(images: ImageSet, spec: RunSpec) -> str:
    """Return the SHA-256 of the images in the batches of the first epoch.

    Call after the seeds are set. An object of its own is iterated, so that training begins with
    the same batches. Later epochs depend on how often Keras looks into its own.
    """
    order = shuffle_positions(len(images), spec.batch_size, spec.seed)
    total = hashlib.sha256()
    for batch in order.as_numpy_iterator():
        total.update("".join(images.sha256[position] for position in batch).encode() + b"\n")
    return total.hexdigest()


def evaluation(images: ImageSet) -> tf.data.Dataset:
    """Batches in the order of the images; no larger than the set itself."""
    size = min(EVALUATION_BATCH_SIZE, len(images))
    return evaluation_batches(images.images, one_hot(images.labels), batch_size=size)


def one_hot(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return ``[n, 5]`` for labels 0–3: class ``c`` in column ``c + 1``, column 0 never used."""
    return np.eye(len(CLASSES) + 1, dtype=np.float32)[labels + 1]


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
        signature = [tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)]
        self._call = tf.function(
            lambda images: model(images, training=False),
            input_signature=signature,
            jit_compile=jit_compile,
        )

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Return probabilities ``[batch, outputs]`` for float32 images scaled to 0…1."""
        return self._call(images)

    def probabilities(self, batches: Iterable[Any]) -> NDArray[np.float32]:
        """Return probabilities ``[n, outputs]`` for all images of ``batches``."""
        outputs = [self(images) for images, *_ in batches]
        return np.asarray(tf.concat(outputs, axis=0).numpy(), dtype=np.float32)
