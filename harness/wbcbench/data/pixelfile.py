"""One array of images in one ``.npy`` file: written block by block, checked and mapped on reading.

Each block has a CRC-32 that the caller keeps elsewhere. A file whose bytes differ in any way from
what was written is an error on reading, never other pixels.
"""

from __future__ import annotations

import io
import os
import tempfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.data.reading import usable_cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Shape = tuple[int, int, int, int]
Checksums = dict[int, int]
"""CRC-32 of each block by the position of its first image; a block ends where the next begins."""


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


def read(path: Path, shape: Shape, checksums: Checksums) -> NDArray[np.uint8]:
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
    images = mapped(path, shape)
    blocks = list(pairwise([*sorted(checksums), shape[0]]))
    with ThreadPoolExecutor(usable_cores()) as pool:  # zlib releases the interpreter's lock
        found = pool.map(lambda block: zlib.crc32(images[slice(*block)].data), blocks)
        if blocks[0][0] != 0 or list(found) != [checksums[start] for start, _ in blocks]:
            raise ValueError(f"the checksum of {path.name} differs")
    return images


def mapped(path: Path, shape: Shape) -> NDArray[np.uint8]:
    """Return the images in a file that was written just now: memory-mapped, not checked."""
    import numpy as np

    return np.memmap(path, np.uint8, mode="r", offset=len(_header(shape)), shape=shape)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
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
