"""Traces on disk: CSV while they grow, Parquet once the run has its record.

A CSV file is one meter's: ``t_s`` and a column a channel, a line a poll, an empty cell for a read
that failed. A Parquet file holds one row a poll of a channel:

    channel: string    t_s: double    value: double, null where the read failed

The first row group has every channel once, in their order and without a time; the others are of one
channel each and stand in the order of time, so that a long run is written piece by piece, and one
channel read without the others. Both give the same traces, bit by bit. What a channel is (kind,
origin, part of the machine) stands beside them in ``channels.json``. Older files, in which a
channel was one row with lists of times and values, are read as well.
"""

from __future__ import annotations

import heapq
import io
import math
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from wbcbench.core.arrays import Flags, Floats, Later, as_array, np, to_floats
from wbcbench.core.errors import UsageError
from wbcbench.core.files import open_file
from wbcbench.core.messages import append_line
from wbcbench.core.trace import PollValues

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.csv as arrow_csv
    import pyarrow.parquet as pq
else:
    pa, arrow_csv, pq = map(Later, ("pyarrow", "pyarrow.csv", "pyarrow.parquet"))

Polls = tuple[str, Sequence[float], Sequence[float | None]]
"""Name of a channel, the time of every poll, what each gave."""

Poll = tuple[float, Sequence[float | None]]
"""Seconds, and what each channel of a meter read."""

Group = tuple[float, str, Any, Any]
"""First moment of some polls, name of their channel, their times and values."""

COLUMNS = ["channel", "t_s", "value"]

_GROUP = 65_536  # polls of a channel in one row group
_BLOCK_BYTES = 4_000_000  # of a CSV file at once
_PLAIN = b"0123456789+-.e,\n"  # of such bytes alone both parsers take the same for numbers
_FEW_BYTES = 200_000  # which are read before ``pyarrow`` is loaded


class TraceWriter:
    """One meter's CSV file while it grows; several threads may write to it."""

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        """Begin the file with the names of the meter's channels; raises ``OSError``."""
        path.parent.mkdir(exist_ok=True)
        self._stream, self._lock = path.open("w", encoding="ascii"), threading.Lock()
        append_line(self._stream, ",".join(["t_s", *names]))

    def write(self, polls: Iterable[Poll]) -> None:
        """Hand polls to the system, unless the file is closed; raises ``OSError``."""
        with self._lock:
            if not self._stream.closed:
                self._stream.write("".join(map(_format_poll, polls)))
                self._stream.flush()

    def __enter__(self) -> Self:
        """Itself, open already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the file; a disk that is full has said so to whoever wrote."""
        with self._lock, suppress(OSError):
            self._stream.close()


def _format_poll(poll: Poll) -> str:
    t_s, values = poll
    cells = ("" if value is None else repr(float(value)) for value in values)
    return f"{t_s:.6f},{','.join(cells)}\n"


def read_csv_names(path: Path) -> list[str]:
    """The channels of one meter's file."""
    with open_file(path) as stream:
        return _read_names(stream)


def read_csv_polls(path: Path, names: Collection[str] | None = None) -> list[Polls]:
    """The channels of these names, or every one, of one meter's file.

    A line that was torn or is out of order is left out.
    """
    with open_file(path) as stream:
        own = _read_names(stream)
        chosen = [i for i, name in enumerate(own, start=1) if names is None or name in names]
        blocks = list(_read_blocks(stream, len(own) + 1, [0, *chosen])) if chosen else []
    columns = np.concatenate([np.empty((0, len(chosen) + 1)), *blocks]).T
    times, *values = map(to_floats, columns)
    return [(own[i - 1], times, PollValues(each)) for i, each in zip(chosen, values, strict=True)]


def _read_names(stream: IO[bytes]) -> list[str]:
    head = stream.readline().decode("ascii", errors="replace")
    return head.removesuffix("\n").split(",")[1:]


def _read_blocks(stream: IO[bytes], width: int, chosen: Sequence[int]) -> Iterator[Floats]:
    """Some columns of the polls after the names, a row each: the time, then channels."""
    latest_s, torn = -math.inf, b""
    while read := stream.read(_BLOCK_BYTES):
        lines, end, torn = (torn + read).rpartition(b"\n")
        rows = _parse_lines(lines + end, width, chosen)
        rows = rows[np.isfinite(rows[:, 0])]
        rows[~np.isfinite(rows)] = math.nan
        is_later = _find_rising(rows[:, 0], latest_s)
        latest_s = max(latest_s, float(rows[:, 0].max(initial=-math.inf)))
        yield rows[is_later]


