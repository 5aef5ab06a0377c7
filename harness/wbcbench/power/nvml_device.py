"""NVML, opened and closed here alone: which GPUs there are, what the driver says of them.

``pynvml`` calls the library of NVIDIA's driver. Whoever needs it takes it and gives it back by
``session``, and calls it by ``ask`` (``None`` where the driver says no), but for the poll of a
meter and the setting of a limit, which look at the return code themselves. Every session holds one
reference, so nested ones and those of other libraries in this process do not close the driver for
each other.

NVML counts GPUs by PCI bus, CUDA by speed unless told otherwise, and both are renumbered by
``CUDA_VISIBLE_DEVICES``. Only the UUID means the same GPU to everybody, so all other modules use
it; the PCI bus id lets TensorFlow's choice be checked against it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml
from pydantic import JsonValue

from wbcbench.core.board_state import bus_key
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.units import w_from_mw

T = TypeVar("T")

_WAY_OUT = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        "libnvidia-ml.so.1 was not found",
        "Install the NVIDIA driver (in a container: start it with the GPUs passed through)",
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
        "the NVIDIA driver is not loaded",
        "Load it (`sudo modprobe nvidia`) or check `nvidia-smi`",
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: (
        "this user may not talk to the NVIDIA driver",
        "Check the permissions of /dev/nvidiactl and /dev/nvidia0",
    ),
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA library and the loaded kernel module have different versions",
        "Reboot, or reload the kernel module, after a driver update",
    ),
}

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

# "nvmlDeviceGetPowerUsage: On Ampere (except GA100) or newer GPUs, the API returns power averaged
# over 1 sec interval." NVML API reference.
_AVERAGE_S = 1.0
_AVERAGING_ARCHITECTURES = ("Ampere", "Ada", "Hopper", "Blackwell")

# A100 and H100 renew their reading every 100 ms and look at 25 ms of them: "Part-time Power
# Measurements", SC'24, arXiv 2312.02741. A30 and A100 carry the same GA100 chip.
_PART_TIME = re.compile(r"\b(A100|A30|A800|H100|H200|H800)\b", re.IGNORECASE)
_PART_TIME_UPDATE_S = 0.1
_PART_TIME_LOOK_S = 0.025
_GA100 = re.compile(r"\b(A100|A30|A800)\b", re.IGNORECASE)

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"


def acquire() -> None:
    """Take the library.

    Raises:
        CannotMeasureError: There is no library or no driver; the message says the way out.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        reason, way_out = _WAY_OUT.get(error.value, (str(error), "Check `nvidia-smi`"))
        raise CannotMeasureError(
            f"NVIDIA GPUs cannot be measured here: {reason}. Without NVML there is no reading of "
            f"GPU energy. {way_out}, or leave the nvml meter out."
        ) from error


def release() -> None:
    """Give the library back."""
    ask(pynvml.nvmlShutdown)


@contextmanager
def session() -> Iterator[None]:
    """Hold the library for a while; raises ``CannotMeasureError`` like ``acquire``."""
    acquire()
    try:
        yield
    finally:
        release()


@contextmanager
def board(uuid: str) -> Iterator[Any]:
    """Hold the library and yield the handle of one GPU; raises like ``device`` and ``acquire``."""
    with session():
        yield device(uuid)


def ask(call: Callable[..., T], *arguments: Any) -> T | None:
    """What the driver answers; ``None`` where it does not support the call or fails."""
    try:
        return call(*arguments)
    except pynvml.NVMLError:
        return None


def device(uuid: str) -> Any:
    """The handle of one GPU.

    Raises:
        CannotMeasureError: The driver does not know the GPU (any more).
    """
    try:
        return pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except pynvml.NVMLError as error:
        raise CannotMeasureError(
            f"The GPU {uuid} does not answer: {error}. Its energy cannot be read. "
            "Check `nvidia-smi -L`; a GPU that fell off the bus needs a reset or a reboot."
        ) from error


def gpu_facts(gpu: Gpu, handle: Any) -> dict[str, JsonValue]:
    """Identity, driver, limits in watts and modes of one GPU; needs an open session."""
    return {
        "index": gpu.index,
        "name": gpu.name,
        "uuid": gpu.uuid,
        "pci_bus_id": gpu.pci_bus_id,
        "serial": ask(pynvml.nvmlDeviceGetSerial, handle),
        "architecture": architecture(handle),
        "driver": ask(pynvml.nvmlSystemGetDriverVersion),
        "nvml": ask(pynvml.nvmlSystemGetNVMLVersion),
        "cuda": _cuda(ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)),
        "persistence_mode": _flag(ask(pynvml.nvmlDeviceGetPersistenceMode, handle)),
        "ecc_mode": _flag(_first(ask(pynvml.nvmlDeviceGetEccMode, handle))),
        "mig_mode": gpu.mig,
        **power_limits(handle),
    }


