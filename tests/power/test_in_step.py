"""Loads in step with a board, and windows that begin with the load, through the whole sampler."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from fakes.known_load import WINDOW_AT_S, Bench, Loaded
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import UNSUPPORTED, Counter, FakeGpu, Sensor
from fakes.power_shapes import Constant, Shape, Square
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window
from wbcbench.energy.integrate import energy_curve, find_duty

BOARDS, LENGTH_S = 6, 9.8
STEP_S = 0.01  # of the plain loop


def draw_board(rng: random.Random, load: Shape, update_s: float, **parts: object) -> FakeGpu:
    usage = Sensor(update_s, update_s, noise_w=0.8, phase_s=rng.random() * update_s)
    board = FakeGpu(
        power=load, name="Tesla P100-PCIE-16GB", architecture=4, usage=usage,
        instant=UNSUPPORTED, average=UNSUPPORTED, counter=Counter(supported=False),
    )  # fmt: skip
    return replace(board, **parts)


def measure_error(bench: Bench, board: FakeGpu, length_s: float) -> tuple[float, float]:
    """Relative error of a window that begins and ends with the load, and its stated ±."""
    load = Loaded(board.power, length_s, WINDOW_AT_S)
    recording = bench.record([replace(board, power=load)], length_s)
    energy = recording.measure_window(Window("w", WINDOW_AT_S, WINDOW_AT_S + length_s)).energy
    true_j = load.energy_j(WINDOW_AT_S, WINDOW_AT_S + length_s)
    assert energy.energy_j is not None
    assert energy.uncertainty_j is not None
    return energy.energy_j / true_j - 1, energy.uncertainty_j / true_j


def loop_error(board: FakeGpu, length_s: float) -> float:
    """What a loop makes of the same load that adds up what is shown every 10 ms."""
    load, sensor = Loaded(board.power, length_s, WINDOW_AT_S), board.usage
    energy_j = 0.0
    for i in range(1, round(length_s / STEP_S) + 1):
        t_s = WINDOW_AT_S + i * STEP_S
        shown_s = sensor.phase_s + (t_s - sensor.phase_s) // sensor.update_s * sensor.update_s
        energy_j += load.energy_j(shown_s - sensor.window_s, shown_s) / sensor.window_s * STEP_S
    return energy_j / load.energy_j(WINDOW_AT_S, WINDOW_AT_S + length_s) - 1


@pytest.mark.parametrize("update_s", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("period_s", [0.2, 0.37, 0.7, 1.73])
def test_loads_in_step_are_no_further_off_than_in_a_plain_loop(
    update_s: float, period_s: float, scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    bench, rng = Bench(scripted_nvml, tmp_path), random.Random(f"{update_s} {period_s}")
    boards = [draw_board(rng, Square(90.0, 280.0, period_s), update_s) for _ in range(BOARDS)]
    ours = [measure_error(bench, board, LENGTH_S) for board in boards]
    loops = [loop_error(board, LENGTH_S) for board in boards]
    rms = math.sqrt(fmean(error**2 for error, _ in ours))
    assert rms <= max(math.sqrt(fmean(error**2 for error in loops)), 0.0005)
    assert all(abs(error) <= width for error, width in ours)


@pytest.mark.parametrize("step_s", [0.02, 0.1])
@pytest.mark.parametrize("length_s", [0.3, 0.5, 1.0])
def test_short_windows_that_begin_with_the_load_are_right_on_average(
    length_s: float, step_s: float, scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    bench, rng = Bench(scripted_nvml, tmp_path), random.Random(f"{length_s} {step_s}")
    found = []
    for _ in range(4 * BOARDS):
        counter = Counter(step_s=step_s, phase_s=rng.random() * step_s)
        board = replace(FakeGpu(power=Constant(250.0)), counter=counter)
        found.append(measure_error(bench, board, length_s))
    assert abs(fmean(error for error, _ in found)) < 0.01
    assert all(abs(error) <= width for error, width in found)


# --- means of a period, and looks --------------------------------------------------------------


def read_steps(share: float, count: int = 40, seed: int = 1) -> list[float]:
    """Readings of a load that switches every ten periods; each the mean of a share of a period."""
    rng, values = random.Random(seed), list[float]()
    for i in range(count):
        low_w, high_w = (90.0, 280.0) if i % 2 else (280.0, 90.0)
        seen = min(rng.random() / share, 1.0)
        values += [low_w * seen + high_w * (1 - seen), *[high_w] * 9]
    return values


@pytest.mark.parametrize(("share", "least", "most"), [(1.0, 0.6, 1.0), (0.5, 0.2, 0.6)])
def test_values_between_two_levels_show_how_much_of_a_period_is_read(
    share: float, least: float, most: float
) -> None:
    duty = find_duty(read_steps(share))
    assert duty is not None
    assert least <= duty <= most


def test_looks_show_no_value_between_two_levels() -> None:
    assert find_duty([90.0] * 10 * 1 + ([280.0] * 10 + [90.0] * 10) * 8) == 0.0


@pytest.mark.parametrize("values", [[], [200.0] * 50, [float(i) for i in range(50)]])
def test_a_load_without_steps_shows_no_duty(values: list[float]) -> None:
    assert find_duty(values) is None


def test_a_held_power_is_the_mean_of_the_period_before_each_renewal() -> None:
    channel = Channel("p", Kind.SAMPLED, Origin.MEASURED, Domain.GPU, "usage", update_s=0.1)
    times = [0.03 + 0.1 * i for i in range(60)]
    # Of the load from 2.04 to 4.01 s, seen at renewals at 0.0, 0.1, …
    values = [100.0 + 200.0 * min(max(0.1 * i - 2.04, 0.0) / 0.1, 1.0) for i in range(60)]
    values = [
        v if 0.1 * i < 4.05 else 100.0 + 200.0 * 0.1 * (i == 41) for i, v in enumerate(values)
    ]
    values = [v + 0.001 * (i % 7) for i, v in enumerate(values)]  # no two alike
    close = [
        (0.1 * i + by_s, values[i - (by_s < 0)]) for i in (5, 23, 45) for by_s in (-0.004, 0.004)
    ]
    polls = sorted([*zip(times, values, strict=True), *close])
    curve = energy_curve(Trace(channel, [t for t, _ in polls], [v for _, v in polls]))
    assert curve.is_held
    assert curve.at(5.0) - curve.at(1.0) == pytest.approx(400.0 + 200.0 * 1.97, rel=0.002)
    assert curve.at(2.04) - curve.at(1.5) == pytest.approx(54.0, rel=0.02)
