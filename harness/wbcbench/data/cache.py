"""Decoded images and what is known of them, kept between runs.

``listings/<fingerprint>.json`` remembers what a folder held when it had that fingerprint;
``pixels/<digest>-<size>px-<how>-<split>.npy`` holds the decoded images of a content. Files are
written under another name and renamed, so a reader finds a whole file or none, and two processes
may fill the cache at once. Nothing read from here is believed: a file whose checksum differs
counts as absent and is made again. Deleting the folder loses nothing but time.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.data import pixelfile
from wbcbench.data.dataset import LOADED_SPLITS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

READER = "rgb-linear-v1"
"""Names how files become pixels; a change of decoding, resizing or of the listing renames it."""

Pixels = dict[str, "NDArray[np.uint8]"]
"""The images of each split: uint8 ``[n, size, size, 3]``."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listing:
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

    def positions(self, split: str) -> list[int]:
        """Return where the images of ``split`` stand in the columns."""
        return [i for i, name in enumerate(self.files) if name.startswith(f"{split}/")]


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

    def recall(self) -> tuple[Listing, Pixels] | None:
        """Return what is remembered, ``None`` if anything is missing or damaged."""
        try:
            return self._recall()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            _log.warning("The cache in %s is damaged (%s); reading again.", self.root, error)
            return None

    def remember(self, listing: Listing, pixels: Pixels) -> None:
        """Keep what was read; the listing comes last, so it never names pixels not yet there.

        Raises:
            OSError: The cache folder cannot be written.
        """
        checksums = {
            split: pixelfile.write(self._pixel_path(listing, split), images)
            for split, images in pixels.items()
        }
        document = {"crc32": checksums, "listing": _columns(listing)}
        with pixelfile.appearing_whole(self._listing_path()) as path:
            path.write_text(json.dumps(document), encoding="ascii")

    def _recall(self) -> tuple[Listing, Pixels]:
        raw = json.loads(self._listing_path().read_bytes())
        refused = [(name, reason) for name, reason in raw["listing"]["refused"]]
        listing = Listing(**{**raw["listing"], "refused": refused})
        pixels = {split: self._pixels(listing, split, raw["crc32"]) for split in LOADED_SPLITS}
        return listing, pixels

    def _pixels(
        self, listing: Listing, split: str, crc32: dict[str, list[int]]
    ) -> NDArray[np.uint8]:
        shape = (len(listing.positions(split)), self.image_size, self.image_size, 3)
        return pixelfile.read(self._pixel_path(listing, split), shape, crc32[split])

    def _listing_path(self) -> Path:
        return self.root / "listings" / f"{self.fingerprint}.json"

    def _pixel_path(self, listing: Listing, split: str) -> Path:
        how = f"{self.image_size}px-{READER}"
        return self.root / "pixels" / f"{listing.sha256[:32]}-{how}-{split}.npy"


def _columns(listing: Listing) -> dict[str, object]:
    """Return the fields by name, without the copies that ``dataclasses.asdict`` makes."""
    return {field.name: getattr(listing, field.name) for field in fields(listing)}
