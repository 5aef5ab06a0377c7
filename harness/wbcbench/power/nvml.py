"""NVIDIA GPUs by NVML: energy counter, power reading, identity, telemetry and power limit.

``pynvml`` calls the library of NVIDIA's driver and is imported here alone. Every session holds one
reference, so nested ones and those of other libraries in this process do not close the driver for
each other.

NVML counts GPUs by PCI bus, CUDA by speed unless configured otherwise, and both are renumbered by
``CUDA_VISIBLE_DEVICES``. Only the UUID means the same GPU everywhere, so all other modules use it.

Which reading a board offers is decided once, when it is opened: a trace never mixes two of them.
Field values come in one call; a driver or board without them is read by the older calls. A read
that fails is ``None``.

Power: ``power_instant`` is preferred. ``power_usage`` is a one-second average on Ampere and newer
(GA100 excepted) and instantaneous before; ``power_average`` is the same average under its name.
Source: NVML API reference, ``nvmlDeviceGetPowerUsage`` and ``nvmlFieldValueEnums``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pynvml
from pydantic import JsonValue

from wbcbench.core.board_state import bus_key
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.units import hz_from_mhz, j_from_mj, mw_from_w, share_from_pct, w_from_mw
from wbcbench.power.device import (
    ENERGY,
    Device,
    Gpu,
    GpuMeter,
    Pace,
    TelemetrySample,
    format_gpus,
    named_gpus,
    visible_gpus,
)
from wbcbench.power.meter import EnergyMeter, MeterRequest

T = TypeVar("T")

# Manufacturers state ±5 %; cards of one model were found −9.5 … +6.4 % off (arXiv 2312.02741).
GAIN_ERROR = 0.05

POWER_READINGS = ("power_instant", "power_average", "power_usage")

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"

_FIELDS = {
    ENERGY: pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
    "power_instant": pynvml.NVML_FI_DEV_POWER_INSTANT,
    "power_average": pynvml.NVML_FI_DEV_POWER_AVERAGE,
}
_CALLS: dict[str, Callable[[Any], int]] = {
    ENERGY: pynvml.nvmlDeviceGetTotalEnergyConsumption,
    "power_usage": pynvml.nvmlDeviceGetPowerUsage,
}
# Members of a field value by its type; source: NVML API reference, nvmlValueType_t.
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
_TRIES = 3  # a driver that fails once while its readings are listed is asked again

# Bits of the clock-event mask, lowest first; source: NVML API reference, nvmlClocksEventReasons.
THROTTLE_REASONS = (
    "gpu_idle", "application_clocks", "sw_power_cap", "hw_slowdown", "sync_boost",
    "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake", "display_clock",
    "board_limit", "reliability",
)  # fmt: skip

_ARCHITECTURES = {
    getattr(pynvml, f"NVML_DEVICE_ARCH_{name.upper()}"): name
    for name in (
        "Kepler", "Maxwell", "Pascal", "Volta", "Turing", "Ampere", "Ada", "Hopper", "Blackwell",
    )
}  # fmt: skip

# "nvmlDeviceGetPowerUsage: On Ampere (except GA100) or newer GPUs, the API returns power averaged
# over 1 sec interval." NVML API reference.
_AVERAGE_S = 1.0
_AVERAGING_ARCHITECTURES = ("Ampere", "Ada", "Hopper", "Blackwell")

# A100 and H100 renew their reading every 100 ms and average 25 ms of them: "Part-time Power
# Measurements", SC'24, arXiv 2312.02741. A30 and A100 carry the same GA100 chip.
_PART_TIME = re.compile(r"\b(A100|A30|A800|H100|H200|H800)\b", re.IGNORECASE)
_PART_TIME_UPDATE_S = 0.1
_PART_TIME_AVERAGING_S = 0.025
_GA100 = re.compile(r"\b(A100|A30|A800)\b", re.IGNORECASE)

_PROBLEMS = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        "libnvidia-ml.so.1 was not found",
        "Install the NVIDIA driver (in a container: start it with the GPUs passed through)",
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
        "the NVIDIA driver is not loaded",
        "Load it (`sudo modprobe nvidia`) or check `nvidia-smi`",
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: (
        "this user may not use the NVIDIA driver",
        "Check the permissions of /dev/nvidiactl and /dev/nvidia0",
    ),
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA library and the loaded kernel module have different versions",
        "Reboot, or reload the kernel module, after a driver update",
    ),
}


def open_meters(request: MeterRequest) -> list[EnergyMeter]:
    """NVIDIA GPUs: energy counter and power reading of each board, measured by its own sensor.

    One meter for each GPU asked for, or for each visible one.

    Raises:
        CannotMeasureError: No library, no driver, no GPU, a MIG instance, or a board without any
            energy or power reading; the message says which and the way out.
        UsageError: ``request.gpus`` names no GPU of this machine, or several.
    """
    with session():
        gpus = choose_gpus(request.gpus, list_gpus(), os.environ, first_visible=request.one_gpu)
        return [GpuMeter.checked(NvmlDevice(gpu)) for gpu in gpus]


@contextmanager
def session() -> Iterator[None]:
    """Hold the library.

    Raises:
        CannotMeasureError: There is no library or no driver; the message says the way out.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        problem, way_out = _PROBLEMS.get(error.value, (str(error), "Check `nvidia-smi`"))
        raise CannotMeasureError(
            f"NVML cannot measure GPUs here: {problem}. {way_out}, or leave the nvml meter out."
        ) from error
    try:
        yield
    finally:
        query(pynvml.nvmlShutdown)


