"""How deep a counter was checked: over all that was read, stated in words, never a silent pass."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from builders.evidence import counter, evidence, find_warnings, grade_run, load_j, power
from builders.machine import COUNTER
from fakes.known_load import WINDOW_AT_S, Bench, Loaded, true_energy_j
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FAST, UNSUPPORTED, Counter, FakeGpu, Fault, Sensor
from fakes.power_shapes import Constant, Shape, Square, Telegraph
from wbcbench.core.quality import Quality, Severity
from wbcbench.core.record import Agreement
from wbcbench.core.window import Window
from wbcbench.energy.cross_check import deepest_check, describe_checks
from wbcbench.measure.window_result import WindowResult, describe_window

LOADS: dict[str, Shape] = {
    "square": Square(90.0, 280.0, 1.73),
    "fast square": Square(90.0, 280.0, 0.37, duty=0.3),
    "telegraph": Telegraph(90.0, 280.0, 0.5, seed=11),
    "constant": Constant(213.7),
}
NOISY = replace(FAST, noise_w=0.8)


def measure(nvml: ScriptedNvml, folder: Path, gpu: FakeGpu, length_s: float = 10.0) -> WindowResult:
    recording = Bench(nvml, folder).record([gpu], length_s)
    return recording.measure_window(Window("block", WINDOW_AT_S, WINDOW_AT_S + length_s))


def codes(result: WindowResult) -> set[str]:
    return {warning.code for warning in result.warnings}


def check(window: str, depth_pct: float | None, readings: int = 100) -> Agreement:
    return Agreement(window, "g/counter", "g/power", 1.0, "ok", depth_pct, readings)


def test_a_windows_own_check_counts_if_it_is_deep_and_else_the_deeper():
    own, whole = check("train", 2.0), check("", 0.5)
    assert deepest_check([own, whole], "g/counter", "train") == own
    assert deepest_check([check("train", 5.0), whole], "g/counter", "train") == whole
    assert deepest_check([check("train", 5.0), check("", 7.0)], "g/counter", "train").window
    assert deepest_check([check("train", None), whole], "g/counter", "train") == whole
    assert deepest_check([own], "another", "train") is None


def test_a_window_that_contradicts_the_whole_is_checked_by_itself_however_shallow():
    whole, own = check("", 0.5), check("train", 12.0)
    assert deepest_check([own, whole], "g/counter", "train") == whole
    off = replace(own, difference_pct=-10.0)
    assert deepest_check([off, whole], "g/counter", "train") == off


def test_a_check_says_how_deep_it_reached_and_by_how_many_readings():
    (text,) = describe_checks([check("train", 5.0), check("", 3.04, 2770)], "train")
    assert text == "g/counter: +1.0 % off g/power, checked to ±3 % by 2,770 readings"


def test_agreements_of_a_run_know_their_depth_in_every_window_and_over_all():
    made = evidence(counter(), power())
    checks = {pair.window: pair for pair in made.agreements}
    assert all(pair.depth_pct > 0 and pair.readings > 0 for pair in checks.values())
    assert checks[""].readings > 850
    assert checks[""].depth_pct < 1.5
    assert abs(checks[""].difference_pct) < checks[""].depth_pct
    assert "check-depth" not in find_warnings(made)


@pytest.mark.parametrize(
    ("traces", "severity", "quality"),
    [
        ([power()], Severity.INFO, Quality.VALID),
        ([counter()], Severity.SUSPECT, Quality.SUSPECT),
        ([counter(lambda t, j: 5.0), power()], Severity.INFO, Quality.SUSPECT),
        ([counter(), power(lambda t, w: 0.0)], Severity.INFO, Quality.SUSPECT),
    ],
    ids=["power alone", "counter alone", "dead counter", "dead power"],
)
def test_a_board_that_nothing_checks_says_so(traces, severity, quality):
    made = evidence(*traces)
    assert find_warnings(made)["check-depth"].severity is severity
    assert grade_run(made) is quality


def test_a_weak_check_is_stated_and_leaves_the_counters_interval_alone():
    rng = random.Random(3)
    rough = power(lambda t, w: rng.choice((20.0, 480.0)) if int(10 * t + 0.5) % 20 == 0 else None)
    made, alone = evidence(counter(), rough), evidence(counter())
    energies = [each.energy("train", COUNTER.name) for each in (made, alone)]
    assert energies[0].uncertainty_j == energies[1].uncertainty_j
    assert "could show no less than" in find_warnings(made)["check-depth"].detail


def test_what_breaks_and_sticks_is_no_part_of_the_check():
    broken = counter(lambda t, j: j if t < 40 else j - load_j(40.0) + 3.0)
    made = evidence(broken, power(lambda t, w: 0.0 if 50 <= t < 55 else w))
    (whole,) = (pair for pair in made.agreements if pair.window == "")
    assert whole.status == "ok"
    assert whole.depth_pct < 1.0


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize(
    ("gain", "quality"), [(0.88, "invalid"), (0.94, "suspect"), (1.0, "valid")]
)
def test_a_counters_gain_is_seen_under_any_load(load, gain, quality, scripted_nvml, tmp_path):
    gpu = FakeGpu(power=LOADS[load], instant=NOISY, counter=Counter(gain=gain))
    result = measure(scripted_nvml, tmp_path, gpu, 20.0)
    if result.energy.method == "counter" and load != "fast square":
        assert result.quality == quality
    elif gain == 0.88:
        assert result.quality in {"invalid", "suspect"}
    assert any(line.startswith("  check: nvml/gpu0/counter") for line in describe_window(result))


SPANS = {"start": 0.0, "middle": 4.0, "end": 9.0}


@pytest.mark.parametrize("place", SPANS)
@pytest.mark.parametrize("load", LOADS)
def test_a_counter_that_stands_still_is_bridged_through_the_library(
    load, place, scripted_nvml, tmp_path
):
    at_s = WINDOW_AT_S + SPANS[place]
    stops = Fault("stuck", on="energy", at_s=at_s, until_s=at_s + 0.9)
    gpu = FakeGpu(power=LOADS[load], instant=NOISY, faults=(stops,))
    result = measure(scripted_nvml, tmp_path, gpu)
    true_j = true_energy_j([gpu], Window("block", WINDOW_AT_S, WINDOW_AT_S + 10.0))
    assert abs(result.energy.energy_j - true_j) <= result.energy.uncertainty_j < 0.1 * true_j


@pytest.mark.parametrize("load", LOADS)
def test_power_that_sticks_after_noise_is_found_without_a_counter(load, scripted_nvml, tmp_path):
    sticks = Fault("stuck", on="power", at_s=WINDOW_AT_S + 2.0, until_s=WINDOW_AT_S + 4.5)
    gpu = FakeGpu(
        power=Loaded(LOADS[load], 8.0, WINDOW_AT_S), instant=NOISY, average=UNSUPPORTED,
        usage=UNSUPPORTED, counter=Counter(supported=False), faults=(sticks,),
    )  # fmt: skip
    result = measure(scripted_nvml, tmp_path, gpu, 8.0)
    true_j = true_energy_j([gpu], Window("block", WINDOW_AT_S, WINDOW_AT_S + 8.0))
    assert "power-stuck" in codes(result)
    assert abs(result.energy.energy_j - true_j) <= 1.2 * result.energy.uncertainty_j


def test_a_constant_load_on_a_quiet_sensor_is_valid_with_nothing_to_check_it(
    scripted_nvml, tmp_path
):
    quiet = Sensor(update_s=0.1, window_s=0.1)
    gpu = FakeGpu(
        power=Loaded(Constant(213.7), 20.0, WINDOW_AT_S), instant=quiet, average=UNSUPPORTED,
        usage=UNSUPPORTED, counter=Counter(supported=False),
    )  # fmt: skip
    result = measure(scripted_nvml, tmp_path, gpu, 20.0)
    assert result.quality is Quality.VALID
    assert "check-depth" in codes(result)
    assert "power-stuck" not in codes(result)
