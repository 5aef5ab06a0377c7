"""CodeCarbon's estimates as a meter; they come from ``codecarbon_process``, in its own process.

Where nothing else measures the GPU or the processor its joules count, and it measures every second.
Elsewhere it only stands beside: it is read at the edges of what is measured, and a window between
two readings has none of its joules.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from pydantic import JsonValue

from wbcbench.core.child import MODEST, PythonChild
from wbcbench.core.environment import clean_environment
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.messages import parse_lines
from wbcbench.core.record import AbsentMeter
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.energy.source import CODECARBON
from wbcbench.power.codecarbon_process import POLL, POLL_PERIOD_S, READ
from wbcbench.power.device import Gpu, UnreadGpuError
from wbcbench.power.meter import EnergyMeter, MeterRequest, SlowMeter

ANY_COUNTRY = "USA"  # it wants one; without one of the user's its grams are not used

READY_S = 60.0  # importing its tables takes seconds on a busy machine
STALE_S = 5 * POLL_PERIOD_S
ANSWER_S = 2.0  # it measures in milliseconds; one that hangs is not asked again
STOP_S = 5.0
NEVER_S = 1e6  # it measures when it is told, not by its own timer

DOMAINS = {"cpu": Domain.CPU, "gpu": Domain.GPU, "ram": Domain.DRAM}

# CodeCarbon's mode of a part → our word for the reading, and whether a sensor measures it.
_MODES = {
    "intel_rapl": ("rapl", Origin.MEASURED),
    "nvml": ("nvml", Origin.MEASURED),
    "cpu_load": ("tdp_load", Origin.ESTIMATED),
    "constant": ("constant", Origin.ESTIMATED),
}


def find_reading(mode: str | None) -> tuple[str, Origin]:
    """Our word for what a part's joules are made of, and whether a sensor measures it."""
    return _MODES.get(str(mode), (str(mode), Origin.ESTIMATED))


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
    """Arguments for ``OfflineEmissionsTracker``, which takes those left out from its own settings.

    A run must not depend on a network, nor on another CodeCarbon: unless it may run beside others
    (since version 3 it may if nothing says otherwise) it does not start while a lock file lies in
    the temporary folder, where a killed one leaves it.
    """
    return {
        "country_iso_code": request.country or ANY_COUNTRY, "region": None,
        "cloud_provider": None, "cloud_region": None,
        "measure_power_secs": NEVER_S, "api_call_interval": -1, "allow_multiple_runs": True,
        "pue": 1.0, "wue": 0.0, "tracking_mode": "machine", "gpu_ids": list(gpu_indices),
        "force_cpu_power": _parse_option(request, "codecarbon.cpu_power_w"),
        "force_ram_power": _parse_option(request, "codecarbon.ram_power_w"),
        "force_mode_cpu_load": False, "force_carbon_intensity_g_co2e_kwh": None,
        "rapl_include_dram": False, "rapl_prefer_psys": False,
        "output_methods": [], "output_dir": tempfile.gettempdir(), "log_level": "warning",
        "emissions_endpoint": False, "electricitymaps_api_token": "",
    }  # fmt: skip


class CodeCarbonMeter(SlowMeter):
    """CodeCarbon's totals as counters in joules."""

    name = CODECARBON
    # Its totals move once a second; reading four times as often shows well enough when.
    interval_s: float | None = POLL_PERIOD_S / 4

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
        self._process: PythonChild | None = None
        self._facts: dict[str, Any] = {}
        self._failed = ""
        self._totals: Mapping[str, float | None] = {}
        self._updated_s = 0.0
        self._count = 0
        self._news = threading.Condition()

    def start(self) -> None:
        """Start its process, and do not wait for it."""
        if self._process is not None:
            return
        # It looks for settings of the user's in the home folder and in the current one.
        self._process = PythonChild(
            "wbcbench.power.codecarbon_process",
            json.dumps(self._settings),
            env=clean_environment(os.environ) | MODEST | {"HOME": os.devnull},
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parent,
        )
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()

    def __enter__(self) -> Self:
        """Wait until it measures; raises ``CannotMeasureError`` when it does not measure here."""
        self.start()
        with self._news:
            if not self._news.wait_for(lambda: self._facts or self._failed, READY_S):
                self._failed = f"it was not ready after {READY_S:.0f} s"
        if self._failed:
            self.__exit__()
            raise CannotMeasureError(
                f"CodeCarbon does not measure here: {self._failed}. It is only a cross-check: "
                "leave the codecarbon meter out to go on without it."
            )
        if not self.is_sparse:
            self._tell(POLL)
        self.channels = tuple(
            self._make_channel(part, how) for part, how in self._facts["parts"].items()
        )
        return self

    def _make_channel(self, part: str, how: Mapping[str, Any]) -> Channel:
        reading, origin = find_reading(how["mode"])
        return Channel(
            name=f"{CODECARBON}/{part}",
            kind=Kind.COUNTER,
            origin=origin,
            domain=DOMAINS[part],
            reading=reading,
            update_s=None if self.is_sparse else POLL_PERIOD_S,
            limit_w=how.get("tdp_w"),
            device=(self._gpus if part == "gpu" else "") or None,
            sparse=self.is_sparse,
        )

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
        """Joules since the start, measured now if it is sparse; ``None`` once it is silent."""
        if self.is_sparse and not self._failed:
            with self._news:
                count = self._count
                self._tell(READ)
                if not self._news.wait_for(lambda: self._count > count or self._failed, ANSWER_S):
                    self._failed = "it did not answer"
        totals: Mapping[str, float | None] = {}
        if not self._failed and time.monotonic() - self._updated_s <= STALE_S:
            totals = self._totals
        return tuple(totals.get(f"{c.name.partition('/')[2]}_j") for c in self.channels)

    def _tell(self, order: str) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError):  # it has ended: its last words say why
                process.stdin.write(order.encode())

    def describe(self) -> dict[str, JsonValue]:
        """Version, country, what each part's joules are made of, and emissions so far in grams."""
        # For a country that its table lacks it takes the world's average: that is no answer.
        known = self._facts.get("country_known", False) and self._country is not None
        is_rated = self._settings["force_cpu_power"] is not None
        return {
            **self._facts,
            "country": self._country,
            "cpu_tdp_known": is_rated or self._facts.get("cpu_tdp_known"),
            "measure_power_s": None if self.is_sparse else POLL_PERIOD_S,
            "emissions_g": self._totals.get("emissions_g") if known else None,
        }

    def _listen(self, process: PythonChild) -> None:
        with process.answers:
            for message in parse_lines(process.answers):
                with self._news:
                    if "cpu_j" in message:
                        self._totals, self._updated_s = message, time.monotonic()
                        self._count += 1
                    self._facts = message.get("ready", self._facts)
                    self._failed = message.get("failed", self._failed)
                    self._news.notify_all()
        with self._news:
            self._failed = self._failed or "its process ended"
            self._news.notify_all()


def _choose_gpus(request: MeterRequest) -> tuple[list[Gpu], list[AbsentMeter]]:
    """The GPUs that a meter of their vendor would measure, and those that it refuses.

    What our own meter refuses (a board divided by MIG, one that does not answer) CodeCarbon must
    not speak for, nor for GPUs that are hidden. It is given indices because it strips the letters
    ``MIG-`` from the front of a UUID one by one, and so finds no GPU by one that begins with
    ``GPU-``; none at all is an empty list, for without a list it takes every GPU.
    """
    from wbcbench.power import amd, nvml

    for vendor in (nvml, amd):
        try:
            boards = vendor.open_meters(request)
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
