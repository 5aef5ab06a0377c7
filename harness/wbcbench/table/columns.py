"""The columns of the results table, as ``columns.toml`` beside this file describes them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

Cell = str | int | float | bool | None
Type = Literal["str", "enum", "int", "float", "bool", "datetime"]

JOB = ("node", "job_id", "cpu_share")
"""Columns that a table has only where a run was a job; any other stays, with its digest, as before.
"""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: As in ``runs.csv``, unit suffix last.
        group: Title of the group it belongs to.
        type: What its cells hold.
        meaning: One line for readers.
        unit: Of a number; empty where it has none.
        empty_when: When a cell may be empty, i.e. unknown; empty text = never.
        value: Expression that gives the cell of a run; empty where ``formula`` gives it.
        formula: How the cell is computed, for ``wbcbench explain``; empty for what is only read.
            Names in braces are columns or terms; E(w) is the energy of window w.
    """

    name: str
    group: str
    type: Type
    meaning: str
    unit: str = ""
    empty_when: str = ""
    value: str = ""
    formula: str = ""


@cache
def load_columns() -> Mapping[str, Column]:
    """Every column by name, in the order of the table."""
    return {
        name: Column(name, group["title"], **settings)
        for group in _load_file()["group"]
        for name, settings in group["columns"].items()
    }


@cache
def load_expressions() -> Mapping[str, str]:
    """Column or term → the expression that gives its value."""
    terms: dict[str, str] = _load_file()["terms"]
    return terms | {c.name: c.value or c.formula for c in load_columns().values()}


def load_record_fields() -> Mapping[str, list[str]]:
    """Name in an expression → the fields of the record that its value is computed from."""
    fields: dict[str, list[str]] = _load_file()["fields"]
    return fields


def find_way_out(column: Column) -> str:
    """What to do about an empty cell; empty for a column that is never empty."""
    ways: dict[str, str] = _load_file()["ways_out"]
    text = column.empty_when
    return ways.get(re.split("[;:]", text)[0], "")


@cache
def _load_file() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
