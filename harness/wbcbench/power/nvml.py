"""NVIDIA GPUs by NVML: energy counter, power reading, identity, telemetry and power limit.

``pynvml`` calls the library of NVIDIA's driver and is imported here alone. Every session holds one
reference, so nested ones and those of other libraries in this process do not close the driver for
each other. Text that is not UTF-8, which it cannot decode, is unknown.

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
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pynvml
from pydantic import JsonValue

from wbcbench.core import units
from wbcbench.core.board_state import bus_key
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.job import lacks_boards
from wbcbench.power.device import (
    ENERGY,
    GAIN_ERRORS,
    Device,
    Gpu,
    GpuMeter,
    Pace,
    TelemetrySample,
    UnreadGpuError,
    format_gpus,
    known_limit_w,
    known_range_w,
    make_meters,
    named_gpus,
    visible_gpus,
)
from wbcbench.power.meter import MeterRequest

T = TypeVar("T")

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
_SYSTEM_CALLS: tuple[Callable[[], Any], ...] = (
    pynvml.nvmlSystemGetDriverVersion,
    pynvml.nvmlSystemGetNVMLVersion,
    pynvml.nvmlSystemGetCudaDriverVersion,
    pynvml.nvmlSystemGetCudaDriverVersion_v2,
)
_STATE_CALLS: tuple[tuple[Any, ...], ...] = (
    (pynvml.nvmlDeviceGetName,),
    (pynvml.nvmlDeviceGetSerial,),
    (pynvml.nvmlDeviceGetArchitecture,),
    (pynvml.nvmlDeviceGetPersistenceMode,),
    (pynvml.nvmlDeviceGetComputeMode,),
    (pynvml.nvmlDeviceGetEccMode,),
    (pynvml.nvmlDeviceGetMigMode,),
    (pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU),
    (pynvml.nvmlDeviceGetTemperatureV, pynvml.NVML_TEMPERATURE_GPU),
    (pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_GRAPHICS),
    (pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM),
    (pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_MEM),
    (pynvml.nvmlDeviceGetUtilizationRates,),
    (pynvml.nvmlDeviceGetMemoryInfo,),
    (pynvml.nvmlDeviceGetMemoryInfo, pynvml.nvmlMemory_v2),
    (pynvml.nvmlDeviceGetCurrentClocksEventReasons,),
    (pynvml.nvmlDeviceGetCurrentClocksThrottleReasons,),
    (pynvml.nvmlDeviceGetComputeRunningProcesses_v3,),
    (pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3,),
    (pynvml.nvmlDeviceGetPowerManagementLimit,),
    (pynvml.nvmlDeviceGetPowerManagementDefaultLimit,),
    (pynvml.nvmlDeviceGetPowerManagementLimitConstraints,),
    (pynvml.nvmlDeviceGetEnforcedPowerLimit,),
)
# Members of a field value by its type; source: NVML API reference, nvmlValueType_t.
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
# A driver that stumbles while a board is opened is asked again; what lasts is asked a few times.
_TRIES = 3
PATIENCE_S, _PAUSE_S = 2.0, 0.02
_LASTING = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_NOT_FOUND,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_GPU_IS_LOST,
)

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
# Measurements", SC'24, arXiv 2312.02741. A30 carries the chip of A100, GH200 and H20 that of H100.
_PART_TIME = re.compile(r"\b(A100|A30|A800|G?H100|G?H200|H800|H20)\b", re.IGNORECASE)
_PART_TIME_UPDATE_S = 0.1
_PART_TIME_AVERAGING_S = 0.025
_GA100 = re.compile(r"\b(A100|A30|A800)\b", re.IGNORECASE)

_DEVICE_FILES = Path("/dev")  # a program may compute on a GPU although nothing can measure it
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


def open_meters(request: MeterRequest) -> list[GpuMeter]:
    """NVIDIA GPUs: energy counter and power reading of each board, measured by its own sensor.

    One meter for each GPU asked for, or for each visible one; a run has one. A meter whose board
    cannot be measured (it does not answer, is divided by MIG, has no reading) says so when it is
    entered.

    Raises:
        CannotMeasureError: No library, no driver or no GPU, or none that a cluster gave to a run;
            the message says which and the way out.
        UnreadGpuError: There are GPUs in use, but not to be found out which.
        UsageError: ``request.gpus`` names no GPU of this machine, or several.
    """
    if request.for_training and not request.gpus and lacks_boards(os.environ):
        raise CannotMeasureError(
            "Slurm gave this job no GPU, so those of the node may be in use by other jobs. Ask for "
            "one (--gres=gpu:1), or leave the nvml meter out. Where Slurm does not manage GPUs, "
            "name one with --gpus."
        )
    with session():
        gpus = choose_gpus(request.gpus, list_gpus(), os.environ)
        is_one = request.one_gpu and not request.gpus
        devices = (NvmlDevice(gpu, every_reading=request.every_reading) for gpu in gpus)
        return make_meters(devices, is_one=is_one)


@contextmanager
def session(asked_by: str = "the nvml meter") -> Iterator[None]:
    """Hold the library; ``asked_by`` is what the user may leave out where there is none.

    Raises:
        CannotMeasureError: There is no library or no driver; the message says the way out.
        UnreadGpuError: There are GPUs, but the library or the driver does not start.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        problem, way_out = _PROBLEMS.get(error.value, (_describe(error), "Check `nvidia-smi`"))
        is_hidden = os.environ.get(VISIBLE, "0").strip() in {"", "-1"}
        is_there = any(_DEVICE_FILES.glob("nvidia[0-9]*")) and not is_hidden
        has_gpus = is_there or error.value not in _PROBLEMS
        kind = UnreadGpuError if has_gpus else CannotMeasureError
        raise kind(
            f"NVML cannot measure GPUs here: {problem}. {way_out}, or leave {asked_by} out."
        ) from error
    try:
        yield
    finally:
        query(pynvml.nvmlShutdown)


