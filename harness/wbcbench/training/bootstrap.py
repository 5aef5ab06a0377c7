"""The interval of an accuracy when images come in clusters: a stratified bootstrap of photographs.

Dozens of images are made from one photograph and are right or wrong together; an interval that
takes them for independent is several times too narrow. Photographs are therefore drawn with
replacement, within each class so that the mix of classes stays as it is. Photographs that show
overlapping fields count as different photographs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
SEED = 20_240_601
"""Fixed: the interval is a function of the predictions alone."""
LEVEL = 0.95


def photograph_count(photographs: NDArray[np.int64]) -> int:
    """Return how many different photographs there are."""
    return len(np.unique(photographs))


def accuracy_interval(
    right: NDArray[np.bool_],
    labels: NDArray[np.int64],
    photographs: NDArray[np.int64],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float, float]:
    """Return the 95 % percentile interval of the accuracy, by photograph.

    A photograph belongs to the class of its first image. A class with a single photograph cannot
    vary and adds nothing to the width: with few photographs the interval is too narrow still.

    Args:
        right: ``[n]``, whether each image was classified right.
        labels: ``[n]``, true classes.
        photographs: ``[n]``, the photograph of each image; any integers.
        resamples: How often the photographs are drawn anew.
        seed: Of the draws.
    """
    _, first, cluster = np.unique(photographs, return_index=True, return_inverse=True)
    images = np.bincount(cluster).astype(np.float64)
    hits = np.bincount(cluster, weights=right)
    strata = labels[first]
    drawn = np.random.default_rng(seed)
    total_images, total_hits = np.zeros(resamples), np.zeros(resamples)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        # How often each photograph is drawn, [resamples, photographs]: one multinomial a resample.
        times = drawn.multinomial(len(members), np.full(len(members), 1 / len(members)), resamples)
        total_images += times @ images[members]
        total_hits += times @ hits[members]
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(total_hits / total_images, [tail, 100 - tail])
    return float(low), float(high)
