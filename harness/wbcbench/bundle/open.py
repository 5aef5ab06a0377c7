"""Open a third party's bundle, folder or zip, within stated bounds.

Everything else of ``verify`` reads only what came through here. A folder is read where it lies and
nothing is written into it; a zip is unpacked into a temporary folder that goes away again.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from wbcbench.bundle.bounds import (
    BOUNDS,
    Bounds,
    memory_ceiling,
    quoted,
    require_distinct,
    require_safe,
)
from wbcbench.core.errors import UsageError, VerificationError
from wbcbench.core.trace_file import read_parquet_polls

_CHUNK_BYTES = 1 << 16
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNREADABLE = 0x1 | 0x20 | 0x40 | 0x2000
"""Flags of a member that is encrypted, a patch of another file, or has its header masked."""

_MAGIC = b"PAR1"
_FOOTER_BYTES = 1_000_000
_THRIFT = ("thrift_string_size_limit", "thrift_container_size_limit")
_LONGEST_TEXT = 400
_TEXTS = ("file", "image_sha256", "split", "y_true", "y_pred")
_WHOLE = ("group_id", "original_id")
_SEEN = "also_in_train"


@contextmanager
def opened(source: Path, bounds: Bounds = BOUNDS) -> Iterator[Path]:
    """Yield the folder that holds ``bagit.txt``, once every file in it is seen to be plain.

    Raises:
        UsageError: There is no such folder or file, or no room to unpack it.
        VerificationError: It holds what a bundle never does.
    """
    if source.is_dir():
        yield _find_bag(source, bounds)
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
        yield _find_bag(Path(room), bounds)


def _find_bag(folder: Path, bounds: Bounds) -> Path:
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
            f"The bundle holds {quoted(name)}, which is a link, a device or a pipe. A bundle holds "
            "files and folders alone."
        )
    if facts.st_nlink > 1:
        raise VerificationError(
            f"{quoted(name)} is a hard link: another name of it lies elsewhere, so that it can "
            "change while it is checked. Copy the bundle and check the copy."
        )
    if facts.st_size > bounds.file_bytes:
        raise VerificationError(
            f"{quoted(name)} has {facts.st_size:,} bytes; up to {bounds.file_bytes:,} are read."
        )
    return facts.st_size


# Nothing in a third party's zip is believed before it is checked.
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
        raise VerificationError(f"The zip is damaged or no zip: {quoted(str(error))}.") from error


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
                f"The zip holds {quoted(above)} as a file and as a folder; "
                "one of them is not meant."
            )


def _above(member: zipfile.ZipInfo) -> Sequence[PurePosixPath]:
    return PurePosixPath(member.orig_filename).parents[:-1]


def _require_file(member: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or (kind == stat.S_IFDIR) > member.is_dir():
        raise VerificationError(
            f"The zip holds {quoted(member.filename)}, which is a link, a device or a pipe. A "
            "bundle holds files and folders alone."
        )
    if member.flag_bits & _UNREADABLE or member.compress_type not in _METHODS:
        raise VerificationError(
            f"{quoted(member.filename)} is encrypted or packed in another way than deflate, so "
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
    while chunk := stream.read(_CHUNK_BYTES):
        written += len(chunk)
        if written > most:
            raise VerificationError(
                f"{quoted(member.filename)} unpacks to more than {most:,} bytes, which is more "
                "than a bundle may hold."
            )
        packed = max(member.compress_size, 1)
        if written > bounds.ratio_from_bytes and written > bounds.ratio * packed:
            raise VerificationError(
                f"{quoted(member.filename)} unpacks to more than {bounds.ratio} times its size: "
                "a zip bomb, or nothing that was measured."
            )
        out.write(chunk)
    return written


# Parquet says how many rows it holds, how long its texts are and how large its pages unpack, and
# may lie each time. The footer is measured first, texts stay the dictionaries they are stored as
# until these are seen to be short, and reading happens under a ceiling of memory.
@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What the network said of ``n`` images.

    Attributes:
        file, image_sha256, split, y_true, y_pred: ``[n]``, as ``train.scores`` has them.
        group_id, original_id: ``[n]``; -1 = unknown.
        also_in_train: ``[n]``.
        probabilities: ``[n, outputs]``; column 0 is the output that no label uses.
        outputs: Names of the columns, ``p_unused`` first.
    """

    file: list[str]
    image_sha256: list[str]
    split: list[str]
    y_true: list[str]
    y_pred: list[str]
    group_id: NDArray[np.int64]
    original_id: NDArray[np.int64]
    also_in_train: NDArray[np.bool_]
    probabilities: NDArray[np.float32]
    outputs: tuple[str, ...]


