"""What every format becomes: columns of cells, as they are written, under their names."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from wbcbench.core.text import count_of
from wbcbench.energy.wall_logs.times import classify
from wbcbench.energy.wall_logs.vocabulary import WORDS

# Logs whose readings one pattern finds: what a file is, the pattern, the delimiter, order of dates.
_PATTERNS = (
    (  # SPEC's, as MLPerf uses it
        "PTDaemon",
        re.compile(r"^Time,(?P<Time>[^,\n]+),Watts,(?P<Watts>[^,\n\r]+)", re.MULTILINE),
        ",",
        "mdy",
    ),
    (
        "ipmitool dcmi",
        re.compile(
            r"Instantaneous power reading:\s*(?P<Watts>\S+) Watts.*?"
            r"IPMI timestamp:\s*(?P<timestamp>[^\r\n]+?)\s*(?:[\r\n]|$)",
            re.DOTALL,
        ),
        "",
        None,
    ),
)
_JSON = re.compile(r"\s*(\[\s*[\[{]|[^{,;\n]*\{\s*\")")
_MOST_SERIES = 99


@dataclass(frozen=True, slots=True)
class LogTable:
    """A log before anything in it is read as a number or a time.

    Attributes:
        format: What the file is, in words.
        names: Of the columns, shape ``[k]``.
        columns: Their cells; ``None`` in a row that has no such cell, shape ``[k][n]``.
        delimiter: Between the cells of a line; empty where there is none.
        decimal: The decimal mark, where the format fixes it.
        date_order: ``mdy`` or the like, where the format fixes it.
        notes: What was left out, as whole sentences.
        preamble: The lines above the names.
    """

    format: str
    names: tuple[str, ...]
    columns: tuple[list[str | None], ...]
    delimiter: str = ""
    decimal: str | None = None
    date_order: str | None = None
    notes: tuple[str, ...] = ()
    preamble: tuple[str, ...] = ()


def parse_pattern(text: str) -> LogTable | None:
    """The readings of a log that one of the patterns knows; else ``None``."""
    for name, pattern, delimiter, order in _PATTERNS:
        if rows := pattern.findall(text):
            columns = tuple(map(list, zip(*rows, strict=True)))
            return LogTable(name, tuple(pattern.groupindex), columns, delimiter, ".", order)
    return None


def parse_json(text: str) -> LogTable | None:
    """One object a line, with or without an MQTT topic before it, or arrays of objects.

    Returns:
        ``None`` if it is no JSON.

    Raises:
        ValueError: It begins like JSON and is not.
    """
    if not _JSON.match(text):
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
    columns = tuple([*map(_to_cell, frame[name])] for name in frame)
    has_commas = any("," in cell for cells in columns for cell in cells if cell)
    notes = (f"{count_of(skipped, 'line')} that are no JSON left out.",) if skipped else ()
    return LogTable(
        "JSON", tuple(map(str, frame)), columns, decimal=None if has_commas else ".", notes=notes
    )


def _list_objects(document: Any) -> list[dict[str, Any]]:
    """The objects of an array, or of the one array in an object.

    Home Assistant has an array an entity, which is named in its first object alone.
    """
    if isinstance(document, dict):
        arrays = [
            v for v in document.values() if isinstance(v, list) and v and isinstance(v[0], dict)
        ]
        return _list_objects(arrays[0]) if len(arrays) == 1 else [document]
    objects, entity = list[dict[str, Any]](), dict[str, Any]()
    for item in document if isinstance(document, list) else []:
        if isinstance(item, list):
            objects += _list_objects(item)
        elif isinstance(item, dict):
            entity = {k: v for k, v in {**entity, **item}.items() if k == "entity_id"}
            objects.append({**item, **entity})
    return objects


def _read_lines(text: str) -> tuple[list[dict[str, Any]], int]:
    """The object of each line, and how many lines have none; the last may be cut."""
    lines = [line for line in text.splitlines() if line.strip()]
    objects = list[dict[str, Any]]()
    for number, line in enumerate(lines, start=1):
        before, brace, rest = line.partition("{")
        try:
            part = json.loads(brace + rest.rstrip(" ,]")) if brace else None
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(f"line {number} begins like JSON and cannot be read") from error
            part = None
        if part is None:
            continue
        words = re.split(r"[\s=\[]+", before.strip(" =["))
        received = {"": words.pop(0)} if classify(words[0]) == "moment" else {}
        topic = {"topic": " ".join(words)} if any(words) else {}
        objects.append({**received, **topic, **part})
    return objects, len(lines) - len(objects)


def _to_cell(value: Any) -> str | None:
    """A value as a cell; ``None`` where the object has none."""
    if isinstance(value, list | dict):
        return ""
    return None if value is None or value != value else str(value)  # noqa: PLR0124


def widen(table: LogTable) -> LogTable:
    """A table with one value a row and its name beside it, as one column a name.

    Home Assistant, InfluxDB and Grafana write so. Columns of one name get their places into it.
    """
    lower = [name.strip().lower() for name in table.names]
    names = list[str]()
    for place, name in enumerate(table.names, start=1):
        is_single = lower.count(name.strip().lower()) == 1
        names.append(
            (name if is_single else f"{name} (column {place})") if name else f"column {place}"
        )
    table = replace(table, names=tuple(names))
    for value, *keys in WORDS["long"]:
        key_places = [lower.index(key) for key in keys if key in lower]
        if value in lower and key_places:
            units = [i for i in range(len(lower)) if lower[i].endswith("unit_of_measurement")]
            return _pivot(table, lower.index(value), key_places, units)
    return table


def _pivot(table: LogTable, value: int, keys: Sequence[int], units: Sequence[int]) -> LogTable:
    rows = zip(*(table.columns[i] for i in keys), strict=True)
    series = [" ".join(part for part in row if part and part != "value") for row in rows]
    for i in units:  # Home Assistant leaves it out of all rows of an entity but the first
        unit = dict(pair for pair in zip(series, table.columns[i], strict=True) if pair[1])
        series = [f"{key} ({unit[key]})" if key in unit else key for key in series]
    others = [i for i in range(len(table.names)) if i not in {value, *keys, *units}]
    names, columns = [table.names[i] for i in others], [table.columns[i] for i in others]
    for name in list(dict.fromkeys(series))[:_MOST_SERIES]:
        pairs = zip(table.columns[value], series, strict=True)
        names.append(name)
        columns.append([cell if key == name else None for cell, key in pairs])
    return replace(table, names=tuple(names), columns=tuple(columns))
