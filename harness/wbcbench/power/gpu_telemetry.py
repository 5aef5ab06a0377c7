"""What a board does besides drawing power: heat, clocks, throttling, load, memory, processes.

One reader a GPU, polled in its own thread and at its own pace: these calls are slow on some
drivers, and must never delay the power channels.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import pynvml

from wbcbench.core.units import hz_from_mhz
from wbcbench.power import nvml_library as nvml
from wbcbench.power.facts import enforced_limit_w

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
            utilization=load.gpu / 100 if load is not None else None,
            utilization_memory=load.memory / 100 if load is not None else None,
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
