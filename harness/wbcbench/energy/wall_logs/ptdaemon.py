"""SPEC PTDaemon, as MLPerf uses it: ``Time,11-26-2026 17:56:55.123,Watts,80.1,Volts,230.2,…``."""

from __future__ import annotations

import re

from wbcbench.energy.wall_logs.log_table import LogTable

_LINE = re.compile(r"^Time,([^,\n]+),Watts,([^,\n\r]+)", re.MULTILINE)


def parse_ptdaemon(text: str) -> LogTable | None:
    """The readings of a PTDaemon log; ``None`` if it is none."""
    readings = _LINE.findall(text)
    if not readings:
        return None
    times, watts = (list(cells) for cells in zip(*readings, strict=True))
    return LogTable("PTDaemon", ("Time", "Watts"), (times, watts), ",", ".", "mdy")
