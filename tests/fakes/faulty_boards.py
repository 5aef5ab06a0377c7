"""Seeded windows on boards of which something is wrong, and what may be said of each.

A window is drawn from its kind and its seed alone. Its boards have unlike abilities, loads and
limits; the truth is what they drew. ``judge`` holds what was stated against it: a number that is
further off than its ± must be named by a warning, or be ``None``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from fakes.known_load import WINDOW_AT_S, Bench, Loaded, true_energy_j
from fakes.nvml_scenario import UNSUPPORTED, Counter, Event, FakeGpu, Fault, Rate, Sensor
from fakes.power_shapes import Constant, Shape, Sine, Square, Telegraph
from wbcbench.core.errors import WbcbenchError
from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.window import Clock, Window
from wbcbench.measure.window_result import WindowResult
from wbcbench.power.meter import EnergyMeter

SHORTEST_S, LONGEST_S = 3.0, 60.0
LIMITS_W = (250.0, 300.0, 400.0, 700.0)
AGREE_PCT = 3.0  # the gain of a sensor is stated apart from ±, and known no better than this

# What a warning of a sound measurement may say, too: none of these names a fault.
NOT_NAMING = {
    *("short-window", "few-samples", "wide-interval", "meter-absent", "energy-estimated"),
    *("sensor-simulated", "shared-machine", "pids-hidden", "polls-missed", "aliasing"),
    "codecarbon-differs",
}


@dataclass(frozen=True)
class FaultyWindow:
    """Boards, a window on them, and which of the boards are the program's.

    ``where`` says in words what is wrong and when, for a reader. ``has_false_gain`` is true where a
    sensor's gain is the fault.
    """

    kind: str
    seed: int
    gpus: tuple[FakeGpu, ...]
    length_s: float
    where: str
    environment: Mapping[str, str] = field(default_factory=dict)
    counted: tuple[int, ...] | None = None
    interval_s: float = 0.1
    has_false_gain: bool = False
    has_codecarbon: bool = False
    part: tuple[float, float] = (0.0, 1.0)

    @property
    def window(self) -> Window:
        """What is judged: all that was recorded, or a part of it."""
        start_s, end_s = (WINDOW_AT_S + share * self.length_s for share in self.part)
        return Window("block", start_s, end_s)

    def draw_parts(self, count: int) -> list[FaultyWindow]:
        """Windows inside of this one, as a program that marks its phases has."""
        rng = random.Random(f"parts of {self.kind}-{self.seed}")
        parts = list[FaultyWindow]()
        shortest = min(1.0 / self.length_s, 0.9)
        while len(parts) < count:
            start, end = sorted((rng.random(), rng.random()))
            if end - start >= shortest:
                parts.append(replace(self, part=(start, end)))
        return parts

    @property
    def true_j(self) -> float:
        places = range(len(self.gpus)) if self.counted is None else self.counted
        return true_energy_j([self.gpus[i] for i in places], self.window)


# --- sound boards ------------------------------------------------------------------------------


def draw_load(rng: random.Random, limit_w: float, length_s: float) -> Shape:
    """Constant, periodic or random; from before the window on, or for its length alone."""
    low_w, high_w = limit_w * rng.uniform(0.2, 0.45), limit_w * rng.uniform(0.6, 0.92)
    shape: Shape
    match rng.choice(("constant", "square", "telegraph", "sine")):
        case "constant":
            shape = Constant(high_w)
        case "square":
            shape = Square(low_w, high_w, _period_s(rng), rng.uniform(0.2, 0.8))
        case "telegraph":
            shape = Telegraph(low_w, high_w, rng.uniform(0.15, 2.0), rng.randrange(1 << 30))
        case _:
            shape = Sine(0.5 * (low_w + high_w), 0.5 * (high_w - low_w), _period_s(rng))
    return Loaded(shape, length_s, WINDOW_AT_S) if rng.random() < 0.5 else shape


def _period_s(rng: random.Random) -> float:
    """Never in step with a sensor of 100 ms, which no tool could tell from inside."""
    while True:
        period_s: float = 10 ** rng.uniform(-0.6, 0.8)
        if abs(10 * period_s - round(10 * period_s)) > 0.2:
            return period_s


def draw_sensor(rng: random.Random) -> Sensor:
    """A sensor that reads all the time."""
    update_s = rng.choice((0.02, 0.05, 0.1))
    noise_w = rng.uniform(0.3, 2.0)
    phase_s, seed = rng.uniform(0.0, update_s), rng.randrange(1 << 30)
    return Sensor(update_s, update_s, noise_w=noise_w, phase_s=phase_s, seed=seed)


def draw_usage(rng: random.Random) -> Sensor:
    """The one-second average."""
    return replace(draw_sensor(rng), update_s=0.1, window_s=1.0)


def draw_counter(rng: random.Random) -> Counter:
    step_s = rng.choice((0.02, 0.05, 0.1))
    return Counter(step_s=step_s, phase_s=rng.uniform(0.0, step_s), start_j=rng.uniform(1e3, 1e6))


NO_COUNTER = Counter(supported=False)
Power = Literal["instant", "usage", "part-time", "none"]


def draw_board(
    rng: random.Random, length_s: float, *, power: Power = "instant", counter: bool = True
) -> FakeGpu:
    """A sound board with these abilities."""
    limit_w = rng.choice(LIMITS_W)
    board = FakeGpu(
        power=draw_load(rng, limit_w, length_s),
        instant=UNSUPPORTED,
        average=UNSUPPORTED,
        usage=UNSUPPORTED,
        counter=draw_counter(rng) if counter else NO_COUNTER,
        limit_default_w=limit_w,
        limit_max_w=limit_w,
    )
    if power == "usage":
        return replace(board, usage=draw_usage(rng))
    if power == "part-time":
        part_time = replace(draw_sensor(rng), update_s=0.1, window_s=0.025)
        return replace(board, instant=part_time, name="NVIDIA A100-SXM4-40GB")
    if power == "instant":
        return replace(board, instant=draw_sensor(rng), usage=draw_usage(rng))
    return board


class Alone(random.Random):
    """Draws the faulty board without any other, where its kind does not need one."""


def among(rng: random.Random, faulty: FakeGpu, length_s: float, boards: int = 0) -> list[FakeGpu]:
    """The faulty board among sound ones of any abilities; alone in half of the windows."""
    others = boards - 1 if boards else rng.choice((0, 0, 1, 1, 3))
    if isinstance(rng, Alone) and not boards:
        others = 0
    gpus = [draw_any(rng, length_s) for _ in range(others)]
    gpus.insert(rng.randint(0, others), faulty)
    return number_boards(gpus)


def draw_any(rng: random.Random, length_s: float) -> FakeGpu:
    """A sound board of any abilities that do for joules."""
    power, counter = rng.choice(
        (("instant", True), ("instant", False), ("usage", True), ("usage", False), ("none", True))
    )
    return draw_board(rng, length_s, power=power, counter=counter)


def number_boards(gpus: Sequence[FakeGpu]) -> list[FakeGpu]:
    """Give each board an identity of its own, along the bus."""
    return [
        replace(
            gpu, uuid=f"GPU-{i:08d}-2222-3333-4444-555555555555", bus=f"00000000:{16 + i:02X}:00.0"
        )
        for i, gpu in enumerate(gpus)
    ]


# --- when --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """When a fault holds, in scenario seconds, and how that lies to the window."""

    at_s: float
    until_s: float
    place: str

    def __str__(self) -> str:
        """Relative to the window's start."""
        at_s, until_s = self.at_s - WINDOW_AT_S, self.until_s - WINDOW_AT_S
        return f"{self.place}, {at_s:.2f} to {until_s:.2f} s"


