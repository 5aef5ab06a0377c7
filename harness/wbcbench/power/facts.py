"""What the driver says of a board, for provenance: asked once, unknown is ``None``."""

from __future__ import annotations

from typing import Any

import pynvml
from pydantic import JsonValue

from wbcbench.core.units import w_from_mw
from wbcbench.power import nvml_library as nvml
from wbcbench.power.identity import Gpu

_ARCHITECTURES = {
    pynvml.NVML_DEVICE_ARCH_KEPLER: "Kepler",
    pynvml.NVML_DEVICE_ARCH_MAXWELL: "Maxwell",
    pynvml.NVML_DEVICE_ARCH_PASCAL: "Pascal",
    pynvml.NVML_DEVICE_ARCH_VOLTA: "Volta",
    pynvml.NVML_DEVICE_ARCH_TURING: "Turing",
    pynvml.NVML_DEVICE_ARCH_AMPERE: "Ampere",
    pynvml.NVML_DEVICE_ARCH_ADA: "Ada",
    pynvml.NVML_DEVICE_ARCH_HOPPER: "Hopper",
    pynvml.NVML_DEVICE_ARCH_BLACKWELL: "Blackwell",
}


def gpu_facts(gpu: Gpu, handle: Any) -> dict[str, JsonValue]:
    """Identity, driver, limits in watts and modes of one GPU; needs an open session."""
    return {
        "index": gpu.index,
        "name": gpu.name,
        "uuid": gpu.uuid,
        "pci_bus_id": gpu.pci_bus_id,
        "serial": nvml.ask(pynvml.nvmlDeviceGetSerial, handle),
        "architecture": architecture(handle),
        "driver": nvml.ask(pynvml.nvmlSystemGetDriverVersion),
        "nvml": nvml.ask(pynvml.nvmlSystemGetNVMLVersion),
        "cuda": _cuda(nvml.ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)),
        "persistence_mode": _flag(nvml.ask(pynvml.nvmlDeviceGetPersistenceMode, handle)),
        "ecc_mode": _flag(_first(nvml.ask(pynvml.nvmlDeviceGetEccMode, handle))),
        "mig_mode": gpu.mig,
        **power_limits(handle),
    }


def power_limits(handle: Any) -> dict[str, JsonValue]:
    """Enforced, default, least and greatest power limit in watts; ``None`` if not told."""
    bounds = nvml.ask(pynvml.nvmlDeviceGetPowerManagementLimitConstraints, handle) or (None, None)
    default = nvml.ask(pynvml.nvmlDeviceGetPowerManagementDefaultLimit, handle)
    return {
        "power_limit_enforced_w": enforced_limit_w(handle),
        "power_limit_default_w": _watts(default),
        "power_limit_min_w": _watts(bounds[0]),
        "power_limit_max_w": _watts(bounds[1]),
    }


def enforced_limit_w(handle: Any) -> float | None:
    """The power limit in force, in watts; ``None`` if the board does not tell."""
    return _watts(nvml.ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle))


def architecture(handle: Any) -> str | None:
    """The chip's generation by name; ``None`` if the driver does not tell or it is not known."""
    number = nvml.ask(pynvml.nvmlDeviceGetArchitecture, handle)
    return None if number is None else _ARCHITECTURES.get(number)


def _watts(milliwatts: float | None) -> float | None:
    return None if milliwatts is None else w_from_mw(milliwatts)


def _flag(state: int | None) -> bool | None:
    return None if state is None else bool(state)


def _first(states: list[int] | None) -> int | None:
    return states[0] if states else None


def _cuda(number: int | None) -> str | None:
    """12040 means 12.4: thousands are the major version, tens the minor."""
    return None if number is None else f"{number // 1000}.{number % 1000 // 10}"
