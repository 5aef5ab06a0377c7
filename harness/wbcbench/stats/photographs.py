"""Two networks on the same test images, when dozens of images come from one photograph.

McNemar's test counts the images on which only one of the two is right. It takes images for
independent; here they are not, so the test that decides flips the sign of whole photographs
(the paired sign-flip test with a photograph as the unit), and the interval draws photographs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wbcbench.stats.clusters import percentile_interval, photograph_count, resample
from wbcbench.stats.permutation import sign_flip_p

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

# 71 photographs have more sign patterns than anybody can try; drawn ones tell p to within 0.005.
RESAMPLES = 9_999


@dataclass(frozen=True, slots=True)
class OnSameImages:
    """How two networks differ on the same images.

    Attributes:
        images, photographs: How many there were; the photographs are the sample size.
        difference: Mean of the first minus mean of the second.
        low, high: 95 % interval of it, by photograph.
        balanced_difference, balanced_low, balanced_high: The same of the mean over classes.
        only_first, only_second: Images that only one has right, averaged over seeds.
        p: Sign-flip test over photographs.
    """

    images: int
    photographs: int
    difference: float
    low: float
    high: float
    balanced_difference: float
    balanced_low: float
    balanced_high: float
    only_first: float
    only_second: float
    p: float


def on_same_images(
    first: Floats, second: Floats, labels: Labels, photographs: Labels
) -> OnSameImages:
    """Compare two networks image by image.

    Args:
        first: ``[seeds, n]``, 1 where that seed's network was right and 0 where it was not.
        second: The same of the other network; row i of both is the same seed.
        labels: ``[n]``, true classes.
        photographs: ``[n]``, the photograph of each image.
    """
    differences = (first - second).mean(axis=0)
    drawn = resample(differences, labels, photographs)
    low, high = percentile_interval(drawn.mean)
    balanced_low, balanced_high = percentile_interval(drawn.balanced)
    return OnSameImages(
        images=len(labels),
        photographs=photograph_count(photographs),
        difference=float(differences.mean()),
        low=low,
        high=high,
        balanced_difference=_balanced(differences, labels),
        balanced_low=balanced_low,
        balanced_high=balanced_high,
        only_first=float((first * (1 - second)).sum(axis=1).mean()),
        only_second=float((second * (1 - first)).sum(axis=1).mean()),
        p=_p_by_photograph(differences, photographs),
    )


def _balanced(values: Floats, labels: Labels) -> float:
    return float(np.mean([values[labels == label].mean() for label in np.unique(labels)]))


def _p_by_photograph(differences: Floats, photographs: Labels) -> float:
    _, cluster = np.unique(photographs, return_inverse=True)
    sums = np.bincount(cluster, weights=differences).astype(np.float64)
    return float(sign_flip_p(sums, RESAMPLES))