def draw_span(rng: random.Random, length_s: float, lasts_s: tuple[float, float]) -> Span:
    """A time at the start, in the middle, at the end, around or outside of the window."""
    place = rng.choice(("start", "middle", "middle", "middle", "end", "before", "after"))
    for_s = min(rng.uniform(*lasts_s), 0.8 * length_s)
    if place == "start":
        at_s = WINDOW_AT_S - rng.uniform(0.05, 0.95) * min(for_s, 0.9)
    elif place == "middle":
        at_s = WINDOW_AT_S + rng.uniform(0.0, length_s - for_s)
    elif place == "end":
        at_s = WINDOW_AT_S + length_s - rng.uniform(0.05, 0.95) * for_s
    elif place == "before":
        at_s, for_s = WINDOW_AT_S - 0.8, 0.6
    else:
        at_s, for_s = WINDOW_AT_S + length_s + 0.15, 0.6
    return Span(at_s, at_s + for_s, place)


def draw_moment(rng: random.Random, length_s: float) -> float:
    """Near an edge or anywhere in the window."""
    edge_s = WINDOW_AT_S + rng.choice((0.0, length_s)) + rng.uniform(-0.3, 0.3)
    return edge_s if rng.random() < 0.25 else WINDOW_AT_S + rng.uniform(0.05, 0.95) * length_s


def with_faults(gpu: FakeGpu, *faults: Fault) -> FakeGpu:
    return replace(gpu, faults=(*gpu.faults, *faults))


def with_counter(gpu: FakeGpu, **changes: object) -> FakeGpu:
    return replace(gpu, counter=replace(gpu.counter, **changes))  # type: ignore[arg-type]


# --- kinds -------------------------------------------------------------------------------------

Drawn = tuple[Sequence[FakeGpu], str] | tuple[Sequence[FakeGpu], str, Mapping[str, object]]
KINDS: dict[str, Callable[[random.Random, float], Drawn]] = {}


def add_kind(name: str) -> Callable[[Callable[[random.Random, float], Drawn]], object]:
    """Enter a function that draws the boards of one kind."""

    def enter(draw: Callable[[random.Random, float], Drawn]) -> Callable[..., Drawn]:
        KINDS[name] = draw
        return draw

    return enter


def draw_window(
    kind: str, seed: int, *, alone: bool = False, longest_s: float = LONGEST_S
) -> FaultyWindow:
    """The window of a kind and a seed; the same whenever it is drawn."""
    rng = (Alone if alone else random.Random)(f"{kind}-{seed}")
    length_s = SHORTEST_S * (longest_s / SHORTEST_S) ** rng.random()
    gpus, where, *more = KINDS[kind](rng, length_s)
    return FaultyWindow(kind, seed, tuple(gpus), length_s, where, **(more[0] if more else {}))  # type: ignore[arg-type]


