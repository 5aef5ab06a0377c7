"""Whether a board is the job's own: by Slurm's list, by what is on it, by who may share it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FakeGpu, Fault, Process, Scenario
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.job import JOB
from wbcbench.energy.checks.job import iterate_sharing
from wbcbench.power.allotment import is_constrained, state_allotment
from wbcbench.power.device import Device
from wbcbench.power.meter import MeterRequest, list_boards
from wbcbench.power.nvml import open_meters

FIRST = FakeGpu()
SECOND = FakeGpu(uuid="GPU-2222", bus="00000000:5E:00.0")
FACTS = {
    "engine": "slurm", "id": "7", "cpus": 2, "node_cpus": 8, "gpus": "1", "shards": None,
    "has_mps": False,
}  # fmt: skip


@contextmanager
def board(number: int = 0) -> Iterator[Device]:
    """One of the boards that are shown here, open."""
    with open_meters(MeterRequest())[number] as meter:
        yield meter.device


def seen(device: Device, *, is_run: bool = True, **facts: object) -> tuple[object, list[str]]:
    """Whether the board is listed, and what speaks against its being the job's own."""
    job = state_allotment({JOB: FACTS | facts}, [device], is_run=is_run)[JOB]
    assert isinstance(job, dict)
    assert isinstance(job["boards"], list)
    sharing = [*iterate_sharing(job)]
    assert job["shared"] == bool(sharing)
    (own,) = job["boards"]
    assert isinstance(own, dict)
    assert own["device"] == device.gpu.uuid
    return own["is_listed"], sharing


def test_outside_of_a_job_nothing_is_asked(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((FIRST,)))
    with board() as device:
        assert state_allotment({}, [device]) == {}


def test_a_listed_idle_board_is_the_jobs_own(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((FIRST, SECOND)))
    with board(1) as device:
        assert seen(device) == (True, [])


def test_the_list_has_numbers_of_device_files_not_of_the_driver(
    scripted_nvml: ScriptedNvml,
) -> None:
    scripted_nvml.play(Scenario((replace(FIRST, minor=1), replace(SECOND, minor=0))))
    with board(0) as device:
        assert seen(device) == (True, [])
    with board(1) as device, pytest.raises(CannotMeasureError):
        seen(device)


def test_a_board_outside_the_list_is_refused_with_a_way_out(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((FIRST, SECOND)))
    with board(0) as device, pytest.raises(CannotMeasureError, match="gave to job 7: 1") as refusal:
        seen(device)
    assert refusal.value.exit_code == 3
    assert "--gpus" in str(refusal.value)


def test_the_program_of_a_user_is_marked_and_not_refused(scripted_nvml: ScriptedNvml) -> None:
    scripted_nvml.play(Scenario((replace(FIRST, processes=(Process(4242),)), SECOND)))
    with board(0) as device:
        is_listed, sharing = seen(device, is_run=False)
    assert is_listed is False
    assert sharing == [f"{FIRST.uuid} is not one of the GPUs that Slurm gave to this job: 1."]


@pytest.mark.parametrize("listed", ["3", "2-3"])
def test_of_a_job_that_is_kept_from_other_boards_all_that_are_shown_are_its_own(
    listed: str, scripted_nvml: ScriptedNvml
) -> None:
    scripted_nvml.play(Scenario((FIRST,)))
    with board() as device:
        assert seen(device, gpus=listed) == (True, [])


def test_boards_that_a_control_group_denies_are_not_there(
    scripted_nvml: ScriptedNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = replace(FIRST, faults=(Fault("error", on="handle", code=4),))
    scripted_nvml.play(Scenario((denied, replace(SECOND, minor=1))))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # Slurm counts anew inside
    with board() as device:
        assert device.gpu.uuid == SECOND.uuid
        assert seen(device, gpus="1") == (True, [])


@pytest.mark.parametrize(("cpus", "is_told"), [(2, True), (8, False)])
def test_without_a_list_others_may_be_there_unless_the_job_has_the_node(
    cpus: int, scripted_nvml: ScriptedNvml, *, is_told: bool
) -> None:
    scripted_nvml.play(Scenario((FIRST,)))
    with board() as device:
        is_listed, sharing = seen(device, gpus=None, cpus=cpus)
    assert is_listed is None
    assert sharing == [
        f"Slurm lists no GPU for this job, so other jobs may use {FIRST.uuid}."
    ] * int(is_told)


@pytest.mark.parametrize(
    ("more", "finds_boards"),
    [
        ({}, False),
        ({"SLURM_STEP_GPUS": "0"}, True),
        ({"CUDA_VISIBLE_DEVICES": "0"}, True),  # somebody says so
        ({"SLURM_JOB_CPUS_PER_NODE": "100000"}, True),  # no other job fits on the node
    ],
)
def test_a_run_takes_no_board_in_a_job_that_was_given_none(
    more: dict[str, str],
    scripted_nvml: ScriptedNvml,
    monkeypatch: pytest.MonkeyPatch,
    *,
    finds_boards: bool,
) -> None:
    scripted_nvml.play(Scenario((FIRST,)))
    job = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "SLURM_JOB_CPUS_PER_NODE": "0"}
    for name, value in (job | more).items():
        monkeypatch.setenv(name, value)
    boards = list_boards(("auto",), MeterRequest(one_gpu=True, for_training=True))
    assert boards == [FIRST.uuid] * finds_boards
    assert list_boards(("auto",), MeterRequest()) == [FIRST.uuid]  # of a user's program
    named = MeterRequest(gpus=("0",), one_gpu=True, for_training=True)
    assert list_boards(("auto",), named) == [FIRST.uuid]
    if not finds_boards:
        with pytest.raises(CannotMeasureError, match="gave this job no GPU"):
            open_meters(MeterRequest(for_training=True))


@pytest.mark.parametrize(
    ("facts", "word"), [({"shards": 8}, "shards: 8"), ({"has_mps": True}, "CUDA_MPS")]
)
def test_a_part_of_a_gpu_is_shared(
    facts: dict[str, object], word: str, scripted_nvml: ScriptedNvml
) -> None:
    scripted_nvml.play(Scenario((FIRST, SECOND)))
    with board(1) as device:
        (told,) = seen(device, **facts)[1]
    assert word in told


def test_who_is_on_the_board_before_training_is_told_seen_or_not(
    scripted_nvml: ScriptedNvml,
) -> None:
    seen_there = replace(SECOND, processes=(Process(4242),), memory_used=5 << 30)
    scripted_nvml.play(Scenario((FIRST, seen_there)))
    with board(1) as device:
        assert seen(device)[1] == [f"Processes on {SECOND.uuid} before training began: 1."]
    scripted_nvml.play(Scenario((FIRST, replace(SECOND, memory_used=5 << 30))))
    with board(1) as device:
        (told,) = seen(device)[1]
    assert "5,369 MB" in told
    assert "no process that can be seen" in told


def test_the_drivers_own_memory_is_nobodys(scripted_nvml: ScriptedNvml) -> None:
    idle = replace(SECOND, memory_used=8 << 20, memory_reserved=900 << 20)
    scripted_nvml.play(Scenario((FIRST, idle)))
    with board(1) as device:
        assert seen(device) == (True, [])


def test_a_device_file_that_may_not_be_opened_shows_a_constraint(tmp_path: Path) -> None:
    assert is_constrained(tmp_path) is None
    (tmp_path / "nvidia0").touch()
    assert is_constrained(tmp_path) is None
    (tmp_path / "nvidia1").symlink_to(tmp_path / "gone")  # also root may not open it
    assert is_constrained(tmp_path) is True
