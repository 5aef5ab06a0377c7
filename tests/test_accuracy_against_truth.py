"""Joules from the real meter and sampler on a scripted GPU, against the joules it truly drew.

A whole run takes no time: the GPU and the sampler share a clock that only sleeping moves. Power is
idle, then the load, then idle again, so that a window's edges are where a run's are.
"""

import threading
import time
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, pairwise
from pathlib import Path

import pytest

from fakes.clocks import FileClock
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import Counter, FakeGpu, Fault, Scenario, Sensor
from fakes.power_shapes import Constant, Ramp, Shape, Sine, Square, Telegraph
from wbcbench import uncertainty
from wbcbench.clock import MonotonicClock
from wbcbench.energy import Kind, Trace, Window, WindowEnergy, window_energy
from wbcbench.meters import MeterRequest
from wbcbench.meters.nvml import open_meters
from wbcbench.probing import probe
from wbcbench.rundir import Local, RunDir
from wbcbench.sampler import Sampler
from wbcbench.sensor_card import informed
from wbcbench.study import RunSpec

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
    "telegraph": Telegraph(90.0, 280.0, 0.5, seed=11),
}

NOISE_W = 0.8
SENSORS = {
    "full-time": Sensor(update_s=0.1, window_s=0.1, noise_w=NOISE_W, phase_s=0.037),
    "fast": Sensor(update_s=0.02, window_s=0.02, noise_w=NOISE_W, phase_s=0.003),
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


class Bench:
    """Runs scenarios through the real meter, sampler and trace files."""

    def __init__(self, nvml: ScriptedNvml, folder: Path) -> None:
        self._nvml, self._folder, self._numbers = nvml, folder, count()

    def traces(self, gpu: FakeGpu, end_s: float, interval_s: float = 0.1) -> dict[Kind, Trace]:
        run = RunDir(self._folder / f"run{next(self._numbers)}")
        run.create(RunSpec(variant="leaky-dropout"), Local())
        clock = FileClock(self._folder / "clock", PROBE_AT_S)
        self._nvml.play(Scenario((gpu,), clock=clock.path))
        (meter,) = open_meters(MeterRequest())
        with meter:
            meter.channels = informed(meter.channels, probe(meter, clock, 2.0))
            clock.set_s(START_S)
            run.write_channels(meter.channels)
            sampler = Sampler([meter], run, interval_s, clock)
            sampler.start()
            while clock.now_s() < end_s:
                time.sleep(0.001)
            sampler.stop()
        return {trace.channel.kind: trace for trace in run.read_traces()}


@pytest.fixture
def bench(scripted_nvml: ScriptedNvml, tmp_path: Path) -> Bench:
    return Bench(scripted_nvml, tmp_path)


def stated(trace: Trace, window: Window) -> WindowEnergy:
    return uncertainty.stated(trace, window, window_energy(trace, window))


def measure(bench: Bench, gpu: FakeGpu, length_s: float) -> tuple[dict[Kind, WindowEnergy], float]:
    """What both channels state of the loaded window, and the truth."""
    loaded = Loaded(gpu.power, length_s)
    window = Window("train", LOAD_AT_S, LOAD_AT_S + length_s)
    traces = bench.traces(replace(gpu, power=loaded), window.end_s + AFTER_S)
    true_j = loaded.energy_j(window.start_s, window.end_s)
    return {kind: stated(trace, window) for kind, trace in traces.items()}, true_j


def off(energy: WindowEnergy, true_j: float) -> float:
    """Relative error."""
    assert energy.energy_j is not None
    return energy.energy_j / true_j - 1.0


def contains(energy: WindowEnergy, true_j: float) -> bool:
    assert energy.energy_j is not None
    assert energy.uncertainty_j is not None
    return abs(energy.energy_j - true_j) <= energy.uncertainty_j


@pytest.mark.parametrize("length_s", LENGTHS_S)
@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("load", LOADS)
def test_a_counter_states_the_joules_of_a_window(
    load: str, counter: str, length_s: float, bench: Bench
) -> None:
    gpu = FakeGpu(power=LOADS[load], counter=COUNTERS[counter])
    energies, true_j = measure(bench, gpu, length_s)
    energy = energies[Kind.COUNTER]
    assert contains(energy, true_j)
    if length_s >= 10.0:
        assert abs(off(energy, true_j)) <= 0.01


@pytest.mark.parametrize("length_s", LENGTHS_S)
@pytest.mark.parametrize("sensor", SENSORS)
@pytest.mark.parametrize("load", LOADS)
def test_an_integral_of_power_states_the_joules_of_a_window_within_its_uncertainty(
    load: str, sensor: str, length_s: float, bench: Bench
) -> None:
    name = "NVIDIA A100-SXM4-40GB" if sensor == "part-time" else FakeGpu.name
    unheard = Sensor(supported=False)
    readings = {"instant": SENSORS[sensor]}
    if sensor == "average":
        readings = {"instant": unheard, "average": SENSORS[sensor]}
    gpu = replace(FakeGpu(power=LOADS[load], name=name), **readings)
    energies, true_j = measure(bench, gpu, length_s)
    assert contains(energies[Kind.SAMPLED], true_j)


@pytest.mark.parametrize("load", ["constant", "ramp"])
@pytest.mark.parametrize("sensor", ["fast", "full-time", "part-time"])
def test_an_integral_of_slow_power_is_right_within_one_per_cent_over_a_minute(
    load: str, sensor: str, bench: Bench
) -> None:
    gpu = FakeGpu(power=LOADS[load], instant=SENSORS[sensor])
    energies, true_j = measure(bench, gpu, 60.0)
    assert abs(off(energies[Kind.SAMPLED], true_j)) <= 0.01


@pytest.mark.parametrize("mean_s", [0.03, 0.3])
def test_the_stated_interval_of_a_part_time_sensor_contains_the_truth_in_95_of_100(
    mean_s: float, bench: Bench
) -> None:
    repetitions, kept = 40, 0
    for seed in range(repetitions):
        load = Telegraph(90.0, 280.0, mean_s, seed=seed)
        sensor = replace(SENSORS["part-time"], seed=seed, phase_s=0.0025 * seed)
        gpu = FakeGpu(power=load, instant=sensor, name="NVIDIA A100-SXM4-40GB")
        energies, true_j = measure(bench, gpu, 10.0)
        kept += contains(energies[Kind.SAMPLED], true_j)
    assert kept >= 0.95 * repetitions


def test_a_counter_fed_by_a_part_time_sensor_disagrees_with_nobody_but_the_truth(
    bench: Bench,
) -> None:
    # The load is high only where the sensor never looks: no witness on the board can know.
    load = Square(90.0, 280.0, 0.1, duty=0.6)
    sensor = Sensor(update_s=0.1, window_s=0.025, phase_s=0.0)
    gpu = FakeGpu(power=load, instant=sensor, counter=Counter(from_sensor=True))
    energies, true_j = measure(bench, gpu, 10.0)
    assert off(energies[Kind.COUNTER], true_j) < -0.3
    assert off(energies[Kind.SAMPLED], true_j) < -0.3


@pytest.mark.parametrize("gain", [0.905, 1.064])
def test_a_gain_error_of_the_card_is_no_part_of_the_random_uncertainty(
    gain: float, bench: Bench
) -> None:
    gpu = FakeGpu(power=Constant(200.0), counter=Counter(gain=gain))
    energies, true_j = measure(bench, gpu, 60.0)
    energy = energies[Kind.COUNTER]
    assert off(energy, true_j) == pytest.approx(gain - 1.0, abs=0.005)
    assert energy.uncertainty_j is not None
    assert energy.uncertainty_j < 0.01 * true_j


FAULTS = {
    "counter unsupported": {"counter": Counter(supported=False)},
    "counter reset": {"counter": Counter(reset_at_s=10.0)},
    "counter jumps": {"counter": Counter(jump_at_s=10.0, jump_j=90_000.0)},
    "counter fails once": {"faults": (Fault("unknown", on="energy", at_s=9.0, until_s=9.1),)},
    "counter reads zero once": {"faults": (Fault("zero", on="energy", at_s=9.0, until_s=9.1),)},
    "power unsupported for a while": {
        "faults": (Fault("unsupported", on="power", at_s=9.0, until_s=11.0),)
    },
    "lost for a while": {"faults": (Fault("lost", at_s=9.0, until_s=10.0),)},
    "lost for good": {"faults": (Fault("lost", at_s=9.0),)},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_of_the_driver_becomes_zero_or_negative_joules(fault: str, bench: Bench) -> None:
    gpu = replace(FakeGpu(power=Constant(200.0), instant=SENSORS["fast"]), **FAULTS[fault])
    energies, true_j = measure(bench, gpu, 10.0)
    for energy in energies.values():
        if energy.energy_j is None:
            assert energy.reason
        else:
            assert abs(off(energy, true_j)) <= 0.02


@pytest.mark.parametrize("fault", ["counter reset", "counter jumps", "lost for good"])
def test_a_counter_that_cannot_tell_says_so(fault: str, bench: Bench) -> None:
    gpu = replace(FakeGpu(power=Constant(200.0), instant=SENSORS["fast"]), **FAULTS[fault])
    energies, _ = measure(bench, gpu, 10.0)
    assert energies[Kind.COUNTER].energy_j is None
    assert energies[Kind.COUNTER].reason


def test_a_window_between_two_polls_of_a_hanging_driver_is_bridged_and_its_gap_is_told(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    gpu = FakeGpu(power=Constant(200.0), faults=(Fault("hang", on="fields", nth=40, value=0.6),))
    run = RunDir(tmp_path / "run")
    run.create(RunSpec(variant="leaky-dropout"), Local())
    scripted_nvml.play(Scenario((gpu, replace(gpu, uuid="GPU-b", faults=()))))
    meters = open_meters(MeterRequest())
    with meters[0], meters[1]:
        run.write_channels([channel for meter in meters for channel in meter.channels])
        sampler = Sampler(meters, run, 0.02, MonotonicClock())
        sampler.start()
        threading.Event().wait(2.0)
        sampler.stop()
    gaps = {}
    for trace in run.read_traces():
        window = Window("all", trace.t_s[0], trace.t_s[-1])
        gaps[trace.channel.name] = window_energy(trace, window).max_gap_s
    assert gaps["nvml/gpu0/counter"] >= 0.3  # stamped in the middle of the call that hung
    assert gaps["nvml/gpu1/counter"] < gaps["nvml/gpu0/counter"] / 2