@add_kind("unlike boards")
def _(rng: random.Random, length_s: float) -> Drawn:
    boards = [draw_any(rng, length_s) for _ in range(rng.choice((2, 2, 3, 4)))]
    boards[0] = draw_board(rng, length_s, counter=True)
    boards[1] = draw_board(rng, length_s, power=rng.choice(("instant", "usage")), counter=False)
    rng.shuffle(boards)
    return number_boards(boards), "sound"


@add_kind("usage and instant")
def _(rng: random.Random, length_s: float) -> Drawn:
    powers: list[Power] = ["instant", "usage"]
    boards = [draw_board(rng, length_s, power=power, counter=False) for power in powers]
    rng.shuffle(boards)
    return number_boards(boards), "sound"


@add_kind("counter stumbles at opening")
def _(rng: random.Random, length_s: float) -> Drawn:
    calls = rng.choice((1, 2, 4, 6, 12, 50))
    stumbles = Fault("unknown", on="energy", nth=1, count=calls)
    board = with_faults(draw_board(rng, length_s), stumbles)
    return among(rng, board, length_s), f"{calls} calls"


@add_kind("power stumbles at opening")
def _(rng: random.Random, length_s: float) -> Drawn:
    calls, on = rng.choice((1, 3, 6, 12, 50)), rng.choice(("instant", "power", "fields"))
    counter = rng.random() < 0.5
    board = draw_board(rng, length_s, counter=counter)
    board = with_faults(board, Fault("unknown", on=on, nth=1, count=calls))
    return among(rng, board, length_s), f"{calls} calls of {on}, counter={counter}"


@add_kind("GPU lost for a while")
def _(rng: random.Random, length_s: float) -> Drawn:
    span = draw_span(rng, length_s, (0.6, 6.0))
    board = with_faults(
        draw_any(rng, length_s), Fault("lost", at_s=span.at_s, until_s=span.until_s)
    )
    return among(rng, board, length_s), str(span), {"has_codecarbon": rng.random() < 0.5}


@add_kind("GPU lost for good")
def _(rng: random.Random, length_s: float) -> Drawn:
    at_s = draw_moment(rng, length_s)
    board = with_faults(draw_any(rng, length_s), Fault("lost", at_s=at_s))
    where = f"from {at_s - WINDOW_AT_S:.2f} s on"
    return among(rng, board, length_s), where, {"has_codecarbon": rng.random() < 0.7}


@add_kind("reads fail for a while")
def _(rng: random.Random, length_s: float) -> Drawn:
    span, on = draw_span(rng, length_s, (0.3, 6.0)), rng.choice(("power", "energy", "fields"))
    board = with_faults(
        draw_any(rng, length_s), Fault("unknown", on=on, at_s=span.at_s, until_s=span.until_s)
    )
    return among(rng, board, length_s), f"{on}: {span}", {"has_codecarbon": rng.random() < 0.5}


@add_kind("GPU lost from the start")
def _(rng: random.Random, length_s: float) -> Drawn:
    on = rng.choice(("identity", "handle", "all"))
    board = with_faults(draw_any(rng, length_s), Fault(rng.choice(("lost", "unknown")), on=on))
    gpus = among(rng, board, length_s, boards=rng.choice((2, 3, 4)))
    return gpus, on, {"has_codecarbon": rng.random() < 0.3}


@add_kind("board without any reading")
def _(rng: random.Random, length_s: float) -> Drawn:
    board = draw_board(rng, length_s, power="none", counter=False)
    return among(rng, board, length_s, boards=rng.choice((2, 3))), "from the start"


@add_kind("MIG")
def _(rng: random.Random, length_s: float) -> Drawn:
    board = replace(draw_any(rng, length_s), mig=1)
    return among(rng, board, length_s), "from the start"


@add_kind("hidden boards")
def _(rng: random.Random, length_s: float) -> Drawn:
    gpus = number_boards([draw_any(rng, length_s) for _ in range(rng.choice((2, 3, 4)))])
    visible = sorted(rng.sample(range(len(gpus)), rng.randint(0, len(gpus) - 1)))
    setting = ",".join(rng.choice((str(i), gpus[i].uuid)) for i in visible)
    more = {"environment": {"CUDA_VISIBLE_DEVICES": setting}, "counted": tuple(visible)}
    return gpus, f"{len(visible)} of {len(gpus)} are visible", more


@add_kind("power stuck after noise, no counter")
def _(rng: random.Random, length_s: float) -> Drawn:
    span = draw_span(rng, length_s, (1.5, 20.0))
    stuck = Fault("stuck", on="power", at_s=span.at_s, until_s=span.until_s)
    board = draw_board(rng, length_s, power=rng.choice(("instant", "usage")), counter=False)
    return among(rng, with_faults(board, stuck), length_s), str(span)


@add_kind("power stuck for good, no counter")
def _(rng: random.Random, length_s: float) -> Drawn:
    at_s = draw_moment(rng, length_s)
    board = draw_board(rng, length_s, power=rng.choice(("instant", "usage")), counter=False)
    board = with_faults(board, Fault("stuck", on="power", at_s=at_s))
    return among(rng, board, length_s), f"from {at_s - WINDOW_AT_S:.2f} s on"


@add_kind("power stuck beside a counter")
def _(rng: random.Random, length_s: float) -> Drawn:
    span = draw_span(rng, length_s, (1.5, 20.0))
    stuck = Fault("stuck", on="power", at_s=span.at_s, until_s=span.until_s)
    return among(rng, with_faults(draw_board(rng, length_s), stuck), length_s), str(span)