def query(call: Callable[..., T], *arguments: Any) -> T | None:
    """The driver's answer; ``None`` where it does not support the call or fails."""
    try:
        return call(*arguments)
    except pynvml.NVMLError:
        return None


def list_gpus() -> tuple[Gpu, ...]:
    """Every GPU that answers, in NVML's order; needs an open session."""
    gpus = map(_read_identity, range(query(pynvml.nvmlDeviceGetCount) or 0))
    return tuple(filter(None, gpus))


def _read_identity(index: int) -> Gpu | None:
    handle = query(pynvml.nvmlDeviceGetHandleByIndex, index)
    uuid = query(pynvml.nvmlDeviceGetUUID, handle) if handle is not None else None
    if uuid is None:
        return None
    pci = query(pynvml.nvmlDeviceGetPciInfo, handle)
    mode = query(pynvml.nvmlDeviceGetMigMode, handle)
    name = query(pynvml.nvmlDeviceGetName, handle) or ""
    return Gpu(index, uuid, name, pci.busId if pci is not None else "", bool(mode and mode[0]))


def choose_gpus(
    names: Sequence[str],
    gpus: Sequence[Gpu],
    environment: Mapping[str, str],
    *,
    first_visible: bool = False,
) -> tuple[Gpu, ...]:
    """The GPUs that are meant, each once.

    Args:
        names: NVML indices, UUIDs or UUID prefixes; empty = what ``CUDA_VISIBLE_DEVICES`` leaves.
        gpus: All GPUs of the machine.
        environment: Where CUDA's variables are looked up.
        first_visible: Without names, take only the first GPU that is visible.

    Raises:
        UsageError: A name matches no GPU or several; the message lists what there is. Or the
            variable counts GPUs of different models in CUDA's own order, which only CUDA knows.
        CannotMeasureError: No GPU is left, or a chosen one is divided into MIG instances.
    """
    for name in names:
        if name.startswith("MIG-"):
            raise _mig_error(f"{name} is a MIG instance")
    chosen = named_gpus(names, gpus) if names else _visible_gpus(gpus, environment)
    chosen = chosen[:1] if first_visible and not names else chosen
    for gpu in chosen:
        if gpu.is_partitioned:
            raise _mig_error(f"GPU {gpu.index} ({gpu.uuid}) is divided into MIG instances")
    return chosen


