"""The trained network put to the test: TEST images, and inference in batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from wbcbench.core import window
from wbcbench.core.record import Inference
from wbcbench.core.window import Clock
from wbcbench.data.dataset import CLASSES
from wbcbench.train.network import scale_pixels
from wbcbench.train.scores import score, write_predictions
from wbcbench.train.stage import Phases, Stage

BATCH_SIZES = (1, 64)
WARM_UP_CALLS = 3
"""Untold calls before each window: the first one of a batch size compiles or picks kernels."""


def score_test(stage: Stage) -> None:
    """Predict TEST, keep the predictions, tell the scores.

    Scores are told for TEST as published and, where photographs are known, for TEST without the
    images of cells that TRAIN shows as well.
    """
    stage.wire.progress(window.EVALUATE)
    images = stage.sets.test
    with stage.wire.phases.window(window.EVALUATE):
        probabilities = stage.forward.probabilities(stage.batches.test)
    write_predictions(stage.run.predictions_path, images, probabilities)
    _tell_scores(stage, "test", probabilities, np.ones(len(images), dtype=np.bool_))
    unseen = ~images.also_in_train
    if stage.dataset.grouped and unseen.any():
        _tell_scores(stage, "test_leakage_free", probabilities, unseen)


def _tell_scores(
    stage: Stage, name: str, probabilities: NDArray[np.float32], chosen: NDArray[np.bool_]
) -> None:
    images = stage.sets.test
    photographs = images.original_id[chosen] if stage.dataset.grouped else None
    found = score(probabilities[chosen], images.labels[chosen], photographs, CLASSES)
    stage.wire.messenger.send({"scores": {"name": name, **asdict(found)}})


def measure_inference(stage: Stage) -> bool:
    """Run the inference windows; return whether all that were asked for were made."""
    if stage.spec.inference_s <= 0:
        return True
    loop = InferenceLoop(
        lambda images: stage.forward(scale_pixels(images)).numpy(), stage.sets.test.images
    )
    for batch_size in BATCH_SIZES:
        if stage.wire.control.is_stopping:
            return False
        stage.wire.progress(window.infer(batch_size))
        made = loop.measure(
            stage.wire.phases,
            stage.wire.clock,
            batch_size=batch_size,
            duration_s=stage.spec.inference_s,
        )
        stage.wire.messenger.send({"inference": made})
    return True


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