def power_limits(handle: Any) -> dict[str, JsonValue]:
    """Enforced, default, least and greatest power limit in watts; ``None`` if not told."""
    bounds = ask(pynvml.nvmlDeviceGetPowerManagementLimitConstraints, handle) or (None, None)
    default = ask(pynvml.nvmlDeviceGetPowerManagementDefaultLimit, handle)
    return {
        "power_limit_enforced_w": enforced_limit_w(handle),
        "power_limit_default_w": _watts(default),
        "power_limit_min_w": _watts(bounds[0]),
        "power_limit_max_w": _watts(bounds[1]),
    }


def enforced_limit_w(handle: Any) -> float | None:
    """The power limit in force, in watts; ``None`` if the board does not tell."""
    return _watts(ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle))


def architecture(handle: Any) -> str | None:
    """The chip's generation by name; ``None`` if the driver does not tell or it is not known."""
    number = ask(pynvml.nvmlDeviceGetArchitecture, handle)
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


# What is known of the boards' power sensors without probing them, each with its source. Unknown
# stays ``None``: a guess about a sensor would enter every uncertainty stated from it.
@dataclass(frozen=True, slots=True)
class KnownSensor:
    """Pace of one power reading; ``None`` is unknown.

    Attributes:
        update_s: How often the value is renewed.
        averaging_s: The time one value is the mean of; below ``update_s`` it is blind in between.
    """

    update_s: float | None = None
    averaging_s: float | None = None


def known_sensor(name: str, architecture: str | None, reading: str) -> KnownSensor:
    """What is known of ``reading`` (a name of ``power.nvml``) on a board.

    Args:
        name: Product name, as the driver tells it.
        architecture: Generation of the chip, e.g. ``"Ampere"``; ``None`` if unknown.
        reading: ``power_instant``, ``power_average``, ``power_usage`` or ``total_energy``.
    """
    is_mean = reading == "power_average" or (
        reading == "power_usage"
        and architecture in _AVERAGING_ARCHITECTURES
        and not _GA100.search(name)
    )
    if is_mean:
        return KnownSensor(averaging_s=_AVERAGE_S)
    if reading.startswith("power") and _PART_TIME.search(name):
        return KnownSensor(_PART_TIME_UPDATE_S, _PART_TIME_LOOK_S)
    return KnownSensor()


@dataclass(frozen=True, slots=True)
class Gpu:
    """One board as NVML knows it.

    Attributes:
        index: NVML's index, the one ``nvidia-smi`` prints.
        uuid: Identity that survives reordering and reboots, ``GPU-…``.
        name: Product name.
        pci_bus_id: ``domain:bus:device.function`` in NVML's spelling.
        mig: Whether the board is cut into MIG instances.
    """

    index: int
    uuid: str
    name: str
    pci_bus_id: str
    mig: bool


def list_gpus() -> tuple[Gpu, ...]:
    """Every GPU that answers, in NVML's order; needs an open session."""
    count = ask(pynvml.nvmlDeviceGetCount) or 0
    found = (_gpu(index) for index in range(count))
    return tuple(gpu for gpu in found if gpu is not None)


def _gpu(index: int) -> Gpu | None:
    handle = ask(pynvml.nvmlDeviceGetHandleByIndex, index)
    uuid = ask(pynvml.nvmlDeviceGetUUID, handle) if handle is not None else None
    if uuid is None:
        return None
    pci = ask(pynvml.nvmlDeviceGetPciInfo, handle)
    mode = ask(pynvml.nvmlDeviceGetMigMode, handle)
    return Gpu(
        index=index,
        uuid=uuid,
        name=ask(pynvml.nvmlDeviceGetName, handle) or "",
        pci_bus_id=pci.busId if pci is not None else "",
        mig=bool(mode and mode[0]),
    )


