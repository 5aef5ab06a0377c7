"""The data set of a run: read and decoded once, then taken from a cache."""

from __future__ import annotations

import io
import json
import logging
import os
import tempfile
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.core.errors import UsageError
from wbcbench.data import splits
from wbcbench.data.dataset import CLASSES, LOADED_SPLITS, Dataset, ImageSet
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

Progress = Callable[[int, int], None]
Store = Callable[[int, "NDArray[np.uint8]"], None]

READER = "rgb-linear-v2"
"""Names how files become pixels; a change of decoding, resizing or of the listing renames it."""

Shape = tuple[int, int, int, int]
Checksums = dict[int, int]
"""CRC-32 of each block by the position of its first image; a block ends where the next begins."""


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
    kept_in = cache_root(cache_dir)
    root = find_root(_chosen_folder(path, kept_in, on_progress))
    files = list_files(root)
    seal = folder_fingerprint(root, files, image_size, READER)
    shelf = Shelf(kept_in, seal, image_size)
    found = shelf.recall()
    if found is None:
        found = _read(shelf, _Reading(root, files, skip_unreadable, on_progress))
    listing, pixels = found
    _refuse(root, listing, skip_unreadable=skip_unreadable)
    return _dataset(root, image_size, listing, pixels)


def _chosen_folder(path: Path | None, kept_in: Path, on_progress: Progress | None) -> Path:
    named = path or os.environ.get("WBCBENCH_DATA")
    if named:
        return Path(named).expanduser()
    from wbcbench.data.synthetic import default_cells

    return default_cells(kept_in, on_progress)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is read, and how."""

    root: Path
    files: Sequence[ListedFile]
    skip_unreadable: bool
    on_progress: Progress | None

    def __call__(self, image_size: int, store: Store) -> FolderListing:
        """Read every file; ``store`` takes the pixels of all, usable or not."""
        known = splits.known_images(self.root)
        facts = read_images(self.files, image_size, store, self.on_progress)
        listing = _listing(self.files, facts, known)
        _refuse(self.root, listing, skip_unreadable=self.skip_unreadable)
        return listing

    def usable(self, listing: FolderListing) -> list[int]:
        """Return the positions of the usable files."""
        refused = {name for name, _ in listing.refused}
        return [i for i, file in enumerate(self.files) if file.name not in refused]


def _read(shelf: Shelf, read: _Reading) -> tuple[FolderListing, NDArray[np.uint8]]:
    """Read into the cache, or into memory if the cache cannot be written."""
    import numpy as np

    try:
        with shelf.blank(len(read.files)) as blank:
            listing = read(shelf.image_size, blank.store)
            if not listing.refused:
                return listing, shelf.keep(listing, blank)
            every = _map_pixels(blank.path, blank.shape)
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
    files: Sequence[ListedFile],
    facts: Sequence[ImageFacts],
    known: dict[str, splits.Provenance],
) -> FolderListing:
    usable = [i for i, fact in enumerate(facts) if fact.complaint is None]
    names = [files[i].name for i in usable]
    digests = [str(facts[i].sha256) for i in usable]
    origins = [known.get(sha256, splits.UNKNOWN) for sha256 in digests]
    refused = [(f.name, c) for f, fact in zip(files, facts, strict=True) if (c := fact.complaint)]
    return FolderListing(
        sha256=dataset_sha256(zip(names, digests, strict=True)),
        synthetic_version=max((facts[i].synthetic_version or 0 for i in usable), default=0) or None,
        files=names,
        digests=digests,
        group_ids=[origin.group_id for origin in origins],
        original_ids=[origin.original_id for origin in origins],
        also_in_train=[origin.also_in_train for origin in origins],
        refused=refused,
    )


def _refuse(root: Path, listing: FolderListing, *, skip_unreadable: bool) -> None:
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
    root: Path, image_size: int, listing: FolderListing, pixels: NDArray[np.uint8]
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


def _image_set(listing: FolderListing, split: str, pixels: NDArray[np.uint8]) -> ImageSet:
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
        also_in_train=np.array(listing.also_in_train[span], dtype=np.bool_),
    )


# The cache: ``listings/<fingerprint>.json`` remembers what a folder held when it had that
# fingerprint; ``pixels/<digest>-<size>px-<how>.npy`` holds the decoded images of a content. Files
# are written under another name and renamed, so a reader finds a whole file or none, and two
# processes may fill the cache at once. Nothing read from here is believed: a file whose checksum
# differs counts as absent and is made again. Deleting the folder loses nothing but time.
@dataclass(frozen=True, slots=True)
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
    refused: list[tuple[str, str]]

    def span(self, split: str) -> slice:
        """Return where the images of ``split`` stand: names are sorted, so it is one piece."""
        end_of_names = f"{split}0"  # "0" is the character after "/"
        return slice(bisect_left(self.files, f"{split}/"), bisect_left(self.files, end_of_names))


def cache_root(cache_dir: Path | None) -> Path:
    """Return ``cache_dir``, else ``WBCBENCH_CACHE``, else the user's cache folder."""
    import platformdirs

    chosen = cache_dir or os.environ.get("WBCBENCH_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("wbcbench"))


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
            return self._recall()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            _log.warning("The cache in %s is damaged (%s); reading again.", self.root, error)
            return None

    @contextmanager
    def blank(self, count: int) -> Iterator[PixelWriter]:
        """Yield a file for ``count`` images, gone afterwards unless it was kept.

        Raises:
            OSError: The cache folder cannot be written.
        """
        with _temporary_beside(self.root / "pixels" / "new") as path:
            writer = PixelWriter(path, self._shape(count))
            writer.begin()
            yield writer

    def keep(self, listing: FolderListing, written: PixelWriter) -> NDArray[np.uint8]:
        """Keep a full file and its listing, and return the pixels as :meth:`recall` does.

        The listing comes last, so it never names pixels that are not there yet.

        Raises:
            OSError: The cache folder cannot be written.
        """
        target = self._pixel_path(listing)
        written.path.replace(target)
        document = {"crc32": list(written.checksums.items()), "listing": _columns(listing)}
        with _temporary_beside(self._listing_path()) as path:
            path.write_text(json.dumps(document), encoding="ascii")
            path.replace(self._listing_path())
        return _map_pixels(target, written.shape)

    def _recall(self) -> tuple[FolderListing, NDArray[np.uint8]]:
        raw = json.loads(self._listing_path().read_bytes())
        refused = [(name, reason) for name, reason in raw["listing"]["refused"]]
        listing = FolderListing(**{**raw["listing"], "refused": refused})
        shape = self._shape(len(listing.files))
        return listing, _read_pixels(self._pixel_path(listing), shape, dict(raw["crc32"]))

    def _shape(self, count: int) -> Shape:
        return (count, self.image_size, self.image_size, 3)

    def _listing_path(self) -> Path:
        return self.root / "listings" / f"{self.fingerprint}.json"

    def _pixel_path(self, listing: FolderListing) -> Path:
        how = f"{self.image_size}px-{READER}"
        return self.root / "pixels" / f"{listing.sha256[:32]}-{how}.npy"


def _columns(listing: FolderListing) -> dict[str, object]:
    """Return the fields by name, without the copies that ``dataclasses.asdict`` makes."""
    return {field.name: getattr(listing, field.name) for field in fields(listing)}


# One ``.npy`` file of images is written block by block. Each block has a CRC-32 that the caller
# keeps elsewhere: a file whose bytes differ in any way is an error on reading, never other pixels.
@dataclass(frozen=True, slots=True)
class PixelWriter:
    """An array on disk that is being filled, by several threads at once.

    Attributes:
        path: The file.
        shape: Of the whole array, ``(n, size, size, 3)``.
        checksums: Of the blocks stored so far.
    """

    path: Path
    shape: Shape
    checksums: Checksums = field(default_factory=dict)

    @property
    def offset(self) -> int:
        """Return where the first image begins, in bytes."""
        return len(_header(self.shape))

    def begin(self) -> None:
        """Write the header."""
        self.path.write_bytes(_header(self.shape))

    def store(self, start: int, images: NDArray[np.uint8]) -> None:
        """Write ``images`` (uint8 ``[k, size, size, 3]``) as the images from ``start`` on.

        Raises:
            OSError: The disk takes no more.
        """
        block = images.data.cast("B")
        with self.path.open("r+b", buffering=0) as stream:  # its own position in the file
            stream.seek(self.offset + start * images[0].nbytes)
            written = 0
            while written < len(block):
                written += stream.write(block[written:])
        self.checksums[start] = zlib.crc32(block)


def _read_pixels(path: Path, shape: Shape, checksums: Checksums) -> NDArray[np.uint8]:
    """Return the images in ``path``, memory-mapped and read-only.

    Args:
        path: A file that a :class:`PixelWriter` filled.
        shape: The shape it must have.
        checksums: Those of the writer.

    Raises:
        OSError: The file cannot be read.
        ValueError: Its bytes are not those that were written.
    """
    header = _header(shape)
    with path.open("rb") as stream:
        if stream.read(len(header)) != header:
            raise ValueError(f"{path.name} does not begin as it was written")
    images = _map_pixels(path, shape)
    blocks = list(pairwise([*sorted(checksums), shape[0]]))
    with ThreadPoolExecutor(usable_cores()) as pool:  # zlib releases the interpreter's lock
        found = pool.map(lambda block: zlib.crc32(images[slice(*block)].data), blocks)
        if blocks[0][0] != 0 or list(found) != [checksums[start] for start, _ in blocks]:
            raise ValueError(f"the checksum of {path.name} differs")
    return images


def _map_pixels(path: Path, shape: Shape) -> NDArray[np.uint8]:
    """Return the images in a file that was written just now: memory-mapped, not checked."""
    import numpy as np

    return np.memmap(path, np.uint8, mode="r", offset=len(_header(shape)), shape=shape)


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """Yield an empty file in the folder of ``path``; it is gone afterwards unless renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _header(shape: Shape) -> bytes:
    import numpy as np

    stream = io.BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()
