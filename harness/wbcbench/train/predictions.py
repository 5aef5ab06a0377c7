"""What the network said of every test image, as a table that others can test hypotheses on.

One row an image: ``file``, ``image_sha256``, ``split``, ``group_id`` and ``original_id`` (the
photograph; empty = unknown), ``seen_in_train``, ``y_true``, ``y_pred`` (class names;
``UNUSED`` is the output that no label uses), ``p_unused`` and ``p_<class>``.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wbcbench.core.files import write_whole
from wbcbench.data.dataset import CLASSES, ImageSet
from wbcbench.train.scores import predicted

UNUSED = "UNUSED"


def write_predictions(path: Path, images: ImageSet, probabilities: NDArray[np.float32]) -> None:
    """Write the table whole or not at all; equal predictions give equal bytes.

    Args:
        path: The file.
        images: The ``n`` images that were predicted.
        probabilities: ``[n, 5]``; column 0 is the output that is never used.
    """
    buffer = io.BytesIO()
    # Codec and version are named, not left to the defaults of the pyarrow at hand.
    pq.write_table(_table(images, probabilities), buffer, compression="zstd", version="2.6")
    write_whole(path, buffer.getvalue())


def _table(images: ImageSet, probabilities: NDArray[np.float32]) -> Any:
    names = (*CLASSES, UNUSED)  # index -1 is the unused output
    columns = {
        "file": list(images.files),
        "image_sha256": list(images.sha256),
        "split": [name.split("/", maxsplit=1)[0].lower() for name in images.files],
        "group_id": _known(images.group_id),
        "original_id": _known(images.original_id),
        "seen_in_train": pa.array(images.seen_in_train),
        "y_true": [names[label] for label in images.labels],
        "y_pred": [names[label] for label in predicted(probabilities)],
    }
    for column, name in enumerate((UNUSED, *CLASSES)):
        values = np.ascontiguousarray(probabilities[:, column], dtype=np.float32)
        columns[f"p_{name.lower()}"] = pa.array(values)
    return pa.table(columns)


def _known(identities: NDArray[np.int64]) -> Any:
    return pa.array(identities, mask=identities < 0)
