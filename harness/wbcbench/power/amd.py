"""AMD GPUs by ROCm's ``amdsmi``: energy counter, power reading, identity, telemetry, power limit.

For ``monitor`` and ``Meter``. The locked TensorFlow has no ROCm build, so a run cannot train on
these GPUs and does not measure them.

``amdsmi`` loads ``libamd_smi.so`` (from ``$ROCM_PATH/lib``) while it is imported, and prints to
standard output if it finds none. It is imported here alone, when it is needed, with standard output
redirected. The library does not count its users, so this module does.

Units by AMD's API reference: the counter's steps are microjoules, power is in watts, power limits
in microwatts, clocks in megahertz, memory in mebibytes, temperature in degrees Celsius.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import JsonValue

from wbcbench.core import units
from wbcbench.core.errors import CannotMeasureError
from wbcbench.power.device import (
    ENERGY,
    Device,
    Gpu,
    GpuMeter,
    NotInstalledError,
    TelemetrySample,
    UnreadGpuError,
    begins_with,
    format_gpus,
    known_limit_w,
    known_range_w,
    make_meters,
    named_gpus,
    visible_gpus,
)
from wbcbench.power.meter import MeterRequest

# ROCr hides GPUs first; HIP then counts those that are left.
VISIBLE = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
POWER_READINGS = ("current_socket_power", "average_socket_power", "socket_power")

# AMD's violations by NVML's name for the same thing, so that one check judges both vendors.
THROTTLE_REASONS = {
    "active_ppt_pwr": "sw_power_cap",
    "active_socket_thrm": "sw_thermal_slowdown",
    "active_hbm_thrm": "sw_thermal_slowdown",
    "active_prochot_thrm": "hw_thermal_slowdown",
    "active_vr_thrm": "hw_thermal_slowdown",
}

_UNKNOWN = "N/A"  # what amdsmi returns in place of a number

_lock = threading.Lock()
_users = 0


def open_meters(request: MeterRequest) -> list[GpuMeter]:
    """AMD GPUs: energy counter and power reading of each board, for `monitor` and `Meter`.

    One meter for each GPU asked for, or for each visible one; a run has one.

    Raises:
        CannotMeasureError: No package, library, driver or GPU, or a training is to be measured.
        UsageError: ``request.gpus`` names no GPU of this machine, or several.
    """
    _import_amdsmi()
    if request.for_training:
        raise CannotMeasureError(
            "AMD GPUs are not measured in a run: the locked TensorFlow has no ROCm build and "
            "cannot train on them. Use `wbcbench monitor` or `Meter` with your own program."
        )
    with session():
        gpus = list_gpus()
        chosen = named_gpus(request.gpus, gpus) or _visible_gpus(gpus)
        is_one = request.one_gpu and not request.gpus
        return make_meters(map(AmdDevice, chosen), is_one=is_one)


@cache
def _import_amdsmi() -> Any:
    """Import the package, with standard output redirected; a failed import is tried again.

    Raises:
        NotInstalledError: The package or the library is missing.
    """
    stdout, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        with redirect_stdout(io.StringIO()):
            import amdsmi
    except ModuleNotFoundError as error:
        raise NotInstalledError(
            "AMD GPUs cannot be measured: the package amdsmi is not installed. Install it "
            "(`pip install 'wbcbench[amd]'`), or leave the amd meter out."
        ) from error
    except (ImportError, KeyError, OSError, AttributeError) as error:
        raise NotInstalledError(
            "AMD GPUs cannot be measured: libamd_smi.so was not found or is too old. Install "
            "ROCm's amd-smi-lib and set ROCM_PATH, or leave the amd meter out."
        ) from error
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(nowhere)
    return amdsmi


@contextmanager
def session() -> Iterator[None]:
    """Hold the library; the first user opens it and the last closes it.

    Raises:
        CannotMeasureError: There is no package, no library or no driver.
    """
    global _users  # noqa: PLW0603
    amdsmi = _import_amdsmi()
    with _lock:
        if _users == 0:
            try:
                amdsmi.amdsmi_init(amdsmi.AmdSmiInitFlags.INIT_AMD_GPUS)
            except amdsmi.AmdSmiException as error:
                raise CannotMeasureError(
                    f"AMD GPUs cannot be measured: {_reason(error)}. Load the driver "
                    "(`sudo modprobe amdgpu`) or check `amd-smi list`."
                ) from error
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                query("amdsmi_shut_down")


def query(name: str, *arguments: Any) -> Any:
    """The answer of one function of ``amdsmi``; ``None`` where it is not supported or fails."""
    import amdsmi

    try:
        answer = getattr(amdsmi, name)(*arguments)
    except (amdsmi.AmdSmiException, UnicodeDecodeError):  # text that is not UTF-8 is unknown
        return None
    if isinstance(answer, dict):
        return {key: None if value == _UNKNOWN else value for key, value in answer.items()}
    return answer


def _reason(error: Exception) -> str:
    """``AMDSMI_STATUS_DRIVER_NOT_LOADED - Driver not loaded``, without line breaks."""
    return getattr(error, "err_info", None) or " ".join(str(error).split())


@dataclass(frozen=True)
class AmdGpu(Gpu):
    """One GPU with its handle while a session is open, and HIP's number and UUID for it."""

    handle: Any = field(default=None, compare=False)
    hip_id: int | None = None
    hip_uuid: str = ""

    def has_prefix(self, prefix: str) -> bool:
        """Whether either UUID begins with ``prefix``."""
        return super().has_prefix(prefix) or begins_with(self.hip_uuid, prefix)


