"""Files written whole or not at all, and small ones read.

Temporary file in the same folder → fsync → rename → fsync of the folder: whoever reads the name
finds the old content or the new one, also after a power cut or on a full disk.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})  # as on FAT, SMB


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step; on any error the old file stays.

    Raises:
        OSError: The folder is not writable or the disk is full; nothing half written is left.
    """
    with _write_temporary(path, data) as temporary:
        temporary.replace(path)
    sync_folder(path.parent)


def write_new(path: Path, data: bytes) -> None:
    """Write ``path`` in one step where there is none: of two who write at once, one succeeds.

    Raises:
        FileExistsError: There is such a file; it stays as it is.
        OSError: As ``write_atomically``.
    """
    if path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    with _write_temporary(path, data) as temporary:
        try:
            path.hardlink_to(temporary)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            temporary.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def _write_temporary(path: Path, data: bytes) -> Iterator[Path]:
    """A file beside ``path`` with ``data`` on disk; gone at the end, unless it was renamed."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_if_any(path: Path) -> str | None:
    """What a small file says, spaces around it left out; ``None`` if nothing can be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None
