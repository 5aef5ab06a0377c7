"""A known signal in place of a sensor, for demonstrations and tests; never chosen by itself."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

from pydantic import JsonValue

from wbcbench.core.errors import UsageError
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.window import Clock, MonotonicClock
from wbcbench.power.meter import EnergyMeter, MeterRequest

SHAPES = ("sine", "square")


@dataclass(frozen=True, slots=True)
class Signal:
    """Power that swings between idle and idle + load, by the monotonic clock.

    Attributes:
        idle_w: Lowest power.
        load_w: Highest power above it.
        period_s: Length of one swing.
        phase_s: Shift of the swing.
        shape: ``sine`` or ``square`` (load in the first half of each period).
    """

    idle_w: float = 40.0
    load_w: float = 200.0
    period_s: float = 4.0
    phase_s: float = 0.0
    shape: str = "sine"

    def power_w(self, t_s: float) -> float:
        """Power at one moment."""
        turns = (t_s + self.phase_s) / self.period_s
        if self.shape == "square":
            return self.idle_w + (self.load_w if turns % 1.0 < 0.5 else 0.0)
        return self.idle_w + self.load_w * 0.5 * (1.0 - math.cos(2.0 * math.pi * turns))

    def true_energy_j(self, start_s: float, end_s: float) -> float:
        """Joules between two moments, in closed form."""
        return self._energy_since_zero_j(end_s) - self._energy_since_zero_j(start_s)

    def _energy_since_zero_j(self, t_s: float) -> float:
        x_s = t_s + self.phase_s
        idle_j = self.idle_w * x_s
        if self.shape == "square":
            periods, rest_s = divmod(x_s, self.period_s)
            loaded_s = periods * self.period_s / 2 + min(rest_s, self.period_s / 2)
            return idle_j + self.load_w * loaded_s
        turn = 2.0 * math.pi / self.period_s
        return idle_j + self.load_w * 0.5 * (x_s - math.sin(turn * x_s) / turn)


def open_meters(request: MeterRequest) -> list[EnergyMeter]:
    """A known signal in place of a sensor, for demonstrations and tests; never chosen by itself.

    One meter; ``request.seed`` shifts its signal.

    Options: ``simulated.idle_w``, ``simulated.load_w``, ``simulated.period_s`` and
    ``simulated.shape`` (``sine`` or ``square``).

    Raises:
        UsageError: An option is out of its range.
    """
    usual = Signal()
    period_s = _parse_option(request, "period_s", usual.period_s, above=0.0)
    shape = request.options.get("simulated.shape", usual.shape)
    if shape not in SHAPES:
        raise UsageError(f"simulated.shape must be one of {', '.join(SHAPES)}; it is {shape!r}.")
    signal = Signal(
        idle_w=_parse_option(request, "idle_w", usual.idle_w),
        load_w=_parse_option(request, "load_w", usual.load_w),
        period_s=period_s,
        phase_s=random.Random(request.seed).uniform(0.0, period_s),
        shape=shape,
    )
    return [SimulatedMeter(signal)]


class SimulatedMeter(EnergyMeter):
    """The signal as a counter and as a sampled power, both exact at every poll."""

    name = "simulated"

    def __init__(self, signal: Signal, clock: Clock | None = None) -> None:
        """Play ``signal`` by ``clock``, the machine's own by default."""
        self.signal = signal
        self.channels: tuple[Channel, ...] = (
            _make_channel("counter", Kind.COUNTER, signal),
            _make_channel("power", Kind.SAMPLED, signal),
        )
        self._clock = clock or MonotonicClock()
        self._start_s = self._clock.now_s()

    def __enter__(self) -> Self:
        """Count from now on."""
        self._start_s = self._clock.now_s()
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def read(self) -> Sequence[float | None]:
        """True joules since the start, and true watts."""
        now_s = self._clock.now_s()
        energy_j = self.signal.true_energy_j(self._start_s, now_s)
        return energy_j, self.signal.power_w(now_s)

    def describe(self) -> dict[str, JsonValue]:
        """The signal: its joules can be computed again from it."""
        return {"simulated": True, **asdict(self.signal)}


def _make_channel(part: str, kind: Kind, signal: Signal) -> Channel:
    return Channel(
        name=f"simulated/{part}",
        kind=kind,
        origin=Origin.SIMULATED,
        domain=Domain.GPU,
        reading="total_energy" if kind is Kind.COUNTER else "power_instant",
        gain_error=0.0,
        limit_w=signal.idle_w + signal.load_w,
    )


def _parse_option(request: MeterRequest, name: str, default: float, above: float = -1.0) -> float:
    """A number of at least zero, and above ``above``."""
    text = request.options.get(f"simulated.{name}", repr(default))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf or value <= above:
        raise UsageError(f"simulated.{name} must be a number in its range; it is {text!r}.")
    return value