def list_gpus() -> list[AmdGpu]:
    """Every GPU, in the library's order; one without a UUID does not answer. Needs a session."""
    gpus: list[AmdGpu] = []
    for index, handle in enumerate(query("amdsmi_get_processor_handles") or ()):
        uuid = query("amdsmi_get_gpu_device_uuid", handle) or ""
        name = (query("amdsmi_get_gpu_asic_info", handle) or {}).get("market_name") or ""
        bus_id = query("amdsmi_get_gpu_device_bdf", handle) or ""
        hip = query("amdsmi_get_gpu_enumeration_info", handle) or {}
        ids = hip.get("hip_id"), hip.get("hip_uuid") or ""
        problem = "" if uuid else "its UUID cannot be read"
        gpus.append(AmdGpu(index, uuid, name, bus_id, False, problem, handle, *ids))
    return gpus


def _visible_gpus(gpus: Sequence[AmdGpu]) -> tuple[AmdGpu, ...]:
    """The GPUs that ROCm would show to a program started in this environment.

    Raises:
        CannotMeasureError: There is none.
        UnreadGpuError: The driver does not report HIP's order.
    """
    settings = {name: os.environ[name] for name in VISIBLE if name in os.environ}
    stated = " ".join(f"{name}={setting!r}" for name, setting in settings.items())
    way_out = f"Unset it, or name GPUs with --gpus: {format_gpus(gpus)}."
    if not gpus:
        raise CannotMeasureError("The AMD driver is loaded but shows no GPU. See `amd-smi list`.")
    if any(settings.values()) and any(gpu.hip_id is None for gpu in gpus):
        raise UnreadGpuError(
            f"{stated} counts GPUs in HIP's order, which this driver does not report. {way_out}"
        )
    visible = tuple(sorted(gpus, key=lambda gpu: gpu.hip_id or 0) if settings else gpus)
    for setting in settings.values():
        visible = visible_gpus(setting, visible)
    if not visible:
        raise CannotMeasureError(f"{stated} hides every AMD GPU of this machine. {way_out}")
    return visible


