"""One GPU as a facet of its meter: identity, what hides it, readings, state and power limit.

Telemetry, the power limit, ``doctor`` and the trainer's environment use a ``Device`` and know no
vendor. To support another vendor: a ``Device`` in a file here, and ``GpuMeter`` measures it.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from pydantic import JsonValue

from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.record import AbsentMeter
from wbcbench.core.trace import Channel, Domain, Kind, Origin

# How often a reading is renewed and the time it is the mean of, in seconds; ``None`` is unknown.
Pace = tuple[float | None, float | None]

_MOST_W = 100_000.0  # a power limit above it is a driver's mark for none

ENERGY = "total_energy"  # the name of every counter's reading; all others are power


# Manufacturers state ±5 %; cards of one model were found −9.5 … +6.4 % off (arXiv 2312.02741).
GAIN_ERRORS: Mapping[str, float | None] = {"nvml": 0.05, "amd": None}
"""Relative systematic error of each vendor's sensors; ``None`` where no figure is published."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """Identity of one board.

    Attributes:
        index: The driver's index, the one that the vendor's command line prints.
        uuid: Identity that survives reordering and reboots.
        name: Product name.
        pci_bus_id: ``domain:bus:device.function`` in the driver's spelling.
        is_partitioned: Whether the board is divided into instances (MIG) that share one counter.
        problem: Why the driver does not say what the board is; its UUID is then empty.
    """

    index: int
    uuid: str
    name: str
    pci_bus_id: str
    is_partitioned: bool = False
    problem: str = ""

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name})" if self.name else f"GPU {self.index}"

    def has_prefix(self, prefix: str) -> bool:
        """Whether the UUID begins with ``prefix``, with or without ``GPU-`` before it."""
        return begins_with(self.uuid, prefix)

    def is_named(self, name: str) -> bool:
        """Whether an index, a UUID or the beginning of one is this GPU's."""
        return self.index == int(name) if name.isdigit() else self.has_prefix(name)


def begins_with(uuid: str, prefix: str) -> bool:
    """Whether a UUID begins with ``prefix``, which is not empty, in any case of letters."""
    start = prefix.lower().removeprefix("gpu-")
    return bool(start) and uuid.lower().removeprefix("gpu-").startswith(start)


G = TypeVar("G", bound=Gpu)


def known_limit_w(limit_w: float | None) -> float | None:
    """A power limit in watts; ``None`` where the driver reports one that no board can have."""
    return limit_w if limit_w is not None and 0 < limit_w <= _MOST_W else None


def known_range_w(low_w: float | None, high_w: float | None) -> tuple[float, float] | None:
    """The bounds of a power limit in watts; ``None`` where they are none."""
    if low_w is None or (most_w := known_limit_w(high_w)) is None or not 0 <= low_w <= most_w:
        return None
    return low_w, most_w


@dataclass(frozen=True, slots=True)
class TelemetrySample:
    """The state of a board at one moment; ``None`` where a call failed or is not supported.

    Attributes:
        temperature_c: Die temperature in degrees Celsius.
        clock_sm_hz, clock_memory_hz: Present clocks.
        utilization: Share of the driver's last period in [0, 1] in which a kernel ran.
        memory_used_bytes: Device memory in use, without the driver's own where that is known.
        power_limit_w: The limit in force.
        reasons: Why the clocks are lowered, in NVML's names.
        pids: Processes on the board; ``None`` if the driver lists none at all. ``()`` in a
            container may only mean that none is visible from inside it.
    """

    temperature_c: float | None
    clock_sm_hz: float | None
    clock_memory_hz: float | None
    utilization: float | None
    memory_used_bytes: int | None
    power_limit_w: float | None
    reasons: tuple[str, ...] | None
    pids: tuple[int, ...] | None