@add_kind("power zero")
def _(rng: random.Random, length_s: float) -> Drawn:
    span, counter = draw_span(rng, length_s, (0.2, 8.0)), rng.random() < 0.4
    zero = Fault("zero", on="power", at_s=span.at_s, until_s=span.until_s)
    board = with_faults(draw_board(rng, length_s, counter=counter), zero)
    return among(rng, board, length_s), f"{span}, counter={counter}"


@add_kind("power absurd")
def _(rng: random.Random, length_s: float) -> Drawn:
    lasts_s = rng.choice(((0.05, 0.1), (0.1, 4.0)))
    span, counter = draw_span(rng, length_s, lasts_s), rng.random() < 0.4
    times = rng.choice((1.25, 1.5, 1.68, 1.75, 2.0, 5.0, 100.0, 1e4))
    board = draw_board(rng, length_s, counter=counter)
    value_w = times * board.limit_default_w
    absurd = Fault("spike", on="power", at_s=span.at_s, until_s=span.until_s, value=value_w)
    where = f"{times:g} x limit, {span}, counter={counter}"
    return among(rng, with_faults(board, absurd), length_s), where


@add_kind("power scaled, no counter")
def _(rng: random.Random, length_s: float) -> Drawn:
    gain = rng.choice((rng.uniform(0.7, 0.95), rng.uniform(1.05, 1.3)))
    board = draw_board(rng, length_s, counter=False)
    board = replace(board, instant=replace(board.instant, gain=gain))
    return among(rng, board, length_s), f"gain {gain:.3f}", {"has_false_gain": True}


@add_kind("power lags, no counter")
def _(rng: random.Random, length_s: float) -> Drawn:
    lag_s = rng.uniform(0.5, 3.0)
    board = draw_board(rng, length_s, counter=False)
    load = (
        board.power
        if isinstance(board.power, Loaded)
        else Loaded(board.power, length_s, WINDOW_AT_S)
    )
    board = replace(board, power=load, instant=replace(board.instant, lag_s=lag_s))
    return among(rng, board, length_s), f"{lag_s:.2f} s"


@add_kind("power averaged, no counter")
def _(rng: random.Random, length_s: float) -> Drawn:
    window_s = rng.uniform(1.0, 4.0)
    board = draw_board(rng, length_s, counter=False)
    load = (
        board.power
        if isinstance(board.power, Loaded)
        else Loaded(board.power, length_s, WINDOW_AT_S)
    )
    board = replace(board, power=load, instant=replace(board.instant, window_s=window_s))
    return among(rng, board, length_s), f"{window_s:.2f} s"


@add_kind("power renewed slowly, no counter")
def _(rng: random.Random, length_s: float) -> Drawn:
    update_s = rng.uniform(0.8, 3.0)
    window_s = rng.choice((0.02, 0.25, update_s))
    board = draw_board(rng, length_s, counter=False)
    slow = replace(board.instant, update_s=update_s, window_s=window_s)
    where = f"every {update_s:.2f} s, mean of {window_s:.2f} s"
    return among(rng, replace(board, instant=slow), length_s), where


@add_kind("counter steps slowly")
def _(rng: random.Random, length_s: float) -> Drawn:
    step_s = rng.uniform(1.0, 4.0)
    power = rng.choice(("instant", "instant", "usage", "none"))
    board = draw_board(rng, length_s, power=power)
    board = with_counter(board, step_s=step_s, phase_s=rng.uniform(0.0, step_s))
    return among(rng, board, length_s), f"every {step_s:.2f} s, power={power}"


@add_kind("counter of a part-time sensor")
def _(rng: random.Random, length_s: float) -> Drawn:
    board = draw_board(rng, length_s, power="part-time")
    phase_s = board.instant.phase_s
    board = with_counter(board, from_sensor=True, step_s=0.1, phase_s=phase_s)
    return among(rng, board, length_s), "25 of 100 ms"


@add_kind("counter with a false gain")
def _(rng: random.Random, length_s: float) -> Drawn:
    gain = rng.choice((rng.uniform(0.7, 0.965), rng.uniform(1.035, 1.3)))
    power = rng.choice(("instant", "instant", "usage", "none"))
    board = with_counter(draw_board(rng, length_s, power=power), gain=gain)
    return among(rng, board, length_s), f"gain {gain:.3f}, power={power}", {"has_false_gain": True}


@add_kind("counter whose gain changes")
def _(rng: random.Random, length_s: float) -> Drawn:
    at_s = WINDOW_AT_S + rng.uniform(0.0, 0.8) * length_s
    factor = rng.choice((rng.uniform(0.6, 0.95), rng.uniform(1.05, 1.5)))
    power = rng.choice(("instant", "instant", "usage", "none"))
    board = with_counter(draw_board(rng, length_s, power=power), rates=(Rate(at_s, factor=factor),))
    where = f"x {factor:.3f} from {at_s - WINDOW_AT_S:.2f} s on, power={power}"
    return among(rng, board, length_s), where, {"has_false_gain": True}


@add_kind("counter loses energy")
def _(rng: random.Random, length_s: float) -> Drawn:
    span = draw_span(rng, length_s, (0.3, 5.0))
    power = rng.choice(("instant", "instant", "usage", "none"))
    board = with_counter(
        draw_board(rng, length_s, power=power), rates=(Rate(span.at_s, span.until_s),)
    )
    return among(rng, board, length_s), f"{span}, power={power}"


