"""JSON: one object a line, with or without an MQTT topic before it, or one array of objects."""

from __future__ import annotations

import json
import re
from typing import Any

from wbcbench.energy.wall_logs.log_table import LogTable
from wbcbench.energy.wall_logs.times import classify

_LINE = re.compile(r"^([^{\[]*?)(\{.*\})\s*,?\s*$")


def parse_json(text: str) -> LogTable | None:
    """Tasmota, Shelly, Home Assistant and what else logs objects; ``None`` if it is no JSON.

    Raises:
        ValueError: It begins like JSON and is not.
    """
    if not re.match(r"\s*(\[\s*[\[{]|[^\s{,;]*[ \t=]*[^{,;\n]*\{\s*\")", text):
        return None
    import pandas as pd

    try:
        objects, notes = _read_array(text) if text.lstrip()[:1] == "[" else _read_lines(text)
        frame = pd.json_normalize(objects)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"it begins like JSON and cannot be read: {str(error)[:60]}") from error
    columns = [[_to_cell(value) for value in frame[name]] for name in frame]
    is_numeric = not any(
        isinstance(value, str) and value[:1].isdigit() and "," in value
        for name in frame
        for value in frame[name]
    )
    decimal = "." if is_numeric else None
    return LogTable("JSON", tuple(map(str, frame)), tuple(columns), "", decimal, None, notes)


def _read_array(text: str) -> tuple[list[Any], tuple[str, ...]]:
    """The objects of an array; Home Assistant has an array an entity, named in its first object."""
    objects, entity = list[Any](), None
    for item in json.loads(text):
        for part in item if isinstance(item, list) else [item]:
            if isinstance(part, dict):
                entity = part.get("entity_id", entity)
                objects.append({**part, "entity_id": entity} if entity else part)
    return objects, ()


def _read_lines(text: str) -> tuple[list[Any], tuple[str, ...]]:
    lines = [line for line in text.splitlines() if line.strip()]
    objects, skipped = list[Any](), 0
    for number, line in enumerate(lines):
        match = _LINE.match(line)
        try:
            part = json.loads(match[2]) if match else None
        except json.JSONDecodeError:
            part = None
        if part is None:
            if number < len(lines) - 1 and "{" in line:
                raise ValueError(f"line {number + 1} begins like JSON and cannot be read")
            skipped += 1
            continue
        before = match[1].split() if match else []
        is_timed = any(classify(str(value)) == "moment" for value in part.values())
        objects.append(
            {"received": before[0], **part}
            if before and not is_timed and classify(before[0]) == "moment"
            else part
        )
    return objects, (f"{skipped} lines that are no JSON were left out.",) if skipped else ()


def _to_cell(value: Any) -> str | None:
    """A value as a cell; ``None`` where the object has none."""
    if isinstance(value, list | dict):
        return ""
    return None if value is None or value != value else str(value)  # noqa: PLR0124
