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

# 71 photographs have too many sign patterns to try all; random ones give p to within 0.005.
PHOTOGRAPH_RESAMPLES = 9_999


@dataclass(frozen=True, slots=True)
class Resampled:
    """Means over images, computed again for each draw of photographs.

    Attributes:
        mean: ``[resamples]``, over all images: an accuracy where the values are 1 or 0.
        balanced: ``[resamples]``, mean over classes of the mean in each class.
    """

    mean: Floats
    balanced: Floats


@dataclass(frozen=True, slots=True)
class ImageMeans:
    """Means over images with their 95 % intervals over photographs (cluster bootstrap).

    Attributes:
        mean, low, high: Over all images.
        balanced, balanced_low, balanced_high: Mean over classes of the mean in each class.
    """

    mean: float
    low: float
    high: float
    balanced: float
    balanced_low: float
    balanced_high: float


# McNemar's test counts the images on which only one of two networks is right. It takes images for
# independent; here they are not, so the test that decides flips the sign of whole photographs (the
# paired sign-flip test with a photograph as the unit), and the interval draws photographs.
@dataclass(frozen=True, slots=True)
class PairedImages:
    """How two networks differ on the same images.

    Attributes:
        images, photographs: How many there were; the photographs are the sample size.
        difference: Of the first minus the second.
        only_first, only_second: Discordant predictions (only one is right), averaged over seeds.
        p: Sign-flip test over photographs.
    """

    images: int
    photographs: int
    difference: ImageMeans
    only_first: float
    only_second: float
    p: float


def count_photographs(photographs: Labels) -> int:
    """Return how many different photographs there are."""
    return len(np.unique(photographs))


def bootstrap_accuracy(
    right: NDArray[np.bool_], labels: Labels, photographs: Labels
) -> tuple[float, float]:
    """Return the 95 % percentile interval of the accuracy over photographs.

    A photograph belongs to the class of its first image. A class with a single photograph cannot
    vary and adds nothing to the width: with few photographs the interval is too narrow still.

    Args:
        right: ``[n]``, whether each image was classified right.
        labels: ``[n]``, true classes.
        photographs: ``[n]``, the photograph of each image; any integers.
    """
    return compute_percentile_interval(resample(right.astype(np.float64), labels, photographs).mean)


def compute_percentile_interval(draws: Floats) -> tuple[float, float]:
    """Return the middle 95 % of ``[resamples]`` draws."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(draws, [tail, 100 - tail])
    return float(low), float(high)


def resample(values: Floats, labels: Labels, photographs: Labels) -> Resampled:
    """Draw photographs with replacement within each class and compute the means again.

    Equal photographs give equal draws, so that two networks on the same images are drawn together.

    Args:
        values: ``[n]``, a number for each image: 1 for right and 0 for wrong, the share of seeds
            that had it right, or the difference of two networks.
        labels: ``[n]``, true classes.
        photographs: ``[n]``, the photograph of each image; any integers.
    """
    _, first, cluster = np.unique(photographs, return_index=True, return_inverse=True)
    images = np.bincount(cluster).astype(np.float64)
    sums = np.bincount(cluster, weights=values)
    strata = labels[first]
    rng = np.random.default_rng(CLUSTER_SEED)
    classes = np.unique(strata)
    total_images, total, balanced = np.zeros((3, CLUSTER_RESAMPLES))
    for stratum in classes:
        members = np.flatnonzero(strata == stratum)
        share = np.full(len(members), 1 / len(members))
        # How often each photograph is drawn, [resamples, photographs]: one multinomial a resample.
        times = rng.multinomial(len(members), share, CLUSTER_RESAMPLES)
        class_images, class_total = times @ images[members], times @ sums[members]
        total_images += class_images
        total += class_total
        balanced += class_total / class_images / len(classes)
    return Resampled(mean=total / total_images, balanced=balanced)


def compute_image_means(values: Floats, labels: Labels, photographs: Labels) -> ImageMeans:
    """Means of ``[n]`` values over images, with their intervals over photographs."""
    draws = resample(values, labels, photographs)
    by_class = [values[labels == label].mean() for label in np.unique(labels)]
    return ImageMeans(
        float(values.mean()),
        *compute_percentile_interval(draws.mean),
        float(np.mean(by_class)),
        *compute_percentile_interval(draws.balanced),
    )


def compare_on_images(
    first: NDArray[np.bool_], second: NDArray[np.bool_], labels: Labels, photographs: Labels
) -> PairedImages:
    """Compare two networks image by image.

    Args:
        first: ``[seeds, n]``, where that seed's network was right.
        second: The same of the other network; row i of both is the same seed.
        labels: ``[n]``, true classes.
        photographs: ``[n]``, the photograph of each image.
    """
    differences = (first.sum(axis=0) - second.sum(axis=0)) / len(first)
    _, cluster = np.unique(photographs, return_inverse=True)
    sums = np.bincount(cluster, weights=differences).astype(np.float64)
    return PairedImages(
        images=len(labels),
        photographs=len(sums),
        difference=compute_image_means(differences, labels, photographs),
        only_first=float((first & ~second).sum(axis=1).mean()),
        only_second=float((second & ~first).sum(axis=1).mean()),
        p=float(sign_flip_p(sums, PHOTOGRAPH_RESAMPLES)),
    )
