"""Open a third party's bundle, a folder or a zip, within stated bounds.

Everything else of ``verify`` reads only what came through here. A folder is read in place and
nothing is written into it; a zip is unpacked into a temporary folder, which is removed afterwards.
"""

from __future__ import annotations

import csv
import io
import mmap
import os
import re
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbcbench.bundle.bounds import BOUNDS, Bounds, cap_memory, quote, require_distinct, require_safe
from wbcbench.bundle.layout import BAGIT, BAGIT_TEXT, IMAGES
from wbcbench.bundle.locate import find_bag, is_litter, refuse_placeholders, require_zip
from wbcbench.core import trace_file
from wbcbench.core.errors import UsageError, VerificationError

_MOST_ZIPS = 3  # in each other, as platforms of courses pack what is submitted
_WINDOWS_BAGIT = BAGIT_TEXT.replace("\n", "\r\n").encode()
_CHUNK_BYTES = 1 << 16
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNREADABLE = 0x1 | 0x20 | 0x40 | 0x2000
"""Flags of a member that is encrypted, a patch of another file, or has its header masked."""

_SIZES_FOLLOW, _UTF_8 = 0x8, 0x800
_END_BYTES, _ZIP64_END_BYTES = 22, 76
_EXTRA_BYTES = 100
_PLAIN_EXTRAS = {0x0001, 0x000A, 0x5455, 0x5855, 0x7855, 0x7875}
"""Sizes beyond 4 GB; dates and owners, as systems add them."""

_MAGIC = b"PAR1"
_FOOTER_BYTES = 1_000_000
_LIMITS = dict.fromkeys(("thrift_string_size_limit", "thrift_container_size_limit"), _FOOTER_BYTES)
_COLUMNS = 200
_TEXT_BYTES = 400  # of one text in a table of predictions
_IMAGE = "image_sha256"
_TEXTS = ("file", _IMAGE, "split", "y_true", "y_pred")
_NUMBERS = ("group_id", "original_id")
_IN_TRAIN = "also_in_train"
_BESIDE = {b"ARROW:schema", b"PARQUET:field_id"}
"""All that pyarrow writes beside a table."""
_WRITER = re.compile(r"parquet-cpp(-arrow)? version [\w.+-]{1,40}")


@contextmanager
def opened(source: Path, bounds: Bounds = BOUNDS) -> Iterator[Path]:
    """Yield the folder that holds ``bagit.txt``, once every file in it is known to be plain.

    Raises:
        UsageError: There is no such folder or file, or no room to unpack it.
        VerificationError: It holds what a bundle never does.
    """
    with ExitStack() as stack:
        folder = source if source.is_dir() else _unpack_aside(source, source, stack, bounds)
        yield _require_bag(source, find_bag(source, folder, bounds.depth), bounds)


@contextmanager
def received(
    source: Path,
    bounds: Bounds = BOUNDS,
    on_litter: Callable[[list[str]], object] = lambda _: None,
    on_beside: Callable[[list[str]], object] = lambda _: None,
) -> Iterator[Path]:
    """Yield the bag in what somebody submitted: also a zip in a folder or in a zip.

    What file managers add is left out, and nothing else: a folder that holds such files is copied
    without them.

    Args:
        source: What was submitted.
        bounds: Of each folder and zip.
        on_litter: Called with the names of what was left out.
        on_beside: Called with the names of what lies in a folder beside the bundle.

    Raises:
        UsageError: It is nothing that can be opened, or holds no bundle, or several.
        VerificationError: It holds what a bundle never does.
    """
    with ExitStack() as stack:
        place = source
        for zips in range(_MOST_ZIPS + 1):
            is_folder = place.is_dir()
            if not is_folder:
                place = _unpack_aside(place, source, stack, bounds)
            tell = on_beside if is_folder and not zips else None  # a zip holds its bundle alone
            place = find_bag(source, place, bounds.depth, may_be_zip=True, on_beside=tell)
            if place.is_dir():
                break
        else:
            raise UsageError(
                f"{source} holds zips in zips. Unpack it, and give the bundle's folder."
            )
        names = list_plain_files(place, bounds)
        litter = [name for name in names if is_litter(name)]
        if litter:
            on_litter(litter)
            with _explain_full_disk(source):
                place = _copy_without(litter, names, place, _make_room(stack))
        yield _require_bag(source, place, bounds)


