"""The tables of a report for papers and for programs: LaTeX for booktabs, and CSV."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from wbcbench.core.files import latex
from wbcbench.core.text import printable, safe_text
from wbcbench.report import DataTable, Report, Value


def tables_tex(report: Report) -> dict[str, bytes]:
    """``tables/<section>-<n>.tex``: one ``tabular`` a file, its caption in a comment."""
    return {f"tables/{name}.tex": _tex(data) for name, data in _tables(report)}


def tables_csv(report: Report) -> dict[str, bytes]:
    """``tables/<section>-<n>.csv``: one line a row; numbers unrounded where the table has them."""
    return {f"tables/{name}.csv": to_csv(data) for name, data in _tables(report)}


def figure_data(report: Report) -> dict[str, bytes]:
    """``figure-data/<figure>.csv``: the numbers behind each picture."""
    return {
        f"figure-data/{figure.name}.csv": to_csv(figure.data)
        for block in report.blocks
        for figure in block.figures
    }


def to_csv(data: DataTable) -> bytes:
    """UTF-8, LF, one header line; no cell is carried out by a spreadsheet."""
    rows: Sequence[Sequence[Value]] = data.values or data.rows
    return _lines([data.headings, *rows])


def rows_csv(rows: Sequence[Mapping[str, Value]]) -> bytes:
    """Rows with their columns' names, unrounded; nothing for no rows."""
    lines: list[Sequence[Value]] = [tuple(rows[0])] if rows else []
    return _lines([*lines, *(tuple(row.values()) for row in rows)])


def _lines(lines: Sequence[Sequence[Value]]) -> bytes:
    return "".join(f"{','.join(map(_cell, line))}\n" for line in lines).encode()


def _tables(report: Report) -> Iterator[tuple[str, DataTable]]:
    for block in report.blocks:
        for number, data in enumerate(block.tables, start=1):
            yield f"{block.key}-{number}", data


def _tex(data: DataTable) -> bytes:
    rows = [[_flat(cell) for cell in row] for row in data.rows]
    text = latex([_flat(heading) for heading in data.headings], rows)
    return f"% {_flat(data.caption)}\n{text}\n".encode()


def _flat(text: str) -> str:
    """Text on one line and without control characters: an empty line would end a table's cell."""
    return " ".join(printable(text).split())


def _cell(cell: Value) -> str:
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str):
        # A number needs no plus, and a cell that begins with one may be taken for a formula.
        return _quoted(cell.removeprefix("+") if _is_number(cell) else safe_text(cell))
    return repr(cell)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and text.isascii() and text == text.strip()
    except ValueError:
        return False


def _quoted(text: str) -> str:
    if any(mark in text for mark in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text
