"""Open a bundle that a stranger made, folder or zip: plain files inside it, or a refusal.

Everything else of ``verify`` reads only what came through here. A folder is read where it lies and
nothing is written into it; a zip is unpacked into a temporary folder that goes away again.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wbcbench.bundle.bounds import BOUNDS, Bounds
from wbcbench.bundle.names import require_distinct, require_safe, shown
from wbcbench.bundle.unpacking import unpack
from wbcbench.core.errors import UsageError, VerificationError

MARK = "bagit.txt"


@contextmanager
def opened(source: Path, bounds: Bounds = BOUNDS) -> Iterator[Path]:
    """Yield the folder that holds ``bagit.txt``, once every file in it is seen to be plain.

    Raises:
        UsageError: There is no such folder or file, or no room to unpack it.
        VerificationError: It holds what a bundle never does.
    """
    if source.is_dir():
        yield _bag(source, bounds)
        return
    if not source.is_file():
        raise UsageError(f"There is no bundle {source}: neither a folder nor a zip.")
    with tempfile.TemporaryDirectory(prefix="wbcbench-verify-") as room:
        try:
            unpack(source, Path(room), bounds)
        except OSError as error:
            raise UsageError(
                f"{source} cannot be unpacked: {error.strerror}. Free space in {room}, or set "
                "TMPDIR to a larger disk."
            ) from error
        yield _bag(Path(room), bounds)


def _bag(folder: Path, bounds: Bounds) -> Path:
    """The bag itself: the folder, or the only folder in it."""
    inside = list(folder.iterdir())
    if len(inside) == 1 and inside[0].is_dir() and not inside[0].is_symlink():
        folder = inside[0]
    require_distinct(plain_files(folder, bounds))
    return folder


def plain_files(folder: Path, bounds: Bounds = BOUNDS) -> list[str]:
    """Every file below a folder, sorted, by its path with ``/``.

    Raises:
        VerificationError: Something is no plain file or folder, or there are too many.
    """
    found, folders, seen, total = list[str](), [""], 0, 0
    while folders:
        below = folders.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                name = f"{below}{entry.name}"
                seen += 1
                total += _size(name, entry, seen, bounds)
                (folders if entry.is_dir() else found).append(
                    f"{name}/" if entry.is_dir() else name
                )
    if total > bounds.total_bytes:
        raise VerificationError(
            f"The bundle has {total:,} bytes; up to {bounds.total_bytes:,} are read."
        )
    return sorted(found)


def _size(name: str, entry: os.DirEntry[str], seen: int, bounds: Bounds) -> int:
    """Bytes of one entry, once it is known to be harmless."""
    if seen > bounds.files:
        raise VerificationError(f"The bundle holds more than {bounds.files:,} files and folders.")
    require_safe(name, bounds)
    facts = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(facts.st_mode):
        return 0
    if not stat.S_ISREG(facts.st_mode):
        raise VerificationError(
            f"The bundle holds {shown(name)}, which is a link, a device or a pipe. A bundle holds "
            "files and folders alone."
        )
    if facts.st_nlink > 1:
        raise VerificationError(
            f"{shown(name)} is a hard link: another name of it lies elsewhere, so that it can "
            "change while it is checked. Copy the bundle and check the copy."
        )
    if facts.st_size > bounds.file_bytes:
        raise VerificationError(
            f"{shown(name)} has {facts.st_size:,} bytes; up to {bounds.file_bytes:,} are read."
        )
    return facts.st_size