class Device(ABC):
    """One GPU; a context manager that holds the vendor's library.

    Attributes:
        vendor: Name of its meter.
        can_train: Whether the locked TensorFlow can train on it.
        gain_error: Relative systematic error of its sensors; ``None`` if no figure is published.
        gpu: Its identity.
        visible_as: Environment variable and entry that hide all other GPUs from a program.
        handle: The library's handle while the device is open, ``None`` otherwise.
        readings: What ``read`` returns, in its order: at most the counter and one power reading, or
            every one if so asked.
    """

    vendor: ClassVar[str]
    can_train: ClassVar[bool] = False
    gain_error: ClassVar[float | None] = None

    def __init__(self, gpu: Gpu, visible_as: tuple[str, str]) -> None:
        """Prepare; nothing is opened yet."""
        self.gpu, self.visible_as = gpu, visible_as
        self.handle: Any = None
        self.readings: tuple[str, ...] = ()
        self._session = ExitStack()

    def __enter__(self) -> Self:
        """Open the device; raises ``CannotMeasureError`` when it does not answer."""
        with ExitStack() as stack:
            self.handle = stack.enter_context(self.open())
            self.readings = self.find_readings()
            self._session = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the device."""
        self.handle = None
        self._session.close()

    @abstractmethod
    def open(self) -> AbstractContextManager[Any]:
        """Hold the library and yield the handle; raises ``CannotMeasureError``."""

    @abstractmethod
    def find_readings(self) -> tuple[str, ...]:
        """What the open device can be read by; empty if by nothing."""

    @abstractmethod
    def read(self) -> Sequence[float | None]:
        """Joules since the driver was loaded and watts; ``None`` on failure or if closed."""

    @property
    def stamp_s(self) -> float | None:
        """When the driver says that the first reading was made, in seconds; ``None`` without."""
        return None

    def sensor_pace_s(self, reading: str) -> Pace:
        """How often a reading is renewed and what time it is the mean of, where published."""
        del reading
        return None, None

    @property
    def number(self) -> int | None:
        """The number of its device file, by which clusters name it; ``None`` if unknown."""
        return None

    @property
    def boards_shown(self) -> int:
        """How many boards the driver shows to this process."""
        return sys.maxsize

    @property
    def used_bytes(self) -> int | None:
        """Memory that programs use; ``None`` where the driver's own cannot be told from it."""
        return None

    @abstractmethod
    def describe(self) -> dict[str, JsonValue]:
        """Driver, default power limit in watts and modes."""

    @abstractmethod
    def read_telemetry(self) -> TelemetrySample:
        """Read the state; may block as long as the driver does, never raises for a failed call."""

    @abstractmethod
    def power_limit_w(self) -> float | None:
        """The power limit that is set, in watts; ``None`` if unknown."""

    def enforced_limit_w(self) -> float | None:
        """The power limit in force, in watts, where that can be another; ``None`` if unknown."""
        return self.power_limit_w()

    @abstractmethod
    def power_limit_range_w(self) -> tuple[float, float] | None:
        """Lowest and highest power limit in watts; ``None`` if unknown."""

    @abstractmethod
    def set_power_limit(self, limit_w: float) -> None:
        """Set the power limit in watts; raises ``CannotMeasureError`` where that fails."""


