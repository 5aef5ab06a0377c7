"""CodeCarbon beside our own meters: what it says of CPU, GPU and RAM, each with its mode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from queue import Empty, Queue
from types import TracebackType
from typing import IO, Any, Self

from pydantic import JsonValue

from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.energy.source import CODECARBON
from wbcbench.power.codecarbon_feed import PERIOD_S, FeedSettings
from wbcbench.power.meters import EnergyMeter, MeterRequest

READY_S = 60.0  # importing its tables takes seconds on a busy machine
STALE_S = 5 * PERIOD_S
STOP_S = 5.0

_DOMAINS = {"cpu": Domain.CPU, "gpu": Domain.GPU, "ram": Domain.DRAM}

# CodeCarbon's mode of a part → our word for the reading, and how far it is from a sensor.
_MODES = {
    "intel_rapl": ("rapl", Origin.MEASURED),
    "nvml": ("nvml", Origin.MEASURED),
    "cpu_load": ("tdp_load", Origin.MODELLED),
    "constant": ("constant", Origin.MODELLED),
}


def open_meters(request: MeterRequest) -> list[EnergyMeter]:
    """The one meter that CodeCarbon is; it is started when entered.

    Raises:
        CannotMeasureError: The package is not installed.
        UsageError: ``codecarbon.cpu_power_w`` or ``codecarbon.ram_power_w`` is no number.
    """
    if find_spec("codecarbon") is None:
        raise CannotMeasureError(
            "CodeCarbon is not installed, so it cannot be asked. Install it (`pip install "
            "codecarbon`), or leave the codecarbon meter out."
        )
    settings = FeedSettings(
        country=request.country,
        gpus=_gpu_indices(request),
        cpu_power_w=_option(request, "codecarbon.cpu_power_w"),
        ram_power_w=_option(request, "codecarbon.ram_power_w"),
    )
    return [CodeCarbonMeter(settings)]


class CodeCarbonMeter:
    """CodeCarbon's totals as counters in joules; see ``codecarbon_feed`` for how they come."""

    name = CODECARBON
    # Its totals move once a second; looking four times as often tells well enough when.
    interval_s: float | None = PERIOD_S / 4

    def __init__(self, settings: FeedSettings) -> None:
        """Prepare; nothing is started yet."""
        self.channels: tuple[Channel, ...] = ()
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None
        self._facts: dict[str, Any] = {}
        self._totals: Mapping[str, float] = {}
        self._told_s = 0.0

    def __enter__(self) -> Self:
        """Start CodeCarbon; raises ``CannotMeasureError`` when it does not measure here."""
        process = _start(self._settings)
        self._process = process
        answers: Queue[dict[str, Any]] = Queue()
        threading.Thread(
            target=self._listen, args=(process, answers), name="codecarbon-feed", daemon=True
        ).start()
        try:
            self._facts = _ready(answers)
        except CannotMeasureError:
            self._stop()
            raise
        self.channels = tuple(_channel(part, how) for part, how in self._facts["parts"].items())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop CodeCarbon; one that does not stop is killed."""
        self._stop()

    def read(self) -> Sequence[float | None]:
        """Joules since the start, as last told; ``None`` once it has fallen silent."""
        if time.monotonic() - self._told_s > STALE_S:
            return (None,) * len(self.channels)
        totals = self._totals
        return tuple(totals.get(f"{_part(channel)}_j") for channel in self.channels)

    def describe(self) -> dict[str, JsonValue]:
        """Version, country, what each part's joules are made of, and emissions so far in grams."""
        # For a country that its table lacks it takes the world's average: that is no answer.
        known = self._facts.get("country_known", False)
        emissions_g = self._totals.get("emissions_g") if known else None
        return {**self._facts, "emissions_g": emissions_g}

    def _listen(self, process: subprocess.Popen[str], answers: Queue[dict[str, Any]]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            message = json.loads(line)
            if "cpu_j" in message:
                self._totals, self._told_s = message, time.monotonic()
            else:
                answers.put(message)
        answers.put({"failed": "its process ended"})

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _close(process.stdin)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(settings: FeedSettings) -> subprocess.Popen[str]:
    """A session of its own keeps Ctrl-C from it: it ends when the watcher lets it."""
    return subprocess.Popen(
        [sys.executable, "-m", "wbcbench.power.codecarbon_feed", json.dumps(asdict(settings))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        # One allocator arena and one BLAS thread: it shares the machine with what it watches.
        env={**os.environ, "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"},
    )


def _ready(answers: Queue[dict[str, Any]]) -> dict[str, Any]:
    try:
        answer = answers.get(timeout=READY_S)
    except Empty:
        answer = {"failed": f"it was not ready after {READY_S:.0f} s"}
    if "ready" in answer:
        facts: dict[str, Any] = answer["ready"]
        return facts
    raise CannotMeasureError(
        f"CodeCarbon does not measure here: {answer['failed']}. Its figures are a cross-check "
        "only; leave the codecarbon meter out to go on without."
    )


def _close(stream: IO[str] | None) -> None:
    if stream is None:
        return
    try:
        stream.close()
    except BrokenPipeError:
        return


def _channel(part: str, how: Mapping[str, Any]) -> Channel:
    reading, origin = _MODES.get(how["mode"], (str(how["mode"]), Origin.MODELLED))
    return Channel(
        name=f"{CODECARBON}/{part}",
        kind=Kind.COUNTER,
        origin=origin,
        domain=_DOMAINS[part],
        reading=reading,
        update_s=PERIOD_S,
        limit_w=how.get("tdp_w"),
    )


def _part(channel: Channel) -> str:
    return channel.name.split("/")[1]


def _gpu_indices(request: MeterRequest) -> tuple[int, ...] | None:
    """NVML indices of the GPUs that are measured; ``None`` where there are none to measure.

    CodeCarbon is given indices because it strips the letters ``MIG-`` from the front of a UUID
    one by one, and so finds no GPU by one that begins with ``GPU-``.
    """
    from wbcbench.power import nvml_library
    from wbcbench.power.identity import choose, list_gpus

    try:
        with nvml_library.session():
            gpus = choose(request.gpus, list_gpus(), os.environ, first_visible=request.one_gpu)
            return tuple(gpu.index for gpu in gpus)
    except CannotMeasureError:
        return None


def _option(request: MeterRequest, name: str) -> float | None:
    text = request.options.get(name)
    try:
        return None if text is None else float(text)
    except ValueError as error:
        raise UsageError(f"{name} must be a number of watts; it is {text!r}.") from error
