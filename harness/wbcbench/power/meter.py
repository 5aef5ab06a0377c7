"""What a meter is, and which meters work on this machine.

A meter's module offers ``open_meters(request) -> list[EnergyMeter]``: one meter for each device it
measures (a hanging device then blocks no other's channels), or ``CannotMeasureError`` that says
why not and what would fix it. To add one: a file here and a line in ``registry.METERS``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, Self

from pydantic import JsonValue

from wbcbench import registry
from wbcbench.core.errors import CannotMeasureError, MeasuredElsewhereError, UsageError
from wbcbench.core.lock import HOST
from wbcbench.core.ranks import Rank
from wbcbench.core.record import AbsentMeter
from wbcbench.core.trace import Channel, Domain
from wbcbench.energy.source import live_channel
from wbcbench.power.device import Device, NotInstalledError, UnknownGpuError, UnreadGpuError

AUTO = "auto"
GPU_METERS = ("nvml", "amd")
NEVER_AUTO = ("simulated",)  # a known signal must be asked for by name


@dataclass(frozen=True, slots=True)
class MeterRequest:
    """What is asked of the meters.

    Attributes:
        gpus: GPU indices, UUIDs or UUID prefixes; empty = every GPU that is visible.
        one_gpu: With ``gpus`` empty, only the first visible one: a run trains on one GPU, and the
            idle joules of its neighbours are not the run's.
        for_training: Only GPUs that TensorFlow can train on.
        every_reading: All power readings of a board that its vendor offers, not the best alone: to
            find out what each is, and never for joules, for a run reads one.
        country: ISO 3166 alpha-3 code for CodeCarbon's offline table; ``None``: not set.
        powercap_root: Where the kernel shows RAPL.
        seed: For the simulated meter's signal.
        options: Options of one meter, e.g. ``{"simulated.power_w": "250"}``.
    """

    gpus: tuple[str, ...] = ()
    one_gpu: bool = False
    for_training: bool = False
    every_reading: bool = False
    country: str | None = None
    powercap_root: Path = Path("/sys/class/powercap")
    seed: int = 0
    options: Mapping[str, str] = field(default_factory=dict)


class EnergyMeter(Protocol):
    """A source of channels, read by one sampler thread.

    ``read`` returns one value per channel in their order: joules for counters, watts for sampled
    channels, ``None`` where this read failed. It never raises for a failing sensor and never
    invents a value; it may block as long as the driver does.
    """

    name: str
    channels: tuple[Channel, ...]
    interval_s: float | None = None  # own period where the sensor wants one; None = the run's
    unread: tuple[AbsentMeter, ...] = ()  # devices that it should read, too, but cannot

    @property
    def device(self) -> Device | None:
        """The GPU that it measures; open while the meter is."""
        return None

    def __enter__(self) -> Self:
        """Open the sensor; raises ``CannotMeasureError`` when it does not work."""

    def __exit__(self, *_: object) -> None:
        """Close the sensor."""

    def read(self) -> Sequence[float | None]:
        """One reading of every channel."""

    def describe(self) -> dict[str, JsonValue]:
        """Provenance: device, driver, limits, modes, what was chosen and why."""


class SlowMeter(EnergyMeter):
    """A meter that takes seconds to start: entering waits for what ``start`` began.

    Attributes:
        is_sparse: Whether to read it at the edges of what is measured, and not by the sampler.
    """

    is_sparse = False

    @abstractmethod
    def start(self) -> None:
        """Begin, and do not wait."""


@dataclass(frozen=True, slots=True)
class MeterSet:
    """Meters that work here, why others do not, and those that are started and not yet entered."""

    meters: list[EnergyMeter] = field(default_factory=list)
    absent: list[AbsentMeter] = field(default_factory=list)
    started: list[SlowMeter] = field(default_factory=list)

    @property
    def devices(self) -> list[Device]:
        """The GPUs among them."""
        return [meter.device for meter in self.meters if meter.device is not None]


def find_meters(names: Sequence[str], request: MeterRequest) -> MeterSet:
    """The meters of these names (``auto``: all but the simulated one), not yet entered.

    A GPU that is named must be known to one of them, not to all: vendors share a machine.

    Raises:
        CannotMeasureError: A meter asked for by name does not work, or none measures a GPU although
            one is named; the message says why.
        UsageError: There is no meter or no GPU of that name.
    """
    automatic = [name for name in registry.METERS if name not in NEVER_AUTO]
    available, errors, known = MeterSet(), list[UnknownGpuError](), set[str]()
    for name in dict.fromkeys(n for word in names for n in (automatic if word == AUTO else [word])):
        try:
            meters, error = _open_known(registry.load_part("meter", name), request)
        except CannotMeasureError as reason:
            if name in names:
                raise CannotMeasureError(str(reason)) from reason
            if not isinstance(reason, NotInstalledError):
                domain = Domain.GPU if isinstance(reason, UnreadGpuError) else None
                available.absent.append(AbsentMeter(name, str(reason), domain))
            continue
        available.meters.extend(meters)
        if error is not None:
            errors.append(error)
            known.update(error.known)
        elif any(meter.device for meter in meters):
            known.update(request.gpus)
        if not meters:
            available.absent.append(AbsentMeter(name, str(error)))
    if request.gpus and not errors and not available.devices:
        raise CannotMeasureError(_explain_no_gpu(names, request.gpus, available.absent))
    if errors and not known.issuperset(request.gpus):
        raise UsageError(str(errors[0])) from errors[0]
    return available


def list_boards(names: Sequence[str], request: MeterRequest) -> list[str]:
    """UUIDs of the GPUs that these meters would measure; none where no vendor's works here.

    Raises:
        UsageError: A GPU of that name is not here, or there are several.
    """
    boards: list[str] = []
    for vendor in GPU_METERS:
        if AUTO in names or vendor in names:
            with suppress(CannotMeasureError):
                meters, _ = _open_known(registry.load_part("meter", vendor), request)
                boards += [meter.device.gpu.uuid for meter in meters if meter.device]
    return [*filter(None, boards)]


def explain_absence(absent: Iterable[AbsentMeter], meters: Collection[str] = GPU_METERS) -> str:
    """Why these meters do not work here; empty where none is absent."""
    reasons = (part.reason for part in absent if part.meter.partition("/")[0] in meters)
    return " ".join(dict.fromkeys(reasons))


def _explain_no_gpu(
    names: Sequence[str], gpus: Sequence[str], absent: Sequence[AbsentMeter]
) -> str:
    """Why no GPU is measured although one was asked for, and the way out."""
    reason = explain_absence(absent) or "There is no NVIDIA or AMD driver."
    if {AUTO, *GPU_METERS}.isdisjoint(names):
        reason = f"{', '.join(names)} read none: add nvml or amd."
    return (
        f"GPU {', '.join(gpus)} was asked for and cannot be measured. {reason} "
        "Leave --gpus out, or see `wbcbench doctor`."
    )


def _advise_leaving_out(meter: EnergyMeter, others: Iterable[Device]) -> str:
    """How to measure the other GPUs of the same vendor alone; empty where there are none."""
    if meter.device is None:
        return ""
    known = [str(device.gpu.index) for device in others if device.vendor == meter.device.vendor]
    return f" To measure the others alone: --gpus {','.join(known)}." if known else ""


def _open_known(
    open_part: Callable[[MeterRequest], list[EnergyMeter]], request: MeterRequest
) -> tuple[list[EnergyMeter], UnknownGpuError | None]:
    """The meters of the GPUs that this vendor knows, and the error about the others."""
    try:
        return open_part(request), None
    except UnknownGpuError as error:
        known = error.known
        return (open_part(replace(request, gpus=known)) if known else []), error


def _enter_meters(
    meters: Sequence[EnergyMeter], opened: MeterSet, stack: ExitStack
) -> list[tuple[EnergyMeter, str]]:
    """Enter or start meters into ``opened``; returns those that refused, and why."""
    refused: list[tuple[EnergyMeter, str]] = []
    for meter in meters:
        if isinstance(meter, SlowMeter):
            stack.push(meter)
            meter.start()
    for meter in sorted(meters, key=lambda each: isinstance(each, SlowMeter)):
        has_primary = bool(live_channel([c for m in opened.meters for c in m.channels]))
        if isinstance(meter, SlowMeter) and has_primary:
            meter.is_sparse = True
            opened.started.append(meter)
            continue
        try:
            opened.meters.append(stack.enter_context(meter))
        except CannotMeasureError as error:
            refused.append((meter, str(error)))
    return refused


def _take_devices(available: MeterSet, rank: Rank, stack: ExitStack) -> MeterSet:
    """The meters of what no other rank of the program reads; those of the rest are absent.

    Raises:
        MeasuredElsewhereError: Others read everything.
    """
    devices = [m.device.gpu.uuid if m.device else HOST for m in available.meters]
    own = rank.take([*dict.fromkeys(devices)], stack)
    mine = [m for m, device in zip(available.meters, devices, strict=True) if device in own]
    if available.meters and not mine:
        raise MeasuredElsewhereError(
            f"Rank {rank.number} measures nothing: another rank of the program reads the boards "
            "and the processor of this node, so that each joule is counted once."
        )
    left = (meter.name for meter in available.meters if meter not in mine)
    reason = "Another rank of the program on this node reads it, so that it is counted once."
    return MeterSet(mine, [*available.absent, *(AbsentMeter(name, reason) for name in left)])


def open_meters(
    names: Sequence[str], request: MeterRequest, stack: ExitStack, rank: Rank | None = None
) -> MeterSet:
    """Enter every meter that is asked for.

    One that is slow to start is started first. Where another has the primary energy it is not
    waited for: it only stands beside, and is read at the edges of what is measured.

    A device that cannot be measured is absent, and the others are measured without it.

    Args:
        names: See ``find_meters``.
        request: Likewise.
        stack: Closes them.
        rank: Which of several processes this is that may measure on the node; each device is read
            by one of them. ``None``: it is alone.

    Raises:
        CannotMeasureError: A meter or GPU asked for by name does not work, or no meter at all does.
        MeasuredElsewhereError: Other ranks read all devices.
        UsageError: There is no meter or no GPU of that name.
    """
    available = find_meters(names, request)
    if rank is not None:
        available = _take_devices(available, rank, stack)
    opened = MeterSet(absent=available.absent)
    for meter, problem in _enter_meters(available.meters, opened, stack):
        reason = problem + _advise_leaving_out(meter, opened.devices)
        is_named = meter.device is not None and bool(request.gpus)
        if is_named or meter.name.partition("/")[0] in names:
            raise CannotMeasureError(reason)
        domain = None if meter.device is None else Domain.GPU
        opened.absent.append(AbsentMeter(meter.name, reason, domain))
    for part in (part for meter in opened.meters + opened.started for part in meter.unread):
        if all(part.meter != other.meter for other in opened.absent):
            opened.absent.append(part)
    if not opened.meters:
        reasons = " ".join(f"{absent.meter}: {absent.reason}" for absent in opened.absent)
        raise CannotMeasureError(
            f"No meter works on this machine, so nothing can be measured. {reasons} "
            "See `wbcbench doctor`, or use --meters simulated for a demonstration."
        )
    return opened
