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
import mmap
import os
import tempfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from wbcbench.data.dataset import LOADED_SPLITS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

READER = "rgb-linear-v1"
"""Names how files become pixels; a change of decoding, resizing or of the listing renames it."""

Pixels = dict[str, "NDArray[np.uint8]"]
"""The images of each split: uint8 ``[n, size, size, 3]``."""

_log = logging.getLogger(__name__)
_CHECKSUM_BLOCK = 1 << 22


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
        checksums = {}
        for split, images in pixels.items():
            target = self._pixel_path(listing, split)
            _write_whole(target, partial(_save, images))
            checksums[split] = _crc32(target)
        text = json.dumps({"crc32": checksums, "listing": asdict(listing)})
        _write_whole(self._listing_path(), lambda stream: stream.write(text.encode()))

    def _recall(self) -> tuple[Listing, Pixels]:
        raw = json.loads(self._listing_path().read_bytes())
        refused = [(name, reason) for name, reason in raw["listing"]["refused"]]
        listing = Listing(**{**raw["listing"], "refused": refused})
        paths = [self._pixel_path(listing, split) for split in LOADED_SPLITS]
        with ThreadPoolExecutor(len(paths)) as pool:
            images = pool.map(_mapped, paths, [raw["crc32"][split] for split in LOADED_SPLITS])
            return listing, dict(zip(LOADED_SPLITS, images, strict=True))

    def _listing_path(self) -> Path:
        return self.root / "listings" / f"{self.fingerprint}.json"

    def _pixel_path(self, listing: Listing, split: str) -> Path:
        how = f"{self.image_size}px-{READER}"
        return self.root / "pixels" / f"{listing.sha256[:32]}-{how}-{split}.npy"


def _mapped(path: Path, crc32: int) -> NDArray[np.uint8]:
    import numpy as np

    if _crc32(path) != crc32:
        raise ValueError(f"the checksum of {path.name} differs")
    images: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return images


def _crc32(path: Path) -> int:
    """Return the CRC-32 of a file; zlib releases the interpreter's lock on each block."""
    checksum = 0
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
        memoryview(content) as view,
    ):
        for start in range(0, len(view), _CHECKSUM_BLOCK):
            checksum = zlib.crc32(view[start : start + _CHECKSUM_BLOCK], checksum)
    return checksum


def _save(images: NDArray[np.uint8], stream: IO[bytes]) -> None:
    import numpy as np

    np.save(stream, images, allow_pickle=False)


def _write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            write(stream)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