def choose_gpus(
    words: Sequence[str],
    gpus: Sequence[Gpu],
    environment: Mapping[str, str],
    *,
    first_visible: bool = False,
) -> tuple[Gpu, ...]:
    """The GPUs that are meant, each once.

    Args:
        words: NVML indices, UUIDs or UUID prefixes; empty = what ``CUDA_VISIBLE_DEVICES`` leaves.
        gpus: All GPUs of the machine.
        environment: Where CUDA's variables are looked up.
        first_visible: Without words, take only the first GPU that is visible.

    Raises:
        UsageError: A word names no GPU or several; the message lists what there is.
        CannotMeasureError: No GPU is left, or a chosen one is cut into MIG instances.
    """
    named = [named_gpu(word, gpus) for word in words]
    shown = () if words else _visible_gpus(gpus, environment)[: 1 if first_visible else None]
    chosen = tuple(dict.fromkeys(named)) or shown
    if not chosen:
        raise CannotMeasureError(_none_left(gpus, environment))
    for gpu in chosen:
        _refuse_mig(gpu)
    return chosen


def named_gpu(word: str, gpus: Sequence[Gpu]) -> Gpu:
    """The GPU that an index, a UUID or a UUID prefix names.

    Raises:
        UsageError: None or several match.
        CannotMeasureError: The word names a MIG instance.
    """
    if word.startswith("MIG-"):
        raise CannotMeasureError(_mig(f"The device {word} is a MIG instance"))
    if word.isdigit():
        found = [gpu for gpu in gpus if gpu.index == int(word)]
    else:
        found = [gpu for gpu in gpus if _has_prefix(gpu.uuid, word)]
    if len(found) == 1:
        return found[0]
    what = "names several GPUs" if found else "names no GPU of this machine"
    raise UsageError(
        f"The GPU '{word}' {what}. Give an index, a UUID or the beginning of one. "
        f"There are: {_listed(gpus)}."
    )


def _visible_gpus(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs that CUDA would show to a program started in this environment, in its order.

    CUDA stops at the first word of ``CUDA_VISIBLE_DEVICES`` that it does not know.

    Raises:
        CannotMeasureError: The variable names a MIG instance.
        UsageError: It counts GPUs of different models in CUDA's own order, which only CUDA knows.
    """
    if VISIBLE not in environment:
        return tuple(gpus)
    shown: list[Gpu] = []
    for word in (part.strip() for part in environment[VISIBLE].split(",")):
        gpu = _visible_one(word, gpus, environment)
        if gpu is None:
            break
        shown.append(gpu)
    return tuple(dict.fromkeys(shown))


def _visible_one(word: str, gpus: Sequence[Gpu], environment: Mapping[str, str]) -> Gpu | None:
    if word.startswith("MIG-"):
        raise CannotMeasureError(_mig(f"{VISIBLE} names the MIG instance {word}"))
    if not word.isdigit():
        found = [gpu for gpu in gpus if word and _has_prefix(gpu.uuid, word)]
        return found[0] if len(found) == 1 else None
    _refuse_unknown_order(gpus, environment)
    by_bus = sorted(gpus, key=lambda gpu: bus_key(gpu.pci_bus_id))
    return by_bus[int(word)] if int(word) < len(by_bus) else None


def _refuse_unknown_order(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> None:
    """CUDA counts the fastest GPU first; equal ones by bus. Which is faster, only CUDA knows."""
    by_bus = environment.get(ORDER) == "PCI_BUS_ID"
    if not by_bus and len({gpu.name for gpu in gpus}) > 1:
        raise UsageError(
            f"{VISIBLE}={environment[VISIBLE]} counts GPUs of different models in CUDA's own "
            "order, so the wrong one might be measured. Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or "
            f"name the GPU by UUID: {_listed(gpus)}."
        )


def _has_prefix(uuid: str, word: str) -> bool:
    return uuid.lower().removeprefix("gpu-").startswith(word.lower().removeprefix("gpu-"))


def _refuse_mig(gpu: Gpu) -> None:
    if gpu.mig:
        raise CannotMeasureError(_mig(f"GPU {gpu.index} ({gpu.uuid}) is cut into MIG instances"))


def _mig(what: str) -> str:
    return (
        f"{what}. Its energy counter counts the whole board, with whatever runs on the other "
        "instances, so no number would belong to this run. Use a GPU without MIG, or switch it "
        "off (`sudo nvidia-smi -mig 0`) and on again afterwards (`sudo nvidia-smi -mig 1`)."
    )


def _none_left(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> str:
    if gpus:
        return (
            f"{VISIBLE}={environment.get(VISIBLE, '')!r} hides every GPU of this machine, so none "
            f"is measured. Unset it or name one of: {_listed(gpus)}."
        )
    return "The NVIDIA driver is loaded but shows no GPU. Check `nvidia-smi -L`."


def _listed(gpus: Sequence[Gpu]) -> str:
    return ", ".join(f"{gpu.index} = {gpu.uuid} ({gpu.name})" for gpu in gpus) or "none"
