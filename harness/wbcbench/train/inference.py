"""Joules of inference: forward passes in a closed loop, one image or 64 at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wbcbench.core import window
from wbcbench.core.record import Inference
from wbcbench.core.window import Clock
from wbcbench.train.phases import Phases

BATCH_SIZES = (1, 64)
WARM_UP_CALLS = 3
"""Untold calls before each window: the first one of a batch size compiles or picks kernels."""


class InferenceLoop:
    """Asks ``predict`` for one batch after the other and waits for each answer."""

    def __init__(
        self, predict: Callable[[NDArray[np.uint8]], object], images: NDArray[np.uint8]
    ) -> None:
        """Feed ``predict`` from ``images`` in their order, again and again."""
        self._predict = predict
        self._images = images
        self._next = 0

    def step(self, batch_size: int) -> None:
        """One batch of exactly ``batch_size`` images."""
        positions = np.arange(self._next, self._next + batch_size) % len(self._images)
        self._predict(self._images[positions])
        self._next = int(positions[-1] + 1)

    def measure(
        self, phases: Phases, clock: Clock, *, batch_size: int, duration_s: float
    ) -> Inference:
        """Predict for at least ``duration_s`` in a window ``infer-b<batch_size>``."""
        for _ in range(WARM_UP_CALLS):
            self.step(batch_size)
        name, images = window.infer(batch_size), 0
        with phases.window(name):
            end_s = clock.now_s() + duration_s
            while clock.now_s() < end_s:
                self.step(batch_size)
                images += batch_size
        return Inference(name, batch_size, images)
