"""What the rest of the project knows of a data set: its images, its labels, its photographs.

Nothing here reads files; numpy is named in annotations only, so that importing this is cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLASSES = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")
"""The folder names of the four classes; a label is an index into this tuple."""

LOADED_SPLITS = ("TRAIN", "TEST")
"""The splits that are trained and tested on; a ``TEST_SIMPLE`` folder is left alone."""

UNKNOWN_PHOTOGRAPH = -1
"""Stands for: it is not known which photograph this image was made from."""

Progress = Callable[[int, int], None]
"""Called with (files done, files in all)."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """One split: ``n`` images and what is known of each.

    Attributes:
        images: uint8 ``[n, size, size, 3]``, RGB, 0–255; memory-mapped from the cache, read-only.
        labels: int64 ``[n]``, 0–3, index into :data:`CLASSES`. The published network one-hot
            encodes ``label + 1`` into five columns, of which column 0 is never used.
        files: ``n`` names such as ``"TRAIN/EOSINOPHIL/_0_1169.jpeg"``, sorted.
        sha256: ``n`` digests of the files' bytes, 64 hexadecimal digits each.
        group_id: int64 ``[n]``, the photograph group: photographs that overlap share one;
            -1 = unknown.
        original_id: int64 ``[n]``, the photograph itself; -1 = unknown.
        also_in_train: bool ``[n]``, true for a TEST image of a cell that TRAIN shows as well.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    files: tuple[str, ...]
    sha256: tuple[str, ...] = field(repr=False)
    group_id: NDArray[np.int64]
    original_id: NDArray[np.int64]
    also_in_train: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.files)

    @property
    def is_grouped(self) -> bool:
        """Whether the photograph of every image is known."""
        return bool((self.group_id != UNKNOWN_PHOTOGRAPH).all())

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> ImageSet:
        """Return the images at ``indices``, in that order (the pixels are copied).

        Args:
            indices: Positions in ``0 … len(self) - 1``; repeats are allowed.

        Raises:
            IndexError: A position is out of range.
        """
        import numpy as np

        chosen = np.asarray(indices, dtype=np.int64)
        return ImageSet(
            images=self.images[chosen],
            labels=self.labels[chosen],
            files=tuple(self.files[i] for i in chosen),
            sha256=tuple(self.sha256[i] for i in chosen),
            group_id=self.group_id[chosen],
            original_id=self.original_id[chosen],
            also_in_train=self.also_in_train[chosen],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """TRAIN and TEST of one data set, ready to train on.

    Attributes:
        dataset_id: ``"bccd-kaggle"`` for the complete published set (known by its digest),
            ``"synthetic-cells-v<generator>-<digest8>"`` or ``"custom-<digest8>"``.
        sha256: Digest of the contents and relative names of the TRAIN and TEST images; it does
            not depend on where the folder is. See :func:`wbcbench.data.read.dataset_sha256`.
        synthetic: Whether any image was drawn by :mod:`wbcbench.data.synthetic`.
        grouped: Whether the photograph of every image is known. If not, a validation split is
            random by image and may leak, and whoever reports it must say so.
        root: The folder that holds ``TRAIN`` and ``TEST``.
        image_size: Side of the square images in pixels.
        train: The TRAIN images.
        test: The TEST images.
        skipped: Unreadable files that were left out on request, ``"<name>: <reason>"``.
    """

    dataset_id: str
    sha256: str
    synthetic: bool
    grouped: bool
    root: Path
    image_size: int
    train: ImageSet
    test: ImageSet
    skipped: tuple[str, ...]
