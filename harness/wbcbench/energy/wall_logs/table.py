"""Tables of any maker: the lines between a header block and a summary that have one width.

The header is found by structure, not by brand: the line above the first of many lines with as many
cells, in which the same columns are numbers or times throughout.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest

from wbcbench.core.text import count_of
from wbcbench.energy.wall_logs.formats import LogTable
from wbcbench.energy.wall_logs.numbers import is_blank, split_unit
from wbcbench.energy.wall_logs.times import classify, classify_all
from wbcbench.energy.wall_logs.vocabulary import ColumnName, is_unit, quote

_SAMPLE, _LONGEST_LINE = 400, 100_000
_TAIL = 20  # lines after the last reading that are a summary, and no damaged log
_ABOVE = 12  # rows above the first reading in which the header is looked for

Rows = Sequence[list[str]]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a table lies among the rows of a file.

    Attributes:
        delimiter: Between cells; a space for any white space.
        width: Cells of a row.
        first: Index of the first reading.
        key: The first column that holds a number or a time in every reading.
        names: Of the columns.
        score: How well the rows fit: with a header, many, and without odd cells.
    """

    delimiter: str
    width: int
    first: int
    key: int
    names: tuple[str, ...]
    score: tuple[bool, int, float]


def parse_table(text: str) -> LogTable:
    """The readings of a table.

    Raises:
        ValueError: No delimiter makes a table of it, or a row differs from the others.
    """
    lines = [line for line in re.split(r"\r\n|\n|\r", text.rstrip("\x1a")) if line.strip()]
    if any(len(line) > _LONGEST_LINE for line in lines):
        raise ValueError("it has a line of more than 100,000 characters")
    layouts = list[_Layout]()
    for marks in (",;\t", "| "):
        for mark in marks if not layouts else "":
            with suppress(csv.Error):
                layouts += _find_layouts(_split(lines[:_SAMPLE], mark), mark)
    if not layouts:
        raise ValueError(
            "it has no rows with a time and a number. A log needs a header, e.g. time,power_w, "
            "and one reading a line, with a time like 2026-11-28 21:40:00 or epoch seconds"
        )
    layout = max(layouts, key=lambda layout: layout.score)
    if len(layout.names) < layout.width:
        cells = f"{layout.width} cells where the header has {len(layout.names)}"
        raise ValueError(f"reading 1 has {cells}")
    try:
        rows = _split(lines, layout.delimiter, is_strict=True)
    except csv.Error as error:
        raise ValueError(f"it is not a table: {error}") from error
    good, notes = _select_readings(rows, layout)
    columns = tuple(list[str | None](cells) for cells in zip_longest(*good, fillvalue=""))
    width = min(len(layout.names), len(columns))
    above = [row for row in rows[: layout.first] if len(row) < 3 or row[0][:1] == "#"]
    preamble = tuple(" ".join(row).lstrip("# ") for row in above)
    names, columns = layout.names[:width], columns[:width]
    return LogTable("table", names, columns, layout.delimiter, notes=notes, preamble=preamble)


def _split(lines: Sequence[str], delimiter: str, *, is_strict: bool = False) -> Rows:
    """Cells of each line, without the empty one that a delimiter at its end makes."""
    if delimiter == " ":
        lines = [" ".join(line.split()) for line in lines]
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=is_strict)
    rows = [[cell.strip() for cell in row] for row in reader]
    if len(rows) != len(lines):
        raise csv.Error("a quoted cell runs over several lines")
    return [row[:-1] if len(row) > 2 and not row[-1] else row for row in rows]


