"""Loads of known joules on scripted GPUs, measured by the real meters and sampler.

A whole run takes no time: the GPUs and the sampler share a clock that only sleeping moves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Protocol

from fakes.clocks import FileClock, SharedClock
from fakes.nvml_scenario import Counter, FakeGpu, Scenario, Sensor
from fakes.power_shapes import Constant, Knots, Ramp, Shape, Sine, Square, Telegraph
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Kind, Trace
from wbcbench.core.window import Clock, Window
from wbcbench.measure.window_result import Recording, read_recording
from wbcbench.power.meter import EnergyMeter, MeterRequest
from wbcbench.power.nvml import open_meters
from wbcbench.power.probing import probe, update_channels
from wbcbench.power.sampler import Sampler
from wbcbench.power.session import MeteringSession

IDLE_W = 55.0
PROBE_AT_S, START_S, LOAD_AT_S = 1.0, 3.0, 6.3
WINDOW_AT_S = 16.0  # of a recording: after the probe and the longest edge
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
    start_s: float = LOAD_AT_S

    @cached_property
    def end_s(self) -> float:
        return self.start_s + self.length_s

    def power_w(self, t_s: float) -> float:
        return self.load.power_w(t_s) if self.start_s <= t_s < self.end_s else IDLE_W

    def energy_j(self, start_s: float, end_s: float) -> float:
        within = max(start_s, self.start_s), min(end_s, self.end_s)
        loaded_s = max(within[1] - within[0], 0.0)
        load_j = self.load.energy_j(*within) if loaded_s else 0.0
        return load_j + IDLE_W * (end_s - start_s - loaded_s)

    def statement(self, folder: Path) -> str:
        span = f"span from={self.start_s!r} until={self.end_s!r} idle={IDLE_W!r}"
        return f"{self.load.statement(folder)}\n{span}"


class Player(Protocol):
    """Makes a scenario the machine's truth; ``ScriptedNvml`` is one."""

    def play(self, scenario: Scenario, name: str = "scenario.txt") -> Path: ...


class Bench:
    """Runs scenarios through the real meter, sampler and trace files.

    ``run`` is the folder of the last recording.
    """

    run: RunDir

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

    def record(
        self,
        gpus: Sequence[FakeGpu],
        length_s: float,
        *,
        interval_s: float = 0.1,
        names: Sequence[str] = (),
        meters: Sequence[str] = ("nvml",),
        beside: Callable[[Clock], Sequence[EnergyMeter]] = lambda _: (),
        is_quick: bool = False,
    ) -> Recording:
        """What ``monitor`` leaves of a window of ``length_s`` from ``WINDOW_AT_S`` on.

        Everything is the real code's but the clock; of the telemetry there is none.

        Args:
            gpus: The machine's boards, in NVML's order.
            length_s: Length of the window in seconds.
            interval_s: Sampling period in seconds.
            names: The GPUs that the user named; empty = every visible one.
            meters: The meters that the user named.
            beside: Makes more meters on the same clock, entered, that are read with NVML's.
            is_quick: Use the cards of boards that are known.

        Raises:
            CannotMeasureError: No board can be measured.
        """
        run = self.run = RunDir(self._folder / f"run{next(self._numbers)}")
        run.path.mkdir()
        clock = SharedClock(self._folder / f"{run.path.name}.clock", PROBE_AT_S)
        self._nvml.play(Scenario(tuple(gpus), clock=clock.path))
        with ExitStack() as stack:
            session = MeteringSession(run, clock, stack)
            session.open(meters, MeterRequest(gpus=tuple(names), powercap_root=Path("/none")))
            session.devices = []  # no telemetry
            with clock.away(threads=len(session.meters)):
                session.probe(is_quick=is_quick, uses_known=is_quick)
            session.meters += (others := beside(clock))
            session.channels += tuple(channel for meter in others for channel in meter.channels)
            clock.set_s(WINDOW_AT_S - session.edge_s)
            clock.expect(threads=len(session.meters))
            session.start(interval_s, provenance={})
            session.rest()
            clock.sleep_until(WINDOW_AT_S + length_s)
            session.rest()
            with clock.away(threads=len(session.meters)):
                run.write_began(session.stop())
        return read_recording(run)


def true_energy_j(gpus: Sequence[FakeGpu], window: Window) -> float:
    """What the boards drew in a window, in joules."""
    return sum(gpu.power.energy_j(window.start_s, window.end_s) for gpu in gpus)
