"""Polls as text: ``t_s,<channel>,…``, one line a poll; an empty cell is a failed read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wbcbench.core.trace import Channel, Trace


def read_trace(path: Path, channels: Mapping[str, Channel]) -> list[Trace]:
    """Every channel of a file that ``channels`` knows; a last line torn by a kill is left out."""
    lines = path.read_text(encoding="ascii", errors="replace").split("\n")
    names = lines[0].split(",")[1:]
    rows = [row for row in map(_numbers, lines[1:-1]) if row and len(row) == len(names) + 1]
    times = [row[0] for row in rows if row[0] is not None]
    return [
        Trace(channels[name], times, [row[i + 1] for row in rows])
        for i, name in enumerate(names)
        if name in channels
    ]


def trace_csv(trace: Trace) -> bytes:
    """One channel's polls as such a file."""
    rows = zip(trace.t_s, trace.value, strict=True)
    lines = (f"{t_s:.6f}," + ("" if value is None else repr(value)) for t_s, value in rows)
    return "\n".join([f"t_s,{trace.channel.name}", *lines, ""]).encode()


def _numbers(line: str) -> list[float | None]:
    """One poll; an empty cell is a failed read, a torn or damaged line is empty."""
    try:
        cells = [float(cell) if cell else None for cell in line.split(",")]
    except ValueError:
        return []
    return cells if cells[0] is not None else []