@contextmanager
def replaced_library(replace: Callable[[Any], Any]) -> Iterator[None]:
    """Let ``replace`` of the library answer all calls of this process; needs an open session.

    For whoever listens: the outermost edge that ``pynvml`` has, the functions in C.
    """
    library = pynvml.nvmlLib

    def use(answering: Any) -> None:
        pynvml.nvmlLib = answering
        pynvml._nvmlGetFunctionPointer_cache.clear()  # of functions that were called before

    use(replace(library))
    try:
        yield
    finally:
        use(library)


def query(call: Callable[..., T], *arguments: Any) -> T | None:
    """The driver's answer; ``None`` where it does not support the call or fails."""
    try:
        return call(*arguments)
    except (pynvml.NVMLError, UnicodeDecodeError):
        return None


def _describe(error: Exception) -> str:
    """What the driver says of an error, which may be no text either."""
    try:
        return str(error)
    except UnicodeDecodeError:
        return type(error).__name__


def ask(call: Callable[..., T], *arguments: Any, until_s: float) -> T:
    """The driver's answer; for no lasting reason to fail it is asked again until ``until_s``.

    Raises:
        pynvml.NVMLError: It did not answer.
    """
    for tries in count(1):
        try:
            return call(*arguments)
        except pynvml.NVMLError as error:
            is_over = error.value in _LASTING or time.monotonic() >= until_s
            if tries >= _TRIES and is_over:
                raise
            time.sleep(0.0 if is_over else _PAUSE_S)
    raise AssertionError("unreachable")


def list_gpus() -> tuple[Gpu, ...]:
    """Every GPU, in NVML's order; one that does not answer has a problem and no UUID.

    NVML counts boards, too, from which a control group keeps this process: no program here can use
    them, and they are left out, as CUDA does. Needs an open session; raises ``UnreadGpuError`` if
    the driver does not say how many there are.
    """
    until_s = time.monotonic() + PATIENCE_S
    try:
        number = ask(pynvml.nvmlDeviceGetCount, until_s=until_s)
    except pynvml.NVMLError as error:
        raise UnreadGpuError(
            f"NVML lists no GPU: {_describe(error)}. Check `nvidia-smi -L`."
        ) from error
    found = (_read_identity(index, until_s) for index in range(number))
    return tuple(gpu for gpu in found if gpu is not None)


def find_handle(gpu: Gpu) -> Any | None:
    """The handle of a GPU, measured or not; ``None`` if it has none. Needs an open session."""
    return query(pynvml.nvmlDeviceGetHandleByIndex, gpu.index)


def ask_readings(handle: Any) -> None:
    """Ask for energy and power in every way that there is, for whoever listens to the answers."""
    query(pynvml.nvmlDeviceGetFieldValues, handle, list(_FIELDS.values()))
    for call in _CALLS.values():
        query(call, handle)


def ask_state(handle: Any) -> None:
    """Ask for all else that programs ask for, for whoever listens to the answers."""
    for call in _SYSTEM_CALLS:
        query(call)
    for call, *arguments in _STATE_CALLS:
        query(call, handle, *arguments)


