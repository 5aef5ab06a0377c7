"""What a column of the results table is; the columns themselves are in ``table.columns_*``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from wbcbench.table.view import Run

Cell = str | int | float | bool | None
Type = Literal["str", "enum", "int", "float", "bool", "datetime"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: As in ``runs.csv``, unit suffix last.
        type: What its cells hold.
        null: When a cell may be empty, i.e. unknown; empty text = never.
        meaning: One line for people.
        value: The cell of one run; ``None`` is unknown and becomes an empty cell.
        formula: How the cell is worked out, for ``wbcbench explain``; empty for what is only read.
            Names in braces are columns or terms, whose values are put in; E(w) are the joules of
            window w.
        terms: Numbers of the formula that have no column of their own, by name.
    """

    name: str
    type: Type
    null: str
    meaning: str
    value: Callable[[Run], Cell]
    formula: str = ""
    terms: Mapping[str, Callable[[Run], Cell]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ColumnGroup:
    """Columns that belong together, in their order."""

    title: str
    columns: tuple[Column, ...]


def unfilled(name: str, type_: Type, meaning: str) -> Column:
    """A column of the format that no part of this version can fill; it stays empty."""
    null = "always, in this version"
    return Column(name, type_, null, meaning, lambda _: None, "no part of this version fills it")


def from_provenance(name: str, type_: Type, null: str, meaning: str) -> Column:
    """A column that the record's provenance holds under the same name."""
    return Column(name, type_, null, meaning, lambda run: run.fact(name))