@add_kind("counter freezes for good")
def _(rng: random.Random, length_s: float) -> Drawn:
    at_s, power = draw_moment(rng, length_s), rng.choice(("instant", "usage", "none", "none"))
    board = with_counter(draw_board(rng, length_s, power=power), frozen_at_s=at_s)
    return among(rng, board, length_s), f"from {at_s - WINDOW_AT_S:.2f} s on, power={power}"


@add_kind("counter stands still and catches up")
def _(rng: random.Random, length_s: float) -> Drawn:
    span = draw_span(rng, length_s, (0.5, 8.0))
    power = rng.choice(("instant", "usage", "none"))
    late = Fault("stuck", on="energy", at_s=span.at_s, until_s=span.until_s)
    board = with_faults(draw_board(rng, length_s, power=power), late)
    return among(rng, board, length_s), f"{span}, power={power}"


@add_kind("counter jumps")
def _(rng: random.Random, length_s: float) -> Drawn:
    at_s, joules = draw_moment(rng, length_s), 20.0 * 250 ** rng.random()
    power = rng.choice(("instant", "instant", "usage", "none"))
    board = with_counter(draw_board(rng, length_s, power=power), events=(Event(at_s, joules),))
    where = f"{joules:+.0f} J at {at_s - WINDOW_AT_S:.2f} s, power={power}"
    return among(rng, board, length_s), where


@add_kind("counter falls")
def _(rng: random.Random, length_s: float) -> Drawn:
    at_s, joules = draw_moment(rng, length_s), -5.0 * 100 ** rng.random()
    power = rng.choice(("instant", "instant", "usage", "none"))
    board = with_counter(draw_board(rng, length_s, power=power), events=(Event(at_s, joules),))
    where = f"{joules:+.0f} J at {at_s - WINDOW_AT_S:.2f} s, power={power}"
    return among(rng, board, length_s), where


@add_kind("counter is reset")
def _(rng: random.Random, length_s: float) -> Drawn:
    at_s = draw_moment(rng, length_s)
    power = rng.choice(("instant", "instant", "usage", "none"))
    start_j = rng.choice((rng.uniform(5.0, 500.0), 1e5))
    board = with_counter(draw_board(rng, length_s, power=power), reset_at_s=at_s, start_j=start_j)
    return among(rng, board, length_s), f"at {at_s - WINDOW_AT_S:.2f} s, power={power}"


def _spoil_counter(rng: random.Random, board: FakeGpu, length_s: float) -> tuple[FakeGpu, str]:
    span, at_s = draw_span(rng, length_s, (0.3, 4.0)), draw_moment(rng, length_s)
    counter = board.counter
    match rng.choice(("loss", "jump", "fall", "rate", "late")):
        case "loss":
            changed = replace(counter, rates=(*counter.rates, Rate(span.at_s, span.until_s)))
            return replace(board, counter=changed), f"loses {span}"
        case "late":
            late = Fault("stuck", on="energy", at_s=span.at_s, until_s=span.until_s)
            return with_faults(board, late), f"late {span}"
        case "rate":
            rate = Rate(span.at_s, span.until_s, rng.choice((0.5, 0.8, 1.25, 2.0)))
            changed = replace(counter, rates=(*counter.rates, rate))
            return replace(board, counter=changed), f"x {rate.factor:g} {span}"
        case what:
            joules = rng.uniform(20.0, 800.0) * (1 if what == "jump" else -1)
            changed = replace(counter, events=(*counter.events, Event(at_s, joules)))
            where = f"{joules:+.0f} J at {at_s - WINDOW_AT_S:.2f} s"
            return replace(board, counter=changed), where


def _spoil_power(rng: random.Random, board: FakeGpu, length_s: float) -> tuple[FakeGpu, str]:
    span = draw_span(rng, length_s, (0.3, 6.0))
    kind = rng.choice(("stuck", "zero", "spike", "unknown", "scale"))
    value = 1.5 if kind == "scale" else rng.choice((1.3, 1.6, 3.0)) * board.limit_default_w
    fault = Fault(kind, on="power", at_s=span.at_s, until_s=span.until_s, value=value)
    return with_faults(board, fault), f"power {kind} {span}"


@add_kind("two faults of a counter")
def _(rng: random.Random, length_s: float) -> Drawn:
    board = draw_board(rng, length_s, power=rng.choice(("instant", "instant", "usage")))
    board, first = _spoil_counter(rng, board, length_s)
    board, second = _spoil_counter(rng, board, length_s)
    return among(rng, board, length_s), f"{first}; {second}"


@add_kind("faults of both readings")
def _(rng: random.Random, length_s: float) -> Drawn:
    board = draw_board(rng, length_s, power=rng.choice(("instant", "instant", "usage")))
    board, first = _spoil_counter(rng, board, length_s)
    board, second = _spoil_power(rng, board, length_s)
    return among(rng, board, length_s), f"{first}; {second}"


@add_kind("faults of two boards")
def _(rng: random.Random, length_s: float) -> Drawn:
    one = draw_board(rng, length_s)
    other = draw_board(rng, length_s, counter=False)
    one, first = _spoil_counter(rng, one, length_s)
    other, second = _spoil_power(rng, other, length_s)
    gpus = [one, other, *([draw_any(rng, length_s)] if rng.random() < 0.3 else [])]
    rng.shuffle(gpus)
    return number_boards(gpus), f"{first}; {second}"


