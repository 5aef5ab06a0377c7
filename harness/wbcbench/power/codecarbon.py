"""CodeCarbon's estimates as a meter, fed by a process of its own.

The only module that imports CodeCarbon. Alone in its process it can print, log, take signal
handlers, hang or crash without the run noticing more than a silent channel, and its hundred
megabytes of tables stay out of the recorder. It writes one JSON line a second to its standard
output and ends when its standard input does: when the recorder closes it or dies.

    {"ready": {...facts}}          the hardware was set up and the first measurement made
    {"cpu_j": 1.5, "gpu_j": 0.0, "ram_j": 3.0, "emissions_g": 0.1}    totals since the start
    {"failed": "why"}              no measurement will come

Totals come through an output handler, CodeCarbon's public interface for them.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from queue import Empty, Queue
from typing import IO, Any, Self

from pydantic import JsonValue

from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.record import AbsentMeter
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.units import g_from_kg, j_from_kwh
from wbcbench.energy.source import CODECARBON
from wbcbench.power.device import Gpu, UnreadGpuError
from wbcbench.power.meter import EnergyMeter, MeterRequest

PERIOD_S = 1.0
ANY_COUNTRY = "USA"  # it wants one; without one of the user's its grams are not used
MOST_WARNINGS = 20

# What CodeCarbon logs when the processor is not in its table of thermal design powers.
_UNKNOWN_CPU = "but we don't know it"
# What it logs before it takes the world's average for a country that its table lacks.
_UNKNOWN_COUNTRY = "Does not support country"
# What it logs because ``allow_multiple_runs`` is set: that is wanted.
_MULTIPLE_RUNS = "Multiple instances of codecarbon are allowed"

READY_S = 60.0  # importing its tables takes seconds on a busy machine
STALE_S = 5 * PERIOD_S
STOP_S = 5.0

_DOMAINS = {"cpu": Domain.CPU, "gpu": Domain.GPU, "ram": Domain.DRAM}

# CodeCarbon's mode of a part → our word for the reading, and whether a sensor measures it.
_MODES = {
    "intel_rapl": ("rapl", Origin.MEASURED),
    "nvml": ("nvml", Origin.MEASURED),
    "cpu_load": ("tdp_load", Origin.ESTIMATED),
    "constant": ("constant", Origin.ESTIMATED),
}


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
        """Called by CodeCarbon after each of its measurements."""
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

    out = live_out  # called once more when CodeCarbon stops

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
        "measure_power_s": PERIOD_S,
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


def feed(settings: Mapping[str, Any], stream: IO[str], until_end_of: IO[str]) -> None:
    """Measure and write totals until ``until_end_of`` ends."""
    warnings = _WarningList()
    logging.getLogger("codecarbon").addHandler(warnings)
    from codecarbon import OfflineEmissionsTracker

    writer = _LineWriter(stream, settings["gpu_ids"])
    tracker = OfflineEmissionsTracker(**settings, output_handlers=[writer])
    tracker.start()
    if writer.count == 0:  # it swallows its own errors: writing no total is the only sign
        failed = f"CodeCarbon made no measurement. {' '.join(warnings.lines)}"
        _write_line(stream, {"failed": failed})
    else:
        _write_line(stream, {"ready": _describe(tracker, warnings.lines, settings)})
        until_end_of.read()
    tracker.stop()


def main() -> None:
    """Entry point: the tracker's settings as one JSON argument."""
    # Standard output is the feed's; whatever CodeCarbon prints goes nowhere.
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    feed(json.loads(sys.argv[1]), stream, sys.stdin)


def open_meters(request: MeterRequest) -> list[EnergyMeter]:
    """CodeCarbon's estimates of CPU, GPU and RAM as a cross-check, each with its mode.

    One meter; its process is started when the meter is entered.

    Raises:
        CannotMeasureError: The package is not installed.
        UsageError: ``codecarbon.cpu_power_w`` or ``codecarbon.ram_power_w`` is no number.
    """
    if find_spec("codecarbon") is None:
        raise CannotMeasureError(
            "CodeCarbon is not installed. Install it (`pip install codecarbon`), or leave the "
            "codecarbon meter out."
        )
    gpus, unread = _choose_gpus(request)
    settings = _tracker_settings(request, [gpu.index for gpu in gpus])
    return [CodeCarbonMeter(settings, [gpu.uuid for gpu in gpus], unread, request.country)]


