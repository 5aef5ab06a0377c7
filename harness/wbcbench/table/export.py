"""The results table as a file for others, and its description for readers.

What is written unrounded (CSV, Parquet, JSON) reads back as the same columns, types and numbers.
What is not finite is unknown. Text that a spreadsheet would run as a formula is made harmless (see
``core.text``).
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.text import (
    UNKNOWN,
    csv_cell,
    finite_or_none,
    human_duration,
    human_energy,
    human_power,
    human_share,
    latex_table,
    markdown_table,
    printable,
)
from wbcbench.table.columns import Cell, Column, load_columns

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "wbcbench.export/2"

SUMMARY = (
    "variant",
    "block",
    "seed",
    "status",
    "accuracy",
    "balanced_accuracy",
    "accuracy_leakage_free",
    "primary_energy_train_j",
    "primary_status",
    "time_train_s",
    "energy_to_target_j",
)
"""What LaTeX and Markdown show unless columns are named: all of them fit no page."""

Rows = Sequence[Mapping[str, Cell]]

_PANDAS = {"int": "Int64", "float": "Float64", "bool": "boolean"}

ROUNDED = ("latex", "md")

INTRODUCTION = """\
# The results table: `results/<study>/runs.csv`

One row a run, rebuilt from the records after every run; failed and interrupted runs stay in it.
Rules: an empty cell is *unknown*, never zero; booleans are `true` and `false`; floats are written
so that reading them gives the same number; times of day are UTC in ISO 8601. Units stand last in
the name: `_j` joules, `_w` watts, `_s` seconds, `_ms` milliseconds, `_js` joule-seconds, `_g`
grams of CO2 equivalent, `_c` degrees Celsius, `_mhz` megahertz, `_bytes`, `_pct` per cent. Rows
are sorted by `variant`, `block`, `run_id`. A new column at the end of a group raises the minor
version in `schema_version`; a renamed one raises the major version. Where no run was a job of a
cluster, `node`, `job_id` and `cpu_share` are left out.

Every energy has a status. *measured*: from a sensor of that component. *estimated*: no sensor of
that component, from a model. *simulated*: from the demonstration sensor. *absent*: nothing read it.
The *primary energy metric* is the energy of training that comparisons use: of the GPU, else of the
processor, else of the whole machine, from its most trusted reading. Columns named `energy_gpu_…`
hold GPU channels alone. *As measured* means that idle power is not subtracted.

The columns of this page are written by `python -m wbcbench.table.export harness/RESULTS_TABLE.md`,
its last part by `tests/benchmarks/bench_scale.py`.
"""

SCALE = "\n## What a study of many runs costs"
"""Where the part of the page begins that is not written here."""


def select_columns(names: Sequence[str]) -> tuple[Column, ...]:
    """The columns of these names; all for none.

    Raises:
        UsageError: There is no such column, or one is named twice.
    """
    columns = load_columns()
    for place, name in enumerate(names):
        if name not in columns:
            raise unknown_name("column", name, columns)
        if name in names[:place]:
            raise UsageError(f"The column '{name}' is named twice. Name each column once.")
    return tuple(columns[name] for name in names or columns)


def to_csv(rows: Rows, columns: Sequence[Column]) -> bytes:
    """UTF-8 with one header line; floats as Python writes them, unknown empty."""
    lines = [[column.name for column in columns]]
    lines += [[csv_cell(row[column.name]) for column in columns] for row in rows]
    return "".join(f"{','.join(line)}\n" for line in lines).encode()


def to_json(rows: Rows, columns: Sequence[Column]) -> bytes:
    """One document: schema, what each column means, and the rows."""
    keys = ("name", "type", "unit", "meaning")
    document = {
        "schema": SCHEMA,
        "columns": [{key: getattr(column, key) for key in keys} for column in columns],
        "rows": [{c.name: finite_or_none(row[c.name]) for c in columns} for row in rows],
    }
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def to_parquet(rows: Rows, columns: Sequence[Column]) -> bytes:
    """Typed columns, also where they are empty; equal rows give equal bytes."""
    out = io.BytesIO()
    to_frame(rows, columns).to_parquet(out, engine="pyarrow", compression="zstd", index=False)
    return out.getvalue()


def to_latex(rows: Rows, columns: Sequence[Column]) -> bytes:
    """A ``tabular`` for booktabs; three digits, units scaled."""
    return f"{latex_table([c.name for c in columns], _format_rows(rows, columns))}\n".encode()


def to_markdown(rows: Rows, columns: Sequence[Column]) -> bytes:
    """A pipe table; three digits, units scaled."""
    return f"{markdown_table([c.name for c in columns], _format_rows(rows, columns))}\n".encode()


FORMATS: Mapping[str, Callable[[Rows, Sequence[Column]], bytes]] = {
    "csv": to_csv,
    "parquet": to_parquet,
    "json": to_json,
    "latex": to_latex,
    "md": to_markdown,
}


def to_frame(rows: Rows, columns: Sequence[Column]) -> pd.DataFrame:
    """A data frame in which every column has its type and unknown is NA."""
    import pandas as pd

    cells = [[finite_or_none(row[column.name]) for column in columns] for row in rows]
    names = [column.name for column in columns]
    raw = pd.DataFrame(cells, columns=names, dtype=object)
    return raw.astype({column.name: _PANDAS.get(column.type, "string") for column in columns})


def _format_rows(rows: Rows, columns: Sequence[Column]) -> list[list[str]]:
    return [[_format_cell(row[column.name], column) for column in columns] for row in rows]


def _format_cell(cell: Cell, column: Column) -> str:
    """A cell as people read it."""
    if finite_or_none(cell) is None:
        return UNKNOWN
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if not isinstance(cell, float):
        return printable(str(cell))
    scales = {"J": human_energy, "W": human_power, "s": human_duration}
    if column.unit in scales:
        return scales[column.unit](cell)
    is_share = any(word in column.name for word in ("accuracy", "recall_", "macro_f1", "ece"))
    return human_share(cell) if is_share else f"{cell:.4g}"


def describe_table() -> str:
    """The page for readers in Markdown."""
    groups = groupby(load_columns().values(), key=lambda column: column.group)
    return "\n".join([INTRODUCTION, *(_describe_group(title, list(g)) for title, g in groups)])


def _describe_group(title: str, columns: Sequence[Column]) -> str:
    rows = [
        f"| `{c.name}` | {c.type} | {c.unit} | {c.empty_when or 'never'} | {c.meaning} |"
        for c in columns
    ]
    headings = "| Column | Type | Unit | Empty when | Meaning |\n|---|---|---|---|---|"
    return "\n".join([f"## {title}\n", headings, *rows, ""])


if __name__ == "__main__":
    page = Path(sys.argv[1])
    _, heading, measured = page.read_text(encoding="utf-8").partition(SCALE)
    page.write_text(f"{describe_table()}{heading}{measured}", encoding="utf-8")