def is_readable(index: int) -> bool:
    """Whether a GPU says its joules or its power at this moment."""
    with session():
        handles = (query(pynvml.nvmlDeviceGetHandleByIndex, index) for _ in range(_TRIES))
        known = (handle for handle in handles if handle is not None)
        return any(query(call, handle) is not None for handle in known for call in _CALLS.values())


def _read_identity(index: int, until_s: float) -> Gpu | None:
    """Which board it is; ``None`` for one that this process may not use."""
    try:
        handle = ask(pynvml.nvmlDeviceGetHandleByIndex, index, until_s=until_s)
        uuid = ask(pynvml.nvmlDeviceGetUUID, handle, until_s=until_s)
    except UnicodeDecodeError:
        return Gpu(index, "", "", "", problem="its UUID is not text")
    except pynvml.NVMLError_NoPermission:
        return None
    except pynvml.NVMLError as error:
        return Gpu(index, "", "", "", problem=_describe(error))
    bus_id = query(lambda: pynvml.nvmlDeviceGetPciInfo(handle).busId)
    mode = query(pynvml.nvmlDeviceGetMigMode, handle)
    name = query(pynvml.nvmlDeviceGetName, handle) or ""
    return Gpu(index, uuid, name, bus_id or "", bool(mode and mode[0]))


def choose_gpus(
    names: Sequence[str], gpus: Sequence[Gpu], environment: Mapping[str, str]
) -> tuple[Gpu, ...]:
    """The GPUs that are meant, each once; some of them may not be measurable.

    Args:
        names: NVML indices, UUIDs or UUID prefixes; empty = what ``CUDA_VISIBLE_DEVICES`` leaves.
        gpus: All GPUs of the machine.
        environment: Where CUDA's variables are looked up.

    Raises:
        UsageError: A name matches no GPU or several; the message lists what there is. Or the
            variable counts GPUs of different models in CUDA's own order, which only CUDA knows.
        CannotMeasureError: No GPU is left.
        UnreadGpuError: A MIG instance is named, or it cannot be known which GPU is meant.
    """
    for name in names:
        if name.startswith("MIG-"):
            raise UnreadGpuError(_describe_mig(f"{name} is a MIG instance"))
    return named_gpus(names, gpus) if names else _visible_gpus(gpus, environment)


