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
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from wbcbench.core.errors import UsageError
from wbcbench.data import jpeg
from wbcbench.data.layout import ListedFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FILES_A_BLOCK = 32
_READ_ONLY = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""A pipe among the images must not keep everybody waiting; plain files do not care."""


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
    files: Sequence[ListedFile],
    image_size: int,
    store: Callable[[int, NDArray[np.uint8]], None],
    on_progress: Callable[[int, int], None] | None = None,
) -> list[ImageFacts]:
    """Read, hash, check, decode and resize every file.

    Decoding is ``cv2.imdecode`` in colour, resizing is ``INTER_LINEAR``, channels are RGB: pixel
    for pixel what ``cv2.imread``, ``cv2.resize`` and ``cv2.cvtColor`` one after another give.

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
    facts: list[ImageFacts] = [ImageFacts(None, "was not read")] * len(files)
    done = 0
    with all_cores() as pool:
        read = _BlockReader(files, store, _buffers(image_size))
        tasks = {pool.submit(read, i): i for i in range(0, len(files), _FILES_A_BLOCK)}
        for task in as_completed(tasks):
            found = task.result()
            facts[tasks[task] : tasks[task] + len(found)] = found
            done += len(found)
            if on_progress is not None:
                on_progress(done, len(files))
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


@dataclass(frozen=True, slots=True)
class _BlockReader:
    """Reads one block of files; called on several threads.

    Buffers are used again and again, because fresh memory costs as much as half a decoding.
    """

    files: Sequence[ListedFile]
    store: Callable[[int, NDArray[np.uint8]], None]
    buffers: SimpleQueue[NDArray[np.uint8]]

    def __call__(self, start: int) -> list[ImageFacts]:
        block = self.files[start : start + _FILES_A_BLOCK]
        buffer = self.buffers.get()
        try:
            facts = [_read_image(file, buffer[i]) for i, file in enumerate(block)]
            self.store(start, buffer[: len(block)])
        finally:
            self.buffers.put(buffer)
        return facts


def _buffers(image_size: int) -> SimpleQueue[NDArray[np.uint8]]:
    """Return one buffer a thread."""
    import numpy as np

    buffers: SimpleQueue[NDArray[np.uint8]] = SimpleQueue()
    for _ in range(usable_cores()):
        buffers.put(np.zeros((_FILES_A_BLOCK, image_size, image_size, 3), np.uint8))
    return buffers


def _read_image(file: ListedFile, out: NDArray[np.uint8]) -> ImageFacts:
    try:
        data = _content(file)
    except OSError as error:
        return ImageFacts(None, f"cannot be read: {(error.strerror or str(error)).lower()}")
    sha256 = hashlib.sha256(data).hexdigest()
    wrong = jpeg.complaint(data)
    if wrong is not None:
        return ImageFacts(sha256, wrong)
    return _decode(data, sha256, out)


def _content(file: ListedFile) -> bytes:
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
            f"{file.path} changed while the data set was being read, so the images may be of two "
            "states. Wait until nothing writes there any more and start again."
        )
    return content


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
