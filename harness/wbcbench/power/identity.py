"""Which GPU is meant: indices, UUIDs and UUID prefixes become UUIDs.

NVML counts GPUs by PCI bus, CUDA by speed unless told otherwise, and both are renumbered by
``CUDA_VISIBLE_DEVICES``. Only the UUID means the same GPU to everybody, so everything past this
module carries it; the PCI bus id lets TensorFlow's choice be checked against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pynvml

from wbcbench.core.board_state import bus_key
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.power import nvml_library as nvml

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"


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
    count = nvml.ask(pynvml.nvmlDeviceGetCount) or 0
    found = (_gpu(index) for index in range(count))
    return tuple(gpu for gpu in found if gpu is not None)


def _gpu(index: int) -> Gpu | None:
    handle = nvml.ask(pynvml.nvmlDeviceGetHandleByIndex, index)
    uuid = nvml.ask(pynvml.nvmlDeviceGetUUID, handle) if handle is not None else None
    if uuid is None:
        return None
    pci = nvml.ask(pynvml.nvmlDeviceGetPciInfo, handle)
    mode = nvml.ask(pynvml.nvmlDeviceGetMigMode, handle)
    return Gpu(
        index=index,
        uuid=uuid,
        name=nvml.ask(pynvml.nvmlDeviceGetName, handle) or "",
        pci_bus_id=pci.busId if pci is not None else "",
        mig=bool(mode and mode[0]),
    )


def choose(
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
    shown = () if words else visible(gpus, environment)[: 1 if first_visible else None]
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


def visible(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> tuple[Gpu, ...]:
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
