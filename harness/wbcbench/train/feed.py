"""The pipelines of one run: which images go where, with labels as the published network wants them.

How batches are made is ``train.input``'s affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wbcbench.core.spec import RunSpec
from wbcbench.data.dataset import CLASSES, ImageSet
from wbcbench.train.input import evaluation_batches, training_batches
from wbcbench.train.sets import Sets

if TYPE_CHECKING:
    import tensorflow as tf

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


def evaluation(images: ImageSet) -> tf.data.Dataset:
    """Batches in the order of the images; no larger than the set itself."""
    size = min(EVALUATION_BATCH_SIZE, len(images))
    return evaluation_batches(images.images, one_hot(images.labels), batch_size=size)


def one_hot(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return ``[n, 5]`` for labels 0–3: class ``c`` in column ``c + 1``, column 0 never used."""
    return np.eye(len(CLASSES) + 1, dtype=np.float32)[labels + 1]
