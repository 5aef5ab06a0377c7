"""Other programs that measure this machine are found in the list of its processes."""

import os
from pathlib import Path

import pytest

from fakes.proc_folder import ProcFolder
from program import wbcbench
from wbcbench.power.trackers import CODECARBON_LOCK, find_trackers


@pytest.fixture
def proc(tmp_path: Path) -> ProcFolder:
    folder = ProcFolder(tmp_path / "proc")
    folder.machine(100.0)
    folder.command(7, "/usr/bin/bash", "-c", "codecarbon")
    folder.process(8, 1, 0.0)  # of the kernel, without a command line
    return folder


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("/opt/env/bin/python3.11", "/opt/env/bin/codecarbon", "monitor"), "codecarbon"),
        (("python", "-m", "carbontracker.cli", "train.py"), "carbontracker"),
        (("/usr/local/bin/zeusd", "serve"), "zeusd"),
        (("scaphandre", "stdout"), "scaphandre"),
    ],
)
def test_a_tracker_is_known_by_its_program(
    proc: ProcFolder, tmp_path: Path, words: tuple[str, ...], name: str
) -> None:
    proc.command(41, *words)
    assert find_trackers(proc.root, tmp_path) == [f"{name} (process 41)"]


@pytest.mark.parametrize(
    "words",
    [
        ("python", "-m", "wbcbench.power.codecarbon_process", "{}"),  # ours
        ("python", "train.py", "codecarbon"),
        ("python", "-m"),
        ("python",),
        ("vim", "codecarbon"),
        (),
    ],
)
def test_other_programs_are_none(proc: ProcFolder, tmp_path: Path, words: tuple[str, ...]) -> None:
    proc.command(41, *words)
    assert find_trackers(proc.root, tmp_path) == []


def test_a_lock_file_counts_while_somebody_runs_who_may_hold_it(
    proc: ProcFolder, tmp_path: Path
) -> None:
    lock = tmp_path / CODECARBON_LOCK
    lock.touch()
    os.utime(lock, (1500.0, 1500.0))  # the machine was started at 1000
    assert find_trackers(proc.root, tmp_path) == []
    proc.command(41, "python", "later.py", started_s=600)
    proc.command(os.getpid(), "python", "-m", "pytest", started_s=100)
    assert find_trackers(proc.root, tmp_path) == []
    proc.command(42, "python", "train.py", started_s=100)
    assert find_trackers(proc.root, tmp_path) == ["codecarbon (its lock file, older process 42)"]
    lock.unlink()
    assert find_trackers(proc.root, tmp_path) == []


def test_a_machine_that_lists_no_processes_has_none(tmp_path: Path) -> None:
    assert find_trackers(tmp_path / "none", tmp_path) == []


def test_monitor_and_doctor_say_who_measures_too(proc: ProcFolder) -> None:
    proc.command(41, "codecarbon", "monitor")
    environment = {"WBCBENCH_PROC_ROOT": str(proc.root)}
    command = ("--meters", "simulated", "--json")
    ended = wbcbench("monitor", *command, "--no-save", "--", "true", env=environment)
    assert ended.code == 0
    [warning] = [w for w in ended.json["warnings"] if w["code"] == "foreign-tracker"]
    assert warning["severity"] == "info"
    assert "codecarbon (process 41)" in warning["detail"]
    told = wbcbench("doctor", *command[:2], env=environment)
    assert "codecarbon (process 41)" in " ".join(told.out.split())
