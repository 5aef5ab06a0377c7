"""The data set of a run: read and decoded once, then taken from a cache."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
import shutil
import tempfile
import time
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.core.cache import cache_root, machine_mark
from wbcbench.core.errors import UsageError
from wbcbench.core.lock import turn
from wbcbench.core.text import escaped
from wbcbench.data import splits
from wbcbench.data.dataset import CLASSES, LOADED_SPLITS, Dataset, ImageSet, Progress
from wbcbench.data.read import (
    ImageFacts,
    ListedFile,
    dataset_id,
    dataset_sha256,
    find_root,
    folder_fingerprint,
    list_files,
    read_images,
    usable_cores,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)
_NAMED_IN_MESSAGE = 10
_LARGEST_SIDE_PX = 4096

Store = Callable[[int, "NDArray[np.uint8]"], None]

_TURN_S = 600.0  # the published images take seconds; who waited so long reads by himself
_LEFT_BEHIND_S = 86_400.0  # no reading takes a day, nor do the clocks of two machines differ by one
_FOLDERS = ("listings", "pixels")

READER = "rgb-linear-v4"
"""Names how files become pixels; a change of checks, decoding, resizing or listing renames it."""

Shape = tuple[int, int, int, int]


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
            ``WBCBENCH_DATA``, and without it the synthetic images, which are drawn once.
        image_size: Side of the images in pixels after resizing.
        cache_dir: Where decoded images are kept; variables of the environment in it are expanded,
            for where a node of a cluster has a disk of its own is known there only. Where it cannot
            be written, and for ``None``: ``WBCBENCH_CACHE`` or the user's cache.
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
    caches = _find_caches(cache_dir)
    if folder := path or os.environ.get("WBCBENCH_DATA"):
        root = find_root(Path(folder).expanduser())
    else:
        root = find_root(_draw_once(caches, on_progress))
    files = list_files(root)

    def read(store: Store) -> FolderListing:
        known = splits.known_images(root)
        facts = read_images(files, image_size, store, on_progress)
        listing = _build_listing(files, facts, known)
        _refuse_unreadable(root, listing, skip_unreadable=skip_unreadable)
        return listing

    fingerprint = folder_fingerprint(root, files, image_size, READER)
    shelves = [Shelf(cache, fingerprint, image_size) for cache in caches]
    listing, pixels = _read_once(shelves, files, read)
    _refuse_unreadable(root, listing, skip_unreadable=skip_unreadable)
    train, test = (_build_image_set(listing, split, pixels) for split in LOADED_SPLITS)
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


def _find_caches(chosen: Path | None) -> list[Path]:
    """Where images may be kept: the folder that was chosen, and the user's cache for want of it."""
    shared = cache_root()
    if chosen is None:
        return [shared]
    folder = os.path.expandvars(chosen.expanduser())
    if "$" in folder and not Path(folder).exists():
        _log.warning(
            "The image cache %s names a variable that is not set here; using %s.", chosen, shared
        )
        return [shared]
    return list(dict.fromkeys([Path(folder), shared]))


def _draw_once(caches: Sequence[Path], on_progress: Progress | None) -> Path:
    """The folder of the synthetic images in the first cache that can hold them."""
    from wbcbench.data.synthetic import default_cells

    for cache, following in pairwise(caches):
        try:
            return default_cells(cache, on_progress)
        except OSError as error:
            _warn_unwritable(cache, error, f"using {following}")
    return default_cells(caches[-1], on_progress)


def _warn_unwritable(cache: Path, error: OSError, instead: str) -> None:
    _log.warning("The image cache %s cannot be written (%s); %s.", cache, error, instead)


def _read_once(
    shelves: Sequence[Shelf], files: Sequence[ListedFile], read: Callable[[Store], FolderListing]
) -> tuple[FolderListing, NDArray[np.uint8]]:
    """What is remembered on a shelf, else read onto the first that can be written, else in memory.

    One process of this machine reads, and the others wait for what it leaves; if it dies, the next
    one does. Other machines see nothing of this turn: each may read, and publishes a whole file.
    """
    import numpy as np

    for place, shelf in enumerate(shelves):
        if (known := shelf.recall()) is not None:
            return known
        try:
            with turn(shelf.turn_name, _TURN_S) as is_ours:
                if (known := shelf.recall()) is not None:
                    return known
                if is_ours:
                    shelf.remove_leftovers()
                return _read_onto(shelf, files, read)
        except OSError as error:
            following = [f"using {other.root}" for other in shelves[place + 1 :]]
            _warn_unwritable(shelf.root, error, (*following, "reading without it")[0])
    images = np.empty(shelves[0].shape(len(files)), np.uint8)

    def store(start: int, block: NDArray[np.uint8]) -> None:
        images[start : start + len(block)] = block

    listing = read(store)
    return listing, images[_find_usable(files, listing)]


