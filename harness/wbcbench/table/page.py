"""The table's description for readers, made from the columns themselves."""

from __future__ import annotations

from wbcbench.table import GROUPS
from wbcbench.table.column import Column, ColumnGroup

INTRODUCTION = """\
# The results table: `results/<study>/runs.csv`

One row a run, rebuilt from the records after every run; failed and interrupted runs stay in it.
Rules: an empty cell is *unknown*, never zero; booleans are `true` and `false`; floats are written
so that reading them gives the same number; times of day are UTC in ISO 8601. Units stand last in
the name: `_j` joules, `_w` watts, `_s` seconds, `_ms` milliseconds, `_js` joule-seconds, `_g`
grams of CO2 equivalent, `_c` degrees Celsius, `_mhz` megahertz, `_bytes`, `_pct` per cent. Rows
are sorted by `variant`, `block`, `run_id`. A new column at the end of a group raises the minor
version in `schema_version`; a renamed one raises the major version.

Every joule has a status. *measured*: from a sensor of that part. *estimated*: from a sensor of
something else. *modelled*: from a model without a sensor. *synthetic*: a made-up signal. *absent*:
nothing read it. The *headline* is the most trusted reading of the part that matters most: the GPU,
else the processor, else the whole machine. Columns named `energy_gpu_…` hold GPU channels alone.

This page is written by `python -m wbcbench.table.page > harness/RESULTS_TABLE.md`.
"""


def page() -> str:
    """The whole page in Markdown."""
    return "\n".join([INTRODUCTION, *(_section(group) for group in GROUPS)])


def _section(group: ColumnGroup) -> str:
    lines = [
        f"## {group.title}",
        "",
        "| Column | Type | Empty when | Meaning |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_line(column) for column in group.columns), ""])


def _line(column: Column) -> str:
    return f"| `{column.name}` | {column.type} | {column.null or 'never'} | {column.meaning} |"


if __name__ == "__main__":
    print(page(), end="")
