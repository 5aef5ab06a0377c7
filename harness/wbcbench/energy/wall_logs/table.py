"""Tables of any maker: the lines between a header block and a summary that have one width.

The header is found by structure, not by brand: the line above the first of many lines with as many
cells, in which the same columns are numbers or times throughout.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wbcbench.core.text import count_of
from wbcbench.energy.wall_logs.log_table import LogTable
from wbcbench.energy.wall_logs.numbers import is_blank, split_unit
from wbcbench.energy.wall_logs.times import classify, classify_all
from wbcbench.energy.wall_logs.vocabulary import ColumnName, is_unit, quote

_SAMPLE, _MOST_COLUMNS, _LONGEST_LINE = 400, 2000, 100_000
_TAIL = 20  # lines after the last reading that are a summary, and no damaged log
_ABOVE = 12  # rows above the first reading in which the header is looked for

Rows = list[list[str]]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a table lies among the rows of a file.

    Attributes:
        delimiter: Between cells; a space for any white space.
        width: Cells of a row.
        first: Index of the first reading.
        header: Index of the row of names; ``None`` if there is none.
        units: Index of a row of units below it.
        score: How well the rows fit: with a header, many, and without odd cells.
    """

    delimiter: str
    width: int
    first: int
    header: int | None
    units: int | None
    score: tuple[bool, int, float]


def parse_table(text: str) -> LogTable:
    """The readings of a table.

    Raises:
        ValueError: No delimiter makes a table of it, or a row differs from the others.
    """
    lines = [line for line in re.split(r"\r\n|\n|\r", text.rstrip("\x1a")) if line.strip()]
    if any(len(line) > _LONGEST_LINE for line in lines):
        raise ValueError("it has a line of more than 100,000 characters")
    sample = lines[:_SAMPLE]
    layouts = [layout for mark in ",;\t" if (layout := _find_layout(sample, mark))]
    layouts = layouts or [layout for mark in "| " if (layout := _find_layout(sample, mark))]
    if not layouts:
        raise ValueError(
            "it has no rows with a time and a number. A log needs a header, e.g. time,power_w, "
            "and one reading a line"
        )
    layout = max(layouts, key=lambda layout: layout.score)
    names = _name_columns(_split(sample, layout.delimiter), layout)
    known = {tuple(_trim(row)) for row in _split(sample[: layout.first], layout.delimiter)}
    rows = _read_rows(lines[layout.first :], layout.delimiter)
    good, notes = _select_readings(rows, known, len(names))
    columns = tuple(map(list, zip(*good, strict=True)))
    width = min(len(names), len(columns))
    return LogTable("table", names[:width], columns[:width], layout.delimiter, notes=notes)


def _read_rows(lines: Sequence[str], delimiter: str) -> list[tuple[str, ...]]:
    """All rows, filled up to the widest of them with empty cells."""
    import pandas as pd

    widest = max(len(line.split(None if delimiter == " " else delimiter)) for line in lines)
    if widest > _MOST_COLUMNS:
        raise ValueError(f"it has a line of {widest} cells")
    try:
        frame = pd.read_csv(
            io.StringIO("\n".join(lines)),
            sep=r"\s+" if delimiter == " " else delimiter,
            header=None, names=range(widest), index_col=False, dtype=str, keep_default_na=False,
        )  # fmt: skip
    except pd.errors.ParserError as error:
        raise ValueError(f"it is not a table: {str(error).strip()[-60:]}") from error
    return list(zip(*(frame[c].str.strip().tolist() for c in frame), strict=True))


def _split(lines: Sequence[str], delimiter: str) -> Rows:
    if delimiter == " ":
        lines = [" ".join(line.split()) for line in lines]
    try:
        return list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise ValueError(f"it is not a table: {error}") from error


