"""The one door to NVML, the library of NVIDIA's driver, through ``pynvml``.

Everything else in the package asks through ``session`` (take and give back the library) and
``ask`` (one call; ``None`` where the driver says no). Every session holds one reference, so nested
ones and those of other libraries in this process do not close the driver for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pynvml

from wbcbench.core.errors import CannotMeasureError

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