def _find_rising(times: Floats, latest_s: float = -math.inf) -> Flags:
    """Which of the polls are in order."""
    before_s = np.maximum.accumulate(np.append(latest_s, times))[:-1]
    is_later: Flags = times > before_s
    return is_later


def _parse_lines(lines: bytes, width: int, chosen: Sequence[int]) -> Floats:
    """Some cells of each line of so many; not-a-number where one is empty."""
    if len(lines) > _FEW_BYTES and not lines.translate(None, _PLAIN):
        names = list(map(str, range(width)))
        with suppress(pa.ArrowInvalid):
            table = arrow_csv.read_csv(
                io.BytesIO(lines),
                arrow_csv.ReadOptions(
                    use_threads=False, block_size=len(lines) + 1, column_names=names
                ),
                arrow_csv.ParseOptions(quote_char=False, invalid_row_handler=lambda _: "skip"),
                arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.float64()),
                    null_values=[""],
                    include_columns=[names[i] for i in chosen],
                ),
            )
            return np.column_stack([column.to_numpy() for column in table.columns])
    rows = map(_parse_line, lines.decode("ascii", errors="replace").split("\n"))
    whole = np.array([row for row in rows if len(row) == width], np.float64).reshape(-1, width)
    return whole[:, chosen]


def _parse_line(line: str) -> list[float | None]:
    if "_" in line or " " in line:  # what Python alone takes for a number
        return []
    with suppress(ValueError):
        return [float(cell) if cell else None for cell in line.split(",")]
    return []


def pack_csv_files(paths: Sequence[Path], out: IO[bytes]) -> None:
    """Write the polls of all meters as a Parquet file, holding a piece of each at a time."""
    names = [name for path in paths for name in read_csv_names(path)]
    _write_parquet(names, heapq.merge(*map(_iterate_groups, paths), key=itemgetter(0)), out)


def _iterate_groups(path: Path) -> Iterator[Group]:
    with open_file(path) as stream:
        names = _read_names(stream)
        for block in _read_blocks(stream, len(names) + 1, range(len(names) + 1)):
            for first in range(0, len(block), _GROUP):
                times, *values = block[first : first + _GROUP].T
                yield from (
                    (times[0], name, times, v) for name, v in zip(names, values, strict=True)
                )


def parquet_from_polls(polls: Sequence[Polls]) -> bytes:
    """The channels as a Parquet file."""
    groups = (
        (times[first], name, times[first : first + _GROUP], values[first : first + _GROUP])
        for name, times, values in polls
        for first in range(0, len(times), _GROUP)
    )
    out = io.BytesIO()
    _write_parquet([name for name, _, _ in polls], sorted(groups, key=itemgetter(0)), out)
    return out.getvalue()


def _write_parquet(names: Sequence[str], groups: Iterable[Group], out: IO[bytes]) -> None:
    nothing = pa.nulls(len(names), pa.float64())
    with _open_writer(out) as writer:
        writer.write_table(pa.table([pa.array(names, pa.string()), nothing, nothing], COLUMNS))
        for _, name, times, values in groups:
            numbers = (pa.array(as_array(each), from_pandas=True) for each in (times, values))
            writer.write_table(pa.table([pa.repeat(name, len(times)), *numbers], COLUMNS))


def _open_writer(out: IO[bytes]) -> pq.ParquetWriter:
    """Times are most of a trace, and pack best byte by byte."""
    return pq.ParquetWriter(
        out,
        pa.schema(zip(COLUMNS, _get_types(), strict=True)),
        compression="zstd",
        use_dictionary=COLUMNS[:1],
        column_encoding={COLUMNS[1]: "BYTE_STREAM_SPLIT"},
    )


def repack_parquet(path: Path) -> bytes:
    """The same groups of polls as they are written today; earlier versions took more bytes.

    Raises:
        UsageError: The file is damaged.
    """
    out = io.BytesIO()
    with _opened(path) as file, _open_writer(out) as writer:
        for i in range(file.num_row_groups):
            writer.write_table(file.read_row_group(i))
    return out.getvalue()