def _tracker_settings(request: MeterRequest, gpu_indices: Sequence[int]) -> dict[str, Any]:
    """Arguments for ``OfflineEmissionsTracker``; what is not named here could come from a file.

    CodeCarbon fills arguments that are left out from ``~/.codecarbon.config`` and from
    ``CODECARBON_…`` variables; a run must not depend on either, nor on a network. Nor on another
    CodeCarbon: without ``allow_multiple_runs`` it refuses to start while a lock file lies in the
    temporary folder, which it leaves there when it is killed.
    """
    return {
        "country_iso_code": request.country or ANY_COUNTRY,
        "region": None,
        "cloud_provider": None,
        "cloud_region": None,
        "measure_power_secs": PERIOD_S,
        "api_call_interval": 1,
        "allow_multiple_runs": True,
        "pue": 1.0,
        "wue": 0.0,
        "tracking_mode": "machine",
        "gpu_ids": list(gpu_indices),
        "force_cpu_power": _parse_option(request, "codecarbon.cpu_power_w"),
        "force_ram_power": _parse_option(request, "codecarbon.ram_power_w"),
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


class CodeCarbonMeter(EnergyMeter):
    """CodeCarbon's totals as counters in joules; they come from ``feed`` in its own process."""

    name = CODECARBON
    # Its totals move once a second; reading four times as often shows well enough when.
    interval_s: float | None = PERIOD_S / 4

    def __init__(
        self,
        settings: Mapping[str, Any],
        gpu_uuids: Sequence[str] = (),
        unread: Sequence[AbsentMeter] = (),
        country: str | None = None,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            settings: Arguments for ``OfflineEmissionsTracker``.
            gpu_uuids: The GPUs among them.
            unread: GPUs that are in use and that it must not read.
            country: Of the user's grid; ``None`` where none was set.
        """
        self._country = country
        self.channels: tuple[Channel, ...] = ()
        self.unread = tuple(unread)
        self._gpus = "+".join(gpu_uuids)
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None
        self._facts: dict[str, Any] = {}
        self._totals: Mapping[str, float | None] = {}
        self._updated_s = 0.0

    def __enter__(self) -> Self:
        """Start CodeCarbon; raises ``CannotMeasureError`` when it does not measure here."""
        # A session of its own keeps Ctrl-C from it: it ends when its standard input does.
        process = subprocess.Popen(
            [sys.executable, "-m", "wbcbench.power.codecarbon", json.dumps(self._settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            # One allocator arena and one BLAS thread: it shares the machine with what it measures.
            env={**os.environ, "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self._process = process
        answers: Queue[dict[str, Any]] = Queue()
        threading.Thread(target=self._listen, args=(process, answers), daemon=True).start()
        try:
            answer = answers.get(timeout=READY_S)
        except Empty:
            answer = {"failed": f"it was not ready after {READY_S:.0f} s"}
        if "ready" not in answer:
            self.__exit__()
            raise CannotMeasureError(
                f"CodeCarbon does not measure here: {answer['failed']}. It is only a cross-check: "
                "leave the codecarbon meter out to go on without it."
            )
        self._facts = answer["ready"]
        self.channels = tuple(
            _make_channel(part, how, self._gpus if part == "gpu" else "")
            for part, how in self._facts["parts"].items()
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Stop CodeCarbon; one that does not stop is killed."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def read(self) -> Sequence[float | None]:
        """Joules since the start, as last written; ``None`` once it has fallen silent."""
        if time.monotonic() - self._updated_s > STALE_S:
            return (None,) * len(self.channels)
        totals = self._totals
        parts = (channel.name.partition("/")[2] for channel in self.channels)
        return tuple(totals.get(f"{part}_j") for part in parts)

    def describe(self) -> dict[str, JsonValue]:
        """Version, country, what each part's joules are made of, and emissions so far in grams."""
        # For a country that its table lacks it takes the world's average: that is no answer.
        known = self._facts.get("country_known", False) and self._country is not None
        is_rated = self._settings["force_cpu_power"] is not None
        return {
            **self._facts,
            "country": self._country,
            "cpu_tdp_known": is_rated or self._facts.get("cpu_tdp_known"),
            "emissions_g": self._totals.get("emissions_g") if known else None,
        }

    def _listen(self, process: subprocess.Popen[str], answers: Queue[dict[str, Any]]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            message = json.loads(line)
            if "cpu_j" in message:
                self._totals, self._updated_s = message, time.monotonic()
            else:
                answers.put(message)
        answers.put({"failed": "its process ended"})


def _make_channel(part: str, how: Mapping[str, Any], devices: str) -> Channel:
    reading, origin = _MODES.get(how["mode"], (str(how["mode"]), Origin.ESTIMATED))
    return Channel(
        name=f"{CODECARBON}/{part}",
        kind=Kind.COUNTER,
        origin=origin,
        domain=_DOMAINS[part],
        reading=reading,
        update_s=PERIOD_S,
        limit_w=how.get("tdp_w"),
        device=devices or None,
    )


def _choose_gpus(request: MeterRequest) -> tuple[list[Gpu], list[AbsentMeter]]:
    """The GPUs that a meter of their vendor would measure, and those that it refuses.

    What our own meter refuses (a board divided by MIG, one that does not answer) CodeCarbon must
    not speak for, nor for GPUs that are hidden. It is given indices because it strips the letters
    ``MIG-`` from the front of a UUID one by one, and so finds no GPU by one that begins with
    ``GPU-``; none at all is an empty list, for without a list it takes every GPU.
    """
    from wbcbench.power import amd, nvml

    for open_boards in (nvml.open_boards, amd.open_boards):
        try:
            boards = open_boards(request)
        except UnreadGpuError as error:
            return [], [AbsentMeter(nvml.NvmlDevice.vendor, str(error), Domain.GPU)]
        except CannotMeasureError:
            continue
        problems = {board: problem for board in boards if (problem := board.find_problem())}
        readable = [board.device.gpu for board in boards if board not in problems]
        return readable, [AbsentMeter(b.name, why, Domain.GPU) for b, why in problems.items()]
    return [], []


def _parse_option(request: MeterRequest, name: str) -> float | None:
    text = request.options.get(name)
    try:
        return None if text is None else float(text)
    except ValueError as error:
        raise UsageError(f"{name} must be a number of watts; it is {text!r}.") from error


if __name__ == "__main__":
    main()
