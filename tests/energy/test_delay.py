"""Slow sensors: the right joules, or a ± that holds what is not known of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from simulated_sensors import Signal, SimulatedSensor
from wbcbench.core.trace import Kind, Origin, Trace
from wbcbench.core.window import Window
from wbcbench.energy.appraise import Appraisal, appraise
from wbcbench.energy.delay import IN_TIME, find_delay
from wbcbench.energy.faults import Flaw
from wbcbench.energy.uncertainty import describe_sensor

IDLE_W, START_S, REST_S = 50.0, 8.0, 6.0

Power = Callable[[random.Random, float], float]  # of a moment since the start


def constant(rng: random.Random, t_s: float) -> float:
    return 220.0


def square(rng: random.Random, t_s: float) -> float:
    return 260.0 if t_s % 1.7 < 0.85 else 110.0


def telegraph(rng: random.Random, t_s: float) -> float:
    return rng.choice([110.0, 260.0])  # every tenth of a second anew


LOADS = {"constant": constant, "square": square, "telegraph": telegraph}


def load(power: Power, length_s: float, rng: random.Random) -> Signal:
    """Idle, the load in steps of a hundredth of a second, idle again."""
    edges = [(0.0, IDLE_W), (START_S, IDLE_W)]
    level_w = power(rng, 0.0)
    for i in range(round(100 * length_s)):
        if power is not telegraph or i % 10 == 0:
            level_w = power(rng, i / 100)
        edges += [(START_S + i / 100, level_w), (START_S + (i + 1) / 100, level_w)]
    end_s = START_S + length_s
    return Signal.through([*edges, (end_s, IDLE_W), (end_s + REST_S + 5, IDLE_W)])


SENSORS = {
    f"lag {lag_s:g} s, average {averaging_s:g} s, update {update_s:g} s": SimulatedSensor(
        Kind.SAMPLED, update_s, averaging_s, "power_usage", noise=0.003, lag_s=lag_s
    )
    for lag_s, averaging_s, update_s in (
        (1.0, 0.1, 0.1),
        (3.0, 0.1, 0.1),
        (0.0, 1.0, 0.1),
        (0.0, 3.0, 0.1),
        (1.0, 1.0, 0.1),
        (0.0, 0.5, 0.5),
        (0.0, 2.0, 2.0),
        (1.0, 0.5, 0.5),
    )
}


def judge(
    sensor: SimulatedSensor, power: Power, length_s: float, seed: int
) -> tuple[Appraisal, float]:
    """What is stated of the load on a sensor of which only the pace is known, and the truth."""
    rng = random.Random(seed)
    signal = load(power, length_s, rng)
    trace = sensor.trace(signal, rng, START_S + length_s + REST_S, poll_s=0.1)
    trace = replace(trace, channel=replace(trace.channel, averaging_s=None))
    window = Window("w", START_S, START_S + length_s)
    true_j = signal.energy_j(window.end_s) - signal.energy_j(window.start_s)
    return appraise([trace], [window]), true_j


@pytest.mark.parametrize("length_s", [5.0, 10.0, 60.0])
@pytest.mark.parametrize("power", LOADS)
@pytest.mark.parametrize("sensor", SENSORS)
def test_a_slow_sensor_is_right_within_its_interval_or_says_that_it_is_late(
    sensor: str, power: str, length_s: float
) -> None:
    silent = 0
    for seed in range(5 if length_s < 60.0 else 2):
        found, true_j = judge(SENSORS[sensor], LOADS[power], length_s, seed)
        (energy,) = found.energies
        assert energy.energy_j is not None
        assert energy.uncertainty_j is not None
        is_wrong = abs(energy.energy_j - true_j) > energy.uncertainty_j
        silent += is_wrong and Flaw.LATE not in {fault.flaw for fault in found.faults}
    assert silent <= 1


@pytest.mark.parametrize("power", LOADS)
@pytest.mark.parametrize("lag_s", [1.0, 3.0])
def test_a_lag_is_undone(power: str, lag_s: float) -> None:
    sensor = SENSORS[f"lag {lag_s:g} s, average 0.1 s, update 0.1 s"]
    for seed in range(4):
        found, true_j = judge(sensor, LOADS[power], 20.0, seed)
        assert found.energies[0].energy_j == pytest.approx(true_j, rel=0.05)


def test_power_that_stays_up_after_a_load_that_rose_at_once_is_told_and_moves_nothing() -> None:
    window = Window("w", START_S, START_S + 10.0)
    knots = [(0.0, IDLE_W), (START_S, IDLE_W), (START_S, 220.0), (START_S + 12.5, 220.0)]
    signal = Signal.through([*knots, (START_S + 12.5, IDLE_W), (40.0, IDLE_W)])
    sensor = SimulatedSensor(Kind.SAMPLED, 0.1, 0.1, "power_instant", noise=0.003)
    trace = sensor.trace(signal, random.Random(1), START_S + 18.0, poll_s=0.1)
    found = appraise([trace], [window])
    assert {fault.flaw for fault in found.faults} == {Flaw.LATE}
    (energy,) = found.energies
    assert energy.energy_j == pytest.approx(2200.0, rel=0.02)
    assert energy.uncertainty_j is not None
    assert energy.uncertainty_j > 2.0 * 170.0


@pytest.mark.parametrize("update_s", [0.5, 2.0])
def test_where_nothing_shows_the_pace_it_may_be_as_slow_as_the_ends_of_the_load_were_seen(
    update_s: float,
) -> None:
    sensor = SimulatedSensor(Kind.SAMPLED, update_s, 1e-3, "power_usage")
    for seed in range(20):
        rng = random.Random(seed)
        signal = load(constant, 6.0 + seed / 3, rng)
        window = Window("w", START_S, START_S + 6.0 + seed / 3)
        trace = sensor.trace(signal, rng, window.end_s + REST_S, poll_s=0.1)
        trace = replace(trace, channel=replace(trace.channel, update_s=None, averaging_s=None))
        (energy,) = appraise([trace], [window]).energies
        true_j = signal.energy_j(window.end_s) - signal.energy_j(window.start_s)
        assert energy.energy_j is not None
        assert energy.uncertainty_j is not None
        assert abs(energy.energy_j - true_j) <= energy.uncertainty_j


@pytest.mark.parametrize("late_s", [0.0, 3.0])
def test_a_load_that_begins_late_on_a_fast_sensor_is_no_delay(late_s: float) -> None:
    start_s = START_S + late_s
    knots = [(0.0, IDLE_W), (start_s, IDLE_W), (start_s, 220.0), (20.0, 220.0), (20.0, IDLE_W)]
    sensor = SimulatedSensor(Kind.SAMPLED, 0.1, 0.1, "power_instant", noise=0.003)
    signal = Signal.through([*knots, (40.0, IDLE_W)])
    trace = sensor.trace(signal, random.Random(2), 26.0, poll_s=0.1)
    assert find_delay(trace, Window("w", START_S, 20.0), describe_sensor(trace)) == IN_TIME


def test_a_part_of_the_load_is_moved_by_what_the_ends_of_all_of_it_show() -> None:
    rng = random.Random(3)
    signal = load(square, 20.0, rng)
    sensor = SENSORS["lag 3 s, average 0.1 s, update 0.1 s"]
    trace = sensor.trace(signal, rng, START_S + 20.0 + REST_S, poll_s=0.1)
    edges_s = [START_S, START_S + 7.3, START_S + 20.0]
    parts = [Window(f"part-{a}", a, b) for a, b in pairwise(edges_s)]
    work = Window("whole", edges_s[0], edges_s[-1])
    for part in parts:
        (energy,) = appraise([trace], [part], work).energies
        true_j = signal.energy_j(part.end_s) - signal.energy_j(part.start_s)
        assert energy.energy_j == pytest.approx(true_j, rel=0.06)


@pytest.mark.parametrize("origin", [Origin.SIMULATED, Origin.ESTIMATED])
def test_a_signal_that_does_not_come_from_the_work_is_not_late(origin: Origin) -> None:
    sensor = SENSORS["lag 1 s, average 0.1 s, update 0.1 s"]
    signal = load(constant, 10.0, random.Random(0))
    trace = sensor.trace(signal, random.Random(0), START_S + 16.0, poll_s=0.1)
    window = Window("w", START_S, START_S + 10.0)
    assert find_delay(trace, window, describe_sensor(trace)) != IN_TIME
    elsewhere = replace(trace, channel=replace(trace.channel, origin=origin))
    assert find_delay(elsewhere, window, describe_sensor(elsewhere)) == IN_TIME


@pytest.mark.parametrize("stall_s", [0.3, 0.6, 1.0])
def test_a_poll_that_comes_late_after_the_end_does_not_make_the_sensor_late(stall_s: float) -> None:
    sensor = SimulatedSensor(Kind.SAMPLED, 0.02, 0.02, "power_instant", noise=0.003)
    signal = load(constant, 10.0, random.Random(0))
    trace = sensor.trace(signal, random.Random(0), START_S + 16.0, poll_s=0.1)
    end_s = START_S + 10.0
    read = [(t, v) for t, v in zip(*trace.good, strict=True) if not end_s <= t < end_s + stall_s]
    stalled = Trace(trace.channel, [t for t, _ in read], [v for _, v in read])
    found = appraise([stalled], [Window("w", START_S, end_s)])
    assert Flaw.LATE not in {fault.flaw for fault in found.faults}