class GpuMeter:
    """The energy counter and the power reading of one device."""

    interval_s: float | None = None
    unread: tuple[AbsentMeter, ...] = ()

    def __init__(self, device: Device) -> None:
        """Prepare; nothing is opened yet."""
        self.device = device
        self.name = f"{device.vendor}/gpu{device.gpu.index}"
        self.channels: tuple[Channel, ...] = ()
        self._facts: dict[str, JsonValue] = {}

    def find_problem(self) -> str:
        """Why the device cannot be measured; empty if it can. Opens it for a moment."""
        try:
            with self:
                return ""
        except CannotMeasureError as error:
            return str(error)

    def __enter__(self) -> Self:
        """Open the device; raises ``CannotMeasureError`` when it has no reading."""
        device, gpu = self.device, self.device.gpu
        with ExitStack() as stack:
            stack.enter_context(device)
            if not device.readings:
                raise CannotMeasureError(
                    f"{gpu} has neither an energy counter nor a power reading, like some virtual "
                    f"and integrated GPUs. Use another GPU, or leave the {device.vendor} meter out."
                )
            limit_w = device.enforced_limit_w()
            low_w, high_w = device.power_limit_range_w() or (None, None)
            most_w = limit_w or high_w
            self.channels = self._make_channels(device.readings, most_w)
            self._facts = device.describe() | {
                "index": gpu.index,
                "name": gpu.name,
                "uuid": gpu.uuid,
                "pci_bus_id": gpu.pci_bus_id,
                "power_limit_enforced_w": limit_w,
                "power_limit_min_w": low_w,
                "power_limit_max_w": high_w,
                "readings": {channel.name: channel.reading for channel in self.channels},
            }
            stack.pop_all()
        return self

    def _make_channels(self, readings: Sequence[str], limit_w: float | None) -> tuple[Channel, ...]:
        """The first power is called so; any other by its reading."""
        usual = next((reading for reading in readings if reading != ENERGY), "")
        names = {ENERGY: "counter", usual: "power"}
        return tuple(
            self._make_channel(names.get(reading, reading), reading, limit_w)
            for reading in readings
        )

    def _make_channel(self, name: str, reading: str, limit_w: float | None) -> Channel:
        update_s, averaging_s = self.device.sensor_pace_s(reading)
        return Channel(
            name=f"{self.name}/{name}",
            kind=Kind.COUNTER if reading == ENERGY else Kind.SAMPLED,
            origin=Origin.MEASURED,
            domain=Domain.GPU,
            reading=reading,
            gain_error=self.device.gain_error,
            limit_w=limit_w,
            device=self.device.gpu.uuid,
            update_s=update_s,
            averaging_s=averaging_s,
        )

    def __exit__(self, *_: object) -> None:
        """Close the device."""
        self.device.__exit__()

    def read(self) -> Sequence[float | None]:
        """Joules since the driver was loaded and watts, in the order of ``channels``."""
        return self.device.read()

    def describe(self) -> dict[str, JsonValue]:
        """Identity, driver, limits, modes, and which reading each channel holds."""
        return self._facts


class NotInstalledError(CannotMeasureError):
    """The software of a vendor is not here at all: ``auto`` does not list it as missing."""


class UnreadGpuError(CannotMeasureError):
    """A GPU is here and may be in use, but cannot be read: its joules are unknown, not zero."""


class UnknownGpuError(UsageError):
    """Some names match no GPU of one vendor; ``known`` are the names that do."""

    def __init__(self, message: str, known: tuple[str, ...]) -> None:
        """Say ``message``; another vendor may have the GPU."""
        super().__init__(message)
        self.known = known


def named_gpus(names: Sequence[str], gpus: Sequence[G]) -> tuple[G, ...]:
    """The GPUs that indices, UUIDs or UUID prefixes name, each once.

    Raises:
        UnknownGpuError: A name matches no GPU; the message lists all GPUs.
        UsageError: A name matches several.
    """
    matches = {name: [gpu for gpu in gpus if gpu.is_named(name)] for name in names}
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


def visible_gpus(setting: str, gpus: Sequence[G]) -> tuple[G, ...]:
    """The GPUs that a variable such as ``CUDA_VISIBLE_DEVICES`` leaves, in its order.

    CUDA, HIP and ROCr all stop at the first entry that they do not know.

    Args:
        setting: The variable's value: numbers, UUIDs or UUID prefixes.
        gpus: The GPUs in the order in which the runtime counts them.
    """
    visible: list[G] = []
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
    names = (f"{g.uuid} ({g.name})" if g.uuid else "does not answer" for g in gpus)
    return ", ".join(f"{g.index} = {name}" for g, name in zip(gpus, names, strict=True)) or "none"


def make_meters(devices: Iterable[Device], *, is_one: bool) -> list[GpuMeter]:
    """A meter for each device; if ``is_one``, for the first alone that can be measured.

    If none can, that one is the first, which says why.
    """
    meters = list(map(GpuMeter, devices))
    if not is_one:
        return meters
    readable = (meter for meter in meters if not meter.find_problem())
    return [next(readable, meters[0])]