def _read_onto(
    shelf: Shelf, files: Sequence[ListedFile], read: Callable[[Store], FolderListing]
) -> tuple[FolderListing, NDArray[np.uint8]]:
    """Read into a cache; raises ``OSError`` where it cannot be written."""
    with shelf.new_pixels(len(files)) as pixels:
        listing = read(pixels.store)
        if not listing.refused:
            return listing, shelf.keep(listing, pixels)
        with shelf.new_pixels(len(listing.files)) as usable:
            usable.store(0, pixels.map_images()[_find_usable(files, listing)])
            return listing, shelf.keep(listing, usable)


def _find_usable(files: Sequence[ListedFile], listing: FolderListing) -> list[bool]:
    names = set(listing.files)
    return [file.name in names for file in files]


def _build_listing(
    files: Sequence[ListedFile], facts: Sequence[ImageFacts], known: dict[str, splits.Provenance]
) -> FolderListing:
    usable = [(file, fact) for file, fact in zip(files, facts, strict=True) if not fact.complaint]
    names = [file.name for file, _ in usable]
    digests = [str(fact.sha256) for _, fact in usable]
    origins = [known.get(sha256, splits.UNKNOWN) for sha256 in digests]
    return FolderListing(
        sha256=dataset_sha256(zip(names, digests, strict=True)),
        synthetic_version=max((f.synthetic_version or 0 for _, f in usable), default=0) or None,
        files=names,
        digests=digests,
        group_ids=[origin.group_id for origin in origins],
        original_ids=[origin.original_id for origin in origins],
        also_in_train=[origin.also_in_train for origin in origins],
        refused=[
            [file.name, fact.complaint]
            for file, fact in zip(files, facts, strict=True)
            if fact.complaint
        ],
    )


def _refuse_unreadable(root: Path, listing: FolderListing, *, skip_unreadable: bool) -> None:
    if not listing.refused:
        return
    named = [
        f"  {escaped(str(root / name))} {reason}"
        for name, reason in listing.refused[:_NAMED_IN_MESSAGE]
    ]
    more = len(listing.refused) - len(named)
    lines = "\n".join([*named, f"  … and {more} more"] if more else named)
    for folder in (f"{split}/{name}/" for split in LOADED_SPLITS for name in CLASSES):
        if skip_unreadable and not any(name.startswith(folder) for name in listing.files):
            raise UsageError(f"No image of {root / folder} is readable:\n{lines}")
    if not skip_unreadable:
        raise UsageError(
            f"{len(listing.refused)} of {len(listing.refused) + len(listing.files)} files are not "
            "readable JPEG images. Replace them, or add --skip-unreadable to go on without:\n"
            f"{lines}"
        )


def _build_image_set(listing: FolderListing, split: str, pixels: NDArray[np.uint8]) -> ImageSet:
    import numpy as np

    # Names are sorted, so a split is one piece; "0" is the character after "/".
    span = slice(bisect_left(listing.files, f"{split}/"), bisect_left(listing.files, f"{split}0"))
    files = tuple(listing.files[span])
    labels = [CLASSES.index(name.split("/")[1]) for name in files]
    return ImageSet(
        images=pixels[span],
        labels=np.array(labels, dtype=np.int64),
        files=files,
        sha256=tuple(listing.digests[span]),
        group_id=np.array(listing.group_ids[span], dtype=np.int64),
        original_id=np.array(listing.original_ids[span], dtype=np.int64),
        also_in_train=np.array(listing.also_in_train[span], dtype=np.bool_),
    )


