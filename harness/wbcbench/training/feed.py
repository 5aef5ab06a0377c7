"""Batches of images and one-hot labels, in an order that depends on the seed alone.

Images stay uint8 until their batch is made: as float32 they would take four times the memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from wbcbench.data import CLASSES, ImageSet
from wbcbench.study import RunSpec
from wbcbench.training.sets import Sets

EVALUATION_BATCH_SIZE = 128
"""Part of no spec: it changes neither weights nor predictions, and runs stay comparable."""


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """The pipelines of one run."""

    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset


def batches(sets: Sets, spec: RunSpec) -> Batches:
    """Make the three pipelines of a run."""
    return Batches(training(sets.train, spec), evaluation(sets.validation), evaluation(sets.test))


def training(images: ImageSet, spec: RunSpec) -> tf.data.Dataset:
    """Batches of ``spec.batch_size``, shuffled anew each epoch; the last may be smaller."""
    source = tf.data.Dataset.from_tensor_slices((images.images, images.labels))
    shuffled = source.shuffle(len(images), seed=spec.seed, reshuffle_each_iteration=True)
    return shuffled.batch(spec.batch_size).map(_prepared).prefetch(2)


def evaluation(images: ImageSet) -> tf.data.Dataset:
    """Batches in the order of the images; no larger than the set itself."""
    source = tf.data.Dataset.from_tensor_slices((images.images, images.labels))
    size = min(EVALUATION_BATCH_SIZE, len(images))
    return source.batch(size).map(_prepared).prefetch(2)


def scaled(images: Any) -> tf.Tensor:
    """Return float32 images from 0 to 1 for uint8 images from 0 to 255."""
    return tf.cast(images, tf.float32) / 255.0


def _prepared(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return scaled(images), tf.one_hot(labels + 1, len(CLASSES) + 1)
