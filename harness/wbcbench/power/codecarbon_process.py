"""CodeCarbon in a process of its own: the side that measures. ``power.codecarbon`` is the other.

    wbcbench.power.codecarbon_process SETTINGS PIPE

The only module that imports CodeCarbon. Alone in its process it can print, log, take signal
handlers, hang or crash without the run noticing more than a silent channel, and its hundred
megabytes of tables stay out of the recorder. It measures when it is asked, and after the word
``poll`` every second; each time it writes one JSON line to its pipe. It ends when its
standard input does: when the recorder closes it or dies.

    {"ready": {...facts}}          the hardware was set up and the first measurement made
    {"cpu_j": 1.5, "gpu_j": 0.0, "ram_j": 3.0, "emissions_g": 0.1}    totals since the start
    {"failed": "why"}              no measurement will come

Totals come through an output handler, CodeCarbon's public interface for them.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import IO, Any

from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.units import g_from_kg, j_from_kwh

POLL_PERIOD_S = 1.0
SPARSE_LOOK_S = 5.0
POLL, READ = "poll\n", "read\n"  # what it is told
MOST_WARNINGS = 20
_ORDER_BYTES = 4096

# What CodeCarbon logs when the processor is not in its table of thermal design powers.
_UNKNOWN_CPU = "but we don't know it"
# What it logs before it takes the world's average for a country that its table lacks.
_UNKNOWN_COUNTRY = "Does not support country"
# What it logs because ``allow_multiple_runs`` is set: that is wanted.
_MULTIPLE_RUNS = "Multiple instances of codecarbon are allowed"


class _WarningList(logging.Handler):
    """Collects CodeCarbon's warnings instead of printing them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = " ".join(record.getMessage().split())
        if len(self.lines) < MOST_WARNINGS and _MULTIPLE_RUNS not in line:
            self.lines.append(line)


class _LineWriter:
    """An output handler that writes each total as one line.

    A GPU that is lost leaves CodeCarbon's total as it was, or as that of the others: from then on
    there is none.
    """

    def __init__(self, stream: IO[str], gpus: Sequence[int]) -> None:
        self._stream, self._gpus = stream, gpus
        self._has_lost_gpu = False
        self.count = 0

    def live_out(self, total: Any, delta: Any) -> None:
        """Called by CodeCarbon with its totals."""
        del delta
        self._has_lost_gpu = self._has_lost_gpu or not all(map(_is_readable, self._gpus))
        totals = {
            "cpu_j": j_from_kwh(total.cpu_energy),
            "gpu_j": None if self._has_lost_gpu else j_from_kwh(total.gpu_energy),
            "ram_j": j_from_kwh(total.ram_energy),
            "emissions_g": g_from_kg(total.emissions),
        }
        self.count += 1
        _write_line(self._stream, totals)

    out = live_out  # when it is asked to measure, and when it stops

    def task_out(self, data: Any, experiment_name: str) -> None:
        """Tasks are not used."""

    def exit(self) -> None:
        """Nothing to close."""


def _is_readable(gpu: int) -> bool:
    """Whether NVML reads a GPU; where there is no NVML, it is another vendor's and may be read."""
    from wbcbench.power import nvml

    with suppress(CannotMeasureError):
        return nvml.is_readable(gpu)
    return True


def _write_line(stream: IO[str], message: dict[str, Any]) -> None:
    """Write one line; a recorder that is gone is noticed at standard input."""
    with suppress(BrokenPipeError):
        stream.write(json.dumps(message) + "\n")
        stream.flush()


def _describe(tracker: Any, warnings: list[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What CodeCarbon found, with the mode of each part it will state energy for."""
    from codecarbon import __version__

    hardware = tracker.get_detected_hardware()
    return {
        "codecarbon_version": __version__,
        "country": settings["country_iso_code"],
        "cpu_model": hardware["cpu_model"],
        "gpu_model": hardware["gpu_model"] or None,
        "gpu_ids": settings["gpu_ids"],
        "ram_gib": hardware["ram_total_size"],
        "pue": 1.0,
        "parts": _list_parts(tracker, has_gpu=bool(settings["gpu_ids"])),
        "cpu_tdp_known": not any(_UNKNOWN_CPU in line for line in warnings),
        "country_known": not any(_UNKNOWN_COUNTRY in line for line in warnings),
        "notes": warnings,
    }


def _list_parts(tracker: Any, *, has_gpu: bool) -> dict[str, dict[str, Any]]:
    """Part → its mode and constant watts. CodeCarbon has no public name for its modes.

    A list of no GPU is one of 0 W to it; that part is left out.
    """
    parts: dict[str, dict[str, Any]] = {}
    for item in getattr(tracker, "_hardware", []):
        part = type(item).__name__.lower()
        if part == "cpu":
            tdp_w = getattr(item, "_tdp", None)
            parts[part] = {"mode": getattr(item, "_mode", None), "tdp_w": tdp_w}
        elif part == "ram":
            parts[part] = {"mode": "constant", "power_w": item.total_power().W}
        elif part == "gpu" and has_gpu:
            parts[part] = {"mode": "nvml", "tdp_w": None}
    return parts


def feed(settings: Mapping[str, Any], stream: IO[str], orders: int) -> None:
    """Measure and write totals until the open file ``orders`` ends."""
    warnings = _WarningList()
    logging.getLogger("codecarbon").addHandler(warnings)
    from codecarbon import OfflineEmissionsTracker

    # It waits a second for another program to name the processor, and then loads its tables.
    threading.Thread(target=_load_tables, daemon=True).start()
    writer = _LineWriter(stream, settings["gpu_ids"])
    tracker = OfflineEmissionsTracker(**settings, output_handlers=[writer])
    tracker.start()
    tracker.flush()
    if writer.count == 0:  # it swallows its own errors: writing no total is the only sign
        failed = f"CodeCarbon made no measurement. {' '.join(warnings.lines)}"
        _write_line(stream, {"failed": failed})
        return
    _write_line(stream, {"ready": _describe(tracker, warnings.lines, settings)})
    _set_look_period(tracker, SPARSE_LOOK_S)
    period_s = None
    while True:
        if any(select.select([orders], [], [], period_s)):
            order = os.read(orders, _ORDER_BYTES)
            if not order:
                break
            if POLL.encode() in order:
                period_s = POLL_PERIOD_S
                _set_look_period(tracker, POLL_PERIOD_S)
        tracker.flush()
    tracker.stop()


def _set_look_period(tracker: Any, period_s: float) -> None:
    """How often it looks at the load between two measurements, from the next look on.

    Looks are most of what it costs where it is measured seldom. It has no public name for them.
    """
    with suppress(AttributeError):
        tracker._scheduler_monitor_power.interval = period_s


def _load_tables() -> None:
    with suppress(ImportError):
        import_module("pandas")
        import_module("requests")


def main() -> None:
    """Entry point: the tracker's settings as one JSON argument, and where to answer."""
    settings, pipe = sys.argv[1:]
    # Its library for the processor otherwise asks another Python, whose answer it cannot read where
    # Python prints something as it starts.
    setattr(sys, "frozen", True)  # noqa: B010
    feed(json.loads(settings), os.fdopen(int(pipe), "w", encoding="utf-8"), sys.stdin.fileno())
    os._exit(0)  # nothing is left to write, and taking its libraries down takes a while


if __name__ == "__main__":
    main()
