"""Scores with their intervals, and the table of predictions they come from.

The network has one output more than there are classes: labels are one-hot encoded as ``label + 1``
and column 0 is never used (as published). A prediction of that column is wrong for every image; it
stands in a last column of the confusion matrix, so that no image is lost from its row.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from wbcbench.core.files import write_atomically
from wbcbench.core.record import Scores
from wbcbench.data.dataset import CLASSES, ImageSet
from wbcbench.stats.bootstrap import bootstrap_accuracy, count_photographs

Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int64]

ECE_BINS = 15
PROBABILITY_FLOOR = 1e-7
"""Probabilities are clipped here before the logarithm, as Keras does (``keras.config.epsilon``)."""

UNUSED = "UNUSED"


def score(
    probabilities: NDArray[np.floating],
    labels: Labels,
    photographs: NDArray[np.int64] | None,
    classes: Sequence[str],
) -> Scores:
    """Score predictions on one set of images.

    Args:
        probabilities: ``[n, len(classes) + 1]``; column 0 is the output that is never used.
        labels: ``[n]``, true classes, 0 … ``len(classes) - 1``.
        photographs: ``[n]``, the photograph each image was made from; ``None`` if unknown.
        classes: Names of the classes.

    Raises:
        ValueError: There are no images, or the shapes do not fit.
    """
    if len(labels) == 0 or probabilities.shape != (len(labels), len(classes) + 1):
        raise ValueError(
            f"scores need images and {len(classes) + 1} outputs each; "
            f"got outputs {probabilities.shape} for {len(labels)} labels"
        )
    wide = probabilities.astype(np.float64)
    table = confusion(predicted(wide), labels, len(classes))
    recall = recalls(table)
    right = predicted(wide) == labels
    is_known = bool(np.isfinite(wide).all())
    return Scores(
        images=len(labels),
        photographs=None if photographs is None else count_photographs(photographs),
        accuracy=float(right.mean()),
        balanced_accuracy=balanced_accuracy(table),
        macro_f1=macro_f1(table),
        # Weights that are no numbers predict none; what follows from them is unknown.
        loss=_cross_entropy(wide, labels) if is_known else None,
        ece=calibration_error(wide, right) if is_known else None,
        correct=int(right.sum()),
        recall={
            name: None if np.isnan(r) else float(r) for name, r in zip(classes, recall, strict=True)
        },
        confusion=tuple(tuple(int(count) for count in row) for row in table),
        classes=tuple(classes),
        interval=None if photographs is None else bootstrap_accuracy(right, labels, photographs),
    )


def predicted(probabilities: NDArray[np.floating]) -> Labels:
    """Return the most probable class of each image, ``[n]``; -1 is the output never used."""
    return np.asarray(np.argmax(probabilities, axis=1) - 1, dtype=np.int64)


def confusion(predictions: Labels, labels: Labels, n_classes: int) -> NDArray[np.int64]:
    """Return counts ``[true, predicted]``, shape ``[n_classes, n_classes + 1]``.

    The last column counts predictions of the output that is never used.
    """
    columns = predictions % (n_classes + 1)  # -1 → the last column
    cells = np.bincount(labels * (n_classes + 1) + columns, minlength=n_classes * (n_classes + 1))
    return np.asarray(cells.reshape(n_classes, n_classes + 1), dtype=np.int64)


def recalls(table: NDArray[np.int64]) -> Floats:
    """Return the share of each class that was recognised, ``[n_classes]``; NaN without images."""
    images = table.sum(axis=1)
    hits = np.diagonal(table).astype(np.float64)
    shares = np.full(len(images), np.nan)
    np.divide(hits, images, out=shares, where=images > 0)
    return shares


def balanced_accuracy(table: NDArray[np.int64]) -> float:
    """Return the mean recall of the classes that have images."""
    return float(np.nanmean(recalls(table)))


def macro_f1(table: NDArray[np.int64]) -> float:
    """Return the mean of 2TP / (2TP + FP + FN) over the classes that have images."""
    hits = np.diagonal(table).astype(np.float64)
    present = table.sum(axis=1) > 0
    predicted_as = table.sum(axis=0)[: len(table)]
    f1 = 2 * hits[present] / (table.sum(axis=1) + predicted_as)[present]
    return float(f1.mean())


def _cross_entropy(probabilities: Floats, labels: Labels) -> float:
    """Return the mean of −ln p(true class), in nats."""
    true = probabilities[np.arange(len(labels)), labels + 1]
    return float(-np.log(np.clip(true, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)).mean())


def calibration_error(probabilities: Floats, right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error over 15 equal-width bins of confidence.

    Confidence is the highest probability; the error is the mean over images of
    |accuracy − mean confidence| of their bin (Guo et al. 2017, "On Calibration of Modern Neural
    Networks"; bins are open below and closed above, as there).
    """
    confidence = probabilities.max(axis=1)
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    excess = np.bincount(bins, weights=right - confidence, minlength=ECE_BINS)
    return float(np.abs(excess).sum() / len(right))


# Predictions have one row an image: ``file``, ``image_sha256``, ``split``, ``group_id`` and
# ``original_id`` (the photograph; empty = unknown), ``also_in_train``, ``y_true``, ``y_pred``
# (class names; ``UNUSED`` is the output that no label uses), ``p_unused`` and ``p_<class>``.
def write_predictions(path: Path, images: ImageSet, probabilities: NDArray[np.float32]) -> None:
    """Write the table whole or not at all; equal predictions give equal bytes.

    Args:
        path: The file.
        images: The ``n`` images that were predicted.
        probabilities: ``[n, 5]``; column 0 is the output that is never used.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = (*CLASSES, UNUSED)  # index -1 is the unused output
    columns = {
        "file": images.files,
        "image_sha256": images.sha256,
        "split": [name.split("/", maxsplit=1)[0].lower() for name in images.files],
        "group_id": pa.array(images.group_id, mask=images.group_id < 0),
        "original_id": pa.array(images.original_id, mask=images.original_id < 0),
        "also_in_train": images.also_in_train,
        "y_true": [names[label] for label in images.labels],
        "y_pred": [names[label] for label in predicted(probabilities)],
    }
    for column, name in enumerate((UNUSED, *CLASSES)):
        columns[f"p_{name.lower()}"] = probabilities[:, column].astype(np.float32)
    buffer = io.BytesIO()
    # Codec and version are named, not left to the defaults of the pyarrow at hand.
    pq.write_table(pa.table(columns), buffer, compression="zstd", version="2.6")
    write_atomically(path, buffer.getvalue())
