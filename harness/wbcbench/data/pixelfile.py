"""One array of images in one ``.npy`` file: written in parallel, checked and mapped on reading.

The file is cut into blocks, each with a CRC-32 that the caller keeps elsewhere. A file whose
bytes differ in any way from what was written is an error on reading, never other pixels.
"""

from __future__ import annotations

import io
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.data.reading import usable_cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK_BYTES = 1 << 22
Shape = tuple[int, int, int, int]


def write(path: Path, images: NDArray[np.uint8]) -> list[int]:
    """Write ``images`` to ``path``, whole or not at all, and return the blocks' checksums.

    Args:
        path: The file; its folder is made.
        images: uint8 ``[n, size, size, 3]``, contiguous.

    Raises:
        OSError: The file cannot be written.
    """
    header = _header(images.shape)
    content = images.data.cast("B")
    with appearing_whole(path) as temporary:
        temporary.write_bytes(header)

        def write_block(start: int) -> int:
            block = content[start : start + _BLOCK_BYTES]
            with temporary.open("r+b") as stream:  # its own position in the file
                stream.seek(len(header) + start)
                stream.write(block)
            return zlib.crc32(block)

        return _for_each_block(write_block, len(content))


def read(path: Path, shape: Shape, checksums: list[int]) -> NDArray[np.uint8]:
    """Return the images in ``path``, memory-mapped and read-only.

    Args:
        path: A file that :func:`write` wrote.
        shape: The shape it must have.
        checksums: What :func:`write` returned.

    Raises:
        OSError: The file cannot be read.
        ValueError: Its bytes are not those that were written.
    """
    import numpy as np

    header = _header(shape)
    with path.open("rb") as stream:
        if stream.read(len(header)) != header:
            raise ValueError(f"{path.name} does not begin as it was written")
    images = np.memmap(path, np.uint8, mode="r", offset=len(header), shape=shape)
    content = images.data.cast("B")
    found = _for_each_block(
        lambda start: zlib.crc32(content[start : start + _BLOCK_BYTES]), len(content)
    )
    if found != checksums:
        raise ValueError(f"the checksum of {path.name} differs")
    return images


@contextmanager
def appearing_whole(path: Path) -> Iterator[Path]:
    """Yield an empty file beside ``path`` that takes its name when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _header(shape: tuple[int, ...]) -> bytes:
    import numpy as np

    stream = io.BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()


def _for_each_block(act: Callable[[int], int], size: int) -> list[int]:
    """Call ``act`` with the start of every block, on all cores: zlib and files do not block."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(act, range(0, size, _BLOCK_BYTES)))
