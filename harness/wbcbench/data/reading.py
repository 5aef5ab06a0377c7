"""Files to pixels: each file is read once, hashed, checked and decoded, on all cores at once.

OpenCV and hashlib release the interpreter's lock while they work, so threads are enough.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.data import jpeg

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FILES_A_TASK = 32


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What one file turned out to be.

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
    paths: Sequence[str],
    pixels: NDArray[np.uint8],
    on_progress: Callable[[int, int], None] | None = None,
) -> list[ImageFacts]:
    """Read, hash, check, decode and resize every file.

    Decoding is ``cv2.imdecode`` in colour, resizing is ``INTER_LINEAR``, channels are RGB: pixel
    for pixel what ``cv2.imread``, ``cv2.resize`` and ``cv2.cvtColor`` one after another give.

    Args:
        paths: ``n`` files.
        pixels: uint8 ``[n, size, size, 3]``, filled in place; rows of unusable files stay as
            they are.
        on_progress: Called on this thread with (files done, ``n``).

    Returns:
        One :class:`ImageFacts` a file, in the order of ``paths``.
    """
    facts: list[ImageFacts] = [ImageFacts(None, "was not read")] * len(paths)
    done = 0
    with all_cores() as pool:
        tasks = {
            pool.submit(_read_slice, paths, pixels, start): start
            for start in range(0, len(paths), _FILES_A_TASK)
        }
        for task in as_completed(tasks):
            found = task.result()
            facts[tasks[task] : tasks[task] + len(found)] = found
            done += len(found)
            if on_progress is not None:
                on_progress(done, len(paths))
    return facts


def hash_files(paths: Sequence[str]) -> list[str]:
    """Return the SHA-256 of every file.

    Raises:
        OSError: A file cannot be read.
    """
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(_hash, paths))


def _hash(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


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


def _read_slice(paths: Sequence[str], pixels: NDArray[np.uint8], start: int) -> list[ImageFacts]:
    stop = min(start + _FILES_A_TASK, len(paths))
    return [_read_image(paths[i], pixels[i]) for i in range(start, stop)]


def _read_image(path: str, out: NDArray[np.uint8]) -> ImageFacts:
    try:
        with FileIO(path) as stream:
            data = stream.readall()
    except OSError as error:
        return ImageFacts(None, f"cannot be read: {(error.strerror or str(error)).lower()}")
    sha256 = hashlib.sha256(data).hexdigest()
    wrong = jpeg.complaint(data)
    if wrong is not None:
        return ImageFacts(sha256, wrong)
    return _decode(data, sha256, out)


def _decode(data: bytes, sha256: str, out: NDArray[np.uint8]) -> ImageFacts:
    import cv2
    import numpy as np

    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:  # e.g. a header that claims more pixels than OpenCV allows
        return ImageFacts(sha256, f"cannot be decoded: {error.err}")
    if image is None:
        return ImageFacts(sha256, "cannot be decoded: its JPEG data are damaged")
    small = cv2.resize(image, (out.shape[1], out.shape[0]), interpolation=cv2.INTER_LINEAR)
    cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=out)
    height, width = image.shape[:2]
    return ImageFacts(sha256, None, height, width, jpeg.synthetic_version(data))