class AmdDevice(Device):
    """One AMD GPU."""

    vendor = "amd"

    def __init__(self, gpu: AmdGpu) -> None:
        """Prepare; nothing is opened yet."""
        own = gpu.hip_uuid or str(gpu.index if gpu.hip_id is None else gpu.hip_id)
        super().__init__(gpu, (VISIBLE[0], own))

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Hold the library and yield the handle.

        Raises:
            CannotMeasureError: The driver does not know the GPU (any more).
        """
        with session():
            handles = {gpu.uuid: gpu.handle for gpu in list_gpus()}
            if self.gpu.problem or self.gpu.uuid not in handles:
                raise CannotMeasureError(
                    f"{self.gpu} does not answer. Check `amd-smi list`; a GPU "
                    "that fell off the bus needs a reset or a reboot."
                )
            yield handles[self.gpu.uuid]

    def find_readings(self) -> tuple[str, ...]:
        """At most the counter and the first power reading that the board knows."""
        power = self.query("amdsmi_get_power_info")
        known = [name for name in POWER_READINGS if power.get(name) is not None]
        counter = [ENERGY] if self.query("amdsmi_get_energy_count") else []
        return (*counter, *known[:1])

    def read(self) -> Sequence[float | None]:
        """Joules since the driver was loaded and watts; ``None`` on failure or if closed."""
        return tuple(
            self._energy_j() if name == ENERGY else self.query("amdsmi_get_power_info").get(name)
            for name in self.readings
        )

    def _energy_j(self) -> float | None:
        """The counter's steps × their size in microjoules."""
        count = self.query("amdsmi_get_energy_count")
        steps, step_uj = count.get("energy_accumulator"), count.get("counter_resolution")
        return None if steps is None or step_uj is None else units.j_from_uj(steps * step_uj)

    def query(self, name: str, *arguments: Any) -> Any:
        """The answer of one function about this GPU; ``{}`` where it fails or is closed."""
        return (query(name, self.handle, *arguments) if self.handle else None) or {}

    def describe(self) -> dict[str, JsonValue]:
        """Driver and default power limit in watts."""
        asic = self.query("amdsmi_get_gpu_asic_info")
        return {
            "serial": asic.get("asic_serial"),
            "architecture": asic.get("target_graphics_version"),
            "driver": self.query("amdsmi_get_gpu_driver_info").get("driver_version"),
            "amdsmi": version("amdsmi"),
            "power_limit_default_w": known_limit_w(self._power_cap_w().get("default_power_cap")),
        }

    def read_telemetry(self) -> TelemetrySample:
        """Read the state; may block as long as the driver does, never raises for a failed call."""
        import amdsmi

        sensor = amdsmi.AmdSmiTemperatureType.HOTSPOT, amdsmi.AmdSmiTemperatureMetric.CURRENT
        temperature_c = query("amdsmi_get_temp_metric", self.handle, *sensor)
        load = self.query("amdsmi_get_gpu_activity").get("gfx_activity")
        used_mib = self.query("amdsmi_get_gpu_vram_usage").get("vram_used")
        violations = self.query("amdsmi_get_violation_status")
        reasons = [reason for name, reason in THROTTLE_REASONS.items() if violations.get(name)]
        processes = query("amdsmi_get_gpu_process_list", self.handle)
        return TelemetrySample(
            temperature_c=None if temperature_c is None else float(temperature_c),
            clock_sm_hz=self._clock_hz(amdsmi.AmdSmiClkType.GFX),
            clock_memory_hz=self._clock_hz(amdsmi.AmdSmiClkType.MEM),
            utilization=None if load is None else units.share_from_pct(load),
            memory_used_bytes=None if used_mib is None else units.bytes_from_mib(used_mib),
            power_limit_w=self.power_limit_w(),
            reasons=tuple(dict.fromkeys(reasons)) if violations else None,
            pids=None if processes is None else tuple(process["pid"] for process in processes),
        )

    def _clock_hz(self, clock: Any) -> float | None:
        frequency_mhz = self.query("amdsmi_get_clock_info", clock).get("clk")
        return None if frequency_mhz is None else units.hz_from_mhz(frequency_mhz)

    def _power_cap_w(self) -> dict[str, float]:
        cap_uw = self.query("amdsmi_get_power_cap_info")
        return {name: units.w_from_uw(value) for name, value in cap_uw.items() if value is not None}

    def power_limit_w(self) -> float | None:
        """The power limit that is set, in watts; ``None`` if unknown."""
        return known_limit_w(self._power_cap_w().get("power_cap"))

    def power_limit_range_w(self) -> tuple[float, float] | None:
        """Lowest and highest power limit in watts; ``None`` if unknown."""
        cap_w = self._power_cap_w()
        return known_range_w(cap_w.get("min_power_cap"), cap_w.get("max_power_cap"))

    def set_power_limit(self, limit_w: float) -> None:
        """Set the power limit in watts; raises ``CannotMeasureError`` where that fails."""
        import amdsmi

        try:
            amdsmi.amdsmi_set_power_cap(self.handle, 0, round(units.uw_from_w(limit_w)))
        except amdsmi.AmdSmiException as error:
            raise CannotMeasureError(
                f"The power limit of {self.gpu} could not be set to {limit_w:g} W: "
                f"{_reason(error)}. Run as root, or have it set (`sudo amd-smi set -g "
                f"{self.gpu.index} -o {limit_w:g}`)."
            ) from error
