"""The formats of a bundle's tables and documents, as they are embedded in it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from wbcbench import table
from wbcbench.bundle import document, layout
from wbcbench.bundle.study import SubmittedStudy
from wbcbench.core.files import write_whole
from wbcbench.core.record import RunRecord
from wbcbench.study.experiment import SCHEMA_DIALECT

_TABLE_DIALECT = "https://specs.frictionlessdata.io/schemas/table-schema.json"
_TYPES = {
    "str": "string",
    "enum": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "datetime": "datetime",
}


def write_schemas(study: SubmittedStudy) -> None:
    """Write the schemas of ``submission.json``, of records and of the results table."""
    files = {
        study.payload / layout.SUBMISSION_SCHEMA: submission_schema(),
        study.payload / layout.RECORD_SCHEMA: record_schema(),
        study.folder / layout.RUNS_SCHEMA: runs_schema(),
    }
    for path, schema in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False)
        write_whole(path, (text + "\n").encode())


def submission_schema() -> dict[str, Any]:
    """JSON Schema of ``submission.json``."""
    return {"$schema": SCHEMA_DIALECT, **document.json_schema()}


def record_schema() -> dict[str, Any]:
    """JSON Schema of ``record.json``."""
    return {"$schema": SCHEMA_DIALECT, **TypeAdapter(RunRecord).json_schema()}


def runs_schema() -> dict[str, Any]:
    """Table Schema of ``runs.csv``: every column, what it means, and whether it may be empty."""
    fields = [
        {
            "name": column.name,
            "type": _TYPES[column.type],
            "description": column.meaning,
            "constraints": {"required": not column.null},
        }
        for column in table.COLUMNS
    ]
    return {"$schema": _TABLE_DIALECT, "fields": fields, "missingValues": [""]}
