"""NVIDIA GPUs: energy counter, power reading and what else the driver says of a board.

Which reading a board offers is found out once, when it is opened, and kept: a trace never mixes two
of them. Field values come in one call that reuses its buffer; a driver or board without them is
asked by the older calls. A read that fails is ``None``.

Power: ``power_instant`` is preferred. ``power_usage`` is a one-second average on Ampere and newer
(GA100 excepted) and instantaneous before; ``power_average`` is the same average under its name.
Source: NVML API reference, ``nvmlDeviceGetPowerUsage`` and ``nvmlFieldValueEnums``.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import pynvml
from pydantic import JsonValue

from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.units import hz_from_mhz, j_from_mj, share_from_pct, w_from_mw
from wbcbench.power import nvml_device as library
from wbcbench.power import nvml_device as nvml
from wbcbench.power.meter import EnergyMeter, MeterRequest
from wbcbench.power.nvml_device import (
    Gpu,
    KnownSensor,
    architecture,
    choose_gpus,
    enforced_limit_w,
    gpu_facts,
    known_sensor,
    list_gpus,
)

# Manufacturers state ±5 %; cards of one model were found −9.5 … +6.4 % off (arXiv 2312.02741).
GAIN_ERROR = 0.05

ENERGY = "total_energy"
POWER_READINGS = ("power_instant", "power_average", "power_usage")

_FIELDS = {
    ENERGY: pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
    "power_instant": pynvml.NVML_FI_DEV_POWER_INSTANT,
    "power_average": pynvml.NVML_FI_DEV_POWER_AVERAGE,
}
_CALLS: dict[str, Callable[[Any], int]] = {
    ENERGY: pynvml.nvmlDeviceGetTotalEnergyConsumption,
    "power_usage": pynvml.nvmlDeviceGetPowerUsage,
}
_MEMBERS = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}
_TRIES = 3  # a driver that stumbles once while it is asked what it can do is asked again

_Way = tuple[str, Callable[[Any], int] | None]

ProcessKind = Literal["compute", "graphics"]

# Names of the bits of the clock-event mask; source: NVML API reference, nvmlClocksEventReasons.
THROTTLE_REASONS = {
    0x001: "gpu_idle",
    0x002: "application_clocks",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake",
    0x100: "display_clock",
    0x200: "board_limit",
    0x400: "reliability",
}


def open_meters(request: MeterRequest) -> list[EnergyMeter]:
    """NVIDIA GPUs: energy counter and power reading of each board, measured by its own sensor.

    One meter for each GPU asked for, or for each visible one.

    Raises:
        CannotMeasureError: No library, no driver, no GPU, a MIG instance, or a board without any
            energy or power reading; the message says which and the way out.
        UsageError: ``request.gpus`` names no GPU of this machine, or several.
    """
    with library.session():
        gpus = choose_gpus(request.gpus, list_gpus(), os.environ, first_visible=request.one_gpu)
        return [NvmlMeter(gpu, BoardPower(library.device(gpu.uuid)).readings) for gpu in gpus]


class NvmlMeter:
    """One GPU; holds its handle from ``__enter__`` to ``__exit__``."""

    interval_s: float | None = None

    def __init__(self, gpu: Gpu, readings: Sequence[str]) -> None:
        """Watch ``gpu``, which offers ``readings``.

        Raises:
            CannotMeasureError: It offers none.
        """
        if not readings:
            raise CannotMeasureError(
                f"GPU {gpu.index} ({gpu.name}) gives neither an energy counter nor a power "
                "reading, so its energy cannot be measured. Virtual GPUs and some laptop boards "
                "are like that: use another GPU, or leave the nvml meter out."
            )
        self.gpu = gpu
        self.name = f"nvml/gpu{gpu.index}"
        self.channels = tuple(_channel(gpu, reading, KnownSensor(), None) for reading in readings)
        self._board: BoardPower | None = None
        self._held = ExitStack()
        self._facts: dict[str, JsonValue] = {}

    def __enter__(self) -> Self:
        """Take the handle and find out what the board offers; raises ``CannotMeasureError``."""
        with ExitStack() as stack:
            self._look(stack.enter_context(library.board(self.gpu.uuid)))
            self._held = stack.pop_all()
        return self

    def _look(self, handle: Any) -> None:
        board = BoardPower(handle)
        if not board.readings:
            raise CannotMeasureError(
                f"GPU {self.gpu.index} ({self.gpu.name}) gives no reading any more. "
                "Check `nvidia-smi`; a GPU that fell off the bus needs a reset or a reboot."
            )
        limit_w, generation = enforced_limit_w(handle), architecture(handle)
        self.channels = tuple(
            _channel(self.gpu, each, known_sensor(self.gpu.name, generation, each), limit_w)
            for each in board.readings
        )
        named = zip(self.channels, board.readings, strict=True)
        self._facts = gpu_facts(self.gpu, handle) | {
            "readings": {channel.name: reading for channel, reading in named},
            "read_by": dict(board.ways),
        }
        self._board = board

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the handle go."""
        self._board = None
        self._held.close()

    def read(self) -> Sequence[float | None]:
        """Joules since the driver was loaded and watts, in the order of ``channels``."""
        return self._board.read() if self._board else (None,) * len(self.channels)

    def describe(self) -> dict[str, JsonValue]:
        """Identity, driver, limits, modes, and which reading each channel holds."""
        return self._facts


