"""Boards without a counter: how long they are probed, and how long sampled past the load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fakes.known_load import WINDOW_AT_S, Bench, Loaded, true_energy_j
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import UNSUPPORTED, Counter, FakeGpu, Rate, Sensor
from fakes.power_shapes import Constant, Knots
from wbcbench.core.quality import Severity
from wbcbench.core.window import Window
from wbcbench.measure.window_result import Recording

LENGTH_S = 12.0
WINDOW = Window("block", WINDOW_AT_S, WINDOW_AT_S + LENGTH_S)
BARE = FakeGpu(
    power=Loaded(Constant(220.0), LENGTH_S, WINDOW_AT_S),
    name="Tesla P100-PCIE-16GB",
    architecture=4,
    instant=UNSUPPORTED,
    average=UNSUPPORTED,
    counter=Counter(supported=False),
)


def record(nvml: ScriptedNvml, folder: Path, sensor: Sensor, counter: Counter) -> Recording:
    gpu = replace(BARE, usage=sensor, counter=counter)
    return Bench(nvml, folder).record([gpu], LENGTH_S)


def test_a_slow_reading_without_a_counter_is_probed_until_its_pace_shows(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    sensor = Sensor(update_s=1.7, window_s=1.7, noise_w=0.8, phase_s=0.3)
    recording = record(scripted_nvml, tmp_path, sensor, BARE.counter)
    (card,) = recording.circumstances.sensor_cards
    assert card.update_s == pytest.approx(1.7, abs=0.01)
    assert 2.5 < card.probed_s <= 8.1


@pytest.mark.parametrize("noise_w", [0.0, 0.8])
def test_a_board_with_a_counter_is_probed_for_two_seconds_however_quiet_it_is(
    scripted_nvml: ScriptedNvml, tmp_path: Path, noise_w: float
) -> None:
    sensor = Sensor(update_s=1.7, window_s=1.7, noise_w=noise_w)
    recording = record(scripted_nvml, tmp_path, sensor, Counter())
    assert {card.probed_s < 2.1 for card in recording.circumstances.sensor_cards} == {True}


def test_a_board_without_a_counter_is_probed_as_long_beside_one_that_has_one(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    sensor = Sensor(update_s=1.7, window_s=1.7, noise_w=0.8, phase_s=0.3)
    boards = replace(BARE, counter=Counter()), replace(BARE, usage=sensor)
    both = [
        replace(gpu, uuid=f"GPU-{place}", bus=f"00000000:{place}0:00.0")
        for place, gpu in enumerate(boards, start=1)
    ]
    recording = Bench(scripted_nvml, tmp_path).record(both, LENGTH_S)
    cards = {card.channel: card.update_s for card in recording.circumstances.sensor_cards}
    assert cards["nvml/gpu1/power"] == pytest.approx(1.7, abs=0.01)


LATE_AVERAGE = Sensor(update_s=0.1, window_s=3.0, lag_s=1.0, noise_w=0.8)


@pytest.mark.parametrize("noise_w", [0.0, 0.8])
def test_a_sound_counter_beside_a_slow_power_reading_is_not_accused(
    scripted_nvml: ScriptedNvml, tmp_path: Path, noise_w: float
) -> None:
    usage = replace(LATE_AVERAGE, noise_w=noise_w)
    result = record(scripted_nvml, tmp_path, usage, Counter()).measure_window(WINDOW)
    assert result.energy.energy_j == pytest.approx(220.0 * LENGTH_S, rel=0.005)
    told = {w.code for w in result.warnings if w.severity is not Severity.INFO}
    assert told <= {"power-late"}


@pytest.mark.parametrize(
    "counter",
    [
        Counter(reset_at_s=WINDOW_AT_S + 4.5),
        Counter(rates=(Rate(WINDOW_AT_S + 4.0, WINDOW_AT_S + 7.0, 0.0),)),
    ],
)
def test_a_break_that_is_bridged_by_a_slow_power_reading_is_held_by_its_interval(
    scripted_nvml: ScriptedNvml, tmp_path: Path, counter: Counter
) -> None:
    steps = Knots(
        tuple(WINDOW_AT_S + t_s for t_s in (-20.0, 0.0, 4.5, 7.0, LENGTH_S)),
        (55.0, 150.0, 600.0, 150.0, 55.0),
        steps=True,
    )
    gpu = replace(BARE, power=steps, usage=LATE_AVERAGE, counter=counter)
    recording = Bench(scripted_nvml, tmp_path).record([gpu], LENGTH_S)
    energy = recording.measure_window(WINDOW).energy
    assert energy.energy_j is not None
    assert energy.uncertainty_j is not None
    assert abs(energy.energy_j - true_energy_j([gpu], WINDOW)) <= energy.uncertainty_j


@pytest.mark.parametrize("noise_w", [0.0, 0.8])
def test_a_reading_that_lags_is_sampled_until_it_has_fallen(
    scripted_nvml: ScriptedNvml, tmp_path: Path, noise_w: float
) -> None:
    sensor = Sensor(update_s=0.1, window_s=0.1, lag_s=3.0, noise_w=noise_w)
    recording = record(scripted_nvml, tmp_path, sensor, BARE.counter)
    (trace,) = recording.traces
    assert 3.0 < trace.t_s[-1] - WINDOW.end_s <= 5.3  # and a few more
    energy = recording.measure_window(WINDOW).energy
    assert energy.energy_j == pytest.approx(220.0 * LENGTH_S, rel=0.03)


def test_a_reading_that_follows_at_once_costs_no_longer_wait(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    sensor = Sensor(update_s=0.02, window_s=0.02, noise_w=0.8)
    (trace,) = record(scripted_nvml, tmp_path, sensor, BARE.counter).traces
    assert trace.t_s[-1] - WINDOW.end_s < 1.3


def test_the_edges_are_as_long_as_the_sensor_averages(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    gpu = replace(BARE, architecture=7, usage=Sensor(update_s=0.1, window_s=1.0, noise_w=0.8))
    (trace,) = Bench(scripted_nvml, tmp_path).record([gpu], LENGTH_S).traces
    assert trace.channel.averaging_s == 1.0
    assert WINDOW.start_s - trace.t_s[0] == pytest.approx(1.2, abs=0.06)
    assert trace.t_s[-1] - WINDOW.end_s > 1.0
