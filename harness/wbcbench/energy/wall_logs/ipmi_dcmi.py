"""What ``ipmitool dcmi power reading`` prints, again and again, one after the other."""

from __future__ import annotations

import re

from wbcbench.energy.wall_logs.log_table import LogTable

_BLOCK = re.compile(
    r"Instantaneous power reading:\s*(\S+) Watts.*?IPMI timestamp:\s*([^\r\n]+?)\s*[\r\n]",
    re.DOTALL,
)


def parse_ipmi_dcmi(text: str) -> LogTable | None:
    """The readings of such a log; ``None`` if it is none."""
    readings = _BLOCK.findall(text + "\n")
    if not readings:
        return None
    watts, times = (list(cells) for cells in zip(*readings, strict=True))
    return LogTable("ipmitool dcmi", ("IPMI timestamp", "Watts"), (times, watts), "", ".")