def _channel(gpu: Gpu, reading: str, sensor: KnownSensor, limit_w: float | None) -> Channel:
    is_counter = reading == ENERGY
    return Channel(
        name=f"nvml/gpu{gpu.index}/{'counter' if is_counter else 'power'}",
        kind=Kind.COUNTER if is_counter else Kind.SAMPLED,
        origin=Origin.MEASURED,
        domain=Domain.GPU,
        reading=reading,
        gain_error=GAIN_ERROR,
        limit_w=limit_w,
        device=gpu.uuid,
        update_s=sensor.update_s,
        averaging_s=sensor.averaging_s,
    )


class BoardPower:
    """What one board offers, ready to be polled.

    Attributes:
        readings: What ``read`` returns, in its order: at most ``total_energy`` and one of
            ``POWER_READINGS``; empty if the board offers neither.
    """

    def __init__(self, handle: Any) -> None:
        """Find out what the board offers; ``handle`` is NVML's, in an open session."""
        self._handle = handle
        found = (_way(handle, ENERGY), _first_way(handle, POWER_READINGS))
        ways = [way for way in found if way is not None]
        self.readings = tuple(reading for reading, _ in ways)
        self.ways = {reading: "call" if call else "field" for reading, call in ways}
        self._fields = _FieldBuffer(handle, [reading for reading, call in ways if call is None])
        self._calls = [(reading, call) for reading, call in ways if call is not None]

    def read(self) -> tuple[float | None, ...]:
        """Joules since the driver was loaded and watts, as far as offered; ``None`` on failure."""
        raw = self._fields.read()
        for reading, call in self._calls:
            raw[reading] = nvml.ask(call, self._handle)
        return tuple(_in_si(reading, raw.get(reading)) for reading in self.readings)


class _FieldBuffer:
    """One ``nvmlDeviceGetFieldValues`` call for several readings, its buffer kept."""

    def __init__(self, handle: Any, readings: list[str]) -> None:
        self._readings = readings
        self._values = (pynvml.c_nvmlFieldValue_t * len(readings))()
        for value, reading in zip(self._values, readings, strict=True):
            value.fieldId = _FIELDS[reading]
        self._fill = getattr(pynvml.nvmlLib, "nvmlDeviceGetFieldValues", None)
        self._arguments = (handle, ctypes.c_int(len(readings)), ctypes.byref(self._values))

    def read(self) -> dict[str, float | None]:
        """Vendor units by reading; empty if the call fails as a whole."""
        if not self._readings or self._fill is None:
            return {}
        if self._fill(*self._arguments) != pynvml.NVML_SUCCESS:
            return {}
        return {r: _number(v) for r, v in zip(self._readings, self._values, strict=True)}


def _number(value: Any) -> float | None:
    """What a field value holds, by its own return code and type; ``None`` if it holds nothing."""
    if value.nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    member = _MEMBERS.get(value.valueType)
    return None if member is None else getattr(value.value, member)


def _in_si(reading: str, raw: float | None) -> float | None:
    if raw is None:
        return None
    return j_from_mj(raw) if reading == ENERGY else w_from_mw(raw)


def _first_way(handle: Any, readings: tuple[str, ...]) -> _Way | None:
    ways = (_way(handle, reading) for reading in readings)
    return next((way for way in ways if way is not None), None)


def _way(handle: Any, reading: str) -> _Way | None:
    """How a reading can be had: by field (``None`` as its call), by call, or not at all."""
    for _ in range(_TRIES):
        if reading in _FIELDS and _FieldBuffer(handle, [reading]).read().get(reading) is not None:
            return reading, None
        call = _CALLS.get(reading)
        if call is not None and nvml.ask(call, handle) is not None:
            return reading, call
    return None


