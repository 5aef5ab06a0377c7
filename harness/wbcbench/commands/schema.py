"""``wbcbench schema NAME``: the JSON Schema of a file format, and the pages made from code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any, Literal

import typer

from wbcbench import registry
from wbcbench.commands import options
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt

Name = Annotated[
    Literal["experiment", "record", "submission"],
    typer.Argument(
        help="experiment: *.toml files; record: record.json; submission: submission.json."
    ),
]


def schema(name: Name) -> None:
    """Print the JSON Schema of experiment files, run records or bundles."""
    from wbcbench.bundle.describe import record_schema, submission_schema

    if name == "experiment":
        options.print_json(_describe_experiment())
    else:
        options.print_json(record_schema() if name == "record" else submission_schema())


def _describe_experiment() -> dict[str, Any]:
    """With the help texts of the command line, which has the same keys as options."""
    from wbcbench.study.experiment import json_schema

    document = json_schema()
    for table in ("Run", "Factors"):
        for key, described in document["$defs"][table]["properties"].items():
            if key in options.HELP:
                described["description"] = options.HELP[key][1]
    return document


# The page that lists every caution and every limit, made from the code.
#
# ``python -m wbcbench.commands.schema > harness/CAUTIONS.md``; a test keeps the two equal.


_HEAD = """\
# Cautions

A caution is a doubt about one run. It is stored with the run's record and shown by the command
line, the results table and the report. Its severity decides the run's verdict:

| Severity | Means | Verdict of the run |
|---|---|---|
| `info` | worth knowing; changes nothing | valid |
| `suspect` | the number may be wrong | suspect, unless another caution is invalid |
| `invalid` | the number must not be used | invalid |

No run is dropped: invalid ones stay in the table with their reasons. A reading *carries the joules
of a part* if no other reading of that part of the machine is more trusted (measured before
estimated); what is only estimated carries them only where nothing has a sensor, and
CodeCarbon only where it stands alone.

This page is made from the code: `python -m wbcbench.commands.schema > harness/CAUTIONS.md`.

## Codes
"""

_LIMITS = """\
## Limits

Every limit at which a doubt begins (`energy/thresholds.py`).

| Limit | Value | Meaning | Source |
|---|---|---|---|"""


def page() -> str:
    """The whole page in Markdown."""
    return "\n".join([_HEAD, *_codes(), _LIMITS, *_limits()]) + "\n"


def doubts() -> list[Doubt]:
    """Every kind of caution, file by file, in the order of the registry."""
    modules = dict.fromkeys(path.split(":")[0] for path in registry.CHECKS.values())
    return [each for name in modules for each in import_module(f"wbcbench.{name}").DOUBTS]


def _codes() -> Iterator[str]:
    for doubt in doubts():
        limits = ", ".join(f"`{name}`" for name in doubt.limits) or "none"
        yield f"### `{doubt.code}`\n"
        yield f"- Severity: {doubt.rule}."
        yield f"- Limits: {limits}."
        yield f"- Advice: {doubt.advice_on()}\n"


def _limits() -> Iterator[str]:
    for each in thresholds.TABLE:
        value = f"{each.value:g}" if each.unit == "1" else f"{each.value:g} {each.unit}"
        yield f"| `{each.name}` | {value} | {each.meaning} | {each.source} |"


if __name__ == "__main__":
    sys.stdout.write(page())
