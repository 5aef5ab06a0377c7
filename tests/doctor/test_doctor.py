"""``wbcbench doctor``: what it finds, what it says, and that its requirements are kept."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FakeGpu, Process, Scenario
from fakes.power_shapes import Constant
from fakes.user_settings import noisy_python
from program import wbcbench
from wbcbench.cli import COMMANDS, build_app
from wbcbench.commands.doctor import build_document, print_report
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.record import AbsentMeter
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.window import MonotonicClock
from wbcbench.data.synthetic import Recipe, write_cells
from wbcbench.doctor import Facts, Line, State, count_lines, examine, parse_requirement
from wbcbench.doctor.device import check_meters, describe_cards, outlook
from wbcbench.doctor.machine import check_governor, mean_cost, measure_overhead, record_idle
from wbcbench.power.meter import MeterRequest, find_meters
from wbcbench.power.power_limit import PowerLimit, open_note
from wbcbench.power.session import MeteringRequest
from wbcbench.registry import CHECKUPS

app = build_app(COMMANDS)


APP = build_app(["doctor", "work"])  # with one command alone its name would be left out


@pytest.fixture(autouse=True)
def lock_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    folder.mkdir()
    monkeypatch.setenv("WBCBENCH_LOCK_DIR", str(folder))


@pytest.fixture
def tensorflow_without_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A TensorFlow that fails at once, for the process that doctor asks."""
    silenced = "wbcbench.train.visible_gpus"
    monkeypatch.setattr(sys, "executable", noisy_python(tmp_path, silenced))


def lines(facts: Facts, group: str) -> list[Line]:
    return examine(facts, (group,))[group]


def line(found: Sequence[Line], name: str) -> Line:
    return next(each for each in found if each.name == name)


def channel(origin: Origin, domain: Domain = Domain.GPU) -> Channel:
    return Channel(f"x/{domain}/{origin}", Kind.COUNTER, origin, domain, reading="total_energy")


# --- the whole program -------------------------------------------------------------------------


