"""The power limit: set, recorded, and put back whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pynvml
import pytest

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FakeGpu, Fault, Scenario
from program import wait_for
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.run_folder import Local, RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.power import nvml
from wbcbench.power.power_limit import (
    PowerLimit,
    abandoned_paths,
    hold_power_limit,
    open_note,
    require_power_limit,
    restore_abandoned,
)
from wbcbench.run import finalise

GPU = FakeGpu(limit_settable=True)
OTHER = FakeGpu(uuid="GPU-2222", bus="00000000:5E:00.0", limit_settable=True)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    notes = tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setenv("WBCBENCH_LOCK_DIR", str(notes))
    yield notes


def limited(limit_w: float, *gpus: str) -> RunSpec:
    return RunSpec("leaky-dropout", power_limit_w=limit_w, gpus=gpus)


def limit_w(index: int = 0) -> float:
    with nvml.session():
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        return pynvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000


def test_a_limit_holds_inside_and_the_old_one_comes_back(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((GPU,)))
    with hold_power_limit(limited(180.0)) as facts:
        assert limit_w() == 180.0
        assert facts["power_limits"] == [asdict(PowerLimit(GPU.uuid, 300.0, 180.0, 180.0))]
    assert limit_w() == 300.0
    assert abandoned_paths() == []


def test_it_comes_back_after_an_error_too(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((GPU,)))
    with pytest.raises(ZeroDivisionError), hold_power_limit(limited(180.0)):
        raise ZeroDivisionError
    assert limit_w() == 300.0


def test_only_the_gpus_that_are_named_are_touched(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((GPU, OTHER)))
    with hold_power_limit(limited(150.0, "1")):
        assert (limit_w(0), limit_w(1)) == (300.0, 150.0)
    with hold_power_limit(limited(150.0)):
        assert (limit_w(0), limit_w(1)) == (150.0, 150.0)
    assert (limit_w(0), limit_w(1)) == (300.0, 300.0)


def test_when_the_second_gpu_refuses_the_first_is_put_back(scripted_nvml: ScriptedNvml) -> None:
    refusing = FakeGpu(uuid="GPU-2222", bus="00000000:5E:00.0")
    scripted_nvml.play(Scenario((GPU, refusing)))
    with pytest.raises(CannotMeasureError), hold_power_limit(limited(150.0)):
        pass
    assert limit_w() == 300.0
    assert abandoned_paths() == []


def test_not_permitted_is_an_error_with_the_way_out(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((FakeGpu(),)))
    for attempt in (
        lambda: require_power_limit(limited(180.0)),
        lambda: hold_power_limit(limited(180.0)).__enter__(),
    ):
        with pytest.raises(CannotMeasureError, match="may not set the power limit") as caught:
            attempt()
        assert caught.value.exit_code == 3
        assert "sudo nvidia-smi -i 0 -pl" in str(caught.value)
    assert abandoned_paths() == []


@pytest.mark.parametrize("target_w", [99.0, 301.0])
def test_a_limit_out_of_the_boards_range_is_refused_with_the_range(
    target_w: float, scripted_nvml: ScriptedNvml
) -> None:
    scripted_nvml.play(Scenario((GPU,)))
    with pytest.raises(UsageError, match="between 100 and 300 W"):
        require_power_limit(limited(target_w))
    with pytest.raises(UsageError), hold_power_limit(limited(target_w)):
        pass
    assert limit_w() == 300.0


def test_a_board_without_limits_cannot_be_limited(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((FakeGpu(faults=(Fault("unsupported", on="limits"),)),)))
    with pytest.raises(CannotMeasureError, match="does not report its power limit"):
        require_power_limit(limited(180.0))


def test_without_a_gpu_it_is_an_error_and_not_a_warning(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario(init_error=9))
    with pytest.raises(CannotMeasureError):
        require_power_limit(limited(200.0))


def test_a_second_run_may_not_change_a_limit_that_is_held(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((GPU,)))
    with (
        hold_power_limit(limited(180.0)),
        pytest.raises(CannotMeasureError, match="Another run holds"),
        hold_power_limit(limited(200.0)),
    ):
        pass
    assert limit_w() == 300.0


def test_a_limit_that_is_held_is_not_put_back_by_another_command(
    scripted_nvml: ScriptedNvml,
) -> None:
    scripted_nvml.play(Scenario((GPU,)))
    with hold_power_limit(limited(180.0)):
        assert restore_abandoned() == []
        assert limit_w() == 180.0


def killed_while_holding(limit: str) -> None:
    """A process that sets a limit and is killed at once."""
    program = (
        "import os, signal\nfrom wbcbench.core.spec import RunSpec\n"
        "from wbcbench.power.power_limit import hold_power_limit\n"
        f"spec = RunSpec('leaky-dropout', power_limit_w={limit})\n"
        "with hold_power_limit(spec): os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGKILL


def test_after_a_kill_the_next_command_puts_the_limit_back(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((GPU,)))
    killed_while_holding("180.0")
    assert limit_w() == 180.0
    assert restore_abandoned() == [PowerLimit(GPU.uuid, 300.0, 180.0)]
    assert limit_w() == 300.0
    assert restore_abandoned() == []


def test_after_a_kill_the_next_limited_run_remembers_the_first_limit_not_the_killed_ones(
    scripted_nvml: ScriptedNvml,
) -> None:
    scripted_nvml.play(Scenario((GPU,)))
    killed_while_holding("180.0")
    with hold_power_limit(limited(150.0)) as facts:
        assert facts["power_limits"] == [asdict(PowerLimit(GPU.uuid, 300.0, 150.0, 150.0))]
    assert limit_w() == 300.0


def test_a_driver_that_is_gone_keeps_the_note_for_the_next_command(
    scripted_nvml: ScriptedNvml,
) -> None:
    scripted_nvml.play(Scenario((GPU,)))
    killed_while_holding("180.0")
    scripted_nvml.play(Scenario((GPU,), init_error=9))
    assert restore_abandoned() == []
    assert len(abandoned_paths()) == 1


def test_another_temporary_folder_knows_the_same_notes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WBCBENCH_LOCK_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "one"))
    with open_note("GPU-1") as note:
        note.write(PowerLimit("GPU-1", 300.0, 180.0))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "another"))
    assert [path.parent for path in abandoned_paths()] == [tmp_path / "state" / "wbcbench"]


@pytest.mark.parametrize(
    "content", [b"", b"[" * 4096, b"not json", b"{}", b'{"uuid": 1}', b"\xff" * 99]
)
def test_a_damaged_note_is_nobodys_wish(content: bytes, folder: Path) -> None:
    (folder / "wbcbench-power-limit-GPU-1.lock").write_bytes(content)
    assert abandoned_paths() == []


def test_a_link_in_the_place_of_a_note_is_not_followed(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("content")
    (folder / "wbcbench-power-limit-GPU-1.lock").symlink_to(target)
    with pytest.raises(OSError), open_note("GPU-1"):  # the system chooses which
        pass
    assert abandoned_paths() == []
    assert target.read_text() == "content"


def test_a_note_of_another_user_is_not_believed(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path = folder / "wbcbench-power-limit-GPU-1.lock"
    path.write_text('{"uuid": "GPU-1", "before_w": 500, "target_w": 1}')
    os.chown(path, 12345, 12345)
    assert abandoned_paths() == []


def test_a_recorder_that_is_killed_leaves_a_limit_that_the_finaliser_puts_back(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    scripted_nvml.play(Scenario((GPU,)))
    spec = RunSpec(variant="leaky-dropout", meters=("nvml",), power_limit_w=180.0, idle_s=60.0)
    run = RunDir(tmp_path / "results" / "runs" / spec.run_id)
    run.create(spec, Local())
    words = [sys.executable, "-m", "wbcbench", "work", str(run.path), "--quiet"]
    recorder = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    wait_for(lambda: bool(run.read_messages()), "the first mark")
    assert limit_w() == 180.0
    recorder.kill()
    recorder.wait()
    assert limit_w() == 180.0
    finalise.finalise_abandoned(tmp_path / "results", "runs")
    assert limit_w() == 300.0
    provenance = run.read_record().provenance
    assert provenance["power_limits"] == [
        {"uuid": GPU.uuid, "target_w": 180.0, "enforced_w": 180.0, "before_w": 300.0}
    ]
    assert provenance["gpu_power_limit_w"] == 180.0


def test_a_recorder_that_is_terminated_puts_the_limit_back_itself(
    scripted_nvml: ScriptedNvml, tmp_path: Path
) -> None:
    scripted_nvml.play(Scenario((GPU,)))
    spec = RunSpec(variant="leaky-dropout", meters=("nvml",), power_limit_w=180.0, idle_s=60.0)
    run = RunDir(tmp_path / "results" / "runs" / spec.run_id)
    run.create(spec, Local())
    words = [sys.executable, "-m", "wbcbench", "work", str(run.path), "--quiet"]
    recorder = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    wait_for(lambda: bool(run.read_messages()), "the first mark")
    recorder.terminate()
    recorder.wait(60)
    assert limit_w() == 300.0
    assert run.read_record().status == "interrupted"
