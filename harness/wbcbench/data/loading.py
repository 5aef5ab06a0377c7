"""From a folder of images to a :class:`~wbcbench.data.dataset.Dataset`, through the cache."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.core.errors import UsageError
from wbcbench.data import cache, layout, photographs, pixelfile, reading
from wbcbench.data.dataset import CLASSES, LOADED_SPLITS, Dataset, ImageSet
from wbcbench.data.digest import dataset_id, dataset_sha256

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)
_NAMED_IN_MESSAGE = 10
_LARGEST_SIDE_PX = 4096

Progress = Callable[[int, int], None]
Store = Callable[[int, "NDArray[np.uint8]"], None]


def load(
    path: Path | None,
    *,
    image_size: int = 80,
    cache_dir: Path | None = None,
    skip_unreadable: bool = False,
    on_progress: Progress | None = None,
) -> Dataset:
    """Read TRAIN and TEST of the data set at ``path``, from the cache when nothing changed.

    Args:
        path: The folder of the Kaggle set: ``dataset2-master`` itself, its parent, the doubled
            ``dataset2-master/dataset2-master``, or ``images``. ``None``: the environment variable
            ``WBCBENCH_DATA``, and without it the synthetic cells, which are drawn once.
        image_size: Side of the images in pixels after resizing.
        cache_dir: Where decoded images are kept; ``None``: ``WBCBENCH_CACHE`` or the user's cache.
        skip_unreadable: Leave out unreadable files and list them, instead of refusing the set.
        on_progress: Called with (images done, images in all) while files are read; not called
            when they come from the cache.

    Raises:
        UsageError: The folder is not a data set, or files in it are unreadable (all are counted,
            the first are named).
    """
    if not 1 <= image_size <= _LARGEST_SIDE_PX:
        raise UsageError(
            f"The image size is {image_size}, but it must lie between 1 and {_LARGEST_SIDE_PX} "
            "pixels. The published network takes 80."
        )
    kept_in = cache.cache_root(cache_dir)
    root = layout.find_root(_chosen(path, kept_in, on_progress))
    files = layout.list_files(root)
    seal = layout.fingerprint(root, files, image_size, cache.READER)
    shelf = cache.Shelf(kept_in, seal, image_size)
    found = shelf.recall()
    if found is None:
        found = _read(shelf, _Reading(root, files, skip_unreadable, on_progress))
    listing, pixels = found
    _refuse(root, listing, skip_unreadable=skip_unreadable)
    return _dataset(root, image_size, listing, pixels)


def _chosen(path: Path | None, kept_in: Path, on_progress: Progress | None) -> Path:
    named = path or os.environ.get("WBCBENCH_DATA")
    if named:
        return Path(named).expanduser()
    from wbcbench.data.folder import default_cells

    return default_cells(kept_in, on_progress)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is read, and how."""

    root: Path
    files: Sequence[layout.ListedFile]
    skip_unreadable: bool
    on_progress: Progress | None

    def __call__(self, image_size: int, store: Store) -> cache.FolderListing:
        """Read every file; ``store`` takes the pixels of all, usable or not."""
        known = photographs.known_images(self.root)
        facts = reading.read_images(self.files, image_size, store, self.on_progress)
        listing = _listing(self.files, facts, known)
        _refuse(self.root, listing, skip_unreadable=self.skip_unreadable)
        return listing

    def usable(self, listing: cache.FolderListing) -> list[int]:
        """Return the positions of the usable files."""
        refused = {name for name, _ in listing.refused}
        return [i for i, file in enumerate(self.files) if file.name not in refused]


