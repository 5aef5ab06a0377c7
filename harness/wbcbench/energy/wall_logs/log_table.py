"""What every format becomes: columns of cells, as they are written, under their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wbcbench.energy.wall_logs.vocabulary import WORDS, find_unit

Cells = list[str | None]


@dataclass(frozen=True, slots=True)
class LogTable:
    """A log before anything in it is read as a number or a time.

    Attributes:
        format: What the file is, in words.
        names: Of the columns, shape ``[k]``.
        columns: Their cells; ``None`` in a row that has no such cell, shape ``[k][n]``.
        delimiter: Between the cells of a line; empty where there is none.
        decimal: The decimal mark, where the format fixes it.
        date_order: ``mdy`` or the like, where the format fixes it.
        notes: What was left out, as whole sentences.
    """

    format: str
    names: tuple[str, ...]
    columns: tuple[Cells, ...]
    delimiter: str = ""
    decimal: str | None = None
    date_order: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def has_units(self) -> bool:
        """Whether its first row names a unit of power or energy in a cell."""
        words = (cells[0].rpartition(" ")[2] for cells in self.columns if cells and cells[0])
        return any(word[-1:].isalpha() and find_unit(word.lstrip("0123456789.,")) for word in words)


def widen(table: LogTable) -> LogTable:
    """A table with one value a row and its name beside it, as one column a name.

    Home Assistant, InfluxDB and Grafana write so. Columns of one name get their places into it.
    """
    lower = [name.strip().lower() for name in table.names]
    names = tuple(
        f"{name} (column {i + 1})"
        if lower.count(lower[i]) > 1 and name
        else name or f"column {i + 1}"
        for i, name in enumerate(table.names)
    )
    table = replace(table, names=names)
    for value, *keys in WORDS["long"]:
        key_places = [lower.index(key) for key in keys if key in lower]
        if value in lower and key_places:
            units = [i for i in range(len(lower)) if lower[i].endswith("unit_of_measurement")]
            return _pivot(table, lower.index(value), key_places, units)
    return table


def _pivot(table: LogTable, value: int, keys: Sequence[int], units: Sequence[int]) -> LogTable:
    rows = zip(*(table.columns[i] for i in keys), strict=True)
    series = [" ".join(part for part in row if part and part != "value") for row in rows]
    for i in units:  # Home Assistant leaves it out of all rows of an entity but the first
        unit = dict(pair for pair in zip(series, table.columns[i], strict=True) if pair[1])
        series = [f"{key} ({unit[key]})" if key in unit else key for key in series]
    others = [i for i in range(len(table.names)) if i not in {value, *keys, *units}]
    distinct = list(dict.fromkeys(series))[:99]
    cells = table.columns[value]
    pivoted = [
        [c if s == key else None for c, s in zip(cells, series, strict=True)] for key in distinct
    ]
    names = (*(table.names[i] for i in others), *distinct)
    return replace(table, names=names, columns=(*(table.columns[i] for i in others), *pivoted))
