"""One GPU as a facet of its meter: identity, what hides it, state and power limit.

Telemetry, the power limit, ``doctor`` and the trainer's environment use a ``Device`` and know no
vendor. To support another vendor: a meter in a file here whose ``device`` is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from pydantic import JsonValue

from wbcbench.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Gpu:
    """Identity of one board.

    Attributes:
        index: The driver's index, the one that the vendor's command line prints.
        uuid: Identity that survives reordering and reboots.
        name: Product name.
        pci_bus_id: ``domain:bus:device.function`` in the driver's spelling.
        is_partitioned: Whether the board is divided into instances (MIG) that share one counter.
    """

    index: int
    uuid: str
    name: str
    pci_bus_id: str
    is_partitioned: bool = False

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name})"

    def has_prefix(self, prefix: str) -> bool:
        """Whether the UUID begins with ``prefix``, with or without ``GPU-`` before it."""
        start = prefix.lower().removeprefix("gpu-")
        return bool(start) and self.uuid.lower().removeprefix("gpu-").startswith(start)


@dataclass(frozen=True, slots=True)
class TelemetrySample:
    """The state of a board at one moment; ``None`` where a call failed or is not supported.

    Attributes:
        temperature_c: Die temperature in degrees Celsius.
        clock_sm_hz, clock_memory_hz: Present clocks.
        utilization: Share of the driver's last period in [0, 1] in which a kernel ran.
        memory_used_bytes: Device memory in use, without the driver's own where that is known.
        power_limit_w: The limit in force.
        throttle_reasons: Why the clocks are lowered, in NVML's names.
        pids: Processes on the board; ``None`` if the driver lists none at all. ``()`` in a
            container may only mean that none is visible from inside it.
    """

    temperature_c: float | None = None
    clock_sm_hz: float | None = None
    clock_memory_hz: float | None = None
    utilization: float | None = None
    memory_used_bytes: int | None = None
    power_limit_w: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    pids: tuple[int, ...] | None = None


class Device(Protocol):
    """One GPU; a context manager that holds the vendor's library."""

    gpu: Gpu
    visible_as: tuple[str, str]  # environment variable and entry that hide all other GPUs

    def __enter__(self) -> Self:
        """Open the device; raises ``CannotMeasureError`` when it does not answer."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close the device."""
        ...

    def describe(self) -> dict[str, JsonValue]:
        """Identity, driver, limits in watts and modes."""
        ...

    def read_telemetry(self) -> TelemetrySample:
        """Read the state; may block as long as the driver does, never raises for a failed call."""
        ...

    def power_limit_w(self) -> float | None:
        """The power limit that is set, in watts; ``None`` if unknown."""
        ...

    def power_limit_range_w(self) -> tuple[float, float] | None:
        """Lowest and highest power limit in watts; ``None`` if unknown."""
        ...

    def set_power_limit(self, limit_w: float) -> None:
        """Set the power limit in watts; raises ``CannotMeasureError`` where that fails."""
        ...


class UnknownGpuError(UsageError):
    """Some names match no GPU of one vendor; ``known`` are the names that do."""

    def __init__(self, message: str, known: tuple[str, ...]) -> None:
        """Say ``message``; another vendor may have the GPU."""
        super().__init__(message)
        self.known = known


def named_gpus(names: Sequence[str], gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """The GPUs that indices, UUIDs or UUID prefixes name, each once.

    Raises:
        UnknownGpuError: A name matches no GPU; the message lists all GPUs.
        UsageError: A name matches several.
    """
    matches = {name: [gpu for gpu in gpus if _is_named(gpu, name)] for name in names}
    for name, matching in matches.items():
        if len(matching) != 1:
            problem = "names several GPUs" if matching else "names no GPU of this machine"
            message = (
                f"The GPU '{name}' {problem}. Give an index, a UUID or the beginning of one. "
                f"There are: {format_gpus(gpus)}."
            )
            if matching:
                raise UsageError(message)
            raise UnknownGpuError(message, tuple(known for known in names if matches[known]))
    return tuple(dict.fromkeys(gpu for (gpu,) in matches.values()))


def _is_named(gpu: Gpu, name: str) -> bool:
    return gpu.index == int(name) if name.isdigit() else gpu.has_prefix(name)


def visible_gpus(setting: str, gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """The GPUs that a variable such as ``CUDA_VISIBLE_DEVICES`` leaves, in its order.

    CUDA, HIP and ROCr all stop at the first entry that they do not know.

    Args:
        setting: The variable's value: numbers, UUIDs or UUID prefixes.
        gpus: The GPUs in the order in which the runtime counts them.
    """
    visible: list[Gpu] = []
    for entry in map(str.strip, setting.split(",")):
        if entry.isdigit():
            matches = list(gpus[int(entry) : int(entry) + 1])
        else:
            matches = [gpu for gpu in gpus if gpu.has_prefix(entry)]
        if len(matches) != 1:
            break
        visible += matches
    return tuple(dict.fromkeys(visible))


def format_gpus(gpus: Sequence[Gpu]) -> str:
    """``0 = GPU-1f2e (name)`` for every GPU, for messages."""
    return ", ".join(f"{gpu.index} = {gpu.uuid} ({gpu.name})" for gpu in gpus) or "none"
