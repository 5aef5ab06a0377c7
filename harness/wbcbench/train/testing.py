"""What the trained network can do: TEST once, then inference in a closed loop."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from wbcbench.core import window
from wbcbench.data.dataset import CLASSES
from wbcbench.train.inference import BATCH_SIZES, InferenceLoop
from wbcbench.train.input import scaled
from wbcbench.train.predictions import write_predictions
from wbcbench.train.scores import score
from wbcbench.train.stage import Stage


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
    unseen = ~images.seen_in_train
    if stage.dataset.grouped and unseen.any():
        _tell_scores(stage, "test_leak_free", probabilities, unseen)


def _tell_scores(
    stage: Stage, name: str, probabilities: NDArray[np.float32], chosen: NDArray[np.bool_]
) -> None:
    images = stage.sets.test
    photographs = images.original_id[chosen] if stage.dataset.grouped else None
    found = score(probabilities[chosen], images.labels[chosen], photographs, CLASSES)
    stage.wire.messenger.send({"scores": {"name": name, **asdict(found)}})


def infer(stage: Stage) -> bool:
    """Run the inference windows; return whether all that were asked for were made."""
    if stage.spec.inference_s <= 0:
        return True
    loop = InferenceLoop(
        lambda images: stage.forward(scaled(images)).numpy(), stage.sets.test.images
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
