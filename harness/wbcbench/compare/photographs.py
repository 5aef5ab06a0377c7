"""The test set's own error: what the predictions say when photographs are drawn anew.

A seed interval says how much the runs differ. It says nothing about the few photographs the test
set was made from, which are the same for every run; that is what is worked out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wbcbench.compare.blocks import Blocks
from wbcbench.compare.design import ComparisonDesign
from wbcbench.compare.result import AccuracyByPhotograph, SameImages
from wbcbench.core.errors import UsageError
from wbcbench.stats.bootstrap import on_same_images, percentile_interval, resample

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

_COLUMNS = ("image_sha256", "original_id", "seen_in_train", "y_true", "y_pred")


@dataclass(frozen=True, slots=True)
class CorrectAnswers:
    """Which images each run had right.

    Attributes:
        right: ``[arms, blocks, images]``, 1 or 0.
        labels: ``[images]``, numbers of the true classes.
        photographs: ``[images]``, the photograph of each image.
    """

    right: Floats
    labels: Labels
    photographs: Labels

    def of_arm(self, arm: int) -> AccuracyByPhotograph:
        """One arm's accuracy, averaged over its seeds."""
        share = self.right[arm].mean(axis=0)
        drawn = resample(share, self.labels, self.photographs)
        by_class = [share[self.labels == label].mean() for label in np.unique(self.labels)]
        low, high = percentile_interval(drawn.mean)
        balanced_low, balanced_high = percentile_interval(drawn.balanced)
        return AccuracyByPhotograph(
            accuracy=float(share.mean()),
            low=low,
            high=high,
            balanced=float(np.mean(by_class)),
            balanced_low=balanced_low,
            balanced_high=balanced_high,
        )

    def compare(self, design: ComparisonDesign) -> tuple[SameImages, ...]:
        """Each candidate against its baseline, image by image."""
        return tuple(
            SameImages(
                design.arms[i].label,
                design.arms[j].label,
                on_same_images(self.right[i], self.right[j], self.labels, self.photographs),
            )
            for i, j in design.pairs
        )


def read_answers(blocks: Blocks) -> CorrectAnswers | None:
    """The predictions of every used run.

    ``None`` where a run kept none, photographs are unknown, or the runs saw different images.
    """
    paths = [run.predictions_path for block in blocks.runs for run in block]
    known = [path for path in paths if path is not None]
    if not known or len(known) < len(paths):
        return None
    first = read_predictions(known[0])
    if (first.photographs < 0).any():
        return None
    right = [first.right]
    # One table at a time: the digests of a thousand runs' images would fill the memory.
    for path in known[1:]:
        table = read_predictions(path)
        if table.images != first.images:
            return None
        right.append(table.right)
    _, labels = np.unique(first.truth, return_inverse=True)
    shape = (len(blocks.runs), len(blocks.runs[0]), len(labels))
    return CorrectAnswers(
        right=np.array(right).reshape(shape).transpose(1, 0, 2),
        labels=labels.astype(np.int64),
        photographs=first.photographs,
    )


@dataclass(frozen=True, slots=True)
class ImageAnswers:
    """What one run said of each test image.

    Attributes:
        images: ``[n]`` digests.
        truth: ``[n]`` class names.
        right: ``[n]``, 1 where it was right.
        photographs: ``[n]``; -1 = unknown.
        seen: ``[n]``, whether TRAIN shows the same cell.
    """

    images: list[str]
    truth: list[str]
    right: Floats
    photographs: Labels
    seen: NDArray[np.bool_]


def read_predictions(path: Path) -> ImageAnswers:
    """One run's predictions.

    Raises:
        UsageError: They cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read(columns=list(_COLUMNS))
        table = table.select(list(_COLUMNS))  # what is not there was left out without a word
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UsageError(
            f"{path} cannot be read as predictions: {error}. Move it away to compare without the "
            "intervals by photograph, or repeat the run."
        ) from error
    truth, said = (np.asarray(table[name].to_pylist()) for name in ("y_true", "y_pred"))
    # Arrow's own ``fill_null`` imports pandas, which takes longer than all the rest.
    photographs = table["original_id"].to_pylist()
    return ImageAnswers(
        images=table["image_sha256"].to_pylist(),
        truth=truth.tolist(),
        right=(truth == said).astype(np.float64),
        photographs=np.asarray([-1 if p is None else p for p in photographs], dtype=np.int64),
        seen=np.asarray(table["seen_in_train"].to_pylist(), dtype=np.bool_),
    )