def test_the_document_holds_every_group_the_primary_energy_the_counts_and_what_was_required(
    tmp_path: Path,
) -> None:
    words = ["doctor", "--meters", "simulated", "--results", str(tmp_path), "--json"]
    required = ["--require", "gpu=measured", "--require", "gpu=simulated"]
    result = wbcbench(*words, *required)
    assert result.code == CannotMeasureError.exit_code
    assert "error" not in result.err
    told = json.loads(result.out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert told["schema"] == "wbcbench.doctor/2"
    assert [group["name"] for group in told["groups"]] == list(CHECKUPS)
    assert told["primary_energy"]["status"] == "simulated"
    states = [found["state"] for group in told["groups"] for found in group["lines"]]
    assert told["warnings"] == states.count("warn")
    assert told["failures"] == states.count("FAIL") == 0
    assert told["overhead"] is None
    assert told["requirements"] == [
        {"domain": "gpu", "required": "measured", "status": "simulated", "is_met": False},
        {"domain": "gpu", "required": "simulated", "status": "simulated", "is_met": True},
    ]


def test_a_requirement_that_is_not_met_is_a_fail_line_and_what_is_wrong_comes_with_its_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = Line(State.WARN, "gpu", "found", why="because", fix="do this", undo="undo that")
    unmet = parse_requirement("gpu=measured", [channel(Origin.ESTIMATED)])
    print_report(Facts(tmp_path), {"meters": [warning]}, (unmet,), None)
    assert capsys.readouterr().out.splitlines() == [
        "GPU energy   warn  found",
        "                   fix: do this",
        "                   undo: undo that",
        "",
        "Primary energy metric: absent (no meter works on this machine).     1 warning, 0",
        "  failures",
        "FAIL  gpu is 'estimated', required 'measured' (fix above)",
    ]


@pytest.mark.parametrize("word", ["gpu", "gpu=gold", "toaster=measured", "=", ""])
def test_a_requirement_that_makes_no_sense_is_refused_before_looking(word: str) -> None:
    result = CliRunner().invoke(APP, ["doctor", "--require", word])
    assert isinstance(result.exception, UsageError)


def test_a_meter_asked_for_by_name_that_does_not_work_is_exit_3(
    scripted_nvml: ScriptedNvml,
) -> None:
    scripted_nvml.play(Scenario(init_error=9))
    result = CliRunner().invoke(APP, ["doctor", "--meters", "nvml"])
    assert isinstance(result.exception, CannotMeasureError)


# --- a machine with a GPU ----------------------------------------------------------------------


@pytest.mark.usefixtures("tensorflow_without_gpu")
def test_a_gpu_is_told_with_its_sensor_its_idle_power_and_other_processes(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    gpu = FakeGpu(power=Constant(60.0), persistence=False, processes=(Process(1),))
    scripted_nvml.play(Scenario((gpu,)))
    facts = record_idle(
        MeteringRequest(meters=("nvml",)), tmp_path, None, MonotonicClock(), for_s=1.0
    )
    device = lines(facts, "device")
    assert "NVIDIA Test GPU (driver 580.95.05, power limit 300 W, persistence off)" in (
        line(device, "gpu").text
    )
    persistence = line(device, "persistence")
    assert persistence.state is State.WARN
    assert (persistence.fix, persistence.undo) == (
        "sudo nvidia-smi -i 0 -pm 1",
        "sudo nvidia-smi -i 0 -pm 0",
    )
    assert line(device, "processes").text.endswith("other processes: 1")
    assert "TensorFlow none" in line(device, "tensorflow-gpu").text
    meters = lines(facts, "meters")
    gpu_line = line(meters, "gpu")
    assert gpu_line.state is State.OK
    assert gpu_line.text.startswith("measured: counter, updated every 1")
    assert "counter vs integral" in gpu_line.text
    assert line(meters, "cpu").text == "absent"
    assert line(lines(facts, "quiet machine"), "idle").text.startswith("idle gpu ")
    assert outlook(facts) == "Primary energy metric: GPU board, measured."
    told = build_document(facts, examine(facts, ("meters",)), (), None)
    assert {card["channel"] for card in told["sensor_cards"]} == {
        "nvml/gpu0/counter",
        "nvml/gpu0/power",
    }


def test_a_card_that_is_used_again_says_its_age_and_a_calibration_renews_it(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    clock = scripted_nvml.clock(10.0)
    scripted_nvml.play(Scenario((FakeGpu(),), clock=clock.path))

    def describe_gpu(*, calibrate: bool) -> str:
        request = MeteringRequest(("nvml",), calibrate=calibrate)
        facts = record_idle(request, tmp_path, None, clock, for_s=0.5)
        (card, *_) = describe_cards(facts.cards)
        text = line(lines(facts, "meters"), "gpu").text
        assert ("ago" in text) is ("ago" in card.text)
        return text

    assert "ago" not in describe_gpu(calibrate=False)
    assert "ago)" in describe_gpu(calibrate=False)
    assert "ago" not in describe_gpu(calibrate=True)


@pytest.mark.usefixtures("tensorflow_without_gpu")
def test_a_power_limit_that_a_killed_run_left_is_told_and_not_touched(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    scripted_nvml.play(Scenario())
    with open_note("GPU-1") as note:
        note.write(PowerLimit("GPU-1", 300.0, 200.0))
    left = line(lines(Facts(tmp_path), "device"), "power-limit")
    assert left.state is State.WARN
    assert "wbcbench run" in left.fix
    with open_note("GPU-1") as note:
        assert note.read() == PowerLimit("GPU-1", 300.0, 200.0)


@pytest.mark.parametrize(
    ("answer", "text"), [("2", "TensorFlow sees 2 GPU(s)"), ("0", "TensorFlow none"), ("", "none")]
)
def test_what_tensorflow_answers_counts_and_not_what_is_printed_as_python_starts(
    answer: str,
    text: str,
    scripted_nvml: ScriptedNvml,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripted_nvml.play(Scenario((FakeGpu(),)))
    python = noisy_python(tmp_path, "wbcbench.train.visible_gpus", answer)
    monkeypatch.setattr(sys, "executable", python)
    assert text in line(lines(Facts(tmp_path), "device"), "tensorflow-gpu").text


def test_without_a_driver_the_way_out_is_told(scripted_nvml: ScriptedNvml, tmp_path: Path) -> None:
    scripted_nvml.play(Scenario(init_error=9))
    found = line(lines(Facts(tmp_path), "device"), "gpu")
    assert found.state is State.INFO
    assert "modprobe nvidia" in found.fix


@pytest.mark.usefixtures("scripted_amd")  # without a scenario: no AMD driver
def test_a_driver_of_amd_that_does_not_work_is_explained_as_well(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    scripted_nvml.play(Scenario(init_error=9))
    facts = Facts(tmp_path, absent=tuple(find_meters(("auto",), MeterRequest()).absent))
    assert "modprobe amdgpu" in line(lines(facts, "device"), "gpu").fix
    meters = lines(facts, "meters")
    assert "modprobe amdgpu" in line(meters, "gpu").fix
    assert "amd" not in {each.name for each in meters}


# --- single groups -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "text"),
    [
        ((), "absent (no meter works on this machine)"),
        ((channel(Origin.MEASURED),), "GPU board, measured"),
        ((channel(Origin.ESTIMATED, Domain.CPU),), "estimated (no sensor on this machine)"),
        ((channel(Origin.MEASURED, Domain.CPU),), "CPU packages, measured"),
        ((channel(Origin.MEASURED, Domain.SYSTEM),), "whole machine, measured"),
        (
            (channel(Origin.ESTIMATED, Domain.CPU), channel(Origin.MEASURED)),
            "GPU board, measured",
        ),
    ],
)
def test_the_primary_energy_is_predicted(
    channels: tuple[Channel, ...], text: str, tmp_path: Path
) -> None:
    facts = Facts(tmp_path, channels=channels)
    assert outlook(facts) == f"Primary energy metric: {text}."


@pytest.mark.parametrize(
    ("word", "found", "is_met"),
    [
        ("gpu=measured", Origin.MEASURED, True),
        ("gpu=estimated", Origin.MEASURED, True),
        ("gpu=measured", Origin.ESTIMATED, False),
        ("gpu=measured", Origin.SIMULATED, False),
        ("gpu=estimated", Origin.SIMULATED, False),
    ],
)
def test_better_than_required_is_good_enough_and_worse_is_not(
    word: str, found: Origin, is_met: bool
) -> None:
    requirement = parse_requirement(word, [channel(found)])
    assert requirement.is_met is is_met


def test_an_absent_part_meets_no_requirement() -> None:
    requirement = parse_requirement("dram=simulated", [channel(Origin.MEASURED)])
    assert (requirement.status, requirement.is_met) == ("absent", False)


def test_a_part_of_which_one_device_cannot_be_read_meets_no_requirement(tmp_path: Path) -> None:
    absent = AbsentMeter("nvml/gpu1", "GPU 1 does not answer: GPU is lost.", Domain.GPU)
    good = channel(Origin.MEASURED)
    requirement = parse_requirement("gpu=measured", [good], [absent])
    assert (requirement.status, requirement.is_met) == ("absent", False)
    facts = Facts(tmp_path, channels=(good,), absent=(absent,))
    found = line([*check_meters(facts)], "gpu")
    assert (found.state, found.text) == (State.WARN, "unknown: no reading of nvml/gpu1")
    assert found.fix == absent.reason
    assert outlook(facts) == "Primary energy metric: unknown (no reading of nvml/gpu1)."


def governors(root: Path, names: Sequence[str]) -> Path:
    for i, name in enumerate(names):
        folder = root / f"cpu{i}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{name}\n")
    return root


def test_a_governor_that_saves_power_is_told_with_fix_and_undo(tmp_path: Path) -> None:
    (found,) = check_governor(governors(tmp_path, ["powersave", "powersave", "performance"]))
    assert found.state is State.WARN
    assert found.text == "governor is 'powersave' on 2 of 3 processors"
    assert found.fix == "sudo cpupower frequency-set -g performance"
    assert found.undo == "sudo cpupower frequency-set -g powersave"


def test_a_governor_for_performance_is_ok_and_none_at_all_is_silence(tmp_path: Path) -> None:
    (found,) = check_governor(governors(tmp_path / "a", ["performance"]))
    assert found.state is State.OK
    assert list(check_governor(tmp_path / "none")) == []


def test_a_results_folder_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = examine(Facts(tmp_path / "file" / "results"), ("storage and time",))
    [checked] = found.values()
    assert line(checked, "results").state is State.FAIL
    assert "--results" in line(checked, "results").fix
    assert count_lines(found, State.FAIL) == 1


def test_a_results_folder_that_is_yet_to_be_made_is_fine(tmp_path: Path) -> None:
    found = lines(Facts(tmp_path / "new" / "results"), "storage and time")
    assert line(found, "results").state is not State.FAIL
    assert not (tmp_path / "new").exists()


def test_the_packages_of_this_environment_fit(tmp_path: Path) -> None:
    found = lines(Facts(tmp_path), "packages")
    assert {each.state for each in found} == {State.OK}


def test_images_are_checked_where_there_are_any(tmp_path: Path) -> None:
    assert line(lines(Facts(tmp_path), "data"), "data").state is State.INFO
    absent = lines(Facts(tmp_path, data=tmp_path / "nowhere"), "data")
    assert absent[0].state is State.FAIL
    write_cells(tmp_path / "cells", Recipe(seed=1, train_images=16, test_images=8))
    (found, *_) = lines(Facts(tmp_path, data=tmp_path / "cells"), "data")
    assert found.state is State.OK
    assert "24 images, 4 classes" in found.text


def test_where_no_meter_works_each_part_is_absent_and_nothing_is_raised(tmp_path: Path) -> None:
    for group in ("meters", "quiet machine"):
        found = lines(Facts(tmp_path), group)
        assert {each.state for each in found} <= {State.OK, State.WARN, State.INFO}
    assert line(lines(Facts(tmp_path), "meters"), "gpu").text == "absent"


# --- what sampling costs -----------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(st.floats(0.5, 2.0), st.floats(0.5, 2.0)),
        min_size=5,
        max_size=20,
    )
)
def test_the_interval_of_the_cost_is_that_of_a_paired_t_test(
    pairs: list[tuple[float, float]],
) -> None:
    from scipy import stats

    on, off = [a for a, _ in pairs], [b for _, b in pairs]
    found = mean_cost(on, off)
    assert -1 < found.low <= found.mean <= found.high
    logs = [math.log(a / b) for a, b in pairs]
    if len(set(logs)) == 1:
        assert found.high == pytest.approx(found.low, abs=1e-12)
        return
    interval = stats.ttest_1samp(logs, 0.0).confidence_interval(0.95)
    half = (math.log1p(found.high) - math.log1p(found.low)) / 2
    assert math.log1p(found.mean) == pytest.approx((interval.low + interval.high) / 2, abs=1e-9)
    assert half == pytest.approx((interval.high - interval.low) / 2, rel=0.01, abs=1e-9)


def test_overhead_is_told_in_time_and_in_joules_of_a_counter() -> None:
    found = measure_overhead(
        MeteringRequest(meters=("simulated",)), MonotonicClock(), pairs=3, work_s=0.1
    )
    assert found.pairs == 3
    assert found.work_s > 0
    assert found.energy_channel == "simulated/counter"
    assert found.energy_share is not None
    assert found.time_share.low < found.time_share.high
    assert found.sampler_cpu_share > 0