def _visible_gpus(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs that CUDA would show to a program started in this environment, in its order."""
    if not gpus:
        raise CannotMeasureError("The NVIDIA driver shows no GPU. Check `nvidia-smi -L`.")
    setting = environment.get(VISIBLE)
    if setting is None:
        return tuple(gpus)
    entries = [entry.strip() for entry in setting.split(",")]
    if any(entry.startswith("MIG-") for entry in entries):
        raise _mig_error(f"{VISIBLE}={setting} names the MIG instance of a GPU")
    # CUDA counts the fastest GPU first; equal ones by bus. Which is faster, only CUDA knows.
    is_order_known = environment.get(ORDER) == "PCI_BUS_ID" or len({gpu.name for gpu in gpus}) == 1
    if not is_order_known and any(entry.isdigit() for entry in entries):
        raise UsageError(
            f"{VISIBLE}={setting} counts GPUs of different models in CUDA's own order, so the "
            "wrong one might be measured. Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the GPU "
            f"by UUID: {format_gpus(gpus)}."
        )
    visible = visible_gpus(setting, sorted(gpus, key=lambda gpu: bus_key(gpu.pci_bus_id)))
    if not visible:
        raise CannotMeasureError(
            f"{VISIBLE}={setting!r} hides every GPU of this machine. Unset it or name one of: "
            f"{format_gpus(gpus)}."
        )
    return visible


def _mig_error(problem: str) -> CannotMeasureError:
    return CannotMeasureError(
        f"{problem}. Its counter includes what runs on the board's other instances. Use a GPU "
        "without MIG, or switch MIG off (`sudo nvidia-smi -mig 0`)."
    )


class NvmlDevice(Device):
    """One NVIDIA GPU."""

    vendor = "nvml"
    can_train = True
    gain_error = GAIN_ERROR

    def __init__(self, gpu: Gpu) -> None:
        """Prepare; nothing is opened yet."""
        super().__init__(gpu, (VISIBLE, gpu.uuid))

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Hold the library and yield the handle.

        Raises:
            CannotMeasureError: The driver does not know the GPU (any more).
        """
        with session():
            try:
                handle = pynvml.nvmlDeviceGetHandleByUUID(self.gpu.uuid)
            except pynvml.NVMLError as error:
                raise CannotMeasureError(
                    f"{self.gpu} ({self.gpu.uuid}) does not answer: {error}. Check `nvidia-smi "
                    "-L`; a GPU that fell off the bus needs a reset or a reboot."
                ) from error
            yield handle

    def find_readings(self) -> tuple[str, ...]:
        """At most ``total_energy`` and one of ``POWER_READINGS``, each with how it is read."""
        power = next(filter(None, map(self._find_method, POWER_READINGS)), {})
        self._methods = self._find_method(ENERGY) | power
        self._by_field = [name for name, method in self._methods.items() if method == "field"]
        return tuple(self._methods)

    def _find_method(self, reading: str) -> dict[str, str]:
        """``{reading: "field" or "call"}``; empty if the board does not offer it."""
        for _ in range(_TRIES):
            if reading in _FIELDS and self._read_fields([reading]).get(reading) is not None:
                return {reading: "field"}
            if reading in _CALLS and query(_CALLS[reading], self.handle) is not None:
                return {reading: "call"}
        return {}

    def _read_fields(self, readings: Sequence[str]) -> dict[str, float | None]:
        """Vendor units by reading, from one driver call; empty if it fails as a whole."""
        fields = [_FIELDS[reading] for reading in readings]
        values = query(pynvml.nvmlDeviceGetFieldValues, self.handle, fields) if fields else None
        return (
            {} if values is None else dict(zip(readings, map(_decode_field, values), strict=True))
        )

    def read(self) -> Sequence[float | None]:
        """Joules since the driver was loaded and watts; ``None`` on failure or if closed."""
        if self.handle is None:
            return (None,) * len(self.readings)
        values = self._read_fields(self._by_field)
        for name in set(self.readings).difference(self._by_field):
            values[name] = query(_CALLS[name], self.handle)
        return tuple(
            None if value is None else j_from_mj(value) if name == ENERGY else w_from_mw(value)
            for name, value in ((name, values.get(name)) for name in self.readings)
        )

    def sensor_pace_s(self, reading: str) -> Pace:
        """How often a reading is renewed and what time it is the mean of, where published."""
        return known_pace_s(self.gpu.name, self._architecture(), reading)

    def _architecture(self) -> str | None:
        return _ARCHITECTURES.get(query(pynvml.nvmlDeviceGetArchitecture, self.handle))

    def describe(self) -> dict[str, JsonValue]:
        """Driver, default power limit in watts and modes."""
        handle = self.handle
        cuda = query(pynvml.nvmlSystemGetCudaDriverVersion_v2)
        persistence = query(pynvml.nvmlDeviceGetPersistenceMode, handle)
        ecc = query(pynvml.nvmlDeviceGetEccMode, handle)
        return {
            "serial": query(pynvml.nvmlDeviceGetSerial, handle),
            "architecture": self._architecture(),
            "driver": query(pynvml.nvmlSystemGetDriverVersion),
            "nvml": query(pynvml.nvmlSystemGetNVMLVersion),
            # 12040 means 12.4: thousands are the major version, tens the minor.
            "cuda": None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
            "persistence_mode": None if persistence is None else bool(persistence),
            "ecc_mode": bool(ecc[0]) if ecc else None,
            "mig_mode": self.gpu.is_partitioned,
            "power_limit_default_w": self._query_w(pynvml.nvmlDeviceGetPowerManagementDefaultLimit),
            "read_by": dict(self._methods),
        }

    def _query_w(self, call: Callable[[Any], float]) -> float | None:
        power_mw = query(call, self.handle)
        return None if power_mw is None else w_from_mw(power_mw)

    def _query_hz(self, clock: int) -> float | None:
        frequency_mhz = query(pynvml.nvmlDeviceGetClockInfo, self.handle, clock)
        return None if frequency_mhz is None else hz_from_mhz(frequency_mhz)

    def _query_first(self, *calls: tuple[Any, ...]) -> Any:
        """The answer of the first call, newest first, that the driver has."""
        answers = (query(call, self.handle, *arguments) for call, *arguments in calls)
        return next((answer for answer in answers if answer is not None), None)

    def read_telemetry(self) -> TelemetrySample:
        """Read the state; may block as long as the driver does, never raises for a failed call."""
        sensor = pynvml.NVML_TEMPERATURE_GPU
        temperature_c = self._query_first(
            (pynvml.nvmlDeviceGetTemperatureV, sensor), (pynvml.nvmlDeviceGetTemperature, sensor)
        )
        # Version 2 separates the driver's reserve; version 1 counts it as used.
        memory = self._query_first(
            (pynvml.nvmlDeviceGetMemoryInfo, pynvml.nvmlMemory_v2),
            (pynvml.nvmlDeviceGetMemoryInfo,),
        )
        throttle = self._query_first(
            (pynvml.nvmlDeviceGetCurrentClocksEventReasons,),
            (pynvml.nvmlDeviceGetCurrentClocksThrottleReasons,),
        )
        load = query(pynvml.nvmlDeviceGetUtilizationRates, self.handle)
        return TelemetrySample(
            temperature_c=None if temperature_c is None else float(temperature_c),
            clock_sm_hz=self._query_hz(pynvml.NVML_CLOCK_SM),
            clock_memory_hz=self._query_hz(pynvml.NVML_CLOCK_MEM),
            utilization=None if load is None else share_from_pct(load.gpu),
            memory_used_bytes=None if memory is None else memory.used,
            power_limit_w=self.enforced_limit_w(),
            reasons=None if throttle is None else decode_throttle_reasons(throttle),
            pids=self._list_pids(),
        )

    def _list_pids(self) -> tuple[int, ...] | None:
        """Compute and graphics processes; ``None`` if the driver lists neither."""
        answers = (
            query(pynvml.nvmlDeviceGetComputeRunningProcesses_v3, self.handle),
            query(pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3, self.handle),
        )
        if answers == (None, None):
            return None
        return tuple(process.pid for processes in answers for process in processes or ())

    def power_limit_w(self) -> float | None:
        """The power limit that is set, in watts; ``None`` if unknown."""
        return self._query_w(pynvml.nvmlDeviceGetPowerManagementLimit)

    def enforced_limit_w(self) -> float | None:
        """The power limit in force, in watts; ``None`` if unknown."""
        return self._query_w(pynvml.nvmlDeviceGetEnforcedPowerLimit)

    def power_limit_range_w(self) -> tuple[float, float] | None:
        """Lowest and highest power limit in watts; ``None`` if unknown."""
        bounds = query(pynvml.nvmlDeviceGetPowerManagementLimitConstraints, self.handle)
        return None if bounds is None else (w_from_mw(bounds[0]), w_from_mw(bounds[1]))

    def set_power_limit(self, limit_w: float) -> None:
        """Set the power limit in watts; raises ``CannotMeasureError`` where that fails."""
        try:
            pynvml.nvmlDeviceSetPowerManagementLimit(self.handle, round(mw_from_w(limit_w)))
        except pynvml.NVMLError_NoPermission as error:
            raise CannotMeasureError(
                f"This user may not set the power limit of {self.gpu}. Run as root, or have it "
                f"set (`sudo nvidia-smi -i {self.gpu.index} -pl {limit_w:g}`) and leave "
                "--power-limit out: the limit in force is recorded with every run."
            ) from error
        except pynvml.NVMLError as error:
            raise CannotMeasureError(
                f"The power limit of {self.gpu} could not be set to {limit_w:g} W: {error}. "
                "Leave --power-limit out for this GPU, or check `nvidia-smi -q -d POWER`."
            ) from error


def decode_throttle_reasons(mask: int) -> tuple[str, ...]:
    """Names of the reasons in a mask, bits of newer drivers by number."""
    names = THROTTLE_REASONS
    return tuple(
        names[bit] if bit < len(names) else f"bit_{1 << bit:#x}"
        for bit in range(mask.bit_length())
        if mask >> bit & 1
    )


def known_pace_s(name: str, architecture: str | None, reading: str) -> Pace:
    """What is published about a reading: how often it is renewed, and the time it is the mean of.

    ``None`` is unknown: a guess would enter every uncertainty.

    Args:
        name: Product name, as the driver gives it.
        architecture: Generation of the chip, e.g. ``"Ampere"``; ``None`` if unknown.
        reading: ``power_instant``, ``power_average``, ``power_usage`` or ``total_energy``.
    """
    is_mean = reading == "power_average" or (
        reading == "power_usage"
        and architecture in _AVERAGING_ARCHITECTURES
        and not _GA100.search(name)
    )
    if is_mean:
        return None, _AVERAGE_S
    if _PART_TIME.search(name):  # their counters add up what the same sensor shows
        return _PART_TIME_UPDATE_S, _PART_TIME_AVERAGING_S
    return None, None


def _decode_field(value: Any) -> float | None:
    """What a field value holds, by its own return code and type; ``None`` if it holds nothing."""
    if value.nvmlReturn != pynvml.NVML_SUCCESS or value.valueType >= len(_MEMBERS):
        return None
    number: float = getattr(value.value, _MEMBERS[value.valueType])
    return number
