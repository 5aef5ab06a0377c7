"""Decoded images and what is known of them, kept between runs.

``listings/<fingerprint>.json`` remembers what a folder held when it had that fingerprint;
``pixels/<digest>-<size>px-<how>.npy`` holds the decoded images of a content. Files are
written under another name and renamed, so a reader finds a whole file or none, and two processes
may fill the cache at once. Nothing read from here is believed: a file whose checksum differs
counts as absent and is made again. Deleting the folder loses nothing but time.
"""

from __future__ import annotations

import json
import logging
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.data import pixelfile
from wbcbench.data.pixelfile import PixelWriter, temporary_beside

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

READER = "rgb-linear-v2"
"""Names how files become pixels; a change of decoding, resizing or of the listing renames it."""

_log = logging.getLogger(__name__)


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
        seen_in_train: Whether a TEST image shows a cell of TRAIN.
        refused: Name and reason of each unusable file.
    """

    sha256: str
    synthetic_version: int | None
    files: list[str]
    digests: list[str]
    group_ids: list[int]
    original_ids: list[int]
    seen_in_train: list[bool]
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
        fingerprint: What :func:`wbcbench.data.layout.fingerprint` returned.
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
        with temporary_beside(self.root / "pixels" / "new") as path:
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
        with temporary_beside(self._listing_path()) as path:
            path.write_text(json.dumps(document), encoding="ascii")
            path.replace(self._listing_path())
        return pixelfile.mapped(target, written.shape)

    def _recall(self) -> tuple[FolderListing, NDArray[np.uint8]]:
        raw = json.loads(self._listing_path().read_bytes())
        refused = [(name, reason) for name, reason in raw["listing"]["refused"]]
        listing = FolderListing(**{**raw["listing"], "refused": refused})
        shape = self._shape(len(listing.files))
        return listing, pixelfile.read(self._pixel_path(listing), shape, dict(raw["crc32"]))

    def _shape(self, count: int) -> pixelfile.Shape:
        return (count, self.image_size, self.image_size, 3)

    def _listing_path(self) -> Path:
        return self.root / "listings" / f"{self.fingerprint}.json"

    def _pixel_path(self, listing: FolderListing) -> Path:
        how = f"{self.image_size}px-{READER}"
        return self.root / "pixels" / f"{listing.sha256[:32]}-{how}.npy"


def _columns(listing: FolderListing) -> dict[str, object]:
    """Return the fields by name, without the copies that ``dataclasses.asdict`` makes."""
    return {field.name: getattr(listing, field.name) for field in fields(listing)}
