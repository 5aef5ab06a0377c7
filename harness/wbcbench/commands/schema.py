"""``wbcbench schema NAME``: the JSON Schema of a file format, for editors and checkers."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer


class SchemaName(StrEnum):
    """What has a schema."""

    EXPERIMENT = "experiment"
    RECORD = "record"
    SUBMISSION = "submission"


def schema(
    name: Annotated[
        SchemaName,
        typer.Argument(
            help="experiment: *.toml files; record: record.json; submission: submission.json."
        ),
    ],
) -> None:
    """Print the JSON Schema of experiment files, of run records or of a bundle's document."""
    made = {
        SchemaName.EXPERIMENT: _experiment,
        SchemaName.RECORD: _record,
        SchemaName.SUBMISSION: _submission,
    }
    typer.echo(json.dumps(made[name](), indent=1, ensure_ascii=False))


def _experiment() -> dict[str, Any]:
    """With the help texts of the command line, which has the same keys as options."""
    from wbcbench.commands.spec_options import HELP
    from wbcbench.study.experiment import json_schema

    found = json_schema()
    for table in ("Run", "Factors"):
        for key, described in found["$defs"][table]["properties"].items():
            if key in HELP:
                described["description"] = HELP[key][1]
    return found


def _record() -> dict[str, Any]:
    from wbcbench.bundle.describe import record_schema

    return record_schema()


def _submission() -> dict[str, Any]:
    from wbcbench.bundle.describe import submission_schema

    return submission_schema()