def _visible_gpus(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs that CUDA would show to a program started in this environment, in its order."""
    if not gpus:
        raise CannotMeasureError("The NVIDIA driver shows no GPU. Check `nvidia-smi -L`.")
    setting = environment.get(VISIBLE)
    if setting is None:
        return tuple(gpus)
    entries = [entry.strip() for entry in setting.split(",")]
    if any(entry.startswith("MIG-") for entry in entries):
        if partitioned := tuple(gpu for gpu in gpus if gpu.is_partitioned):
            return partitioned
        raise UnreadGpuError(_describe_mig(f"{VISIBLE}={setting} names the MIG instance of a GPU"))
    known = [gpu for gpu in gpus if not gpu.problem]
    silent = [gpu for gpu in gpus if gpu.problem]
    if any(entry.isdigit() for entry in entries):
        _require_known_order(setting, gpus, environment)
    visible = visible_gpus(setting, sorted(known, key=lambda gpu: bus_key(gpu.pci_bus_id)))
    # A UUID that no answering GPU has may be that of one that does not answer; else CUDA shows
    # nothing after it.
    uuids = [entry for entry in entries if entry.lower().startswith("gpu-")]
    strange = [uuid for uuid in uuids if not any(gpu.has_prefix(uuid) for gpu in known)]
    if strange and silent and {*entries[entries.index(strange[0]) :]}.difference(strange):
        raise UnreadGpuError(
            f"{VISIBLE}={setting} names {strange[0]}, which is unknown here or does not answer, so "
            "it is open which GPUs after it are shown. Name the GPUs to measure with --gpus."
        )
    if strange:
        visible += tuple(silent)
    if not visible:
        raise CannotMeasureError(
            f"{VISIBLE}={setting!r} hides every GPU of this machine. Unset it or name one of: "
            f"{format_gpus(gpus)}."
        )
    return visible


def _require_known_order(setting: str, gpus: Sequence[Gpu], environment: Mapping[str, str]) -> None:
    """Refuse numbers of GPUs where only CUDA knows what they count.

    CUDA counts the fastest GPU first, equal ones by bus. Which is faster, only CUDA knows, and
    whether it counts one that does not answer NVML.
    """
    silent = [gpu for gpu in gpus if gpu.problem]
    if silent:
        raise UnreadGpuError(
            f"{VISIBLE}={setting} counts GPUs, but {silent[0]} does not answer, so another one may "
            f"be meant. Name GPUs by UUID: {format_gpus(gpus)}."
        )
    if environment.get(ORDER) != "PCI_BUS_ID" and len({gpu.name for gpu in gpus}) > 1:
        raise UsageError(
            f"{VISIBLE}={setting} counts GPUs of different models in CUDA's own order, so the "
            "wrong one might be measured. Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the GPU "
            f"by UUID: {format_gpus(gpus)}."
        )


def _describe_mig(problem: str) -> str:
    return (
        f"{problem}. Its counter includes what runs on the board's other instances. Use a GPU "
        "without MIG, or switch MIG off (`sudo nvidia-smi -mig 0`)."
    )


class NvmlDevice(Device):
    """One NVIDIA GPU."""

    vendor = "nvml"
    can_train = True
    gain_error = GAIN_ERRORS[vendor]

    def __init__(self, gpu: Gpu, *, every_reading: bool = False) -> None:
        """Prepare; nothing is opened yet."""
        super().__init__(gpu, (VISIBLE, gpu.uuid))
        self._every_reading = every_reading

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Hold the library and yield the handle.

        Raises:
            CannotMeasureError: The driver does not know the GPU (any more), or MIG divides it.
        """
        gpu = self.gpu
        if gpu.is_partitioned:
            raise CannotMeasureError(_describe_mig(f"{gpu} is divided into MIG instances"))
        if gpu.problem:
            raise CannotMeasureError(_describe_silence(gpu, gpu.problem))
        with session():
            try:
                until_s = time.monotonic() + PATIENCE_S
                handle = ask(pynvml.nvmlDeviceGetHandleByUUID, gpu.uuid, until_s=until_s)
            except pynvml.NVMLError as error:
                raise CannotMeasureError(_describe_silence(gpu, _describe(error))) from error
            yield handle

    def find_readings(self) -> tuple[str, ...]:
        """``total_energy`` and the first or, if so opened, all of ``POWER_READINGS``, if any.

        A reading that fails without saying that it is not supported is tried for ``PATIENCE_S``: a
        driver may stumble while it is opened, and a trace cannot change its reading later.
        """
        until_s = time.monotonic() + PATIENCE_S
        self._refused: dict[str, str] = {}
        energy = self._find_method(ENERGY, until_s)
        offered = filter(None, (self._find_method(each, until_s) for each in POWER_READINGS))
        powers = [*offered] if self._every_reading else [next(offered, {})]
        self._methods = {
            reading: way for each in (energy, *powers) for reading, way in each.items()
        }
        ways = list(self._methods.items())
        self._fields = _FieldBuffer([reading for reading, way in ways if way == "field"])
        self._calls = [
            (place, _CALLS[reading], _to_si(reading))
            for place, (reading, way) in enumerate(ways)
            if way == "call"
        ]
        return tuple(self._methods)

    def _find_method(self, reading: str, until_s: float) -> dict[str, str]:
        """``{reading: "field" or "call"}``; empty if the board does not offer it."""

        def find_way() -> str:
            problems = list[pynvml.NVMLError]()
            for way, read in (("field", self._ask_field), ("call", self._ask_call)):
                try:
                    read(reading)
                except pynvml.NVMLError as error:
                    problems.append(error)
                else:
                    return way
            raise min(problems, key=lambda error: error.value in _LASTING)

        try:
            return {reading: ask(find_way, until_s=until_s)}
        except pynvml.NVMLError as error:
            self._refused[reading] = _describe(error)
            return {}

    def _ask_field(self, reading: str) -> float:
        """The field value of a reading; raises ``NVMLError`` where it holds nothing."""
        if reading not in _FIELDS:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        [field] = pynvml.nvmlDeviceGetFieldValues(self.handle, [_FIELDS[reading]])
        value = decode_field(field, field.value)
        if value is None:
            raise pynvml.NVMLError(field.nvmlReturn or pynvml.NVML_ERROR_NOT_SUPPORTED)
        return value

    def _ask_call(self, reading: str) -> float:
        """The older call for a reading; raises ``NVMLError`` where there is none."""
        if reading not in _CALLS:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return _CALLS[reading](self.handle)

    def read(self) -> Sequence[float | None]:
        """Joules since the driver was loaded and watts; ``None`` on failure or if closed."""
        handle = self.handle
        if handle is None:
            return (None,) * len(self.readings)
        values = self._fields.read(handle)
        for place, call, to_si in self._calls:
            try:
                values.insert(place, to_si(call(handle)))
            except pynvml.NVMLError:
                values.insert(place, None)
        return values

    @property
    def stamp_s(self) -> float | None:
        """When the driver says that the first reading was made; ``None`` if it does not."""
        return self._fields.stamp_s if self._methods[self.readings[0]] == "field" else None

    def sensor_pace_s(self, reading: str) -> Pace:
        """How often a reading is renewed and what time it is the mean of, where published."""
        return known_pace_s(self.gpu.name, self._architecture(), reading)

    @property
    def number(self) -> int:
        """The minor number, that of ``/dev/nvidiaN``; the index where the driver hides it."""
        number = query(pynvml.nvmlDeviceGetMinorNumber, self.handle)
        return self.gpu.index if number is None else number

    @property
    def boards_shown(self) -> int:
        """How many boards the driver shows to this process."""
        return len(list_gpus())

    @property
    def used_bytes(self) -> int | None:
        """Memory in use; ``None`` where the driver counts its own reserve, too."""
        memory = query(pynvml.nvmlDeviceGetMemoryInfo, self.handle, pynvml.nvmlMemory_v2)
        return None if memory is None else int(memory.used)

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
            "tried_in_vain": dict(self._refused),
        }

    def _query_w(self, call: Callable[[Any], float]) -> float | None:
        limit_mw = query(call, self.handle)
        return None if limit_mw is None else known_limit_w(units.w_from_mw(limit_mw))

    def _query_hz(self, clock: int) -> float | None:
        frequency_mhz = query(pynvml.nvmlDeviceGetClockInfo, self.handle, clock)
        return None if frequency_mhz is None else units.hz_from_mhz(frequency_mhz)

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
            utilization=None if load is None else units.share_from_pct(load.gpu),
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
        return None if bounds is None else known_range_w(*map(units.w_from_mw, bounds))

    def set_power_limit(self, limit_w: float) -> None:
        """Set the power limit in watts; raises ``CannotMeasureError`` where that fails."""
        try:
            pynvml.nvmlDeviceSetPowerManagementLimit(self.handle, round(units.mw_from_w(limit_w)))
        except pynvml.NVMLError_NoPermission as error:
            raise CannotMeasureError(
                f"This user may not set the power limit of {self.gpu}. Run as root, or have it "
                f"set (`sudo nvidia-smi -i {self.gpu.index} -pl {limit_w:g}`) and leave "
                "--power-limit out: the limit in force is recorded with every run."
            ) from error
        except pynvml.NVMLError as error:
            raise CannotMeasureError(
                f"The power limit of {self.gpu} could not be set to {limit_w:g} W: "
                f"{_describe(error)}. "
                "Leave --power-limit out for this GPU, or check `nvidia-smi -q -d POWER`."
            ) from error


