"""An explanation as one JSON document."""

from __future__ import annotations

from dataclasses import asdict

from pydantic_core import to_json

from wbcbench.table.explain import Explanation

SCHEMA = "wbcbench.explain/1"


def document(found: Explanation) -> bytes:
    """What ``wbcbench explain --json`` prints; what is not finite is unknown."""
    column = found.column
    whole = {
        "schema": SCHEMA,
        "run_id": found.run_id,
        "run_dir": found.path,
        "column": {"name": column.name, "type": column.type, "meaning": column.meaning},
        "value": found.value,
        "formula": found.formula,
        "formula_with_values": found.formula_with_values,
        "inputs": found.inputs,
        "fields": found.fields,
        "speakers": [asdict(who) for who in found.speakers],
        "spans": [asdict(window) for window in found.spans],
        "readings": [asdict(reading) for reading in found.readings],
        "again": {
            "state": found.state,
            "value": found.again,
            "sources": found.sources,
            "missing": found.missing,
        },
    }
    return to_json(whole, indent=1, inf_nan_mode="null")
