"""What a column of the results table is; the groups of columns stand in the files beside this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from wbcbench.table.view import RunView

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
    """

    name: str
    type: Type
    null: str
    meaning: str
    value: Callable[[RunView], Cell]


@dataclass(frozen=True, slots=True)
class Group:
    """Columns that belong together, in their order."""

    title: str
    columns: tuple[Column, ...]


def unfilled(name: str, type_: Type, meaning: str) -> Column:
    """A column of the format that no part of this version can fill; it stays empty."""
    return Column(name, type_, "always, in this version", meaning, lambda _: None)


def from_provenance(name: str, type_: Type, null: str, meaning: str) -> Column:
    """A column that the record's provenance holds under the same name."""
    return Column(name, type_, null, meaning, lambda run: run.fact(name))
