"""``wbcbench schema NAME``: the JSON Schema of a file format, and the pages made from code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer

from wbcbench.commands import options
from wbcbench.energy import thresholds
from wbcbench.energy.warnings import load_warnings

Name = Annotated[
    Literal["experiment", "record", "submission", "card"],
    typer.Argument(
        help="experiment: *.toml files; record: record.json; submission: submission.json; "
        "card: card.json of an acceptance."
    ),
]


def schema(name: Name) -> None:
    """Print the JSON Schema of experiment files, run records, bundles or sensor cards."""
    from wbcbench.bundle.describe import card_schema, record_schema, submission_schema

    make = {
        "experiment": describe_experiment,
        "record": record_schema,
        "submission": submission_schema,
        "card": card_schema,
    }
    options.print_json(make[name]())


def describe_experiment() -> dict[str, Any]:
    """With the help texts of the command line, which has the same keys as options."""
    from wbcbench.study.experiment import json_schema
    from wbcbench.study.limits import describe_limit

    document = json_schema()
    for table in ("Run", "Factors"):
        for key, described in document["$defs"][table]["properties"].items():
            if key in options.HELP:
                limit = describe_limit(key)
                help_text = options.HELP[key][1]
                is_said = limit.removeprefix("must be ") in help_text
                described["description"] = help_text if is_said else f"{help_text} It {limit}."
    return document


# The page that lists every warning and every limit, made from the code.
#
# ``python -m wbcbench.commands.schema > harness/WARNINGS.md``; a test keeps the two equal.


_HEAD = """\
# Warnings

A warning is stored with a run's record and shown by the command line, the results table and the
report. The worst severity decides the quality of the run:

| Severity | Means | Quality of the run |
|---|---|---|
| `info` | good to know; changes nothing | valid |
| `suspect` | the number may be wrong | suspect, unless another warning is invalid |
| `invalid` | the number must not be used | invalid |

No run is dropped: invalid ones stay in the table with their warnings. The *measured window* is
`train` in a run; outside one it is the command or the block that was measured. A reading *counts*
if no other reading of that component is more trusted (measured before estimated); an estimate
counts only where nothing has a sensor, and CodeCarbon only where no other meter is as trusted.

This page is made from `energy/warnings.toml` and `energy/thresholds.py`:
`python -m wbcbench.commands.schema > harness/WARNINGS.md`.

## Codes
"""

_LIMITS = """\
## Limits

Every limit at which a warning begins.

| Limit | Value | Meaning | Source |
|---|---|---|---|"""


def page() -> str:
    """The whole page in Markdown."""
    return "\n".join([_HEAD, *_codes(), _LIMITS, *_limits()]) + "\n"


def _codes() -> Iterator[str]:
    for kind in load_warnings().values():
        yield f"### `{kind.code}`\n"
        yield f"{kind.meaning}\n"
        severities = ", ".join(f"`{severity}`" for severity in kind.severities)
        yield f"- Severity: {severities}{' – ' if kind.when else ''}{kind.when}"
        if kind.limits:
            yield f"- Limits: {', '.join(f'`{name}`' for name in kind.limits)}"
        yield f"- Advice: {kind.advice}\n"


def _limits() -> Iterator[str]:
    for row in thresholds.TABLE:
        value = f"{row.value:g}" if row.unit == "1" else f"{row.value:g} {row.unit}"
        yield f"| `{row.name}` | {value} | {row.meaning} | {row.source} |"


if __name__ == "__main__":
    sys.stdout.write(page())
