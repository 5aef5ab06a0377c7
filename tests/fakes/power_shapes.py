"""True power over time and its joules, independent of the scripted library's own arithmetic."""

import math
import mmap
import random
import struct
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Protocol


class Shape(Protocol):
    """True power of a GPU as a function of scenario time."""

    def power_w(self, t_s: float) -> float: ...
    def energy_j(self, start_s: float, end_s: float) -> float: ...
    def statement(self, folder: Path) -> str: ...


@dataclass(frozen=True)
class Constant:
    level_w: float

    def power_w(self, t_s: float) -> float:
        return self.level_w

    def energy_j(self, start_s: float, end_s: float) -> float:
        return self.level_w * (end_s - start_s)

    def statement(self, folder: Path) -> str:
        return f"power shape=constant low={self.level_w!r}"


@dataclass(frozen=True)
class Square:
    """High for the first ``duty`` of each period."""

    low_w: float
    high_w: float
    period_s: float
    duty: float = 0.5

    def power_w(self, t_s: float) -> float:
        into_s = t_s - math.floor(t_s / self.period_s) * self.period_s
        return self.high_w if into_s < self.duty * self.period_s else self.low_w

    def energy_j(self, start_s: float, end_s: float) -> float:
        """Base load plus the time spent high, counted period by period."""
        first, last = (math.floor(t / self.period_s) for t in (start_s, end_s))
        high_s = 0.0
        for period in range(first, last + 1):
            on_s = period * self.period_s
            off_s = on_s + self.duty * self.period_s
            high_s += max(min(off_s, end_s) - max(on_s, start_s), 0.0)
        return self.low_w * (end_s - start_s) + (self.high_w - self.low_w) * high_s

    def statement(self, folder: Path) -> str:
        return (
            f"power shape=square low={self.low_w!r} high={self.high_w!r} "
            f"period={self.period_s!r} duty={self.duty!r}"
        )


@dataclass(frozen=True)
class Ramp:
    """From one power to another between two times, constant outside."""

    from_w: float
    to_w: float
    start_s: float
    end_s: float

    def power_w(self, t_s: float) -> float:
        share = min(max((t_s - self.start_s) / (self.end_s - self.start_s), 0.0), 1.0)
        return self.from_w + share * (self.to_w - self.from_w)

    def energy_j(self, start_s: float, end_s: float) -> float:
        """Trapezoids between the ramp's corners."""
        inner = [t for t in (self.start_s, self.end_s) if start_s < t < end_s]
        knots = [start_s, *inner, end_s]
        return sum(0.5 * (b - a) * (self.power_w(a) + self.power_w(b)) for a, b in pairwise(knots))

    def statement(self, folder: Path) -> str:
        return (
            f"power shape=ramp low={self.from_w!r} high={self.to_w!r} "
            f"start={self.start_s!r} end={self.end_s!r}"
        )


@dataclass(frozen=True)
class Sine:
    mean_w: float
    amplitude_w: float
    period_s: float

    def power_w(self, t_s: float) -> float:
        return self.mean_w + self.amplitude_w * math.sin(2 * math.pi * t_s / self.period_s)

    def energy_j(self, start_s: float, end_s: float) -> float:
        """By the sum-to-product rule: amplitude × sin(middle) × sin(half width) × period / π."""
        middle, half = 0.5 * (start_s + end_s), 0.5 * (end_s - start_s)
        turn = 2 * math.pi / self.period_s
        swing = 2 * self.amplitude_w / turn * math.sin(turn * middle) * math.sin(turn * half)
        return self.mean_w * (end_s - start_s) + swing

    def statement(self, folder: Path) -> str:
        return (
            f"power shape=sine low={self.mean_w!r} high={self.amplitude_w!r} "
            f"period={self.period_s!r}"
        )