def _slow_down(rng: random.Random, board: FakeGpu) -> tuple[FakeGpu, str]:
    """A reading that lags, averages, is renewed slowly, is coarse, or keeps no exact time."""
    name: Literal["instant", "usage"] = "instant" if board.instant.supported else "usage"
    changes: dict[str, float] = rng.choice(
        (
            {"lag_s": rng.uniform(0.2, 2.0)},
            {"window_s": rng.uniform(0.3, 2.0)},
            {"update_s": rng.uniform(0.3, 1.5)},
            {"resolution_w": rng.choice((1.0, 5.0))},
            {"jitter": 0.3},
            {"noise_w": 0.0},
        )
    )
    sensor = replace(getattr(board, name), **changes)
    return replace(board, **{name: sensor}), f"{name} {changes}"  # type: ignore[arg-type]


@add_kind("counter shows something else for a moment")
def _(rng: random.Random, length_s: float) -> Drawn:
    span = draw_span(rng, length_s, (0.05, 0.8))
    board = draw_board(rng, length_s, power=rng.choice(("instant", "usage", "none")))
    shown_j = rng.choice((0.0, 1.0, 1e7, board.counter.start_j + rng.uniform(-2e3, 2e3)))
    garbage = Fault("spike", on="energy", at_s=span.at_s, until_s=span.until_s, value=shown_j)
    where = f"{shown_j:.0f} J for {board.counter.start_j:.0f} J, {span}"
    return among(rng, with_faults(board, garbage), length_s), where


@add_kind("counter jumps often")
def _(rng: random.Random, length_s: float) -> Drawn:
    times = sorted(
        WINDOW_AT_S + rng.uniform(-0.5, length_s + 0.5) for _ in range(rng.randint(3, 40))
    )
    most_j = rng.choice((10.0, 30.0, 150.0))
    signs = rng.choice(((1,), (-1,), (1, -1)))
    events = tuple(Event(t, rng.choice(signs) * rng.uniform(3.0, most_j)) for t in times)
    board = draw_board(rng, length_s, power=rng.choice(("instant", "instant", "usage", "none")))
    where = f"{len(events)} times, {sum(event.joules for event in events):+.0f} J in all"
    return among(rng, with_counter(board, events=events), length_s), where


@add_kind("counter loses a little often")
def _(rng: random.Random, length_s: float) -> Drawn:
    every_s, lasts_s = rng.uniform(0.4, 2.0), rng.uniform(0.05, 0.2)
    starts = [WINDOW_AT_S - 9.0 + i * every_s for i in range(int((length_s + 20.0) / every_s))]
    rates = tuple(Rate(t, t + lasts_s) for t in starts)
    power = rng.choice(("instant", "instant", "usage", "none"))
    board = with_counter(draw_board(rng, length_s, power=power), rates=rates)
    return among(rng, board, length_s), f"{lasts_s:.2f} s every {every_s:.2f} s, power={power}"


@add_kind("counter of other units")
def _(rng: random.Random, length_s: float) -> Drawn:
    gain, power = rng.choice((1e-3, 0.1, 0.5, 2.0, 10.0, 1e3)), rng.choice(("instant", "usage"))
    board = with_counter(draw_board(rng, length_s, power=power), gain=gain)
    return among(rng, board, length_s), f"x {gain:g}, power={power}"


@add_kind("counter frozen from the start")
def _(rng: random.Random, length_s: float) -> Drawn:
    power = rng.choice(("instant", "usage", "none"))
    board = with_counter(draw_board(rng, length_s, power=power), frozen_at_s=0.0)
    return among(rng, board, length_s), f"power={power}"


@add_kind("counter runs backwards")
def _(rng: random.Random, length_s: float) -> Drawn:
    span, power = draw_span(rng, length_s, (0.5, 4.0)), rng.choice(("instant", "usage", "none"))
    rates = (Rate(span.at_s, span.until_s, rng.choice((-1.0, -0.2))),)
    board = with_counter(draw_board(rng, length_s, power=power), rates=rates)
    return among(rng, board, length_s), f"x {rates[0].factor:g} {span}, power={power}"


@add_kind("power stuck from the start, no counter")
def _(rng: random.Random, length_s: float) -> Drawn:
    board = draw_board(rng, length_s, power=rng.choice(("instant", "usage")), counter=False)
    board = with_faults(board, Fault("stuck", on="power", at_s=rng.uniform(0.0, 2.5)))
    return among(rng, board, length_s), f"at {board.faults[0].at_s:.1f} s, the window is at 10 s"


@add_kind("power is now and then none, no counter")
def _(rng: random.Random, length_s: float) -> Drawn:
    kind, every_s = rng.choice(("zero", "spike", "unknown")), rng.uniform(0.25, 1.0)
    board = draw_board(rng, length_s, power=rng.choice(("instant", "usage")), counter=False)
    value_w, lasts_s = 2.5 * board.limit_default_w, rng.uniform(0.1, 0.6) * every_s
    starts = [WINDOW_AT_S - 1.0 + i * every_s for i in range(min(int(length_s / every_s) + 3, 60))]
    faults = (Fault(kind, on="power", at_s=t, until_s=t + lasts_s, value=value_w) for t in starts)
    where = f"{kind}, {lasts_s:.2f} s every {every_s:.2f} s"
    return among(rng, with_faults(board, *faults), length_s), where


