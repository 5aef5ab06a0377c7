"""What a few photographs leave open: intervals of one variant's accuracies by photograph.

The runs of a variant are averaged image by image; then photographs are drawn anew. More runs do
not make this interval narrower, for all of them saw the same photographs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wbcbench.compare.effects import ImageAnswers, read_predictions
from wbcbench.stats.bootstrap import percentile_interval, resample

MOST_RUNS = 10
"""Of one variant: further runs change the average of a few images, and reading them takes time."""

Pair = tuple[float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class IntervalsByPhotograph:
    """95 % intervals of one variant, photographs drawn anew.

    Attributes:
        accuracy: On all test images.
        leak_free: On those of cells that TRAIN does not show; ``None`` if there are none.
        recall: By class name.
        runs: How many runs were averaged.
    """

    accuracy: Pair
    leak_free: Pair | None
    recall: Mapping[str, Pair]
    runs: int


def by_photograph(paths: Sequence[Path]) -> IntervalsByPhotograph | None:
    """The intervals of runs that saw the same images.

    ``None`` without predictions, where photographs are unknown, or where runs saw other images.

    Raises:
        UsageError: A file of predictions is damaged.
    """
    read = [read_predictions(path) for path in paths[:MOST_RUNS]]
    if not read or any(each.images != read[0].images for each in read):
        return None
    first = read[0]
    if not first.images or (first.photographs < 0).any():
        return None
    share = np.mean([each.right for each in read], axis=0)
    return _intervals(first, share, len(read))


def _intervals(first: ImageAnswers, share: Floats, runs: int) -> IntervalsByPhotograph:
    names, labels = np.unique(first.truth, return_inverse=True)
    every = np.ones(len(labels), dtype=np.bool_)

    def interval(mask: NDArray[np.bool_]) -> Pair:
        drawn = resample(share[mask], labels[mask], first.photographs[mask])
        return percentile_interval(drawn.mean)

    return IntervalsByPhotograph(
        accuracy=interval(every),
        leak_free=None if first.seen.all() else interval(~first.seen),
        recall={str(name): interval(labels == i) for i, name in enumerate(names)},
        runs=runs,
    )
