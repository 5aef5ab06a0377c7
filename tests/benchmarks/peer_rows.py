"""Boards, loads and faults that ``bench_peers.py`` has every tool measure."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from fakes.nvml_scenario import UNSUPPORTED, Counter, FakeGpu, Fault, Rate, Sensor
from fakes.power_shapes import Constant, Ramp, Shape, Sine, Square, Telegraph

LENGTH_S = 10.0
LOAD_AT_S = 30.0  # scenario time at which the load begins
MIDDLE_S = LOAD_AT_S + 0.5 * LENGTH_S
END_S = LOAD_AT_S + LENGTH_S
IDLE_W, NOISE_W = 55.0, 0.8
TICK_S = 0.001
PASCAL, VOLTA, AMPERE, HOPPER = 4, 5, 7, 9


@dataclass(frozen=True)
class TimedLoad:
    """Idle, ten seconds of a shape that begins somewhere in it, idle again."""

    shape: Shape
    offset_s: float = 0.0

    def _within_s(self, t_s: float) -> float:
        return min(max(t_s - LOAD_AT_S, 0.0), LENGTH_S)

    def power_w(self, t_s: float) -> float:
        is_loaded = LOAD_AT_S <= t_s < END_S
        return self.shape.power_w(t_s - LOAD_AT_S + self.offset_s) if is_loaded else IDLE_W

    def energy_j(self, start_s: float, end_s: float) -> float:
        start, end = self._within_s(start_s), self._within_s(end_s)
        idle_j = IDLE_W * (end_s - start_s - (end - start))
        if start == end:
            return idle_j
        return idle_j + self.shape.energy_j(start + self.offset_s, end + self.offset_s)

    @cached_property
    def _ticks_s(self) -> list[float]:
        return [LOAD_AT_S + tick * TICK_S for tick in range(round(LENGTH_S / TICK_S) + 1)]

    def statement(self, folder: Path) -> str:
        """Steps of a millisecond, each of exactly the joules drawn in it."""
        lines = [f"0.0 {IDLE_W!r}"]
        for start_s, end_s in pairwise(self._ticks_s):
            lines.append(f"{start_s!r} {self.energy_j(start_s, end_s) / (end_s - start_s)!r}")
        lines.append(f"{self._ticks_s[-1]!r} {IDLE_W!r}")
        path = folder / f"load-{len(list(folder.iterdir()))}.txt"
        path.write_text("\n".join(lines) + "\n")
        return f"power shape=steps path={path}"


Draw = Callable[[random.Random], TimedLoad]

LOADS: dict[str, Draw] = {
    "constant": lambda rng: TimedLoad(Constant(213.7)),
    "square 1.73 s": lambda rng: TimedLoad(Square(90.0, 280.0, 1.73), 1.73 * rng.random()),
    "square 0.37 s": lambda rng: TimedLoad(Square(90.0, 280.0, 0.37, 0.3), 0.37 * rng.random()),
    "sine 1.3 s": lambda rng: TimedLoad(Sine(180.0, 80.0, 1.3), 1.3 * rng.random()),
    "random": lambda rng: TimedLoad(Telegraph(90.0, 280.0, 0.5, seed=rng.randrange(1 << 30))),
    "ramp": lambda rng: TimedLoad(Ramp(120.0, 280.0, 0.0, LENGTH_S)),
}


def _sensor(update_s: float, window_s: float | None = None) -> Sensor:
    return Sensor(update_s, update_s if window_s is None else window_s, noise_w=NOISE_W)


BOARDS: dict[str, FakeGpu] = {
    "V100": FakeGpu(
        name="Tesla V100-SXM2-32GB", architecture=VOLTA, counter=Counter(step_s=0.02),
        instant=_sensor(0.02), average=UNSUPPORTED, usage=_sensor(0.02),
    ),
    "H100": FakeGpu(
        name="NVIDIA H100 80GB HBM3", architecture=HOPPER, counter=Counter(step_s=0.1),
        instant=_sensor(0.1, 0.025), average=_sensor(0.1, 1.0), usage=_sensor(0.1, 1.0),
        limit_default_w=700.0, limit_max_w=700.0,
    ),
    "RTX": FakeGpu(
        name="NVIDIA GeForce RTX 3090", architecture=AMPERE, counter=Counter(step_s=0.1),
        instant=_sensor(0.1), average=_sensor(0.1, 1.0), usage=_sensor(0.1, 1.0),
        limit_default_w=350.0, limit_max_w=350.0,
    ),
    "A100": FakeGpu(
        name="NVIDIA A100-SXM4-40GB", architecture=AMPERE,
        counter=Counter(step_s=0.1, from_sensor=True),
        instant=_sensor(0.1, 0.025), average=UNSUPPORTED, usage=_sensor(0.1, 0.025),
        limit_default_w=400.0, limit_max_w=400.0,
    ),
    "P100": FakeGpu(
        name="Tesla P100-PCIE-16GB", architecture=PASCAL, counter=Counter(supported=False),
        instant=_sensor(0.02), average=UNSUPPORTED, usage=_sensor(0.02),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A board with a load, and what goes wrong in the middle of the window.

    Attributes:
        board: Name of ``BOARDS``.
        load: Name of ``LOADS``.
        fault: What happens, in words; empty = nothing.
        bend: Makes the board faulty.
        beside: A second board of the machine, with the same load.
    """

    board: str
    load: str
    fault: str = ""
    bend: Callable[[FakeGpu], FakeGpu] = lambda board: board
    beside: str | None = None

    @property
    def key(self) -> str:
        return f"{self.board}, {self.fault or self.load}"

    @property
    def is_faulty(self) -> bool:
        return bool(self.fault)

    @property
    def has_counter(self) -> bool:
        return all(BOARDS[name].counter.supported for name in (self.board, self.beside) if name)

    def draw_boards(self, rng: random.Random) -> tuple[FakeGpu, ...]:
        """The machine's boards, their sensors and the load at phases that nobody knows."""
        load = LOADS[self.load](rng)
        first = self.bend(_shift(replace(BOARDS[self.board], power=load), rng))
        if self.beside is None:
            return (first,)
        return first, _shift(replace(BOARDS[self.beside], power=load), rng)