@add_kind("power absurd and no limit known, no counter")
def _(rng: random.Random, length_s: float) -> Drawn:
    span, times = draw_span(rng, length_s, (0.1, 2.0)), rng.choice((2.0, 5.0, 100.0, 1e4))
    board = draw_board(rng, length_s, counter=False)
    value_w = times * board.limit_default_w
    absurd = Fault("spike", on="power", at_s=span.at_s, until_s=span.until_s, value=value_w)
    board = with_faults(board, absurd, Fault("unsupported", on="limits"))
    return among(rng, board, length_s), f"{times:g} x limit, {span}"


@add_kind("counter jumps by less than a poll may hold")
def _(rng: random.Random, length_s: float) -> Drawn:
    """What a board within its limit could have drawn between two polls, or nearly."""
    board = draw_board(rng, length_s, power=rng.choice(("instant", "instant", "usage")))
    joules = rng.choice((1, 1, -1)) * rng.uniform(0.08, 0.2) * board.limit_default_w
    at_s = WINDOW_AT_S + rng.uniform(0.1, 0.9) * length_s
    board = with_counter(board, events=(Event(at_s, joules),))
    return among(rng, board, length_s), f"{joules:+.0f} J at {at_s - WINDOW_AT_S:.2f} s"


@add_kind("coarse readings")
def _(rng: random.Random, length_s: float) -> Drawn:
    """Counters of whole joules or more, powers of whole watts or more, clocks that wander."""
    board = draw_board(rng, length_s, power=rng.choice(("instant", "usage", "none")))
    joules, watts = rng.choice((0.0, 1.0, 10.0, 50.0)), rng.choice((0.0, 1.0, 5.0))
    jitter = rng.choice((0.0, 0.2, 0.4))
    board = with_counter(board, resolution_j=joules, jitter=jitter)
    for name in ("instant", "usage"):
        sensor = replace(getattr(board, name), resolution_w=watts, jitter=jitter)
        board = replace(board, **{name: sensor})  # type: ignore[arg-type]
    if rng.random() < 0.3:
        board = replace(board, counter=NO_COUNTER if board.instant.supported else board.counter)
    return among(rng, board, length_s), f"{joules:g} J, {watts:g} W, jitter {jitter:g}"


@add_kind("polled slowly or fast")
def _(rng: random.Random, length_s: float) -> Drawn:
    interval_s = rng.choice((0.01, 0.02, 0.5, 1.0, 2.0))
    gpus = number_boards([draw_any(rng, length_s) for _ in range(rng.choice((1, 1, 2)))])
    return gpus, f"every {interval_s:g} s", {"interval_s": interval_s}


@add_kind("spoilt while it is probed")
def _(rng: random.Random, length_s: float) -> Drawn:
    """The probe lasts from 1 s to 3 s."""
    at_s, kind = rng.uniform(0.9, 2.5), rng.choice(("lost", "unknown", "zero", "stuck", "scale"))
    until_s = rng.choice((at_s + rng.uniform(0.1, 1.0), 5.0))
    fault = Fault(
        kind, on="all" if kind == "lost" else "power", at_s=at_s, until_s=until_s, value=3.0
    )
    board = with_faults(draw_any(rng, length_s), fault)
    if rng.random() < 0.5:
        board = with_counter(board, rates=(Rate(at_s, until_s),), events=(Event(until_s, 200.0),))
    return among(rng, board, length_s), f"{kind}, {at_s:.2f} to {until_s:.2f} s"


@add_kind("anything")
def _(rng: random.Random, length_s: float) -> Drawn:
    gpus, wheres = list[FakeGpu](), list[str]()
    for place in range(rng.choice((1, 1, 2, 3))):
        board = draw_any(rng, length_s)
        has_power = board.instant.supported or board.usage.supported
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            spoil = rng.choice(("counter", "power", "slow", "lost"))
            if spoil == "counter" and board.counter.supported:
                board, where = _spoil_counter(rng, board, length_s)
            elif spoil == "power" and has_power:
                board, where = _spoil_power(rng, board, length_s)
            elif spoil == "slow" and has_power:
                board, where = _slow_down(rng, board)
            elif spoil == "lost" and rng.random() < 0.3:
                span = draw_span(rng, length_s, (0.3, 3.0))
                board = with_faults(board, Fault("lost", at_s=span.at_s, until_s=span.until_s))
                where = f"lost {span}"
            else:
                continue
            wheres.append(f"{place}: {where}")
        gpus.append(board)
    more = {"interval_s": rng.choice((0.05, 0.1, 0.1, 0.1, 0.25))}
    return number_boards(gpus), "; ".join(wheres) or "sound", more


