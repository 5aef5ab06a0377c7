"""Image folders: their layout, their files read and decoded, damage found, one digest of it all.

Each file is read once, hashed, checked and decoded, on all cores at once: decoders and hashlib
release the interpreter's lock while they work, so threads are enough.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from wbcbench.core.errors import UsageError
from wbcbench.core.files import sha256_of
from wbcbench.core.text import encodable, escaped
from wbcbench.data.dataset import CLASSES, LOADED_SPLITS, Progress
from wbcbench.data.jpeg import DamagedJpegError, decode_jpeg

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FILES_A_BLOCK = 32
_MOST_BYTES = 1 << 28
_READ_ONLY = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""A pipe among the images must not block the reader; it changes nothing for plain files."""

_SYNTHETIC = re.compile(rb"wbcbench synthetic cells v(\d+)")
PHOTOGRAPH_TABLE = "image_to_original.csv"
"""A data set may bring this table beside TRAIN and TEST; see :mod:`wbcbench.data.splits`."""

_PLACES = (
    ".", "images", "dataset2-master/images", "dataset2-master/dataset2-master/images",
    "dataset2-master",
)  # fmt: skip
_NOT_IMAGES = {"thumbs.db", "desktop.ini"}
_WAY_OUT = (
    "Give the folder of the Kaggle set with --data or WBCBENCH_DATA, get it with "
    "`wbcbench data fetch`, or give neither to use the synthetic images."
)

PUBLISHED_ID = "bccd-kaggle"
PUBLISHED_SHA256 = "f13f3f10112111aa3db9d67766cc49321a558b81962eea6f499986d86abb1cf1"
"""Digest of the complete TRAIN and TEST of ``paultimothymooney/blood-cells``, dataset2-master."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of one file once it was read.

    Attributes:
        sha256: Digest of its bytes; ``None`` if they could not be read.
        complaint: Why it is no usable image; ``None`` if it is one.
        height: Pixels before resizing; 0 if it could not be decoded.
        width: Likewise.
        synthetic_version: Version of the generator that drew it; ``None`` if none did.
    """

    sha256: str | None
    complaint: str | None
    height: int = 0
    width: int = 0
    synthetic_version: int | None = None


def read_images(
    files: Sequence[ListedFile],
    image_size: int,
    store: Callable[[int, NDArray[np.uint8]], None],
    on_progress: Progress | None = None,
) -> list[ImageFacts]:
    """Read, hash, check, decode and resize every file.

    Resizing is ``INTER_LINEAR``, channels are RGB: pixel for pixel what ``cv2.imread``,
    ``cv2.resize`` and ``cv2.cvtColor`` one after another give.

    Args:
        files: ``n`` files as their folder lists them.
        image_size: Side of the images after resizing, in pixels.
        store: Takes the pixels away: called on several threads with the position of the first
            image and uint8 ``[k, size, size, 3]``, which is overwritten afterwards. Rows of
            unusable files hold anything.
        on_progress: Called on this thread with (files done, ``n``).

    Returns:
        One :class:`ImageFacts` a file, in the order of ``files``.

    Raises:
        UsageError: A file is no longer the one that was listed.
        OSError: Whatever ``store`` raises.
    """
    import numpy as np

    # Used again and again: fresh memory costs as much as half a decoding.
    buffers: SimpleQueue[NDArray[np.uint8]] = SimpleQueue()
    for _ in range(usable_cores()):
        buffers.put(np.zeros((_FILES_A_BLOCK, image_size, image_size, 3), np.uint8))

    def read_block(start: int) -> list[ImageFacts]:
        block = files[start : start + _FILES_A_BLOCK]
        buffer = buffers.get()
        try:
            facts = [_read_image(file, buffer[i]) for i, file in enumerate(block)]
            store(start, buffer[: len(block)])
        finally:
            buffers.put(buffer)
        return facts

    facts: list[ImageFacts] = [ImageFacts(None, "was not read")] * len(files)
    done = 0
    with all_cores() as pool:
        tasks = {pool.submit(read_block, i): i for i in range(0, len(files), _FILES_A_BLOCK)}
        for task in as_completed(tasks):
            block = task.result()
            facts[tasks[task] : tasks[task] + len(block)] = block
            done += len(block)
            if on_progress is not None:
                on_progress(done, len(files))
    return facts


