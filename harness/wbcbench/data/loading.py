"""From a folder of images to a :class:`~wbcbench.data.dataset.Dataset`, through the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wbcbench.data.dataset import Dataset


def load(
    path: Path | None,
    *,
    image_size: int = 80,
    cache_dir: Path | None = None,
    skip_unreadable: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Read TRAIN and TEST of the data set at ``path``, from the cache when nothing changed.

    Args:
        path: The folder of the Kaggle set: ``dataset2-master`` itself, its parent, the doubled
            ``dataset2-master/dataset2-master``, or ``images``. ``None``: the environment variable
            ``WBCBENCH_DATA``, and without it the synthetic cells, which are drawn once.
        image_size: Side of the images in pixels after resizing.
        cache_dir: Where decoded images are kept; ``None``: ``WBCBENCH_CACHE`` or the user's cache.
        skip_unreadable: Leave out unreadable files and list them, instead of refusing the set.
        on_progress: Called with (images done, images in all) while files are read.

    Raises:
        UsageError: The folder is not a data set, or files in it are unreadable (all are counted,
            the first are named).
    """
    raise NotImplementedError
