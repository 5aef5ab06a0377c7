"""From meter names to entered meters: what works here, and why the rest does not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from wbcbench import registry
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.record import AbsentMeter
from wbcbench.power.meters import EnergyMeter, MeterRequest

AUTO = "auto"
NEVER_AUTO = ("synthetic",)  # a known signal must be asked for by name


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
            "See `wbcbench doctor`, or use --meters synthetic for a demonstration."
        )
    return opened


def _found(name: str, request: MeterRequest) -> list[EnergyMeter]:
    found: list[EnergyMeter] = registry.load_part("meter", name)(request)
    return found


def _wanted(names: Sequence[str]) -> list[str]:
    """Names in the order given; ``auto`` stands for the whole catalogue but the synthetic one."""
    every = [name for name in registry.METERS if name not in NEVER_AUTO]
    wanted = [one for name in names for one in (every if name == AUTO else [name])]
    return list(dict.fromkeys(wanted))