def read_parquet_names(path: Path) -> list[str]:
    """The channels of a file, in their order.

    Raises:
        UsageError: The file is damaged.
    """
    with _opened(path) as file:
        groups = (file.read_row_group(i, COLUMNS[:1]) for i in range(file.num_row_groups))
        names = [name for group in groups for name in group["channel"].unique().to_pylist()]
    return list(dict.fromkeys(names))


def read_parquet_polls(path: Path, names: Collection[str] | None = None) -> list[Polls]:
    """The channels of these names, or every one, in their order; no other is read.

    Raises:
        UsageError: The file is damaged.
    """
    parts: defaultdict[str, list[tuple[Floats, Floats]]] = defaultdict(list)
    with _opened(path) as file:
        for name, times, values in _iterate_parquet(file, names):
            parts[name].append((times, values))
    polls = list[Polls]()
    for name, own in parts.items():
        times, values = map(np.concatenate, zip(*own, strict=True))
        is_later = _find_rising(times)
        polls.append((name, to_floats(times[is_later]), PollValues(to_floats(values[is_later]))))
        own.clear()
    return polls


def require_parquet_polls(path: Path) -> None:
    """Raise ``UsageError`` where ``read_parquet_polls`` would."""
    with _opened(path) as file:
        for _ in _iterate_parquet(file):
            pass


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with path.open("rb") as stream:  # a name that is not UTF-8 is more than pyarrow takes
            yield pq.ParquetFile(stream)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{path} is damaged ({reason}). Restore it from a copy, or repeat the run."
        ) from error


def _iterate_parquet(
    file: pq.ParquetFile, names: Collection[str] | None = None
) -> Iterator[tuple[str, Floats, Floats]]:
    """The channels of each row group that may hold one of these names, or of every one."""
    schema = file.schema_arrow
    types = [schema.field(name).type for name in COLUMNS if name in schema.names]
    lists = pa.list_(pa.float64())
    if types not in (_get_types(), [pa.string(), lists, lists]):
        raise ValueError("it has other columns than traces have")
    split = _split_rows if types == _get_types() else _split_lists
    for i in range(file.num_row_groups):
        if names is None or not _is_of_others(file.metadata.row_group(i).column(0), names):
            table = file.read_row_group(i, COLUMNS, use_threads=False)
            yield from (each for each in split(table) if names is None or each[0] in names)


def _is_of_others(column: Any, names: Collection[str]) -> bool:
    """Whether a row group is of one channel, and of none of these."""
    statistics = column.statistics if column.path_in_schema == COLUMNS[0] else None
    return bool(
        statistics
        and statistics.has_min_max
        and statistics.min == statistics.max
        and statistics.min not in names
    )


def _split_rows(table: pa.Table) -> Iterator[tuple[str, Floats, Floats]]:
    channel, times, values = (column.combine_chunks() for column in table.columns)
    is_timed = times.is_valid().to_numpy(zero_copy_only=False)
    if channel.null_count or values.filter(times.is_null()).null_count < times.null_count:
        raise ValueError("a channel has other times than values")
    times, values = (each.to_numpy(zero_copy_only=False) for each in (times, values))
    _require_times(times[is_timed])
    coded = channel.dictionary_encode()
    codes = coded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(coded.dictionary))).tolist()
    for name, start, end in zip(coded.dictionary.to_pylist(), [0, *ends], ends, strict=False):
        own = order[start:end]
        own = own[is_timed[own]]
        yield name, times[own], values[own]


def _split_lists(table: pa.Table) -> Iterator[tuple[str, Floats, Floats]]:
    for name, *series in zip(*(column for column in table.columns), strict=True):
        times, values = (each.values for each in series)
        is_whole = name.is_valid and times is not None and values is not None
        if not is_whole or times.null_count or len(times) != len(values):
            raise ValueError("a channel has other times than values")
        _require_times(times.to_numpy())
        yield name.as_py(), times.to_numpy(), values.to_numpy(zero_copy_only=False)


def _require_times(times: Floats) -> None:
    if not np.isfinite(times).all():
        raise ValueError("a time is no number")


def _get_types() -> list[pa.DataType]:
    return [pa.string(), pa.float64(), pa.float64()]
