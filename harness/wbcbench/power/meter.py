"""What a meter is, and which meters work on this machine.

A meter's module offers ``open_meters(request) -> list[EnergyMeter]``: one meter for each device it
watches (a hanging device then blocks nobody else's channels), or ``CannotMeasureError`` that says
why not and what would fix it. To add one: a file here and a line in ``registry.METERS``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pydantic import JsonValue

from wbcbench import registry
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.record import AbsentMeter
from wbcbench.core.trace import Channel

AUTO = "auto"
NEVER_AUTO = ("simulated",)  # a known signal must be asked for by name


@dataclass(frozen=True, slots=True)
class MeterRequest:
    """What the run asks of the meters.

    Attributes:
        gpus: GPU indices, UUIDs or UUID prefixes; empty = every GPU that is visible.
        one_gpu: With ``gpus`` empty, only the first visible one: a run trains on one GPU, and the
            idle joules of its neighbours are not the run's.
        country: ISO 3166 alpha-3 code for CodeCarbon's offline table.
        powercap_root: Where the kernel shows RAPL.
        output_dir: A folder a meter may write its own log to; ``None`` = nowhere.
        seed: For the simulated meter's signal.
        options: Further words for one meter, e.g. ``{"simulated.power_w": "250"}``.
    """

    gpus: tuple[str, ...] = ()
    one_gpu: bool = False
    country: str = "DEU"
    powercap_root: Path = Path("/sys/class/powercap")
    output_dir: Path | None = None
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
    interval_s: float | None  # own period where the sensor wants one; None = the run's

    def __enter__(self) -> Self:
        """Take the handles; raises ``CannotMeasureError`` when the sensor does not work."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the handles go."""
        ...

    def read(self) -> Sequence[float | None]:
        """One reading of every channel."""
        ...

    def describe(self) -> dict[str, JsonValue]:
        """Provenance: device, driver, limits, modes, what was chosen and why."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """Meters that gave their handles, and those that do not work here."""

    meters: list[EnergyMeter] = field(default_factory=list)
    absent: list[AbsentMeter] = field(default_factory=list)


def require(names: Sequence[str], request: MeterRequest) -> None:
    """Check meters that were asked for by name, before anything is written.

    Raises:
        UsageError: There is no meter of that name.
        CannotMeasureError: One of them does not work here; the message says why.
    """
    for name in names:
        if name != AUTO:
            registry.load_part("meter", name)(request)


def open_meters(names: Sequence[str], request: MeterRequest, stack: ExitStack) -> Opened:
    """Enter every meter that is asked for; ``stack`` lets them go.

    Raises:
        CannotMeasureError: A meter asked for by name does not work, or none at all does.
    """
    opened = Opened()
    for name in _wanted(names):
        try:
            opened.meters.extend(stack.enter_context(m) for m in _found(name, request))
        except CannotMeasureError as error:
            if name in names:
                raise
            opened.absent.append(AbsentMeter(name, str(error)))
    if not opened.meters:
        reasons = " ".join(f"{a.meter}: {a.reason}" for a in opened.absent)
        raise CannotMeasureError(
            f"No meter works on this machine, so a run would have no joules. {reasons} "
            "See `wbcbench doctor`, or use --meters simulated for a demonstration."
        )
    return opened


def _found(name: str, request: MeterRequest) -> list[EnergyMeter]:
    found: list[EnergyMeter] = registry.load_part("meter", name)(request)
    return found


def _wanted(names: Sequence[str]) -> list[str]:
    """Names in the order given; ``auto`` stands for all meters but the synthetic one."""
    every = [name for name in registry.METERS if name not in NEVER_AUTO]
    wanted = [one for name in names for one in (every if name == AUTO else [name])]
    return list(dict.fromkeys(wanted))
