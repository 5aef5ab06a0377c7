"""Files written whole or not at all, and small ones read.

Temporary file in the same folder → fsync → rename → fsync of the folder: whoever reads the name
finds the old content or the new one, also after a power cut or on a full disk.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})  # as on FAT, SMB
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
_NAME_BYTES = 200  # of a name, in that of the temporary file, which may have 255

Content = bytes | Callable[[IO[bytes]], object]
"""What a file shall hold, or what writes it to a stream."""


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step; on any error the old file stays.

    A link is followed: the file that it names is replaced, and keeps its owner and mode. Other
    names of that file (hard links) keep the old content. What is no file, like a pipe or
    ``/dev/stdout``, is written as it is.

    Raises:
        OSError: The folder or the file is not writable, the disk is full, or ``path`` is a folder;
            nothing half written is left.
    """
    old = _find_old(path)
    if old is not None and not stat.S_ISREG(old.st_mode):
        path.write_bytes(data)
        return
    target = path.resolve() if path.is_symlink() else path
    with _write_temporary(target, data, old) as temporary:
        temporary.replace(target)
    sync_folder(target.parent)


def _find_old(path: Path) -> os.stat_result | None:
    """What stands at ``path``; ``None`` if nothing, or a link to nothing.

    Raises:
        OSError: It may not be written, or is a link that leads to itself.
    """
    try:
        old = path.stat()
    except FileNotFoundError:
        return None
    if not os.access(path, os.W_OK):  # replacing it would need the folder's permission alone
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return old


def write_new(path: Path, data: Content) -> None:
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
        except FileExistsError:
            # NFS may have made the link and lost the answer: then the file has two names.
            if temporary.stat().st_nlink != 2:
                raise
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            temporary.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def _write_temporary(
    path: Path, data: Content, old: os.stat_result | None = None
) -> Iterator[Path]:
    """A file beside ``path`` with ``data`` on disk; gone at the end, unless it was renamed.

    It is a new file of this user, or has owner and mode of the ``old`` one.
    """
    start = os.fsencode(path.name)[:_NAME_BYTES].decode(errors="ignore")
    temporary = path.with_name(f".{start}.{secrets.token_hex(4)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data) if isinstance(data, bytes) else data(stream)
            stream.flush()
            if old is not None:
                with contextlib.suppress(OSError):  # another user's, or a disk without owners
                    os.fchown(handle, old.st_uid, old.st_gid)
                with contextlib.suppress(OSError):
                    os.fchmod(handle, stat.S_IMODE(old.st_mode))
            os.fsync(handle)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def refresh_listing(folder: Path) -> None:
    """Let a shared file system list ``folder`` anew: NFS does once a file was made in it here."""
    with contextlib.suppress(OSError):
        mark = folder / f".listing.{secrets.token_hex(4)}"
        mark.touch()
        mark.unlink()


def open_lock(path: Path) -> IO[str]:
    """A file to lock, made where there is none; a link is not followed.

    Raises:
        OSError: It cannot be opened, or is a link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o666), "w")


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable, where it may be read and its disk knows how."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_file(path: Path) -> bytes:
    """What a file holds that nobody named: where it is a pipe, its writer may never come.

    Raises:
        OSError: It cannot be read, or is a pipe.
    """
    with open_file(path) as stream:
        return stream.read()


def open_file(path: Path) -> IO[bytes]:
    """The same to be read piece by piece; raises as ``read_file``."""
    if path.is_fifo():
        raise OSError(errno.EINVAL, "It is a pipe", str(path))
    return path.open("rb")


def load_toml(path: Path) -> dict[str, Any]:
    """The keys of a TOML file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not TOML; the message says where, or why not.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors mark UTF-8
    except UnicodeDecodeError as error:
        raise ValueError("it is not text in UTF-8; save it as that") from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_if_any(path: Path) -> str | None:
    """What a small file says, spaces around it left out; ``None`` if nothing can be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None