def _read(shelf: cache.Shelf, read: _Reading) -> tuple[cache.FolderListing, NDArray[np.uint8]]:
    """Read into the cache, or into memory if the cache cannot be written."""
    import numpy as np

    try:
        with shelf.blank(len(read.files)) as blank:
            listing = read(shelf.image_size, blank.store)
            if not listing.refused:
                return listing, shelf.keep(listing, blank)
            every = pixelfile.mapped(blank.path, blank.shape)
            with shelf.blank(len(listing.files)) as rest:
                rest.store(0, every[read.usable(listing)])
                return listing, shelf.keep(listing, rest)
    except OSError as error:
        _log.warning("The image cache %s takes nothing (%s); going on without.", shelf.root, error)
    pixels = np.empty((len(read.files), shelf.image_size, shelf.image_size, 3), np.uint8)

    def keep_in_memory(start: int, block: NDArray[np.uint8]) -> None:
        pixels[start : start + len(block)] = block

    listing = read(shelf.image_size, keep_in_memory)
    return listing, pixels[read.usable(listing)]


def _listing(
    files: Sequence[layout.ListedFile],
    facts: Sequence[reading.ImageFacts],
    known: dict[str, photographs.Provenance],
) -> cache.FolderListing:
    usable = [i for i, fact in enumerate(facts) if fact.complaint is None]
    names = [files[i].name for i in usable]
    digests = [str(facts[i].sha256) for i in usable]
    origins = [known.get(sha256, photographs.UNKNOWN) for sha256 in digests]
    refused = [(f.name, c) for f, fact in zip(files, facts, strict=True) if (c := fact.complaint)]
    return cache.FolderListing(
        sha256=dataset_sha256(zip(names, digests, strict=True)),
        synthetic_version=max((facts[i].synthetic_version or 0 for i in usable), default=0) or None,
        files=names,
        digests=digests,
        group_ids=[origin.group_id for origin in origins],
        original_ids=[origin.original_id for origin in origins],
        seen_in_train=[origin.seen_in_train for origin in origins],
        refused=refused,
    )


def _refuse(root: Path, listing: cache.FolderListing, *, skip_unreadable: bool) -> None:
    if not listing.refused:
        return
    named = [f"  {root / name} {reason}" for name, reason in listing.refused[:_NAMED_IN_MESSAGE]]
    more = len(listing.refused) - len(named)
    lines = "\n".join([*named, f"  … and {more} more"] if more else named)
    for folder in (f"{split}/{name}/" for split in LOADED_SPLITS for name in CLASSES):
        if skip_unreadable and not any(name.startswith(folder) for name in listing.files):
            raise UsageError(f"No image of {root / folder} is readable:\n{lines}")
    if not skip_unreadable:
        raise UsageError(
            f"{len(listing.refused)} of {len(listing.refused) + len(listing.files)} files in "
            f"{root} are no readable JPEG images:\n{lines}\nA run on the rest would not be a run "
            "on this data set. Replace the files, or leave them out knowingly with "
            "--skip-unreadable; the record then lists them."
        )


def _dataset(
    root: Path, image_size: int, listing: cache.FolderListing, pixels: NDArray[np.uint8]
) -> Dataset:
    train, test = (_image_set(listing, split, pixels) for split in LOADED_SPLITS)
    return Dataset(
        dataset_id=dataset_id(listing.sha256, listing.synthetic_version),
        sha256=listing.sha256,
        synthetic=listing.synthetic_version is not None,
        grouped=train.is_grouped and test.is_grouped,
        root=root,
        image_size=image_size,
        train=train,
        test=test,
        skipped=tuple(f"{name}: {reason}" for name, reason in listing.refused),
    )


def _image_set(listing: cache.FolderListing, split: str, pixels: NDArray[np.uint8]) -> ImageSet:
    import numpy as np

    span = listing.span(split)
    files = tuple(listing.files[span])
    label_of = {name: label for label, name in enumerate(CLASSES)}
    return ImageSet(
        images=pixels[span],
        labels=np.array([label_of[name.split("/")[1]] for name in files], dtype=np.int64),
        files=files,
        sha256=tuple(listing.digests[span]),
        group_id=np.array(listing.group_ids[span], dtype=np.int64),
        original_id=np.array(listing.original_ids[span], dtype=np.int64),
        seen_in_train=np.array(listing.seen_in_train[span], dtype=np.bool_),
    )
