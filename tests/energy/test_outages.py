"""Readings that fail while the counter goes on: the number is right and stays usable."""

from pathlib import Path

import pytest

from builders.evidence import (
    VALIDATED_EPOCHS,
    VALIDATED_WINDOWS,
    counter,
    evidence,
    find_warnings,
    without,
)
from builders.evidence import power as power_reading
from fakes.known_load import WINDOW_AT_S, Bench, true_energy_j
from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import PART_TIME, UNSUPPORTED, FakeGpu, Fault, Sensor
from fakes.power_shapes import Constant, Shape, Square
from wbcbench.core.quality import Quality, Severity
from wbcbench.core.window import Window

OUTAGE_S = 2.0
SENSORS: dict[str, dict[str, Sensor]] = {
    "full-time": {},
    "part-time": {"instant": PART_TIME},
    "by the older call": {"instant": UNSUPPORTED},
}
LOADS: tuple[Shape, ...] = (Constant(200.0), Square(60.0, 300.0, 7.0, 0.5))


def board(
    index: int, load: Shape, *outages_s: float, on: str = "fields", **sensors: Sensor
) -> FakeGpu:
    """A board whose readings fail for two seconds, from so many seconds of the window on."""
    faults = tuple(
        Fault("error", on=on, at_s=WINDOW_AT_S + t, until_s=WINDOW_AT_S + t + OUTAGE_S)
        for t in outages_s
    )
    return FakeGpu(
        power=load,
        uuid=f"GPU-{index}",
        bus=f"00000000:{index + 16:02X}:00.0",
        faults=faults,
        **sensors,
    )


@pytest.mark.parametrize("on", ["fields", "power"])
@pytest.mark.parametrize(
    ("length_s", "outages_s"),
    [(60.0, (20.0,)), (60.0, (10.0, 20.0, 40.0)), (60.0, (-0.3,)), (60.0, (59.0,)), (3.5, (1.0,))],
    ids=["one", "several", "at the start", "at the end", "most of a short window"],
)
def test_the_joules_stay_right_and_usable(
    length_s: float,
    outages_s: tuple[float, ...],
    on: str,
    scripted_nvml: ScriptedNvml,
    tmp_path: Path,
) -> None:
    bench = Bench(scripted_nvml, tmp_path)
    window = Window("command", WINDOW_AT_S, WINDOW_AT_S + length_s)
    for load in LOADS:
        for sensors in SENSORS.values():
            gpus = [board(0, load, *outages_s, on=on, **sensors)]
            result = bench.record(gpus, length_s).measure_window(window)
            energy, true_j = result.energy, true_energy_j(gpus, window)
            assert result.quality is Quality.SUSPECT
            assert "reads-failed" in {warning.code for warning in result.warnings}
            assert energy.method == "counter"
            assert energy.energy_j is not None
            assert energy.uncertainty_j is not None
            assert abs(energy.energy_j - true_j) <= energy.uncertainty_j


def test_an_outage_of_one_of_two_boards_leaves_the_sum_right(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    window = Window("command", WINDOW_AT_S, WINDOW_AT_S + 3.0)
    gpus = [board(0, LOADS[0], 0.5), board(1, LOADS[1])]
    result = Bench(scripted_nvml, tmp_path).record(gpus, 3.0).measure_window(window)
    assert result.quality is Quality.SUSPECT
    assert result.energy.energy_j is not None
    assert result.energy.uncertainty_j is not None
    assert abs(result.energy.energy_j - true_energy_j(gpus, window)) <= result.energy.uncertainty_j
    assert {w.channel for w in result.warnings if w.code == "reads-failed"} == {
        "nvml/gpu0/counter",
        "nvml/gpu0/power",
    }


def test_without_a_counter_an_outage_of_most_of_the_window_is_invalid() -> None:
    found = find_warnings(evidence(without(power_reading(), 20.0, 80.0)))
    assert found["sampling-gap"].severity is Severity.INVALID
    whole = evidence(counter(), without(power_reading(), 20.0, 80.0))
    assert find_warnings(whole)["sampling-gap"].severity is Severity.SUSPECT


def test_a_fault_in_a_validation_pass_is_not_said_of_training() -> None:
    assert [w.name for w in VALIDATED_WINDOWS if w.name.startswith("validate")]
    [first, *_] = [w for w in VALIDATED_WINDOWS if w.name == "validate-1"]
    lost = without(power_reading(), first.start_s + 0.2, first.end_s - 0.2)
    failed = counter(lambda t, j: None if first.start_s + 0.5 < t < first.start_s + 0.8 else j)
    whole = evidence(failed, lost, windows=VALIDATED_WINDOWS, epochs=VALIDATED_EPOCHS)
    found = find_warnings(whole)
    for code in ("sampling-gap", "reads-failed"):
        assert found[code].window == "validate-1"
        assert "train" not in found[code].detail
        assert "validate-1" in found[code].detail
