"""A load between two idle times on a scripted GPU, measured by the real meter and sampler.

A whole run takes no time: the GPU and the sampler share a clock that only sleeping moves.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from itertools import count, pairwise
from pathlib import Path
from typing import Protocol

from fakes.clocks import FileClock
from fakes.nvml_scenario import Counter, FakeGpu, Scenario, Sensor
from fakes.power_shapes import Constant, Knots, Ramp, Shape, Sine, Square, Telegraph
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Kind, Trace
from wbcbench.energy.uncertainty import update_channels
from wbcbench.power.meter import MeterRequest
from wbcbench.power.nvml import open_meters
from wbcbench.power.sampler import Sampler
from wbcbench.power.session import probe

IDLE_W = 55.0
PROBE_AT_S, START_S, LOAD_AT_S = 1.0, 3.0, 6.3
LENGTHS_S = (1.0, 10.0, 60.0)
AFTER_S = 3.0  # the trace runs on past the window (rise time of the sensor)

LOADS: dict[str, Shape] = {
    "constant": Constant(213.7),
    "square": Square(90.0, 280.0, 1.73),  # 1.7 s would beat with the polls
    "fast-square": Square(90.0, 280.0, 0.37, duty=0.3),
    "ramp": Ramp(120.0, 280.0, LOAD_AT_S, LOAD_AT_S + 60.0),
    "sine": Sine(180.0, 80.0, 1.3),
    "slow-square": Square(90.0, 280.0, 4.3),
    "telegraph": Telegraph(90.0, 280.0, 0.5, seed=11),
    "trace": Knots(
        tuple(0.7 * i for i in range(120)), tuple(90.0 + 37 * i % 190 for i in range(120))
    ),
}

NOISE_W = 0.8
SENSORS = {
    "full-time": Sensor(update_s=0.1, window_s=0.1, noise_w=NOISE_W, phase_s=0.037),
    "fast": Sensor(update_s=0.02, window_s=0.02, noise_w=NOISE_W, phase_s=0.003),
    "full-time, noiseless": Sensor(update_s=0.1, window_s=0.1, phase_s=0.041),
    "fast, noiseless": Sensor(update_s=0.02, window_s=0.02, phase_s=0.007),
    "part-time": Sensor(update_s=0.1, window_s=0.025, noise_w=NOISE_W, phase_s=0.061),
    "average": Sensor(update_s=0.1, window_s=1.0, noise_w=NOISE_W, phase_s=0.013),
}
COUNTERS = {"100 ms": Counter(step_s=0.1, phase_s=0.029), "20 ms": Counter(step_s=0.02)}


@dataclass(frozen=True)
class Loaded:
    """Idle, the load for ``length_s``, idle again."""

    load: Shape
    length_s: float

    @cached_property
    def end_s(self) -> float:
        return LOAD_AT_S + self.length_s

    def power_w(self, t_s: float) -> float:
        return self.load.power_w(t_s) if LOAD_AT_S <= t_s < self.end_s else IDLE_W

    def energy_j(self, start_s: float, end_s: float) -> float:
        within = max(start_s, LOAD_AT_S), min(end_s, self.end_s)
        loaded_s = max(within[1] - within[0], 0.0)
        load_j = self.load.energy_j(*within) if loaded_s else 0.0
        return load_j + IDLE_W * (end_s - start_s - loaded_s)

    def statement(self, folder: Path) -> str:
        """Steps of a millisecond, each of exactly the joules drawn in it."""
        path = folder / "load.txt"
        ticks = [0.0]
        at_s = LOAD_AT_S
        while at_s < self.end_s - 1e-9:
            ticks.append(at_s)
            at_s += 0.001
        ticks.append(self.end_s)
        middles = [0.5 * (a + b) for a, b in pairwise(ticks)]
        powers = [self.power_w(t_s) for t_s in middles] + [IDLE_W]
        powers[0] = IDLE_W
        path.write_text("".join(f"{t!r} {w!r}\n" for t, w in zip(ticks, powers, strict=True)))
        return f"power shape=steps path={path}"


class Player(Protocol):
    """Makes a scenario the machine's truth; ``ScriptedNvml`` is one."""

    def play(self, scenario: Scenario, name: str = "scenario.txt") -> Path: ...


class Bench:
    """Runs scenarios through the real meter, sampler and trace files."""

    def __init__(self, nvml: Player, folder: Path) -> None:
        self._nvml, self._folder, self._numbers = nvml, folder, count()

    def traces(self, gpu: FakeGpu, end_s: float, interval_s: float = 0.1) -> dict[Kind, Trace]:
        run = RunDir(self._folder / f"run{next(self._numbers)}")
        run.create(RunSpec(variant="leaky-dropout"), Local())
        clock = FileClock(self._folder / "clock", PROBE_AT_S)
        self._nvml.play(Scenario((gpu,), clock=clock.path))
        (meter,) = open_meters(MeterRequest())
        with meter:
            meter.channels = update_channels(meter.channels, probe(meter, clock, 2.0))
            clock.set_s(START_S)
            run.write_channels(meter.channels)
            sampler = Sampler([meter], run, interval_s, clock)
            sampler.start()
            while clock.now_s() < end_s:
                time.sleep(0.001)
            sampler.stop()
        return {trace.channel.kind: trace for trace in run.read_traces()}
