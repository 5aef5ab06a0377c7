"""A sensor card tells the pace of a sensor by watching it, and what it could not see."""

import math
import random
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import (
    PART_TIME,
    UNSUPPORTED,
    Counter,
    FakeGpu,
    Fault,
    Scenario,
    Sensor,
)
from fakes.power_shapes import Constant, Ramp, Shape, Sine, Square, Telegraph
from wbcbench.core.record import SensorCard
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.power.meter import MeterRequest
from wbcbench.power.nvml import known_pace_s, open_meters
from wbcbench.power.probing import make_sensor_card, probe, update_channels

COUNTER = Channel("c", Kind.COUNTER, Origin.MEASURED, Domain.GPU, "total_energy")
BUSY = Telegraph(60.0, 280.0, 0.05, seed=5)


def cards(nvml: ScriptedNvml, gpu: FakeGpu, for_s: float = 2.0) -> dict[str, SensorCard]:
    clock = nvml.clock(start_s=10.0)
    nvml.play(Scenario((gpu,), clock=clock.path))
    (meter,) = open_meters(MeterRequest())
    with meter:
        found = probe(meter, clock, for_s)
    return {card.channel.rsplit("/", maxsplit=1)[1]: card for card in found}


@pytest.mark.parametrize("step_s", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("shape", [Constant(150.0), BUSY], ids=["constant", "busy"])
def test_the_step_of_a_counter_is_found_in_seconds_and_joules(
    step_s: float, shape: Shape, scripted_nvml: ScriptedNvml
) -> None:
    card = cards(scripted_nvml, FakeGpu(power=shape, counter=Counter(step_s=step_s)))["counter"]
    assert card.update_s == pytest.approx(step_s, rel=0.02)
    assert card.kind_guess == "counter"
    assert card.reason == ""
    assert card.probed_s == pytest.approx(2.0, abs=0.01)
    if isinstance(shape, Constant):
        assert card.step_j == pytest.approx(150.0 * step_s, abs=1e-3)


@pytest.mark.parametrize("update_s", [0.02, 0.1])
def test_the_pace_of_a_power_reading_is_found_while_it_moves(
    update_s: float, scripted_nvml: ScriptedNvml
) -> None:
    gpu = FakeGpu(power=BUSY, instant=Sensor(update_s=update_s, window_s=update_s))
    card = cards(scripted_nvml, gpu)["power"]
    assert card.update_s == pytest.approx(update_s, rel=0.02)
    assert card.step_j is None


def test_noise_that_repeats_a_value_now_and_then_does_not_slow_the_pace(
    scripted_nvml: ScriptedNvml,
) -> None:
    channel = Channel("g/power", Kind.SAMPLED, Origin.MEASURED, Domain.GPU)
    levels = [100.0, 101.0, 101.0, 102.0, 100.0, 100.0, 100.0, 103.0] * 3
    polls = [(0.001 * i, levels[min(i // 100, len(levels) - 1)]) for i in range(2400)]
    trace = Trace(channel, [t for t, _ in polls], [value for _, value in polls])
    assert make_sensor_card(trace).update_s == pytest.approx(0.1, rel=0.02)


def test_a_value_that_does_not_move_tells_no_pace_and_says_why(
    scripted_nvml: ScriptedNvml,
) -> None:
    card = cards(scripted_nvml, FakeGpu(power=Constant(60.0)))["power"]
    assert card.update_s is None
    assert card.kind_guess == "unknown"
    assert "moved 0 times" in card.reason


def test_a_device_that_gives_no_reading_has_an_empty_card(scripted_nvml: ScriptedNvml) -> None:
    gpu = FakeGpu(faults=(Fault("lost", on="fields", nth=10, count=1_000_000),))
    card = cards(scripted_nvml, gpu, for_s=0.1)["power"]
    assert card.update_s is None
    assert card.polls < 10


@pytest.mark.parametrize(
    ("shape", "window_s", "guess"),
    [
        (Square(60.0, 280.0, 0.7), 0.1, "held"),
        (Square(60.0, 280.0, 22.0), 1.0, "running_average"),
        (Ramp(60.0, 62.0, 10.0, 12.0), 0.1, "unknown"),
    ],
)
def test_averaging_is_guessed_only_where_the_power_swings(
    shape: Shape, window_s: float, guess: str, scripted_nvml: ScriptedNvml
) -> None:
    gpu = FakeGpu(power=shape, instant=Sensor(update_s=0.1, window_s=window_s))
    assert cards(scripted_nvml, gpu)["power"].kind_guess == guess


def test_a_board_that_is_known_to_look_part_of_the_time_says_so(
    scripted_nvml: ScriptedNvml,
) -> None:
    gpu = FakeGpu(name="NVIDIA A100-SXM4-40GB", power=Sine(150, 80, 3.1), instant=PART_TIME)
    assert cards(scripted_nvml, gpu)["power"].kind_guess == "part_time"


@pytest.mark.parametrize(
    ("name", "architecture", "reading", "update_s", "averaging_s"),
    [
        ("NVIDIA A100-SXM4-40GB", "Ampere", "power_instant", 0.1, 0.025),
        ("NVIDIA A100-SXM4-40GB", "Ampere", "power_usage", 0.1, 0.025),
        ("NVIDIA H100 PCIe", "Hopper", "power_instant", 0.1, 0.025),
        ("NVIDIA H100 PCIe", "Hopper", "power_usage", None, 1.0),
        ("NVIDIA GeForce RTX 3090", "Ampere", "power_instant", None, None),
        ("NVIDIA GeForce RTX 3090", "Ampere", "power_usage", None, 1.0),
        ("NVIDIA RTX A3000", "Ampere", "power_instant", None, None),
        ("Tesla V100-SXM2-16GB", "Volta", "power_usage", None, None),
        ("Tesla V100-SXM2-16GB", "Volta", "power_average", None, 1.0),
        ("NVIDIA A100-SXM4-40GB", "Ampere", "total_energy", 0.1, 0.025),
        ("NVIDIA RTX A3000", "Ampere", "total_energy", None, None),
    ],
)
def test_what_is_known_of_a_sensor_depends_on_board_and_reading(
    name: str,
    architecture: str,
    reading: str,
    update_s: float | None,
    averaging_s: float | None,
) -> None:
    assert known_pace_s(name, architecture, reading) == (update_s, averaging_s)


def test_a_card_informs_its_channel_and_leaves_what_it_does_not_know(
    scripted_nvml: ScriptedNvml,
) -> None:
    known = Channel("g/a", Kind.SAMPLED, Origin.MEASURED, Domain.GPU, update_s=0.5)
    other = Channel("g/b", Kind.SAMPLED, Origin.MEASURED, Domain.GPU, update_s=0.5)
    blank = SensorCard("g/a", None, None, None, "unknown", 2.0, 10)
    found = SensorCard("g/b", 0.02, None, None, "held", 2.0, 10)
    assert [c.update_s for c in update_channels((known, other), (blank, found))] == [0.5, 0.02]


def test_a_board_without_a_counter_has_a_card_for_its_power_alone(
    scripted_nvml: ScriptedNvml,
) -> None:
    gpu = FakeGpu(power=BUSY, counter=Counter(supported=False), average=UNSUPPORTED)
    assert set(cards(scripted_nvml, gpu)) == {"power"}


@settings(deadline=None)
@given(
    step_s=st.floats(0.01, 0.2),
    power_w=st.floats(10.0, 700.0),
    phase=st.floats(0.0, 1.0),
)
def test_any_steady_counter_is_paced_within_one_poll(
    step_s: float, power_w: float, phase: float
) -> None:
    channel = Channel("g/counter", Kind.COUNTER, Origin.MEASURED, Domain.GPU)
    times = [0.001 * i for i in range(2000)]
    ticks = [int((t_s + phase * step_s) / step_s) for t_s in times]
    card = make_sensor_card(Trace(channel, times, [tick * step_s * power_w for tick in ticks]))
    assert card.update_s == pytest.approx(step_s, abs=0.001)
    assert card.step_j == pytest.approx(step_s * power_w, rel=1e-6)


@pytest.mark.parametrize("period_s", [0.02, 0.1])
def test_on_a_busy_machine_a_pace_is_right_or_unknown(period_s: float) -> None:
    errors = list[float]()
    for seed in range(40):
        rng = random.Random(seed)
        at_s, phase_s, times, values = 0.0, rng.random() * period_s, list[float](), list[float]()
        while at_s < 0.85:
            times.append(at_s)
            values.append(4.0 * math.floor((at_s - phase_s) / period_s))
            at_s += 0.0006 + (rng.random() * 0.015 if rng.random() < 0.1 else 0.0)
        pace_s = make_sensor_card(Trace(COUNTER, times, values)).update_s
        if pace_s is not None:
            errors.append(abs(pace_s / period_s - 1))
    assert len(errors) > 35
    assert median(errors) < 0.001
    assert max(errors) < 0.02