# The cache: ``listings/<fingerprint>.json`` remembers what a folder held when it had that
# fingerprint; ``pixels/<digest>-<size>px-<how>.raw`` holds the decoded images of a content. Files
# are written under another name and published whole, so a reader finds a complete file or none, and
# machines that share the folder may fill it at once; what a killed one left there is removed by the
# next of its machine, or a day later. Each block of images has a CRC-32 in the listing: a file
# whose bytes differ counts as absent and is made again. Deleting the folder loses only time.
@dataclass(frozen=True)
class FolderListing:
    """What a folder held: parallel columns for the usable images of TRAIN and TEST, by name.

    Attributes:
        sha256: Digest of the data set.
        synthetic_version: Generator version if any image is synthetic, else ``None``.
        files: Names; TEST sorts before TRAIN.
        digests: SHA-256 of each file.
        group_ids: Photograph group of each; -1 = unknown.
        original_ids: Photograph of each; -1 = unknown.
        also_in_train: Whether a TEST image shows a cell of TRAIN.
        refused: Name and reason of each unusable file.
    """

    sha256: str
    synthetic_version: int | None
    files: list[str]
    digests: list[str]
    group_ids: list[int]
    original_ids: list[int]
    also_in_train: list[bool]
    refused: list[list[str]]


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where one reading of one folder is kept.

    Attributes:
        root: The cache folder.
        fingerprint: What :func:`wbcbench.data.read.folder_fingerprint` returned.
        image_size: Side of the images in pixels.
    """

    root: Path
    fingerprint: str
    image_size: int

    def recall(self) -> tuple[FolderListing, NDArray[np.uint8]] | None:
        """Return what is remembered, ``None`` if anything is missing or damaged.

        The pixels are uint8 ``[n, size, size, 3]`` in the order of the listing, memory-mapped.
        """
        try:
            raw = json.loads(self._listing_path().read_bytes())
            listing = FolderListing(**raw["listing"])
            pixels = Pixels(
                self._pixel_path(listing), self.shape(len(listing.files)), dict(raw["crc32"])
            )
            return listing, pixels.read_images()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
            _log.warning("The cache in %s is damaged (%s); reading again.", self.root, error)
            return None

    @contextmanager
    def new_pixels(self, count: int) -> Iterator[Pixels]:
        """Yield a file for ``count`` images, removed afterwards unless it was kept.

        Raises:
            OSError: The cache folder cannot be written, or has no room for them.
        """
        with _create_temporary(self.root / "pixels" / self.fingerprint) as path:
            pixels = Pixels(path, self.shape(count), {})
            if shutil.disk_usage(path).free < math.prod(pixels.shape):  # before any image is read
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            yield pixels

    def keep(self, listing: FolderListing, pixels: Pixels) -> NDArray[np.uint8]:
        """Keep a complete file and its listing, and return the pixels as :meth:`recall` does.

        The listing comes last, so it never names pixels that are not there yet. Where another
        machine was faster its file stays: on a network's file system one that is replaced is gone
        for whoever reads it there.

        Raises:
            OSError: The cache folder cannot be written.
        """
        kept = replace(pixels, path=self._pixel_path(listing))
        try:
            os.link(pixels.path, kept.path)
            images = kept.map_images()
        except OSError:  # there is one; or this file system has no links
            images = self._join(pixels, kept)
        document = {"crc32": list(pixels.checksums.items()), "listing": vars(listing)}
        with _create_temporary(self._listing_path()) as path:
            path.write_text(json.dumps(document), encoding="ascii")
            path.replace(self._listing_path())
        return images

    @staticmethod
    def _join(pixels: Pixels, kept: Pixels) -> NDArray[np.uint8]:
        """The images that are there already, or these in place of a damaged file."""
        try:
            return kept.read_images()
        except (OSError, ValueError):
            pixels.path.replace(kept.path)
            return kept.map_images()

    @property
    def turn_name(self) -> str:
        """What one process of a machine does at a time: to fill this place."""
        place = f"{self.root.absolute()}\n{self.fingerprint}"
        return f"cache/{hashlib.sha256(os.fsencode(place)).hexdigest()[:32]}"

    def remove_leftovers(self) -> None:
        """Remove half-written files of killed processes; for whoever alone fills this place."""
        dead = f".{self.fingerprint}"
        for path in (path for name in _FOLDERS for path in (self.root / name).glob(".*")):
            with suppress(OSError):
                is_own = path.name.startswith(dead) and path.suffix == f".{machine_mark()}"
                if is_own or time.time() - path.stat().st_mtime > _LEFT_BEHIND_S:
                    path.unlink()

    def shape(self, count: int) -> Shape:
        """Return the shape of an array of so many images."""
        return (count, self.image_size, self.image_size, 3)

    def _listing_path(self) -> Path:
        return self.root / "listings" / f"{self.fingerprint}.json"

    def _pixel_path(self, listing: FolderListing) -> Path:
        name = f"{listing.sha256[:32]}-{self.image_size}px-{READER}.raw"
        return self.root / "pixels" / name


@dataclass(frozen=True, slots=True)
class Pixels:
    """A file of images, uint8, one after the other; written in blocks by several threads at once.

    Attributes:
        path: The file.
        shape: Of the whole array, ``(n, size, size, 3)``.
        checksums: CRC-32 of each block by the position of its first image; a block ends where the
            next begins.
    """

    path: Path
    shape: Shape
    checksums: dict[int, int]

    def store(self, start: int, images: NDArray[np.uint8]) -> None:
        """Write ``images`` (uint8 ``[k, size, size, 3]``) as the images from ``start`` on.

        Raises:
            OSError: The disk is full.
        """
        block = images.data.cast("B")
        with self.path.open("r+b", buffering=0) as stream:  # its own position in the file
            stream.seek(start * images[0].nbytes)
            written = 0
            while written < len(block):
                written += stream.write(block[written:])
        self.checksums[start] = zlib.crc32(block)

    def read_images(self) -> NDArray[np.uint8]:
        """Return the images, memory-mapped and read-only.

        Raises:
            OSError: The file cannot be read.
            ValueError: Its bytes are not those that were written.
        """
        images = self.map_images()
        blocks = list(pairwise([*sorted(self.checksums), self.shape[0]]))
        with ThreadPoolExecutor(usable_cores()) as pool:  # zlib releases the interpreter's lock
            sums = list(pool.map(lambda block: zlib.crc32(images[slice(*block)].data), blocks))
        if blocks[0][0] != 0 or sums != [self.checksums[start] for start, _ in blocks]:
            raise ValueError(f"the checksum of {self.path.name} differs")
        return images

    def map_images(self) -> NDArray[np.uint8]:
        """Return the images of a file that was written just now, memory-mapped, not checked."""
        import numpy as np

        return np.memmap(self.path, np.uint8, mode="r", shape=self.shape)


@contextmanager
def _create_temporary(path: Path) -> Iterator[Path]:
    """Yield an empty file in the folder of ``path``; it is gone afterwards unless renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=f".{machine_mark()}"
    )
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