def _find_layouts(rows: Rows, delimiter: str) -> list[_Layout]:
    """The one table that this delimiter makes of the first rows, or none."""
    marks = [[*map(_is_value, row)] for row in rows]
    widths = Counter(len(row) for row, mark in zip(rows, marks, strict=True) if sum(mark) > 1)
    for width, _ in widths.most_common(3):
        alike = [i for i, row in enumerate(rows) if len(row) == width]
        dense = [c for c in range(width) if sum(marks[i][c] for i in alike) >= 0.5 * len(alike)]
        readings = [
            i
            for i in alike
            if any(marks[i][c] for c in dense)
            and all(marks[i][c] or is_blank(rows[i][c]) for c in dense)
        ]
        if len(dense) < 2 or not any(classify(rows[i][c]) for i in readings[:1] for c in dense):
            continue
        first = readings[0]
        while first > 0 and len(rows[first - 1]) == width and marks[first - 1][dense[0]]:
            first -= 1  # a reading that is none has its place all the same
        names = _find_names(rows[:first], width)
        clean = sum(sum(marks[i]) for i in readings) / (width * len(readings))
        score = (names is not None, len(readings), clean)
        return [_Layout(delimiter, width, first, dense[0], names or ("",) * width, score)]
    return []


def _is_value(cell: str) -> bool:
    return bool(cell) and (split_unit(cell) is not None or bool(classify(cell)))


def _find_names(above: Rows, width: int) -> tuple[str, ...] | None:
    """The names in the row above the first reading, with units of a row between them."""
    units, headers = list[str](), list[list[str]]()
    for row in above[: -_ABOVE - 1 : -1]:
        if abs(len(row) - width) > 1 or len(row) < 2:
            continue
        cells = [cell.strip(" []()") for cell in row]
        named = [cell for cell in cells if cell.strip("#")]
        is_units = 0 < len(named) <= 2 * sum(map(is_unit, named)) and not _has_time(named)
        if is_units and not units and not headers:
            units = cells
        elif not all(map(_is_value, named)) and not any(map(_is_date, named)):
            headers.append([cell.lstrip("#").strip() for cell in row])
    for header in sorted(headers, key=_has_time, reverse=True):
        return tuple(
            f"{name} ({unit})" if unit.strip("-") and not ColumnName.from_text(name).unit else name
            for name, unit in zip_longest(header, units[: len(header)], fillvalue="")
        )
    return None


def _is_date(cell: str) -> bool:
    return classify(cell) in {"moment", "date", "clock"}


def _has_time(cells: Sequence[str]) -> bool:
    return any(ColumnName.from_text(cell).is_time for cell in cells)


def _is_header(row: Sequence[str]) -> bool:
    """Whether a row names a time and what is measured, and holds nothing."""
    is_named = _has_time(row) and any(ColumnName.from_text(cell).kind for cell in row)
    return is_named and not any(map(_is_value, row))


def _select_readings(rows: Rows, layout: _Layout) -> tuple[Rows, tuple[str, ...]]:
    """The rows of readings, without repeated headers, comments and a summary at the end."""
    above, below = rows[: layout.first], rows[layout.first :]
    known = {tuple(row) for row in above}
    others = [row for row in below if tuple(row) not in known]
    good = [row for row in others if row[0][:1] != "#" and (any(row[1:]) or classify(row[0]))]
    cells = [row[layout.key] if len(row) > layout.key else "" for row in good]
    alike = {classify_all(cells), "moment"}
    last = next((i for i in range(len(cells), 0, -1) if classify(cells[i - 1]) in alike), 0)
    tail = good[last:] if len(good) - last <= _TAIL else []
    good = good[: len(good) - len(tail)]
    for number, row in enumerate(good, start=1):
        if number > 1 and _is_header(row):
            raise ValueError(
                f"its columns change at reading {number}, where it has the header "
                f"{quote(','.join(row))}. Cut the log there, and attach the part of the run"
            )
        if any(row[len(layout.names) :]):
            raise ValueError(
                f"reading {number} has {len(row)} cells where the header has {len(layout.names)}"
            )
    notes = list[str]()
    if repeated := len(below) - len(others):
        notes.append(f"{count_of(repeated, 'repeated header line')} left out.")
    if bare := len(others) - len(good):
        example = f", e.g. {quote(' '.join(tail[0]))}" if tail else ""
        notes.append(f"{count_of(bare, 'line')} without a reading left out{example}.")
    return good, tuple(notes)
