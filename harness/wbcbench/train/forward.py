"""The forward pass: images in, class probabilities out, compiled once.

Validation, test and the inference windows all use this one function, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


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
