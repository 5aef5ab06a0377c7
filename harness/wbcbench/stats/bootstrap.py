"""Resampling whole clusters: the photographs that test images were cut from.

Dozens of images are made from one photograph and are right or wrong together; an interval that
takes them for independent is several times too narrow. Photographs are therefore drawn with
replacement, within each class so that the mix of classes stays as it is. Photographs that show
overlapping fields count as different photographs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wbcbench.stats.intervals import LEVEL, Floats, Labels
from wbcbench.stats.tests import sign_flip_p

CLUSTER_RESAMPLES = 2000
CLUSTER_SEED = 20_240_601
"""Fixed: the interval is a function of the predictions alone."""

# 71 photographs have more sign patterns than anybody can try; drawn ones tell p to within 0.005.
PHOTOGRAPH_RESAMPLES = 9_999


@dataclass(frozen=True, slots=True)
class Resampled:
    """Means over images, worked out anew for each draw of photographs.

    Attributes:
        mean: ``[resamples]``, over all images: an accuracy where the values say right or wrong.
        balanced: ``[resamples]``, mean over classes of the mean in each class.
    """

    mean: Floats
    balanced: Floats


def photograph_count(photographs: Labels) -> int:
    """Return how many different photographs there are."""
    return len(np.unique(photographs))


def accuracy_interval(
    right: NDArray[np.bool_],
    labels: Labels,
    photographs: Labels,
    *,
    resamples: int = CLUSTER_RESAMPLES,
    seed: int = CLUSTER_SEED,
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
    values = right.astype(np.float64)
    return percentile_interval(
        resample(values, labels, photographs, resamples=resamples, seed=seed).mean
    )


def percentile_interval(draws: Floats) -> tuple[float, float]:
    """Return the middle 95 % of ``[resamples]`` draws."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(draws, [tail, 100 - tail])
    return float(low), float(high)


def resample(
    values: Floats,
    labels: Labels,
    photographs: Labels,
    *,
    resamples: int = CLUSTER_RESAMPLES,
    seed: int = CLUSTER_SEED,
) -> Resampled:
    """Draw photographs with replacement within each class and take the means again.

    Args:
        values: ``[n]``, a number for each image: 1 for right and 0 for wrong, the share of seeds
            that had it right, or the difference of two networks.
        labels: ``[n]``, true classes.
        photographs: ``[n]``, the photograph of each image; any integers.
        resamples: How often the photographs are drawn anew.
        seed: Of the draws; equal photographs and seed give equal draws, so that two networks on
            the same images are drawn together.
    """
    _, first, cluster = np.unique(photographs, return_index=True, return_inverse=True)
    images = np.bincount(cluster).astype(np.float64)
    sums = np.bincount(cluster, weights=values)
    strata = labels[first]
    drawn = np.random.default_rng(seed)
    classes = np.unique(strata)
    total_images, total = np.zeros(resamples), np.zeros(resamples)
    balanced = np.zeros(resamples)
    for stratum in classes:
        members = np.flatnonzero(strata == stratum)
        # How often each photograph is drawn, [resamples, photographs]: one multinomial a resample.
        times = drawn.multinomial(len(members), np.full(len(members), 1 / len(members)), resamples)
        class_images, class_total = times @ images[members], times @ sums[members]
        total_images += class_images
        total += class_total
        balanced += class_total / class_images / len(classes)
    return Resampled(mean=total / total_images, balanced=balanced)


# McNemar's test counts the images on which only one of two networks is right. It takes images for
# independent; here they are not, so the test that decides flips the sign of whole photographs (the
# paired sign-flip test with a photograph as the unit), and the interval draws photographs.
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
    return float(sign_flip_p(sums, PHOTOGRAPH_RESAMPLES))
