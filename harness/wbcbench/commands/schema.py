"""``wbcbench schema NAME``: the JSON Schema of a file format, for editors and checkers."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer


class Format(StrEnum):
    """What has a schema."""

    EXPERIMENT = "experiment"
    RECORD = "record"


def schema(
    name: Annotated[Format, typer.Argument(help="experiment: *.toml files; record: record.json.")],
) -> None:
    """Print the JSON Schema of experiment files or of run records."""
    found = _experiment() if name is Format.EXPERIMENT else _record()
    typer.echo(json.dumps(found, indent=1, ensure_ascii=False))


def _experiment() -> dict[str, Any]:
    """With the help texts of the command line, which has the same keys as options."""
    from wbcbench.commands.spec_options import HELP
    from wbcbench.planning.experiment_model import json_schema

    found = json_schema()
    for table in ("Run", "Factors"):
        for key, described in found["$defs"][table]["properties"].items():
            if key in HELP:
                described["description"] = HELP[key][1]
    return found


def _record() -> dict[str, Any]:
    from pydantic import TypeAdapter

    from wbcbench.planning.experiment_model import SCHEMA_DIALECT
    from wbcbench.runs.records import RunRecord

    return {"$schema": SCHEMA_DIALECT, **TypeAdapter(RunRecord).json_schema()}