def _describe_silence(gpu: Gpu, problem: str) -> str:
    return (
        f"{gpu} does not answer: {problem}. Check `nvidia-smi -L`; a GPU that fell off the bus "
        "needs a reset or a reboot."
    )


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


class _FieldBuffer:
    """Field values that are read again and again into one buffer, by one driver call.

    ``pynvml`` makes a new buffer each time, which takes longer than the call itself.
    """

    def __init__(self, readings: Sequence[str]) -> None:
        """Prepare for some readings, which may be none."""
        self._buffer = (pynvml.c_nvmlFieldValue_t * len(readings))()
        self._views = []  # of the buffer, made once
        for reading, view in zip(readings, self._buffer, strict=True):
            view.fieldId = _FIELDS[reading]
            self._views.append((view, view.value, _to_si(reading)))

    def read(self, handle: Any) -> list[float | None]:
        """Joules and watts, in the order of the readings; ``None`` for what fails."""
        if not self._views:
            return []
        status = pynvml.nvmlLib.nvmlDeviceGetFieldValues(handle, len(self._views), self._buffer)
        if status != pynvml.NVML_SUCCESS:
            return [None] * len(self._views)
        return [
            None if (number := decode_field(view, value)) is None else to_si(number)
            for view, value, to_si in self._views
        ]

    @property
    def stamp_s(self) -> float | None:
        """The driver's time stamp of the first value, in seconds; ``None`` without one."""
        return units.s_from_us(self._buffer[0].timestamp) if self._views else None


def _to_si(reading: str) -> Callable[[float], float]:
    """What makes joules or watts of the driver's thousandths."""
    return units.j_from_mj if reading == ENERGY else units.w_from_mw


def decode_field(field: Any, value: Any) -> float | None:
    """What a field and its value hold, by return code and type; ``None`` if nothing."""
    if field.nvmlReturn != pynvml.NVML_SUCCESS or field.valueType >= len(_MEMBERS):
        return None
    number: float = getattr(value, _MEMBERS[field.valueType])
    return number