def _shift(board: FakeGpu, rng: random.Random) -> FakeGpu:
    phase, own, seed = rng.random(), rng.random(), rng.randrange(1 << 30)

    def shift(sensor: Sensor) -> Sensor:
        return replace(sensor, phase_s=phase * sensor.update_s, seed=seed)

    return replace(
        board,
        instant=shift(board.instant),
        average=shift(board.average),
        usage=shift(board.usage),
        counter=replace(board.counter, phase_s=own * board.counter.step_s),
    )


def _bend_counter(**changes: object) -> Callable[[FakeGpu], FakeGpu]:
    return lambda board: replace(board, counter=replace(board.counter, **changes))  # type: ignore[arg-type]


def _add_fault(*faults: Fault) -> Callable[[FakeGpu], FakeGpu]:
    return lambda board: replace(board, faults=faults)


FAULT_FREE = {
    "V100": ("constant", "square 1.73 s", "square 0.37 s", "sine 1.3 s", "random", "ramp"),
    "H100": ("constant", "square 1.73 s", "square 0.37 s", "random"),
    "RTX": ("constant", "square 1.73 s", "square 0.37 s", "random", "ramp"),
    "A100": ("constant", "square 1.73 s", "sine 1.3 s", "random"),
    "P100": ("constant", "square 1.73 s", "random"),
}
_FAULTS: tuple[tuple[str, str, Callable[[FakeGpu], FakeGpu]], ...] = (
    ("V100", "counter freezes", _bend_counter(frozen_at_s=MIDDLE_S)),
    ("V100", "counter is reset", _bend_counter(reset_at_s=MIDDLE_S)),
    ("V100", "counter jumps by 100 J", _bend_counter(jump_at_s=MIDDLE_S, jump_j=100.0)),
    ("V100", "counter loses 1.5 s", _bend_counter(rates=(Rate(MIDDLE_S, MIDDLE_S + 1.5),))),
    ("V100", "counter counts 12 % too little", _bend_counter(gain=0.88)),
    (
        "P100",
        "power sticks for 3 s",
        _add_fault(Fault("stuck", on="power", at_s=MIDDLE_S, until_s=MIDDLE_S + 3.0)),
    ),
    ("V100", "every reading is 0 from the middle on", _add_fault(Fault("zero", at_s=MIDDLE_S))),
    ("V100", "lost for 1 s", _add_fault(Fault("lost", at_s=MIDDLE_S, until_s=MIDDLE_S + 1.0))),
    ("V100", "lost for good 2 s before the end", _add_fault(Fault("lost", at_s=END_S - 2.0))),
    (
        "P100",
        "power reads 4 MW for 0.1 s",
        _add_fault(Fault("spike", on="power", at_s=MIDDLE_S, until_s=MIDDLE_S + 0.1, value=4e6)),
    ),
)
ROWS: tuple[Row, ...] = (
    *(Row(board, load) for board, loads in FAULT_FREE.items() for load in loads),
    *(Row(board, "square 1.73 s", fault, bend) for board, fault, bend in _FAULTS),
    Row("V100", "square 1.73 s", "a P100 without a counter beside it", beside="P100"),
)
