"""A GPU that was asked for and is not there ends every command before anything is started."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FakeGpu, Fault, Scenario
from program import SHORT, wbcbench
from wbcbench import Meter
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.run_folder import study_runs
from wbcbench.power.meter import MeterRequest, find_meters

QUICK = Path(__file__).parents[2] / "experiments" / "quick.toml"


def board(index: int, **changes: object) -> FakeGpu:
    return FakeGpu(uuid=f"GPU-{index}{index}", bus=f"00000000:{index + 16:02X}:00.0", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("meters", "word"),
    [
        (("auto",), "driver"),
        (("codecarbon",), "codecarbon read none: add nvml or amd"),
        (("codecarbon", "simulated"), "codecarbon, simulated read none"),
    ],
)
def test_no_meter_of_a_gpu_is_said_with_its_reason(meters: Sequence[str], word: str) -> None:
    with pytest.raises(CannotMeasureError, match=r"GPU 0, 1 was asked for.*--gpus") as caught:
        find_meters(meters, MeterRequest(gpus=("0", "1")))
    assert word in str(caught.value)


def test_a_gpu_that_is_there_does_not_make_codecarbon_alone_measure_it(
    scripted_nvml: ScriptedNvml,
) -> None:
    scripted_nvml.play(Scenario((FakeGpu(),)))
    with pytest.raises(CannotMeasureError, match="add nvml or amd"):
        find_meters(("codecarbon",), MeterRequest(gpus=("0",)))
    assert find_meters(("auto",), MeterRequest(gpus=("0",))).devices


def test_run_leaves_no_folder_and_starts_no_trainer(tmp_path: Path) -> None:
    for meters in ("auto", "simulated"):
        ended = wbcbench(
            "run", "--variant", "relu-dropout", "--gpus", "0", "--meters", meters, *SHORT,
            "--results", str(tmp_path / "results"),
        )  # fmt: skip
        assert ended.code == 3, ended.err
        assert "GPU 0 was asked for" in ended.err
        assert not (tmp_path / "results").exists()


def test_a_sweep_starts_no_run(tmp_path: Path) -> None:
    results = tmp_path / "results"
    ended = wbcbench("sweep", str(QUICK), "--set", "gpus=['0']", "--results", str(results))
    assert ended.code == 3, ended.err
    assert "GPU 0 was asked for" in ended.err
    assert not [*results.glob("*/*/spec.json")]


def test_monitor_does_not_start_its_command(tmp_path: Path) -> None:
    ended = wbcbench("monitor", "--gpus", "0", "--", "touch", str(tmp_path / "began"))
    assert ended.code == 3
    assert not (tmp_path / "began").exists()


@pytest.mark.parametrize("gpus", [[0], ["0"], 0, "0"])
def test_a_meter_says_so_in_the_caller_and_takes_numbers(gpus: object) -> None:
    with pytest.raises(CannotMeasureError, match="GPU 0 was asked for"), Meter(gpus=gpus):  # type: ignore[arg-type]
        pass


def test_a_meter_takes_numbers_for_boards_that_are_there(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((board(0), board(1))))
    with Meter("nvml", gpus=[1], options={"simulated.load_w": 100}) as meter:
        pass
    assert {trace.channel.name for trace in meter.traces} == {
        "nvml/gpu1/counter",
        "nvml/gpu1/power",
    }


def test_a_board_that_was_named_and_does_not_answer_is_no_note(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    scripted_nvml.play(Scenario((board(0, faults=(Fault("lost"),)), board(1))))
    ended = wbcbench("monitor", "--gpus", "0,1", "--", "touch", str(tmp_path / "began"))
    assert ended.code == 3, ended.err
    assert "--gpus 1" in ended.err
    assert not (tmp_path / "began").exists()
    ended = wbcbench("monitor", "--", "touch", str(tmp_path / "began"))
    assert ended.code == 0
    assert (tmp_path / "began").exists()


def test_one_that_tensorflow_cannot_use_ends_the_run_before_training(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    scripted_nvml.play(Scenario((FakeGpu(),)))
    ended = wbcbench(
        "run", "--variant", "relu-dropout", "--gpus", "0", *SHORT, "--results", str(tmp_path)
    )
    assert ended.code == 3, ended.err
    assert "TensorFlow finds no GPU" in ended.err
    [run] = study_runs(tmp_path, "runs")
    assert run.read_record().epochs == ()
