"""Classes of boards by what their sensors can tell, and fault-free loads on them, by seed.

A load is a sequence of steps, so that its joules and those of the scripted library are exact. It
lies between two idle times, as a command does that ``monitor`` starts; some windows are a part of
the load instead, as an epoch is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from fakes.nvml_scenario import UNSUPPORTED, Counter, FakeGpu, Sensor
from fakes.power_shapes import Knots

SHORTEST_S, LONGEST_S = 3.0, 60.0
IDLE_W = (30.0, 80.0)
LOW_W, HIGH_W = (70.0, 160.0), (170.0, 290.0)
FROM_S = -30.0  # a scenario begins before its clock

Steps = Iterator[tuple[float, float]]  # seconds from the start of the load, watts from then on


@dataclass(frozen=True)
class SensorClass:
    """Boards that can tell alike.

    Attributes:
        name: What it is called in tables.
        make: Draws one board.
        has_counter: Whether it has an energy counter.
        expected: Warnings that are true of such boards, and no false alarm.
    """

    name: str
    make: Callable[[random.Random], FakeGpu]
    has_counter: bool = True
    expected: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Case:
    """One board with one load, and the window whose joules are asked for."""

    gpu: FakeGpu
    load: str
    start_s: float
    end_s: float
    work_s: tuple[float, float]  # from the load's start to its end
    epoch_s: float = 0.0  # clock at scenario second 0

    @property
    def true_j(self) -> float:
        return self.gpu.power.energy_j(self.start_s - self.epoch_s, self.end_s - self.epoch_s)

    def at(self, epoch_s: float) -> Case:
        """The same on a clock that shows ``epoch_s`` at scenario second 0."""
        start_s, end_s, first_s, last_s = (
            t_s + epoch_s for t_s in (self.start_s, self.end_s, *self.work_s)
        )
        return replace(
            self, start_s=start_s, end_s=end_s, work_s=(first_s, last_s), epoch_s=epoch_s
        )


# --- boards ------------------------------------------------------------------------------------


def _draw_sensor(
    rng: random.Random, update_s: float, window_s: float, lag_s: float = 0.0
) -> Sensor:
    return Sensor(
        update_s=update_s,
        window_s=window_s,
        noise_w=rng.choice([0.0, 0.8, 0.8]),
        phase_s=rng.random() * update_s,
        seed=rng.randrange(1 << 30),
        lag_s=lag_s,
    )


def _draw_counter(rng: random.Random, step_s: float, *, from_sensor: bool = False) -> Counter:
    return Counter(step_s=step_s, phase_s=rng.random() * step_s, from_sensor=from_sensor)


def _board(name: str, architecture: int, **parts: object) -> FakeGpu:
    silent = {"instant": UNSUPPORTED, "average": UNSUPPORTED, "usage": UNSUPPORTED}
    silent["counter"] = Counter(supported=False)
    return replace(FakeGpu(name=name, architecture=architecture), **(silent | parts))


def _v100(rng: random.Random) -> FakeGpu:
    instant = _draw_sensor(rng, 0.02, 0.02)
    return _board(
        "Tesla V100-SXM2-32GB", 5, instant=instant, usage=instant, counter=_draw_counter(rng, 0.02)
    )


def _full_time(rng: random.Random) -> FakeGpu:
    instant = _draw_sensor(rng, 0.1, 0.1)
    return _board("NVIDIA Test GPU", 9, instant=instant, counter=_draw_counter(rng, 0.1))


def _rtx(rng: random.Random) -> FakeGpu:
    usage = _draw_sensor(rng, 0.1, 1.0)
    return _board("NVIDIA GeForce RTX 4090", 8, usage=usage, counter=_draw_counter(rng, 0.1))


def _a100(rng: random.Random) -> FakeGpu:
    instant = _draw_sensor(rng, 0.1, 0.025)
    counter = _draw_counter(rng, 0.1, from_sensor=True)
    return _board("NVIDIA A100-SXM4-40GB", 7, instant=instant, usage=instant, counter=counter)


def _p100(rng: random.Random) -> FakeGpu:
    update_s = rng.choice([0.02, 0.05, 0.1])
    return _board("Tesla P100-PCIE-16GB", 4, usage=_draw_sensor(rng, update_s, update_s))


def _averaging(rng: random.Random) -> FakeGpu:
    return _board("NVIDIA GeForce RTX 3090", 7, usage=_draw_sensor(rng, 0.1, 1.0))


def _lagging(rng: random.Random) -> FakeGpu:
    return _board("Tesla P100-PCIE-16GB", 4, usage=_draw_sensor(rng, 0.1, 0.1, lag_s=1.0))


def _long_average(rng: random.Random) -> FakeGpu:
    return _board("NVIDIA GeForce RTX 3090", 7, usage=_draw_sensor(rng, 0.1, 3.0))


def _slow_update(rng: random.Random) -> FakeGpu:
    """A mean of all the time or a look now and then: nothing tells one from the other."""
    return _board("Tesla P100-PCIE-16GB", 4, usage=_draw_sensor(rng, 2.0, rng.choice([0.0, 2.0])))


def _slow_counter(rng: random.Random) -> FakeGpu:
    return _board("NVIDIA Test GPU", 9, counter=_draw_counter(rng, rng.uniform(1.5, 4.0)))


def _slow_counter_beside_power(rng: random.Random) -> FakeGpu:
    return replace(_slow_counter(rng), instant=_draw_sensor(rng, 0.1, 0.1))


def _counter_beside_late_average(rng: random.Random) -> FakeGpu:
    usage = _draw_sensor(rng, 0.1, 3.0, lag_s=1.0)
    return replace(_rtx(rng), usage=usage)


LATE = frozenset({"power-late"})
CLASSES = (
    SensorClass("counter 20 ms", _v100),
    SensorClass("counter 100 ms", _full_time),
    SensorClass("counter 100 ms, average", _rtx),
    SensorClass("part-time", _a100),
    SensorClass("no counter", _p100, has_counter=False),
    SensorClass("no counter, average", _averaging, has_counter=False),
    SensorClass("slow: lag 1 s", _lagging, has_counter=False, expected=LATE),
    SensorClass("slow: average 3 s", _long_average, has_counter=False, expected=LATE),
    SensorClass("slow: update 2 s", _slow_update, has_counter=False, expected=LATE),
    SensorClass("slow: counter 1.5-4 s", _slow_counter),
    SensorClass("slow: counter, power", _slow_counter_beside_power),
    SensorClass("counter, slow: power", _counter_beside_late_average, expected=LATE),
)


def _looks_part_of_the_time(board: FakeGpu) -> bool:
    """Whether loads in step with a sensor are none of its fault-free loads: it cannot tell them."""
    sensors = (each for each in (board.instant, board.usage) if each.supported)
    return any(each.window_s < each.update_s / 2 for each in sensors)


# --- loads -------------------------------------------------------------------------------------


def _constant(rng: random.Random, in_step: bool) -> Steps:
    del in_step
    yield 0.0, rng.uniform(LOW_W[0], HIGH_W[1])


def _periodic(rng: random.Random, in_step: bool) -> Steps:
    period_s = 0.05 * 120 ** rng.random()
    if in_step and rng.random() < 0.3:
        period_s = rng.choice([0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.7]) + rng.choice([0.0, 0.0, 0.001])
    duty, at_s = rng.uniform(0.2, 0.8), -rng.random() * period_s
    low_w, high_w = rng.uniform(*LOW_W), rng.uniform(*HIGH_W)
    while True:
        yield at_s, high_w
        yield at_s + duty * period_s, low_w
        at_s += period_s


def _random(rng: random.Random, in_step: bool) -> Steps:
    """Two powers for random times (bursts, if one is rare), or a new power each time."""
    del in_step
    mean_s = 0.02 * 100 ** rng.random()
    share = rng.choice([0.5, 0.5, 0.1, 0.9])
    powers = [rng.uniform(*LOW_W), rng.uniform(*HIGH_W)]
    is_wandering, at_s, place = rng.random() < 0.3, 0.0, 0
    while True:
        yield at_s, rng.uniform(LOW_W[0], HIGH_W[1]) if is_wandering else powers[place]
        at_s += rng.expovariate(0.5 / mean_s / (share if place else 1 - share))
        place = 1 - place


LOADS = {"constant": _constant, "periodic": _periodic, "random": _random}


def draw_case(
    kind: SensorClass, seed: str, start_s: float = 7.0, most_s: float = LONGEST_S
) -> Case:
    """A board of one class with a fault-free load.

    Args:
        kind: The class.
        seed: All that is drawn follows from it.
        start_s: About when the load begins, in scenario seconds.
        most_s: The longest window.
    """
    rng = random.Random(f"{kind.name} {seed}")
    board = kind.make(rng)
    name = rng.choice(list(LOADS))
    length_s = SHORTEST_S * (most_s / SHORTEST_S) ** rng.random()
    is_part = rng.random() < 0.3
    begin_s = start_s + rng.random()
    before_s, after_s = (rng.uniform(1, 5), rng.uniform(1, 5)) if is_part else (0.0, 0.0)
    load_end_s = begin_s + before_s + length_s + after_s
    idle_w = rng.uniform(*IDLE_W)
    times, powers = [FROM_S], [idle_w]
    for at_s, power_w in LOADS[name](rng, not _looks_part_of_the_time(board)):
        t_s = begin_s + at_s
        if t_s >= load_end_s:
            break
        if t_s <= begin_s and len(times) > 1:
            times, powers = times[:1], powers[:1]
        times.append(max(t_s, begin_s))
        powers.append(power_w)
        if name == "constant":
            break
    power = Knots((*times, load_end_s), (*powers, idle_w), steps=True)
    return Case(
        replace(board, power=power),
        name,
        begin_s + before_s,
        begin_s + before_s + length_s,
        (begin_s, load_end_s),
    )


def draw_short_case(kind: SensorClass, seed: str, length_s: float, start_s: float) -> Case:
    """A board of one class with the steps of a training, as long as the window."""
    rng = random.Random(f"{kind.name} {seed} {length_s}")
    board = kind.make(rng)
    begin_s, step_s = start_s + rng.random(), rng.uniform(0.005, 0.03)
    idle_w, low_w, high_w = rng.uniform(*IDLE_W), rng.uniform(*LOW_W), rng.uniform(*HIGH_W)
    knots = [(FROM_S, idle_w)]
    while (at_s := begin_s + step_s * ((len(knots) - 1) // 2)) < begin_s + length_s:
        knots += [(at_s, high_w), (min(at_s + 0.7 * step_s, begin_s + length_s), low_w)]
    end_s = begin_s + length_s
    power = Knots(*zip(*knots, (end_s, idle_w), strict=True), steps=True)
    return Case(replace(board, power=power), "training", begin_s, end_s, (begin_s, end_s))