def _find_layout(lines: Sequence[str], delimiter: str) -> _Layout | None:
    """The table that this delimiter makes of the first lines; ``None`` if none."""
    rows = [_trim(row) for row in _split(lines, delimiter)]
    if len(rows) != len(lines):
        return None  # a quoted cell over several lines
    marks = [[bool(_is_value(cell)) for cell in row] for row in rows]
    widths = Counter(
        len(row) for row, is_value in zip(rows, marks, strict=True) if sum(is_value) > 1
    )
    for width, _ in widths.most_common(3):
        if not 1 < width <= _MOST_COLUMNS:
            continue
        alike = [i for i, row in enumerate(rows) if len(row) == width]
        dense = [c for c in range(width) if sum(marks[i][c] for i in alike) >= 0.5 * len(alike)]
        readings = [
            i
            for i in alike
            if all(marks[i][c] or is_blank(rows[i][c]) for c in dense)
            and any(marks[i][c] for c in dense)
        ]
        kinds = {classify(rows[readings[0]][c]) for c in dense} if readings else set()
        if len(dense) < 2 or not readings or kinds == {""}:
            continue
        first = readings[0]
        while first > 0 and len(rows[first - 1]) == width and marks[first - 1][dense[0]]:
            first -= 1  # a reading that is none has its place all the same
        header, units = _find_header(rows, first, width)
        odd = sum(not _is_value(cell) for i in readings for cell in rows[i])
        clean = 1 - odd / (width * len(readings))
        return _Layout(
            delimiter, width, first, header, units, (header is not None, len(readings), clean)
        )
    return None


def _trim(row: list[str]) -> list[str]:
    """A row without the empty cell that a delimiter at its end makes."""
    return row[:-1] if len(row) > 2 and not row[-1].strip() else row


def _is_value(cell: str) -> bool:
    text = cell.strip()
    return bool(text) and (split_unit(text) is not None or bool(classify(text)))


def _find_header(rows: Rows, first: int, width: int) -> tuple[int | None, int | None]:
    """The row of names above the first reading, and that of units."""
    units = None
    candidates = list[int]()
    for i in range(first - 1, max(first - _ABOVE, -1), -1):
        if abs(len(rows[i]) - width) > 1 or len(rows[i]) < 2:
            continue
        cells = [cell.strip(" []()") for cell in rows[i] if cell.strip(" #")]
        has_time = any(ColumnName.from_text(cell).is_time for cell in cells)
        is_units = 0 < len(cells) <= 2 * sum(map(is_unit, cells)) and not has_time
        if is_units and units is None and not candidates:
            units = i
        elif not all(map(_is_value, cells)):
            candidates.append(i)
    named = [i for i in candidates if any(ColumnName.from_text(cell).is_time for cell in rows[i])]
    return next(iter(named or candidates), None), units


def _name_columns(rows: Rows, layout: _Layout) -> tuple[str, ...]:
    if layout.header is None:
        return ("",) * layout.width
    names = [cell.strip().lstrip("#").strip() for cell in _trim(rows[layout.header])]
    if len(names) < layout.width:
        raise ValueError(f"reading 1 has {layout.width} cells where the header has {len(names)}")
    units = [] if layout.units is None else [cell.strip(" []()") for cell in rows[layout.units]]
    return tuple(
        f"{name} ({unit})" if is_unit(unit) and not ColumnName.from_text(name).unit else name
        for name, unit in zip(names, units + [""] * len(names), strict=False)
    )


def _select_readings(
    rows: Sequence[tuple[str, ...]], known: set[tuple[str, ...]], width: int
) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """The rows of readings, without repeated headers, comments and a summary at the end."""
    good, repeated, bare = list[tuple[str, ...]](), 0, 0
    for row in rows:
        if row[:width] in known or row[: width - 1] in known:
            repeated += 1
        elif row[0].startswith("#") or not (any(row[1:]) or classify(row[0])):
            bare += 1
        else:
            good.append(row)
    kinds = [classify_all(cells) for cells in zip(*good[:_SAMPLE], strict=True)]
    at = next((c for c in range(width) if kinds[c:] and kinds[c]), 0)
    alike = {kinds[at], *(["moment"] if kinds[at] == "number" else [])} if kinds else {""}
    last = next((i for i in range(len(good), 0, -1) if classify(good[i - 1][at]) in alike), 0)
    tail = good[last:]
    good = good[:last] if len(tail) <= _TAIL else good
    for number, row in enumerate(good, start=1):
        if any(row[width:]):
            cells = max(i + 1 for i, cell in enumerate(row) if cell)
            raise ValueError(f"reading {number} has {cells} cells where the header has {width}")
    notes = list[str]()
    if repeated:
        notes.append(f"{count_of(repeated, 'repeated header line')} left out.")
    if bare + len(tail):
        named = f", e.g. {quote(' '.join(tail[0]).strip())}" if tail else ""
        notes.append(f"{count_of(bare + len(tail), 'line')} without a reading left out{named}.")
    return good, tuple(notes)