def hash_files(paths: Sequence[str]) -> list[str]:
    """Return the SHA-256 of every file.

    Raises:
        OSError: A file cannot be read.
    """
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(sha256_of, map(Path, paths)))


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def all_cores() -> Iterator[Executor]:
    """Yield one thread a core; OpenCV's own threads, useless on small images, rest meanwhile."""
    import cv2

    threads_before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    pool = ThreadPoolExecutor(usable_cores(), thread_name_prefix="wbcbench-read")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)  # Ctrl-C does not wait for the whole set
        cv2.setNumThreads(threads_before)


def _read_image(file: ListedFile, out: NDArray[np.uint8]) -> ImageFacts:
    import cv2

    if not file.path.endswith(file.name.rpartition("/")[2]):
        return ImageFacts(None, "has a name that is not UTF-8: rename it")
    if file.size > _MOST_BYTES:
        return ImageFacts(None, f"is too large for an image ({file.size:,} bytes)")
    try:
        data = _read_content(file)
    except OSError as error:
        return ImageFacts(None, f"cannot be read: {(error.strerror or str(error)).lower()}")
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        image = decode_jpeg(data)
    except DamagedJpegError as error:
        return ImageFacts(sha256, str(error))
    cv2.resize(image, (out.shape[1], out.shape[0]), dst=out, interpolation=cv2.INTER_LINEAR)
    height, width = image.shape[:2]
    marker = _SYNTHETIC.search(data, 0, 128)
    return ImageFacts(sha256, None, height, width, int(marker[1]) if marker else None)


def _read_content(file: ListedFile) -> bytes:
    """Return the bytes of a file, in few calls to the system.

    Each call gives up the interpreter's lock, and asking for it back is what threads wait for.
    """
    descriptor = os.open(file.path, _READ_ONLY)
    try:
        content = os.read(descriptor, file.size + 1)
        while 0 < len(content) < file.size and (more := os.read(descriptor, file.size)):
            content += more
        stat = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) != file.state:
        raise UsageError(
            f"{escaped(file.path)} changed while the data set was being read, so the images may be "
            "of two states. Wait until nothing writes there any more and start again."
        )
    return content


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One file of a class folder, as the folder lists it; its bytes have not been read.

    A ``name`` that is not UTF-8 stands escaped, and ``path`` as it is. ``size``, ``mtime_ns`` and
    ``ctime_ns`` are -1 where the file cannot even be looked at.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def state(self) -> tuple[int, int, int]:
        """Size and times, which differ after any change."""
        return (self.size, self.mtime_ns, self.ctime_ns)


def find_root(path: Path) -> Path:
    """Return the folder that holds ``TRAIN`` and ``TEST``.

    Args:
        path: That folder, the ``dataset2-master`` around it, its parent, or the doubled
            ``dataset2-master/dataset2-master`` that unpacking the Kaggle archive makes.

    Raises:
        UsageError: There is no such folder, or it holds no data set.
    """
    if not path.is_dir():
        state = "is a file, not a folder" if path.exists() else "does not exist"
        raise UsageError(f"The data folder {path} {state}. {_WAY_OUT}")
    for place in _PLACES:
        root = path / place
        if any((root / split).is_dir() for split in LOADED_SPLITS):
            return root.resolve()
    raise UsageError(
        f"The data folder {path} holds no data set: neither it nor its dataset2-master or images "
        f"folder has a TRAIN and a TEST folder. {_WAY_OUT}"
    )