# --- what was said, and whether it was right ---------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What was stated of a window, beside its truth; all ``None`` where it was refused."""

    drawn: FaultyWindow
    result: WindowResult | None
    refusal: str = ""

    @property
    def energy_j(self) -> float | None:
        return self.result.energy.energy_j if self.result else None

    @property
    def uncertainty_j(self) -> float:
        return (self.result.energy.uncertainty_j if self.result else None) or 0.0

    @property
    def error_j(self) -> float:
        return 0.0 if self.energy_j is None else self.energy_j - self.drawn.true_j

    @property
    def error_pct(self) -> float:
        return 100 * self.error_j / self.drawn.true_j

    @property
    def naming(self) -> list[str]:
        """Codes of the warnings that name the fault."""
        warnings = self.result.warnings if self.result else ()
        return sorted({w.code for w in warnings if w.code not in NOT_NAMING and self._names(w)})

    def _names(self, warning: QualityWarning) -> bool:
        """A shallow check names what it could not see; one without any second reading, all."""
        if warning.code != "check-depth":
            return True
        depths = [float(number) for number in re.findall(r"([\d.]+) ?%", warning.detail)]
        is_unlikely = bool(depths) and warning.severity is Severity.SUSPECT
        return not depths or is_unlikely or max(depths) >= abs(self.error_pct)

    @property
    def outcome(self) -> str:
        """``none``, ``right``, ``near``, ``told`` (wrong, but a warning names it), ``shallow`` or
        ``silent``.

        ``shallow`` is wrong where the only warning is that no check, or no check so deep, was made.

        A half-width of 95 % is missed by one in twenty: half as much again is ``near``.
        """
        if self.energy_j is None:
            return "none"
        allowed_j = AGREE_PCT / 100 * self.drawn.true_j if self.drawn.has_false_gain else 0.0
        # A counter's joules are rounded to thousandths.
        if abs(self.error_j) <= max(self.uncertainty_j, allowed_j) + 0.002:
            return "right"
        if self.naming and self.naming != ["check-depth"]:
            return "told"
        if abs(self.error_j) <= 1.5 * self.uncertainty_j:
            return "near"
        return "shallow" if self.naming else "silent"

    def __str__(self) -> str:
        drawn, result = self.drawn, self.result
        stated = (
            "none"
            if self.energy_j is None
            else (
                f"{self.energy_j:.0f} ± {self.uncertainty_j:.1f} J for {drawn.true_j:.0f} J "
                f"({self.error_pct:+.1f} %)"
            )
        )
        said = [w.code for w in result.warnings] if result else [self.refusal]
        quality = result.quality if result else "refused"
        method = result.energy.method if result else None
        boards = f"{len(drawn.gpus)} GPUs, {drawn.length_s:.1f} s"
        if drawn.part != (0.0, 1.0):
            window = drawn.window
            edges_s = window.start_s - WINDOW_AT_S, window.end_s - WINDOW_AT_S
            boards += f" of which {edges_s[0]:.2f} to {edges_s[1]:.2f} s"
        return (
            f"--only {drawn.kind!r} --seed {drawn.seed}: {stated}, {quality}, {method}; "
            f"{boards}; {drawn.where}; {', '.join(said) or 'no warning'}"
        )


def play_window(
    bench: Bench, drawn: FaultyWindow, environment: dict[str, str], parts: int = 0
) -> list[Verdict]:
    """Measure a window as ``monitor`` does, in virtual time, and as many parts of it.

    Args:
        bench: The machine.
        drawn: What is to be measured.
        environment: This process's variables, e.g. ``os.environ``; put back afterwards.
        parts: How many windows inside of it are judged, too, from the same recording.
    """
    before = {name: environment.get(name) for name in drawn.environment}
    environment.update(drawn.environment)
    beside = _codecarbon_of(drawn.gpus) if drawn.has_codecarbon else lambda _: ()
    try:
        recording = bench.record(
            drawn.gpus, drawn.length_s, interval_s=drawn.interval_s, beside=beside
        )
    except WbcbenchError as error:
        return [Verdict(drawn, None, str(error))]
    finally:
        for name, value in before.items():
            environment.pop(name) if value is None else environment.update({name: value})
    windows = [drawn, *drawn.draw_parts(parts)]
    return [Verdict(each, recording.measure_window(each.window)) for each in windows]


class CodeCarbonLike(EnergyMeter):
    """Totals of CPU and GPUs that move once a second, as CodeCarbon's do.

    A board that is lost adds nothing to the total of the GPUs, and nobody is told.
    """

    name = "codecarbon"
    interval_s: float | None = 0.25
    channels = (
        Channel("codecarbon/gpu", Kind.COUNTER, Origin.MEASURED, Domain.GPU, "nvml", update_s=1.0),
        Channel(
            "codecarbon/cpu", Kind.COUNTER, Origin.ESTIMATED, Domain.CPU, "tdp_load", update_s=1.0
        ),
    )

    def __init__(self, gpus: Sequence[FakeGpu], clock: Clock) -> None:
        self._gpus, self._clock = gpus, clock
        self._total_j, self._last_s = 0.0, float(int(clock.now_s()))

    def read(self) -> Sequence[float | None]:
        now_s = float(int(self._clock.now_s()))
        if now_s > self._last_s:
            alive = [gpu for gpu in self._gpus if not self._is_lost(gpu, now_s)]
            self._total_j += sum(gpu.power.energy_j(self._last_s, now_s) for gpu in alive)
            self._last_s = now_s
        return self._total_j, 45.0 * now_s

    @staticmethod
    def _is_lost(gpu: FakeGpu, at_s: float) -> bool:
        lost = (fault for fault in gpu.faults if fault.kind in {"lost", "unknown"})
        return any(not fault.nth and fault.at_s <= at_s < fault.until_s for fault in lost)

    def describe(self) -> dict[str, object]:
        return {"parts": {}}


def _codecarbon_of(gpus: Sequence[FakeGpu]) -> Callable[[Clock], Sequence[EnergyMeter]]:
    return lambda clock: [CodeCarbonLike(gpus, clock)]
