"""A stranger's zip → a fresh folder, or a refusal. Nothing in it is believed before it is seen."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections.abc import Sequence, Set
from pathlib import Path, PurePosixPath
from typing import IO

from wbcbench.bundle.bounds import Bounds
from wbcbench.bundle.names import require_distinct, require_safe, shown
from wbcbench.core.errors import VerificationError

_CHUNK = 1 << 16
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNREADABLE = 0x1 | 0x20 | 0x40 | 0x2000
"""Flags of a member that is encrypted, a patch of another file, or has its header masked."""


def unpack(source: Path, into: Path, bounds: Bounds) -> None:
    """Unpack ``source`` into the empty folder ``into``.

    Raises:
        VerificationError: It is damaged, too large, or holds what a bundle never does.
        OSError: The disk is full.
    """
    try:
        with (
            source.open("rb", buffering=0) as raw,
            zipfile.ZipFile(_BoundedReader(raw, bounds)) as packed,
        ):
            members = packed.infolist()
            _require_plain(members, bounds)
            _require_apart(members, source.stat().st_size)
            _write(packed, members, into, bounds)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise VerificationError(f"The zip is damaged or no zip: {shown(str(error))}.") from error


class _BoundedReader(io.BufferedReader):
    """The zip's bytes; a table of contents that claims to be huge is refused unread."""

    def __init__(self, raw: io.RawIOBase, bounds: Bounds) -> None:
        super().__init__(raw)
        self._most = bounds.index_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._most:
            raise VerificationError(
                f"The zip's table of contents says it has {size:,} bytes; up to {self._most:,} "
                "are read. No bundle holds so many files."
            )
        return super().read(size)


def _require_plain(members: Sequence[zipfile.ZipInfo], bounds: Bounds) -> None:
    if len(members) > bounds.files:
        raise VerificationError(
            f"The zip holds {len(members):,} files; up to {bounds.files:,} are unpacked."
        )
    for member in members:
        require_safe(member.orig_filename.removesuffix("/"), bounds)
        _require_file(member)
    require_distinct(member.orig_filename.removesuffix("/") for member in members)
    _require_tree({m.orig_filename for m in members if not m.is_dir()}, members)


def _require_tree(files: Set[str], members: Sequence[zipfile.ZipInfo]) -> None:
    for member in members:
        if above := next((str(p) for p in _above(member) if str(p) in files), None):
            raise VerificationError(
                f"The zip holds {shown(above)} as a file and as a folder; one of them is not meant."
            )


def _above(member: zipfile.ZipInfo) -> Sequence[PurePosixPath]:
    return PurePosixPath(member.orig_filename).parents[:-1]


def _require_file(member: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or (kind == stat.S_IFDIR) > member.is_dir():
        raise VerificationError(
            f"The zip holds {shown(member.filename)}, which is a link, a device or a pipe. A "
            "bundle holds files and folders alone."
        )
    if member.flag_bits & _UNREADABLE or member.compress_type not in _METHODS:
        raise VerificationError(
            f"{shown(member.filename)} is encrypted or packed in another way than deflate, so "
            "that it cannot be checked."
        )


def _require_apart(members: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Members that share packed bytes multiply a small zip without end."""
    starts = sorted((member.header_offset, member.compress_size) for member in members)
    ends = [*(start for start, _ in starts[1:]), size]
    if any(start + packed > end for (start, packed), end in zip(starts, ends, strict=True)):
        raise VerificationError("The zip's files overlap: one packed text stands for several.")


def _write(
    packed: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], into: Path, bounds: Bounds
) -> None:
    left = bounds.total_bytes
    for member in members:
        target = into / member.orig_filename.removesuffix("/")
        if member.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with packed.open(member) as stream, target.open("xb") as out:
            left -= _copy(stream, out, member, min(left, bounds.file_bytes), bounds)


def _copy(
    stream: IO[bytes], out: IO[bytes], member: zipfile.ZipInfo, most: int, bounds: Bounds
) -> int:
    """Copy one member; counts what comes out, whatever the header says."""
    written = 0
    while chunk := stream.read(_CHUNK):
        written += len(chunk)
        if written > most:
            raise VerificationError(
                f"{shown(member.filename)} unpacks to more than {most:,} bytes, which is more than "
                "a bundle may hold."
            )
        packed = max(member.compress_size, 1)
        if written > bounds.ratio_from_bytes and written > bounds.ratio * packed:
            raise VerificationError(
                f"{shown(member.filename)} unpacks to more than {bounds.ratio} times its size: "
                "a zip bomb, or nothing that was measured."
            )
        out.write(chunk)
    return written
