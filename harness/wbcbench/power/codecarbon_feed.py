"""CodeCarbon in a process of its own: ``python -m wbcbench.power.codecarbon_feed '<settings>'``.

The only module that imports CodeCarbon. Alone in its process it can print, log, take signal
handlers, hang or crash without the run noticing more than a silent channel, and its hundred
megabytes of tables stay out of the watcher. It writes one JSON line a second to its standard
output and ends when its standard input does: at the watcher's word, or at the watcher's death.

    {"ready": {...facts}}          the hardware was set up and the first measurement made
    {"cpu_j": 1.5, "gpu_j": 0.0, "ram_j": 3.0, "emissions_g": 0.1}    totals since the start
    {"failed": "why"}              no measurement will come

Totals come through an output handler, CodeCarbon's public way of being told them.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from dataclasses import dataclass
from typing import IO, Any

from wbcbench.core.units import g_from_kg, j_from_kwh

PERIOD_S = 1.0
MOST_NOTES = 20

# What CodeCarbon logs when the processor is not in its table of thermal design powers.
_UNKNOWN_CPU = "but we don't know it"
# What it logs before it takes the world's average for a country that its table lacks.
_UNKNOWN_COUNTRY = "Does not support country"
# What it logs because ``allow_multiple_runs`` is set: that is wanted.
_MULTIPLE_RUNS = "Multiple instances of codecarbon are allowed"


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """What the watcher asks of CodeCarbon.

    Attributes:
        country: ISO 3166 alpha-3 code for its offline table of grids.
        gpus: NVML indices to track; ``None`` = no GPU is to be told apart.
        cpu_power_w, ram_power_w: Replace CodeCarbon's own guesses; ``None`` leaves them.
    """

    country: str
    gpus: tuple[int, ...] | None = None
    cpu_power_w: float | None = None
    ram_power_w: float | None = None


def tracker_settings(settings: FeedSettings) -> dict[str, Any]:
    """Arguments for ``OfflineEmissionsTracker``; what is not named here could come from a file.

    CodeCarbon fills arguments that are left out from ``~/.codecarbon.config`` and from
    ``CODECARBON_…`` variables; a run must not depend on either, nor on a network. Nor on another
    CodeCarbon: without ``allow_multiple_runs`` it refuses to start while a lock file lies in the
    temporary folder, which it leaves there when it is killed.
    """
    return {
        "country_iso_code": settings.country,
        "region": None,
        "cloud_provider": None,
        "cloud_region": None,
        "measure_power_secs": PERIOD_S,
        "api_call_interval": 1,
        "allow_multiple_runs": True,
        "pue": 1.0,
        "wue": 0.0,
        "tracking_mode": "machine",
        "gpu_ids": None if settings.gpus is None else list(settings.gpus),
        "force_cpu_power": settings.cpu_power_w,
        "force_ram_power": settings.ram_power_w,
        "force_mode_cpu_load": False,
        "force_carbon_intensity_g_co2e_kwh": None,
        "rapl_include_dram": False,
        "rapl_prefer_psys": False,
        "output_methods": [],
        "output_dir": tempfile.gettempdir(),
        "emissions_endpoint": False,
        "electricitymaps_api_token": "",
        "log_level": "warning",
    }


class _Notes(logging.Handler):
    """Keeps CodeCarbon's warnings instead of printing them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = " ".join(record.getMessage().split())
        if len(self.lines) < MOST_NOTES and _MULTIPLE_RUNS not in line:
            self.lines.append(line)


class _Teller:
    """An output handler that writes each total as one line."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.told = 0

    def live_out(self, total: Any, delta: Any) -> None:
        """Called by CodeCarbon after each of its measurements."""
        del delta
        totals = {
            "cpu_j": j_from_kwh(total.cpu_energy),
            "gpu_j": j_from_kwh(total.gpu_energy),
            "ram_j": j_from_kwh(total.ram_energy),
            "emissions_g": g_from_kg(total.emissions),
        }
        self.told += 1
        tell(self._stream, totals)

    def out(self, total: Any, delta: Any) -> None:
        """Called once more when CodeCarbon stops."""
        self.live_out(total, delta)

    def task_out(self, data: Any, experiment_name: str) -> None:
        """Tasks are not used."""

    def exit(self) -> None:
        """Nothing to close."""


def tell(stream: IO[str], message: dict[str, Any]) -> None:
    """Write one line; a watcher that is gone is noticed at standard input."""
    try:
        stream.write(json.dumps(message) + "\n")
        stream.flush()
    except BrokenPipeError:
        return


def _quiet_streams() -> IO[str]:
    """Keep standard output for the feed; whatever prints goes nowhere."""
    feed = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return feed


def _facts(tracker: Any, notes: list[str], settings: FeedSettings) -> dict[str, Any]:
    """What CodeCarbon found, with the mode of each part it will state energy for."""
    from codecarbon import __version__

    hardware = tracker.get_detected_hardware()
    return {
        "codecarbon_version": __version__,
        "country": settings.country,
        "cpu_model": hardware["cpu_model"],
        "gpu_model": hardware["gpu_model"] or None,
        "gpu_ids": None if settings.gpus is None else list(settings.gpus),
        "ram_gib": hardware["ram_total_size"],
        "measure_power_s": PERIOD_S,
        "pue": 1.0,
        "parts": _parts(tracker),
        "cpu_tdp_known": not any(_UNKNOWN_CPU in note for note in notes),
        "country_known": not any(_UNKNOWN_COUNTRY in note for note in notes),
        "notes": notes,
    }


def _parts(tracker: Any) -> dict[str, dict[str, Any]]:
    """Part → its mode and constant watts. CodeCarbon has no public name for its modes."""
    parts: dict[str, dict[str, Any]] = {}
    for item in getattr(tracker, "_hardware", []):
        kind = type(item).__name__.lower()
        if kind == "cpu":
            tdp_w = getattr(item, "_tdp", None)
            parts["cpu"] = {"mode": getattr(item, "_mode", None), "tdp_w": tdp_w}
        elif kind == "ram":
            parts["ram"] = {"mode": "constant", "power_w": item.total_power().W}
        elif kind == "gpu":
            parts["gpu"] = {"mode": "nvml", "tdp_w": None}
    return parts


def feed(settings: FeedSettings, stream: IO[str], until_end_of: IO[str]) -> None:
    """Measure and tell until ``until_end_of`` ends."""
    notes = _Notes()
    logger = logging.getLogger("codecarbon")
    logger.addHandler(notes)
    from codecarbon import OfflineEmissionsTracker

    teller = _Teller(stream)
    tracker = OfflineEmissionsTracker(**tracker_settings(settings), output_handlers=[teller])
    tracker.start()
    if teller.told == 0:  # it swallows its own errors: having told nothing is the only sign
        tell(stream, {"failed": f"CodeCarbon made no measurement. {' '.join(notes.lines)}"})
        tracker.stop()
        return
    tell(stream, {"ready": _facts(tracker, notes.lines, settings)})
    until_end_of.read()
    tracker.stop()


def main() -> None:
    """Entry point: settings as one JSON argument."""
    words = json.loads(sys.argv[1])
    gpus = words.pop("gpus")
    settings = FeedSettings(**words, gpus=None if gpus is None else tuple(gpus))
    feed(settings, _quiet_streams(), sys.stdin)


if __name__ == "__main__":
    main()