# Telemetry has one reader a GPU, polled in its own thread and at its own pace: these calls are slow
# on some drivers, and must never delay the power channels.
@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process on the board; ``memory_bytes`` is ``None`` where the driver does not tell."""

    pid: int
    kind: ProcessKind
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class TelemetrySample:
    """One look at a board; ``None`` where a call failed or is not supported.

    Attributes:
        temperature_c: Die temperature in degrees Celsius.
        clock_sm_hz, clock_memory_hz: Present clocks.
        throttle_mask: NVML's clock-event reasons; see ``throttle_reasons``.
        utilization, utilization_memory: Share of the driver's last period in [0, 1] in which a
            kernel ran, and in which memory was read or written.
        memory_used_bytes, memory_total_bytes: Device memory; used leaves out the driver's own.
        power_limit_w: The limit in force.
        processes: Everyone on the board; ``None`` if the driver does not tell, ``()`` if it
            shows nobody, which in a container may only mean that it shows nobody *here*.
    """

    temperature_c: float | None
    clock_sm_hz: float | None
    clock_memory_hz: float | None
    throttle_mask: int | None
    utilization: float | None
    utilization_memory: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    power_limit_w: float | None
    processes: tuple[GpuProcess, ...] | None


def throttle_reasons(mask: int) -> tuple[str, ...]:
    """Names of the reasons in a mask, bits of newer drivers by number."""
    bits = (1 << place for place in range(mask.bit_length()) if mask >> place & 1)
    return tuple(THROTTLE_REASONS.get(bit, f"bit_{bit:#x}") for bit in bits)


class GpuTelemetry:
    """Reader of one GPU's telemetry, named by UUID; a context manager like a meter."""

    def __init__(self, uuid: str) -> None:
        """Watch the GPU ``uuid``; nothing is opened yet."""
        self.uuid = uuid
        self._handle: Any = None
        self._held = ExitStack()

    def __enter__(self) -> Self:
        """Take the handle; raises ``CannotMeasureError`` when the GPU does not answer."""
        self._handle = self._held.enter_context(nvml.board(self.uuid))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the handle go."""
        self._handle = None
        self._held.close()

    def read(self) -> TelemetrySample:
        """Look once; may block as long as the driver does, never raises for a failing call."""
        handle = self._handle
        load = nvml.ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
        memory = _memory(handle)
        return TelemetrySample(
            temperature_c=temperature_c(handle),
            clock_sm_hz=_clock(handle, pynvml.NVML_CLOCK_SM),
            clock_memory_hz=_clock(handle, pynvml.NVML_CLOCK_MEM),
            throttle_mask=_throttle(handle),
            utilization=share_from_pct(load.gpu) if load is not None else None,
            utilization_memory=share_from_pct(load.memory) if load is not None else None,
            memory_used_bytes=memory.used if memory is not None else None,
            memory_total_bytes=memory.total if memory is not None else None,
            power_limit_w=enforced_limit_w(handle),
            processes=processes(handle),
        )


def temperature_c(handle: Any) -> float | None:
    """Die temperature by the newer call, or the older one where the driver lacks it."""
    sensor = pynvml.NVML_TEMPERATURE_GPU
    newer = nvml.ask(pynvml.nvmlDeviceGetTemperatureV, handle, sensor)
    found = (
        newer if newer is not None else nvml.ask(pynvml.nvmlDeviceGetTemperature, handle, sensor)
    )
    return None if found is None else float(found)


def processes(handle: Any) -> tuple[GpuProcess, ...] | None:
    """Compute and graphics processes on the board; ``None`` if the driver tells neither."""
    compute = _processes(pynvml.nvmlDeviceGetComputeRunningProcesses_v3, handle, "compute")
    graphics = _processes(pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3, handle, "graphics")
    if compute is None and graphics is None:
        return None
    return (compute or ()) + (graphics or ())


def _processes(
    call: Callable[[Any], list[Any]], handle: Any, kind: ProcessKind
) -> tuple[GpuProcess, ...] | None:
    found = nvml.ask(call, handle)
    if found is None:
        return None
    return tuple(GpuProcess(each.pid, kind, each.usedGpuMemory) for each in found)


def _clock(handle: Any, kind: int) -> float | None:
    mhz = nvml.ask(pynvml.nvmlDeviceGetClockInfo, handle, kind)
    return None if mhz is None else hz_from_mhz(mhz)


def _throttle(handle: Any) -> int | None:
    mask: int | None = nvml.ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if mask is None:
        mask = nvml.ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    return mask


def _memory(handle: Any) -> Any:
    """Version 2 tells the driver's reserve apart; version 1 counts it as used."""
    newer = nvml.ask(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
    return newer if newer is not None else nvml.ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
