"""What the network said of every test image, read back and scored once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wbcbench.core.errors import UsageError
from wbcbench.core.record import Scores
from wbcbench.train.scores import score


@dataclass(frozen=True, slots=True)
class TestPredictions:
    """The predictions of one run.

    Attributes:
        probabilities: ``[n, classes + 1]``; column 0 is the output that is never used.
        labels: ``[n]``, true classes.
        photographs: ``[n]``; -1 is unknown.
        seen_in_train: ``[n]``, whether TRAIN shows the same cell.
        classes: Names.
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    photographs: NDArray[np.int64]
    seen_in_train: NDArray[np.bool_]
    classes: tuple[str, ...]

    def scores(self, *, grouped: bool) -> Scores:
        """The scores; with an interval if the images are ``grouped`` by photograph."""
        photographs = self.photographs if grouped else None
        return score(self.probabilities, self.labels, photographs, self.classes)

    def unseen(self) -> TestPredictions | None:
        """The images of cells that TRAIN does not show; ``None`` if there are none."""
        chosen = ~self.seen_in_train
        if not chosen.any():
            return None
        return TestPredictions(
            self.probabilities[chosen],
            self.labels[chosen],
            self.photographs[chosen],
            self.seen_in_train[chosen],
            self.classes,
        )


def read_answers(path: Path, classes: Sequence[str]) -> TestPredictions:
    """Read a predictions table.

    Raises:
        UsageError: The file is damaged, or is of other classes.
    """
    import pyarrow.parquet as pq

    names = ["p_unused", *(f"p_{name.lower()}" for name in classes)]
    try:
        table = pq.read_table(path)
        columns = [table[name].to_numpy() for name in names]
        labels = [classes.index(name) for name in table["y_true"].to_pylist()]
        photographs = [-1 if p is None else p for p in table["original_id"].to_pylist()]
        seen = table["seen_in_train"].to_numpy()
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path} cannot be read as predictions ({error}), so the scores cannot be worked out "
            "again. Take the file from the study it came with."
        ) from error
    return TestPredictions(
        np.column_stack(columns),
        np.asarray(labels, dtype=np.int64),
        np.asarray(photographs, dtype=np.int64),
        np.asarray(seen, dtype=np.bool_),
        tuple(classes),
    )