@dataclass(frozen=True)
class Knots:
    """A power trace: straight lines between knots, or steps held until the next knot."""

    t_s: tuple[float, ...]
    w: tuple[float, ...]
    steps: bool = False

    def power_w(self, t_s: float) -> float:
        i = min(max(bisect_right(self.t_s, t_s) - 1, 0), len(self.t_s) - 1)
        if self.steps or i == len(self.t_s) - 1 or t_s < self.t_s[0]:
            return self.w[i]
        share = (t_s - self.t_s[i]) / (self.t_s[i + 1] - self.t_s[i])
        return self.w[i] + share * (self.w[i + 1] - self.w[i])

    def energy_j(self, start_s: float, end_s: float) -> float:
        """Segment by segment: each is a straight line or a constant, so its middle is its mean."""
        inner = self.t_s[bisect_right(self.t_s, start_s) : bisect_right(self.t_s, end_s)]
        edges = [start_s, *inner, end_s]
        pairs = pairwise(edges)
        return sum((b - a) * self.power_w(0.5 * (a + b)) for a, b in pairs)

    def statement(self, folder: Path) -> str:
        path = folder / f"power-{abs(hash((self.t_s, self.w))):x}.txt"
        rows = (f"{t!r} {w!r}" for t, w in zip(self.t_s, self.w, strict=True))
        path.write_text("\n".join(rows) + "\n")
        return f"power shape={'steps' if self.steps else 'lines'} path={path}"


@dataclass(frozen=True)
class Telegraph:
    """Jumps between two powers after exponentially distributed times; seeded."""

    low_w: float
    high_w: float
    mean_s: float
    seed: int
    length_s: float = 120.0
    start_s: float = -5.0

    @cached_property
    def knots(self) -> Knots:
        rng = random.Random(self.seed)
        times, powers = [self.start_s], [self.low_w]
        while times[-1] < self.length_s:
            times.append(times[-1] + rng.expovariate(1 / self.mean_s))
            powers.append(self.high_w if powers[-1] == self.low_w else self.low_w)
        return Knots(tuple(times), tuple(powers), steps=True)

    def power_w(self, t_s: float) -> float:
        return self.knots.power_w(t_s)

    def energy_j(self, start_s: float, end_s: float) -> float:
        return self.knots.energy_j(start_s, end_s)

    def statement(self, folder: Path) -> str:
        return self.knots.statement(folder)


class LivePower:
    """Steps that are still being written while programs read the board: what a load makes of it.

    In a file that the scripted library maps; a knot is never changed, and each lies after the one
    before. A knot must be written before anybody reads the time that it is of.
    """

    MOST = 65_536

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 0)

    @classmethod
    def begin(cls, path: Path, start_w: float, start_s: float = -1e6) -> "LivePower":
        """Draw ``start_w`` until the first step."""
        path.write_bytes(bytes(8 + 16 * cls.MOST))
        power = cls(path)
        power.step_to(start_w, start_s)
        return power

    def step_to(self, power_w: float, at_s: float) -> None:
        """Draw another power from a moment on."""
        knots = self._read_knots()
        assert not knots or at_s >= knots[-2], "a step before the one before it"
        self._page[8 + 8 * len(knots) : 24 + 8 * len(knots)] = struct.pack("dd", at_s, power_w)
        self._page[:8] = struct.pack("d", len(knots) // 2 + 1)

    def _read_knots(self) -> tuple[float, ...]:
        """Time and power of each in turn."""
        count = 2 * int(struct.unpack("d", self._page[:8])[0])
        return struct.unpack(f"{count}d", self._page[8 : 8 + 8 * count])

    def _freeze(self) -> Knots:
        knots = self._read_knots()
        return Knots(knots[::2], knots[1::2], steps=True)

    def power_w(self, t_s: float) -> float:
        return self._freeze().power_w(t_s)

    def energy_j(self, start_s: float, end_s: float) -> float:
        return self._freeze().energy_j(start_s, end_s)

    def statement(self, folder: Path) -> str:
        return f"power shape=live path={self.path}"
