"""JSON: one object a line, with or without an MQTT topic before it, or one array of objects."""

from __future__ import annotations

import json
import re
from typing import Any

from wbcbench.core.text import count_of
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

    skipped = 0
    try:
        try:
            objects = _list_objects(json.loads(text))
        except json.JSONDecodeError:
            objects, skipped = _read_lines(text)
        frame = pd.json_normalize(objects)
    except RecursionError as error:
        raise ValueError("it is nested too deeply to be a log") from error
    columns = tuple([_to_cell(value) for value in frame[name]] for name in frame)
    has_commas = any("," in cell for cells in columns for cell in cells if cell)
    notes = (f"{count_of(skipped, 'line')} that are no JSON left out.",) if skipped else ()
    names = tuple(map(str, frame))
    return LogTable("JSON", names, columns, "", None if has_commas else ".", None, notes)


def _list_objects(document: Any) -> list[dict[str, Any]]:
    """The objects of an array, or of the one array in an object.

    Home Assistant has an array an entity, which is named in its first object alone.
    """
    if isinstance(document, dict):
        arrays = [
            v for v in document.values() if isinstance(v, list) and v and isinstance(v[0], dict)
        ]
        return _list_objects(arrays[0]) if len(arrays) == 1 else [document]
    objects, entity = list[dict[str, Any]](), None
    for item in document if isinstance(document, list) else []:
        if isinstance(item, list):
            objects += _list_objects(item)
        elif isinstance(item, dict):
            entity = item.get("entity_id", entity)
            objects.append({**item, "entity_id": entity} if entity else item)
    return objects


def _read_lines(text: str) -> tuple[list[dict[str, Any]], int]:
    """The object of each line, and how many lines have none; the last may be cut."""
    lines = [line for line in text.splitlines() if line.strip()]
    objects = list[dict[str, Any]]()
    for number, line in enumerate(lines, start=1):
        if (match := _LINE.match(line)) is None and (number == len(lines) or "{" not in line):
            continue
        try:
            part = json.loads(match[2] if match else line)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number} begins like JSON and cannot be read") from error
        before = match[1].replace("=", " ").split() if match else []
        is_timed = any(classify(str(value)) == "moment" for value in part.values())
        if before and classify(before[0]) == "moment":
            received = before.pop(0)
            part = part if is_timed else {"received": received, **part}
        objects.append({"topic": " ".join(before), **part} if before else part)
    return objects, len(lines) - len(objects)


def _to_cell(value: Any) -> str | None:
    """A value as a cell; ``None`` where the object has none."""
    if isinstance(value, list | dict):
        return ""
    return None if value is None or value != value else str(value)  # noqa: PLR0124
