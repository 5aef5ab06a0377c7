"""Exported tables, read back as their reader does."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from wbcbench.table.columns import Cell, Column, load_columns
from wbcbench.table.export import select_columns, to_frame


def read_export(path: Path) -> pd.DataFrame:
    """Read back what was exported as CSV, Parquet or JSON."""
    return {".csv": _read_csv, ".json": _read_json, ".parquet": _read_parquet}[path.suffix](path)


def original_text(text: str) -> str:
    """The text that ``core.text.safe_text`` made this from."""
    return text[1:] if re.match(r"''*[=+\-@\t\r\n]", text) else text


def _read_csv(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8", newline="") as stream:
        lines = csv.DictReader(stream)
        columns = select_columns(lines.fieldnames or ())
        rows = [{c.name: _parse_csv(line[c.name], c) for c in columns} for line in lines]
    return to_frame(rows, columns)


def _read_json(path: Path) -> pd.DataFrame:
    document = json.loads(path.read_bytes())
    columns = select_columns([column["name"] for column in document["columns"]])
    return to_frame(document["rows"], columns)


def _read_parquet(path: Path) -> pd.DataFrame:
    raw = pd.read_parquet(path, engine="pyarrow", dtype_backend="numpy_nullable")
    types = to_frame([], tuple(load_columns()[name] for name in raw.columns)).dtypes
    return raw.astype(dict(types))


def _parse_csv(text: str, column: Column) -> Cell:
    is_none = column.name == "warnings"  # which are none, not unknown
    if not text and not is_none and (column.empty_when or column.type not in {"str", "enum"}):
        return None
    readers: Mapping[str, Callable[[str], Cell]] = {
        "int": int,
        "float": float,
        "bool": lambda word: word == "true",
    }
    return readers.get(column.type, original_text)(text)
