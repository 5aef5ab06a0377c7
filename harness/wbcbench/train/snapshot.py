"""What training moves, kept so that it can be put back: for the warm-up, and for each loop."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf


class Snapshot:
    """A compiled network as it was: all that training moves.

    That is: weights, moving averages, the state of dropout's generators, the optimiser's moments
    and its step; and the generators of Python and numpy. The copies stay on the device.
    """

    def __init__(self, model: keras.Model) -> None:
        """Keep ``model`` as it is now."""
        if not model.optimizer.built:  # to build a loss-scaling optimiser twice doubles its weights
            model.optimizer.build(model.trainable_variables)
        self._model = model
        variables = [each.value for each in (*model.variables, *model.optimizer.variables)]
        copies = [tf.identity(variable) for variable in variables]
        self._generators = random.getstate(), np.random.get_state()

        def assign_all() -> None:
            for variable, copy in zip(variables, copies, strict=True):
                variable.assign(copy)

        self._assign_all = tf.function(assign_all)
        self._assign_all()  # traced now, not in the middle of what is measured

    def restore(self) -> None:
        """Put everything back."""
        self._assign_all()
        self._model.reset_metrics()
        python, numpy = self._generators
        random.setstate(python)
        np.random.set_state(numpy)


def copy_weights(model: keras.Model) -> list[tf.Tensor]:
    """Return the weights as they are now, on the device."""
    return [tf.identity(weight.value) for weight in model.weights]


def set_weights(model: keras.Model, values: Iterable[tf.Tensor]) -> None:
    """Give ``model`` weights that ``copy_weights`` returned."""
    for weight, value in zip(model.weights, values, strict=True):
        weight.assign(value)


def digest_weights(model: keras.Model) -> str:
    """Return the SHA-256 of each weight's name, shape and bytes, in the network's order."""
    total = hashlib.sha256()
    for weight in model.weights:
        values = np.asarray(weight.numpy())
        total.update(f"{weight.name} {values.dtype} {values.shape}\n".encode())
        total.update(values.tobytes())
    return total.hexdigest()
