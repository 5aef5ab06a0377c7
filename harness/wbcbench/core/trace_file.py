"""Traces on disk: CSV while they grow, Parquet once the run has its record.

A CSV file is one meter's: ``t_s`` and a column a channel, a line a poll, an empty cell for a read
that failed. A Parquet file holds one row a channel, each in a row group of its own:

    channel: string    t_s: list<double>    value: list<double>, null where the read failed

so that one channel is read without the others. Both give the same traces, bit by bit. What a
channel is (kind, origin, part of the machine) stands beside them in ``channels.json``.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Self

from wbcbench.core.errors import UsageError
from wbcbench.core.files import read_file
from wbcbench.core.messages import append_line

if TYPE_CHECKING:
    import pyarrow as pa

Polls = tuple[str, Sequence[float], Sequence[float | None]]
"""Name of a channel, the time of every poll, what each gave."""

Poll = tuple[float, Sequence[float | None]]
"""Seconds, and what each channel of a meter read."""

COLUMNS = ["channel", "t_s", "value"]


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


def read_csv_polls(path: Path) -> list[Polls]:
    """Every channel of one meter's file; a line that was torn or is out of order is left out."""
    lines = read_file(path).decode("ascii", errors="replace").split("\n")
    names = lines[0].split(",")[1:]
    rows = [row for row in map(_parse_line, lines[1:-1]) if len(row) == len(names) + 1]
    times = [row[0] for row in rows if row[0] is not None]
    return [
        (name, *_keep_rising(times, [row[i] for row in rows]))
        for i, name in enumerate(names, start=1)
    ]


def _parse_line(line: str) -> list[float | None]:
    """One poll; an empty cell is a failed read, a torn or damaged line is empty."""
    if "_" in line or " " in line:  # what Python alone takes for a number
        return []
    try:
        cells = [float(cell) if cell else None for cell in line.split(",")]
    except ValueError:
        return []
    cells = [None if cell is None or not math.isfinite(cell) else cell for cell in cells]
    return cells if cells[0] is not None else []


def parquet_from_polls(polls: Sequence[Polls]) -> bytes:
    """The channels as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = zip(*polls, strict=True) if polls else ([], [], [])
    arrays = [pa.array(column, kind) for column, kind in zip(columns, _get_types(), strict=True)]
    out = io.BytesIO()
    pq.write_table(
        pa.table(arrays, names=COLUMNS),
        out,
        row_group_size=1,
        compression="zstd",
        use_dictionary=False,
    )
    return out.getvalue()


def read_parquet_polls(path: Path, names: Collection[str] | None = None) -> list[Polls]:
    """The channels of these names, or every one, in their order; no other is read.

    Raises:
        UsageError: The file is damaged.
    """
    import pyarrow.parquet as pq

    filters = None if names is None else [("channel", "in", list(names))]
    try:
        with path.open("rb") as stream:  # a name that is not UTF-8 is more than pyarrow takes
            return _parse_polls(
                pq.read_table(stream, columns=COLUMNS, filters=filters, use_threads=False)
            )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{path} is damaged ({reason}). Restore it from a copy, or repeat the run."
        ) from error


def _parse_polls(table: pa.Table) -> list[Polls]:
    if table.schema.types != _get_types():
        raise ValueError("it has other columns than traces have")
    polls = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    if any(None in poll or None in poll[1] or len(poll[1]) != len(poll[2]) for poll in polls):
        raise ValueError("a channel has other times than values")
    if not all(math.isfinite(t_s) for _, times, _ in polls for t_s in times):
        raise ValueError("a time is no number")
    return [(name, *_keep_rising(times, values)) for name, times, values in polls]


def _keep_rising(
    times: list[float], values: list[float | None]
) -> tuple[list[float], list[float | None]]:
    """The polls without those that are out of order."""
    if all(earlier < later for earlier, later in pairwise(times)):
        return times, values
    latest = accumulate(times, max, initial=-math.inf)
    places = [
        i for i, (t_s, before_s) in enumerate(zip(times, latest, strict=False)) if t_s > before_s
    ]
    return [times[i] for i in places], [values[i] for i in places]


def _get_types() -> list[pa.DataType]:
    import pyarrow as pa

    return [pa.string(), pa.list_(pa.float64()), pa.list_(pa.float64())]
