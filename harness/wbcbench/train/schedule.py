"""The learning rate over the steps of a training: a formula, and the same as Keras takes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from wbcbench.core.spec import RunSpec

if TYPE_CHECKING:
    import keras

# Of one cycle (Smith and Topin, *Super-convergence*, arXiv 1708.07120; these shares are PyTorch's):
# the part of the steps in which the rate rises, and where it rises from.
RISING, FROM = 0.3, 1 / 25


def _count_rising(spec: RunSpec, steps: int) -> int:
    return int(RISING * steps) if spec.schedule == "one-cycle" else 0


def learning_rate_at(spec: RunSpec, step: int, steps: int) -> float:
    """Return the learning rate after ``step`` steps of a training of ``steps``."""
    highest, rising = spec.learning_rate, _count_rising(spec, steps)
    if spec.schedule == "constant":
        return highest
    if step < rising:
        return highest * (FROM + (1 - FROM) * step / rising)
    return highest * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def build_learning_rate(
    spec: RunSpec, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return what an optimiser of Keras takes for a training of ``steps`` steps."""
    if spec.schedule == "constant":
        return spec.learning_rate
    from keras.optimizers.schedules import CosineDecay

    highest, rising = spec.learning_rate, _count_rising(spec, steps)
    if not rising:
        return CosineDecay(highest, steps)
    return CosineDecay(FROM * highest, steps - rising, warmup_target=highest, warmup_steps=rising)
