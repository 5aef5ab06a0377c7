"""Trace, compile and autotune before the clock starts, then undo it.

The first steps of a process cost many times a later one. They are made on real batches, with the
very functions, batch shapes and optimiser that training uses; then every variable they moved is
put back, so that training goes exactly as if there had been no warm-up.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import numpy as np

from wbcbench.data.dataset import ImageSet


@contextmanager
def undone(model: keras.Model) -> Iterator[None]:
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


def warm_up(model: keras.Model, train: Callable[[], None], validate: Callable[[], None]) -> None:
    """Run ``train`` and ``validate`` and undo their effect on ``model``."""
    with undone(model):
        train()
        validate()


def excerpt(images: ImageSet, *, steps: int, batch_size: int) -> ImageSet:
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