def _require_bag(source: Path, folder: Path, bounds: Bounds) -> Path:
    """The folder of a bag in which no file is a link, a placeholder, or two files at once."""
    names = list_plain_files(folder, bounds)
    if litter := list(filter(is_litter, names)):
        more = f" and {len(litter) - 1:,} more" if len(litter) > 1 else ""
        raise VerificationError(
            f"A file manager put {quote(litter[0])}{more} into {source}. Remove what it added and "
            "try again."
        )
    refuse_placeholders(source, names)
    require_distinct(names)
    if (folder / BAGIT).is_file() and (folder / BAGIT).read_bytes() == _WINDOWS_BAGIT:
        raise VerificationError(
            "Every line of the bundle ends as on Windows: git changed it (core.autocrlf). Give the "
            "zip as `submit` wrote it, or clone with `git clone -c core.autocrlf=false`."
        )
    return folder


def _copy_without(litter: list[str], names: list[str], folder: Path, room: Path) -> Path:
    """The files of a folder but for some, in another one."""
    for name in set(names).difference(litter):
        target = room / folder.name / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target, follow_symlinks=False)
    return room / folder.name


def _unpack_aside(packed: Path, source: Path, stack: ExitStack, bounds: Bounds) -> Path:
    """A temporary folder with what is in a zip."""
    require_zip(packed, source)
    with _explain_full_disk(source):
        room = _make_room(stack)
        unpack(packed, room, bounds)
    return room