def read_predictions(path: Path, bounds: Bounds = BOUNDS) -> Predictions:
    """Read a table of predictions.

    Raises:
        VerificationError: It is none, damaged, or larger than it may be.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _require_footer(path)
    try:
        with memory_ceiling(bounds.predictions_bytes):
            limits = dict.fromkeys(_THRIFT, _FOOTER_BYTES)
            _require_shape(path, pq.ParquetFile(path, **limits), bounds)
            held = pq.ParquetFile(path, read_dictionary=list(_TEXTS), **limits)
            table = held.read(use_threads=False)
            _require_short(path, table)
            return _predictions(table)
    except (pa.ArrowException, OSError, MemoryError, LookupError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise _refused(path, f"cannot be read as predictions: {reason}") from error


def require_readable_traces(path: Path, bounds: Bounds = BOUNDS) -> None:
    """Refuse a Parquet file of traces that is damaged, or larger than it may be.

    Raises:
        VerificationError: It cannot be read safely.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _require_footer(path)
    try:
        with memory_ceiling(bounds.traces_bytes):
            facts = pq.ParquetFile(path, **dict.fromkeys(_THRIFT, _FOOTER_BYTES)).metadata
            groups = [facts.row_group(i) for i in range(facts.num_row_groups)]
            cells = sum(g.column(j).num_values for g in groups for j in range(g.num_columns))
            unpacked = sum(group.total_byte_size for group in groups)
            if cells > bounds.table_cells or unpacked > bounds.traces_bytes:
                raise _refused(path, f"unpacks to {unpacked:,} bytes in {cells:,} cells")
            read_parquet_polls(path)
    except (pa.ArrowException, OSError, MemoryError, LookupError, UsageError) as error:
        raise _refused(
            path, f"cannot be read as traces: {str(error).partition('. ')[0]}"
        ) from error


def _require_footer(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(max(size - 8, 0))
        tail = stream.read(8)
    footer = int.from_bytes(tail[:4], "little")
    if head != _MAGIC or tail[4:] != _MAGIC or footer > min(size - 12, _FOOTER_BYTES):
        raise _refused(path, f"is no Parquet file, or lies about its size ({size:,} bytes)")


def _require_shape(path: Path, held: Any, bounds: Bounds) -> None:
    facts = held.metadata
    names = list(held.schema_arrow.names)
    expected = {*_TEXTS, *_WHOLE, _SEEN}
    outputs = [name for name in names if name not in expected]
    if facts.num_rows > bounds.predictions or len(names) > 200:
        raise _refused(
            path,
            f"has {facts.num_rows:,} rows and {len(names)} columns; up to {bounds.predictions:,} "
            "rows are read",
        )
    strange = [name for name in outputs if not name.startswith("p_")]
    if strange or not outputs or len(set(names)) != len(names) or not expected.issubset(names):
        raise _refused(path, f"has other columns than predictions have: {', '.join(names)[:200]}")
    groups = [facts.row_group(i).total_byte_size for i in range(facts.num_row_groups)]
    if sum(groups) > bounds.predictions_bytes:
        raise _refused(path, f"unpacks to {sum(groups):,} bytes")


def _require_short(path: Path, table: Any) -> None:
    """A dictionary of one huge text, named by every row, is huge only once it is spelt out."""
    import pyarrow.compute as pc

    for name in _TEXTS:
        for chunk in table[name].chunks:
            words = getattr(chunk, "dictionary", chunk)
            if len(words) and (pc.max(pc.binary_length(words)).as_py() or 0) > _LONGEST_TEXT:
                raise _refused(path, f"holds a text of more than {_LONGEST_TEXT} bytes in {name}")


def _predictions(table: Any) -> Predictions:
    outputs = tuple(name for name in table.column_names if name.startswith("p_"))
    file, sha256, split, y_true, y_pred = (
        [str(word) for word in table[name].to_pylist()] for name in _TEXTS
    )
    group_id, original_id = (
        np.asarray(table[name].fill_null(-1).to_pylist(), dtype=np.int64) for name in _WHOLE
    )
    columns = [np.asarray(table[name].to_pylist(), dtype=np.float32) for name in outputs]
    return Predictions(
        file=file,
        image_sha256=sha256,
        split=split,
        y_true=y_true,
        y_pred=y_pred,
        group_id=group_id,
        original_id=original_id,
        also_in_train=np.asarray(table[_SEEN].to_pylist(), dtype=np.bool_),
        probabilities=np.stack(columns, axis=1),
        outputs=outputs,
    )


def _refused(path: Path, problem: str) -> VerificationError:
    return VerificationError(f"{path.parent.name}/{path.name} {problem}.")