def list_files(
    root: Path, splits: tuple[str, ...] = LOADED_SPLITS, classes: tuple[str, ...] = CLASSES
) -> list[ListedFile]:
    """Return every file of the class folders, sorted by name; hidden files are left out.

    Args:
        root: The folder that holds TRAIN and TEST.
        splits: Which of its folders to list.
        classes: Which class folders each of them must have.

    Raises:
        UsageError: A class folder is missing, empty or closed; all such folders are named.
    """
    listed: list[ListedFile] = []
    complaints: list[str] = []
    folders = [f"{split}/{name}" for split in splits for name in classes]
    for folder in folders:
        try:
            with os.scandir(root / folder) as entries:
                files = [
                    _describe_entry(folder, entry) for entry in entries if _is_wanted(entry.name)
                ]
        except FileNotFoundError:
            complaints.append(f"{folder} (is missing)")
        except OSError as error:
            complaints.append(f"{folder} ({str(error.strerror).lower()})")
        else:
            listed += files
            if not files:
                complaints.append(f"{folder} (is empty)")
    if complaints:
        raise UsageError(
            f"The data set in {root} lacks {len(complaints)} of its {len(folders)} "
            f"class folders: {', '.join(complaints)}. {_WAY_OUT}"
        )
    return sorted(listed, key=lambda file: file.name)


def other_folders(root: Path, splits: tuple[str, ...]) -> list[str]:
    """Return the folders under ``root`` that are neither a split nor a class of one."""
    places = [root, *(root / split for split in splits if (root / split).is_dir())]
    expected = {*splits, *(f"{split}/{name}" for split in splits for name in CLASSES)}
    folders = [p for place in places for p in place.iterdir() if p.is_dir() and p.name[0] != "."]
    return sorted({folder.relative_to(root).as_posix() for folder in folders} - expected)


def folder_fingerprint(root: Path, files: list[ListedFile], *extra: object) -> str:
    """Return a digest of names, sizes and times that changes whenever a file is written.

    It is no digest of the contents; it only says whether the contents known from an earlier
    reading still stand. The inode's change time is part of it because, unlike the modification
    time, no program can set it back.

    Args:
        root: The folder that holds TRAIN and TEST.
        files: What :func:`list_files` returned.
        extra: Whatever else the remembered result depends on.
    """
    table = root / PHOTOGRAPH_TABLE
    stat = table.stat() if table.is_file() else None
    lines = [str(root), repr(extra), repr(stat and (stat.st_size, stat.st_mtime_ns))]
    lines += [f"{f.name}\0{f.size}\0{f.mtime_ns}\0{f.ctime_ns}" for f in files]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _describe_entry(folder: str, entry: os.DirEntry[str]) -> ListedFile:
    name = encodable(f"{folder}/{entry.name}")
    try:
        stat = entry.stat()
    except OSError:  # e.g. a link to nowhere: reading it will say so
        return ListedFile(name, entry.path, -1, -1, -1)
    return ListedFile(name, entry.path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _is_wanted(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _NOT_IMAGES


def dataset_sha256(images: Iterable[tuple[str, str]]) -> str:
    """Return the digest of a set of images, independent of where and in which order they lie.

    It is the SHA-256 of the lines ``sha256sum`` prints, so that anybody can check it in the folder
    that holds TRAIN and TEST::

        find TRAIN TEST -type f ! -name '.*' | LC_ALL=C sort | xargs sha256sum | sha256sum

    Args:
        images: Pairs of name (``"TRAIN/EOSINOPHIL/_0_1169.jpeg"``) and SHA-256 of the content.
    """
    lines = sorted((name.encode(errors="surrogateescape"), sha256) for name, sha256 in images)
    digest = hashlib.sha256()
    for name, sha256 in lines:
        digest.update(sha256.encode() + b"  " + name + b"\n")
    return digest.hexdigest()


def dataset_id(sha256: str, synthetic_version: int | None) -> str:
    """Return the short name of the data set with that digest.

    Args:
        sha256: What :func:`dataset_sha256` returned.
        synthetic_version: Generator version if any image is synthetic, else ``None``.
    """
    if sha256 == PUBLISHED_SHA256:
        return PUBLISHED_ID
    kind = "custom" if synthetic_version is None else f"synthetic-cells-v{synthetic_version}"
    return f"{kind}-{sha256[:8]}"