def _make_room(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wbcbench-verify-")))


@contextmanager
def _explain_full_disk(source: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{source} cannot be unpacked: {error.strerror}. Free space on the disk of "
            "temporary files, or set TMPDIR to a folder on a larger one."
        ) from error


def list_plain_files(folder: Path, bounds: Bounds = BOUNDS) -> list[str]:
    """Every file below a folder, sorted, by its path with ``/``.

    Raises:
        VerificationError: Something is not a plain file or folder, or there are too many.
    """
    names, folders, entries, total_bytes = list[str](), [""], 0, 0
    while folders:
        parent = folders.pop()
        with os.scandir(folder / parent) as children:
            for entry in children:
                name = f"{parent}{entry.name}"
                entries += 1
                if entries > bounds.files:
                    raise VerificationError(
                        f"The bundle holds more than {bounds.files:,} files and folders."
                    )
                total_bytes += _require_plain_entry(name, entry, bounds)
                if entry.is_dir():
                    folders.append(f"{name}/")
                else:
                    names.append(name)
    if total_bytes > bounds.total_bytes:
        raise VerificationError(
            f"The bundle has {total_bytes:,} bytes; up to {bounds.total_bytes:,} are read."
        )
    return sorted(names)


def _require_plain_entry(name: str, entry: os.DirEntry[str], bounds: Bounds) -> int:
    """The size of one entry in bytes, once it is known to be harmless."""
    _require_safe_name(name, bounds)
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        return 0
    if not stat.S_ISREG(status.st_mode):
        raise _refuse_kind("bundle", name)
    if status.st_nlink > 1:
        raise VerificationError(
            f"{quote(name)} is a hard link: the file has another name elsewhere and can change "
            "while it is checked. Copy the bundle and check the copy."
        )
    if status.st_size > bounds.file_bytes:
        raise VerificationError(
            f"{quote(name)} has {status.st_size:,} bytes; up to {bounds.file_bytes:,} are read."
        )
    return status.st_size


def _require_safe_name(name: str, bounds: Bounds) -> None:
    """As ``require_safe``, but for the line end in a name that Finder gives (``Icon`` with one)."""
    require_safe(name.removesuffix("\r") if is_litter(name) else name, bounds)


def _refuse_kind(place: str, name: str) -> VerificationError:
    return VerificationError(
        f"The {place} holds {quote(name)}, which is a link, a device or a pipe. Only files and "
        "folders are allowed."
    )


# Nothing in a third party's zip is trusted before it is checked.
def unpack(source: Path, into: Path, bounds: Bounds) -> None:
    """Unpack ``source`` into the empty folder ``into``.

    Raises:
        VerificationError: It is damaged, too large, or holds what a bundle never does.
        OSError: The disk is full.
    """
    try:
        with (
            source.open("rb", buffering=0) as raw,
            zipfile.ZipFile(_BoundedReader(raw, bounds)) as archive,
        ):
            members = archive.infolist()
            _set_names(members)
            _require_plain_members(members, bounds)
            with mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as data:
                _require_whole(data, archive.start_dir, members)
            _write_members(archive, members, into, bounds)
    except (
        zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error,
    ) as error:  # fmt: skip
        raise VerificationError(
            f"The zip is damaged or no zip: {quote(str(error))}. Where its end is missing, a "
            "download was cut off: fetch it again, or ask its author for it."
        ) from error


class _BoundedReader(io.BufferedReader):
    """The zip's bytes; a table of contents that claims to be huge is refused unread."""

    def __init__(self, raw: io.RawIOBase, bounds: Bounds) -> None:
        super().__init__(raw)
        self._most_bytes = bounds.index_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._most_bytes:
            raise VerificationError(
                f"The zip's table of contents claims {size:,} bytes; up to {self._most_bytes:,} "
                "are read. No bundle holds so many files."
            )
        return super().read(size)


def _set_names(members: Sequence[zipfile.ZipInfo]) -> None:
    """Give members the whole names they have in the zip, with the separator of other systems."""
    names = [member.orig_filename for member in members]
    is_of_windows = not any(member.create_system or "/" in member.filename for member in members)
    for member, name in zip(members, names, strict=True):
        member.filename = name.replace("\\", "/") if is_of_windows else name


def _require_plain_members(members: Sequence[zipfile.ZipInfo], bounds: Bounds) -> None:
    if len(members) > bounds.files:
        raise VerificationError(
            f"The zip holds {len(members):,} files; up to {bounds.files:,} are unpacked."
        )
    for member in members:
        _require_safe_name(member.filename.removesuffix("/"), bounds)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or (kind == stat.S_IFDIR) > member.is_dir():
            raise _refuse_kind("zip", member.filename)
        if member.is_dir() and (member.file_size or member.compress_size):
            raise _refuse_hidden(f"in the folder {quote(member.filename)}")
        if member.flag_bits & _UNREADABLE or member.compress_type not in _METHODS:
            raise VerificationError(
                f"{quote(member.filename)} is encrypted or not packed with deflate. Unpack the "
                "zip, with its password if it has one, and give the folder."
            )
    require_distinct(member.filename.removesuffix("/") for member in members)
    files = {member.filename for member in members if not member.is_dir()}
    for member in members:
        parents = map(str, PurePosixPath(member.filename).parents)
        if both := next((parent for parent in parents if parent in files), None):
            raise VerificationError(f"The zip holds {quote(both)} both as a file and as a folder.")


# A zip is read from its end by some programs and from its start by others. Where every byte belongs
# to one file, and is said to by both of its headers, all of them see the same files.
def _require_whole(data: mmap.mmap, index_at: int, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse a zip with bytes before, between or after its files, or whose two headers differ."""
    at = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < at:
            raise VerificationError("The zip's files overlap: several share the same packed bytes.")
        if member.header_offset > at:
            raise _refuse_hidden(f"before {quote(member.filename)}")
        at = _find_member_end(data, member)
    *_, count, index_bytes, index_start, comment_bytes = struct.unpack(
        "<4s4H2LH", data[-_END_BYTES:]
    )
    index = [46 + len(_encode_name(m)) + len(m.extra) + len(m.comment) for m in members]
    ends_at = {index_at + sum(index) + more for more in (0, _ZIP64_END_BYTES)}
    if data[-_END_BYTES:][:4] != b"PK\5\6" or comment_bytes:
        raise _refuse_hidden("after its end")
    is_stated = all(
        stated in {true, most}
        for stated, true, most in (
            (count, len(members), 0xFFFF),
            (index_bytes, sum(index), 0xFFFFFFFF),
            (index_start, index_at, 0xFFFFFFFF),
        )
    )
    if at != index_at or not is_stated or len(data) - _END_BYTES not in ends_at:
        raise _refuse_hidden("beside its table of contents")
    if any(m.comment or not _is_plain_extra(m.extra) for m in members):
        raise _refuse_hidden("in its table of contents")


def _is_plain_extra(extra: bytes) -> bool:
    """Whether what a system adds to a file is sizes, dates and owners: no other name of it."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack("<2H", extra[at : at + 4])
        if kind not in _PLAIN_EXTRAS:
            return False
        at += 4 + size
    return at == len(extra) <= _EXTRA_BYTES


def _find_member_end(data: mmap.mmap, member: zipfile.ZipInfo) -> int:
    """Where the packed bytes of a member end, once its own header says what the index says."""
    at = member.header_offset
    kind, _, flags, method, _, _, *sizes, name_bytes, extra_bytes = struct.unpack(
        "<4s5H3L2H", data[at : at + 30]
    )
    start = at + 30 + name_bytes
    stated = (member.CRC, member.compress_size, member.file_size)
    extra = data[start : start + extra_bytes]
    if sizes[1:] == [0xFFFFFFFF] * 2 and extra[:4] == b"\1\0\x10\0":
        sizes[2], sizes[1] = struct.unpack("<2Q", extra[4:20])
    is_later = bool(flags & _SIZES_FOLLOW)  # Finder writes them after the bytes
    if (
        kind != b"PK\3\4"
        or data[at + 30 : start] != _encode_name(member)
        or (flags, method) != (member.flag_bits, member.compress_type)
        or not _is_plain_extra(extra)
        or (tuple(sizes) != stated and not (is_later and sizes[1:] == [0, 0]))
    ):
        raise VerificationError(
            f"The zip describes {quote(member.filename)} in two ways, so that programs differ in "
            "what they unpack."
        )
    end: int = start + extra_bytes + member.compress_size
    if is_later:
        ends = [
            head + struct.pack(form, *stated)
            for head in (b"PK\7\x08", b"")
            for form in ("<3L", "<L2Q")
            if form == "<L2Q" or max(stated) < 2**32
        ]
        follows = next((words for words in ends if data[end : end + len(words)] == words), None)
        if follows is None:
            raise VerificationError(
                f"The zip states other sizes after {quote(member.filename)} than in its table of "
                "contents."
            )
        end += len(follows)
    return end


def _encode_name(member: zipfile.ZipInfo) -> bytes:
    return member.orig_filename.encode("utf-8" if member.flag_bits & _UTF_8 else "cp437")


def _refuse_hidden(place: str) -> VerificationError:
    return VerificationError(
        f"The zip holds bytes that belong to no file, {place}: another program may see another "
        "bundle in it. Zip the folder again."
    )


def _write_members(
    archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], into: Path, bounds: Bounds
) -> None:
    """Write the files; counts the bytes that come out, not those of the headers."""
    remaining_bytes = bounds.total_bytes
    for member in members:
        target = into / member.filename.removesuffix("/")
        if member.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        written, most_bytes = 0, min(remaining_bytes, bounds.file_bytes)
        ratio_bytes = max(bounds.ratio_from_bytes, bounds.ratio * max(member.compress_size, 1))
        with archive.open(member) as stream, target.open("xb") as out:
            while chunk := stream.read(_CHUNK_BYTES):
                written += len(chunk)
                if written > most_bytes:
                    raise VerificationError(
                        f"{quote(member.filename)} unpacks to more than {most_bytes:,} bytes, "
                        "which is more than a bundle may hold."
                    )
                if written > ratio_bytes:
                    raise VerificationError(
                        f"{quote(member.filename)} unpacks to more than {bounds.ratio} times its "
                        "size, as a zip bomb does and measurements do not."
                    )
                out.write(chunk)
        remaining_bytes -= written


# A Parquet file states how many rows it holds, how long its texts are and how large its pages
# unpack, and each may be false. The footer is measured first, texts stay the dictionaries as which
# they are stored until these are known to be short, and memory is limited while it is read.
@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The network's output for ``n`` images.

    Attributes:
        file, image_sha256, split, y_true, y_pred: ``[n]``, as ``train.scores`` has them. The
            digests may stand in the bundle's list of images instead.
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
        with cap_memory(bounds.predictions_bytes), path.open("rb") as stream:
            shape = pq.ParquetFile(stream, **_LIMITS)
            _require_shape(path, shape, bounds)
            texts = [name for name in _TEXTS if name in shape.schema_arrow.names]
            file = pq.ParquetFile(stream, read_dictionary=texts, **_LIMITS)
            table = file.read(use_threads=False)
            _require_short_texts(path, table)
            return _convert_predictions(path, table)
    except (pa.ArrowException, OSError, MemoryError, LookupError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise _refuse_table(path, f"cannot be read as predictions: {reason}") from error


def require_readable_traces(path: Path, bounds: Bounds = BOUNDS) -> None:
    """Refuse a Parquet file of traces that is damaged, or larger than it may be.

    Raises:
        VerificationError: It cannot be read safely.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _require_footer(path)
    try:
        with cap_memory(bounds.traces_bytes), path.open("rb") as stream:
            metadata = pq.ParquetFile(stream, **_LIMITS).metadata
            if metadata.num_columns != len(trace_file.COLUMNS):
                raise _refuse_table(path, f"has {metadata.num_columns} columns, unlike traces")
            groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
            columns = (group.column(i) for group in groups for i in range(group.num_columns))
            numbers = [each for each in columns if each.path_in_schema != trace_file.COLUMNS[0]]
            cells = sum(column.num_values for column in numbers)
            size_bytes = sum(group.total_byte_size for group in groups)
            if cells > bounds.table_cells or size_bytes > bounds.traces_bytes:
                raise _refuse_table(path, f"unpacks to {size_bytes:,} bytes in {cells:,} cells")
            trace_file.require_parquet_polls(path)
    except (pa.ArrowException, OSError, MemoryError, LookupError, UsageError) as error:
        reason = str(error).partition(". ")[0]
        raise _refuse_table(path, f"cannot be read as traces: {reason}") from error


def find_words(path: Path) -> str:
    """What a Parquet file says beside its table and who wrote it; empty if nothing.

    Raises:
        VerificationError: It is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _require_footer(path)
    try:
        with path.open("rb") as stream:
            file = pq.ParquetFile(stream, **_LIMITS)
            metadata, schema = file.metadata, file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise _refuse_table(path, f"cannot be read: {str(error).splitlines()[0]}") from error
    places = [metadata.metadata, schema.metadata, *(field.metadata for field in schema)]
    words = [k + b" " + v for place in places for k, v in (place or {}).items() if k not in _BESIDE]
    if words:
        return b" ".join(words).decode(errors="replace")
    return "" if _WRITER.fullmatch(str(metadata.created_by)) else str(metadata.created_by)


def _require_footer(path: Path) -> None:
    size_bytes = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(max(size_bytes - 8, 0))
        tail = stream.read(8)
    footer_bytes = int.from_bytes(tail[:4], "little")
    if {head, tail[4:]} != {_MAGIC} or footer_bytes > min(size_bytes - 12, _FOOTER_BYTES):
        raise _refuse_table(path, f"is no Parquet file, or lies about its size ({size_bytes:,} B)")


def _require_shape(path: Path, file: Any, bounds: Bounds) -> None:
    from pyarrow import types

    metadata, schema = file.metadata, file.schema_arrow
    names = list(schema.names)
    if metadata.num_rows > bounds.predictions or len(names) > _COLUMNS:
        raise _refuse_table(
            path,
            f"has {metadata.num_rows:,} rows and {len(names)} columns; up to "
            f"{bounds.predictions:,} rows and {_COLUMNS} columns are read",
        )
    expected = {*_TEXTS, *_NUMBERS, _IN_TRAIN}
    outputs = set(names) - expected
    is_expected = expected - {_IMAGE} < set(names)
    is_expected = is_expected and all(name.startswith("p_") for name in outputs)
    if not is_expected or len(set(names)) != len(names):
        columns = ", ".join(names)[:200]
        raise _refuse_table(path, f"has other columns than predictions have: {columns}")
    kinds = dict.fromkeys(_TEXTS, types.is_string) | dict.fromkeys(_NUMBERS, types.is_integer)
    kinds[_IN_TRAIN] = types.is_boolean
    for field in schema:
        if not kinds.get(field.name, types.is_floating)(field.type):
            raise _refuse_table(path, f"holds {field.type} in {field.name}")
    groups = (metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if (unpacked_bytes := sum(groups)) > bounds.predictions_bytes:
        raise _refuse_table(path, f"unpacks to {unpacked_bytes:,} bytes")


def _require_short_texts(path: Path, table: Any) -> None:
    """A dictionary of one huge text that every row names is huge only once it is spelt out."""
    import pyarrow.compute as pc

    for name in set(_TEXTS).intersection(table.column_names):
        for chunk in table[name].chunks:
            texts = getattr(chunk, "dictionary", chunk)
            if len(texts) and (pc.max(pc.binary_length(texts)).as_py() or 0) > _TEXT_BYTES:
                raise _refuse_table(
                    path, f"holds a text of more than {_TEXT_BYTES} bytes in {name}"
                )


def _convert_predictions(path: Path, table: Any) -> Predictions:
    outputs = tuple(name for name in table.column_names if name.startswith("p_"))
    texts = {n: _spell_out(table[n].chunks) for n in _TEXTS if n in table.column_names}
    if _IMAGE not in texts:
        texts[_IMAGE] = _look_up(path, texts["file"])
    group_id, original_id = (
        table[name].fill_null(-1).to_numpy().astype(np.int64, casting="safe") for name in _NUMBERS
    )
    columns = [table[name].to_numpy().astype(np.float32, casting="same_kind") for name in outputs]
    return Predictions(
        **texts,
        group_id=group_id,
        original_id=original_id,
        also_in_train=table[_IN_TRAIN].to_numpy().astype(np.bool_, casting="safe"),
        probabilities=np.stack(columns, axis=1),
        outputs=outputs,
    )


def _look_up(path: Path, files: Sequence[str]) -> list[str]:
    """The digests of images by the list of the bundle that the predictions lie in."""
    listed = path.parents[3] / IMAGES
    known = _read_list(listed, listed.stat().st_mtime_ns) if listed.is_file() else {}
    if missing := next((file for file in files if file not in known), None):
        lacks = f"lacks {quote(missing)}" if known else "is not there"
        raise _refuse_table(path, f"leaves the digests of its images to {IMAGES}, which {lacks}")
    return [known[file] for file in files]


@lru_cache(maxsize=2)
def _read_list(path: Path, _: int) -> Mapping[str, str]:
    with path.open(encoding="utf-8", newline="") as stream:
        return {row["path"]: row["sha256"] for row in csv.DictReader(stream)}


def _spell_out(chunks: Sequence[Any]) -> list[str]:
    """Texts by their dictionaries, so that equal ones are one object."""
    spelt = list[str]()
    for chunk in chunks:
        words = [str(word) for word in chunk.dictionary.to_pylist()]
        spelt += [words[place] for place in chunk.indices.to_pylist()]
    return spelt


def _refuse_table(path: Path, problem: str) -> VerificationError:
    return VerificationError(f"{path.parent.name}/{path.name} {problem}.")
