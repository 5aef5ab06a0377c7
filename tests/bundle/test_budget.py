"""The whole verification has one budget, in a process of its own that leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import psutil
import pytest

from builders.bundle import StudyDesign
from fakes import hostile_bundles as hostile
from program import wbcbench
from tamperings.trials import TWO, bundle
from wbcbench.bundle.verify import Status, budget
from wbcbench.bundle.verify.budget import ALLOWANCE, Allowance, Load, compute_limits, measure_load
from wbcbench.bundle.verify.inspect import verify
from wbcbench.core.child import PythonChild
from wbcbench.core.errors import UsageError


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return bundle(StudyDesign(blocks=1, variants=TWO, epochs=2), tmp_path_factory.mktemp("honest"))


@pytest.fixture
def room(tmp_path, monkeypatch):
    """The folder of everything temporary, which must be empty afterwards."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def test_the_process_with_limits_finds_what_is_found_without(honest, room):
    assert budget.verify_within_budget(honest, strict=True) == verify(honest, strict=True)
    with pytest.raises(UsageError, match="There is no bundle"):
        budget.verify_within_budget(honest / "none")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Allowance(cpu_s=0.1, cpu_run_s=0.0, cpu_mb_s=0.0), "more than 1 s of processor time"),
        (Allowance(wall_factor=0.001), "takes more than 1 s,"),
        (
            Allowance(memory_bytes=110_000_000, memory_run_bytes=0),
            "more than 110 MB of memory",
        ),
        (
            Allowance(memory_bytes=150_000_000, memory_run_bytes=0, reserved_factor=1),
            "more than 150 MB of memory",
        ),
    ],
)
def test_a_bundle_beyond_a_limit_is_refused_with_the_limit_and_the_way_out(
    honest, room, limits, words
):
    found = budget.verify_within_budget(honest, budget=limits)
    first, *others = found.outcomes.values()
    assert not found.verified
    assert first.status is Status.ERROR
    assert words in first.detail
    assert "wbcbench submit" in first.detail
    assert {outcome.status for outcome in others} == {Status.NOT_CHECKED}


def test_what_a_bundle_sends_raises_its_limits_and_what_it_states_does_not(honest, tmp_path):
    load = measure_load(honest, honest, Allowance())
    assert load.runs == 2
    assert load.trace_bytes > 10_000
    small, large = (compute_limits(Allowance(), each) for each in (Load(), load))
    assert (small.cpu_s, small.memory_bytes) == (60, 500_000_000)
    assert large.cpu_s > small.cpu_s
    assert large.memory_bytes == 500_200_000
    path = hostile.zipped(tmp_path / "zeros.zip", {"x.txt": b""})
    most_bytes = 4 * path.stat().st_size
    run = tmp_path / "bag" / "data" / "results" / "study" / "run"
    run.mkdir(parents=True)
    for name in ("record.json", "traces.parquet"):
        (run / name).write_bytes(bytes(1_000_000))
    assert measure_load(tmp_path / "bag", path, Allowance()) == Load(1, most_bytes)


def started(honest) -> tuple[subprocess.Popen[str], psutil.Process]:
    """A verification that has begun, and its process with limits."""
    process = subprocess.Popen(
        [sys.executable, "-m", "wbcbench", "verify", str(honest), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (children := psutil.Process(process.pid).children()):
        time.sleep(0.01)
    return process, children[0]


def test_a_check_that_the_system_kills_is_told_in_a_line_and_is_no_result(honest, room):
    process, child = started(honest)
    child.kill()
    printed, complained = process.communicate(timeout=60)
    assert process.returncode == 6
    found = json.loads(printed)
    assert found["verified"] is False
    assert "ended with SIGKILL" in found["checks"][0]["detail"]
    assert "Traceback" not in complained


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whoever_stops_the_check_leaves_neither_process_nor_files(honest, room, number):
    process, child = started(honest)
    os.kill(process.pid, number)
    _, complained = process.communicate(timeout=60)
    assert "Traceback" not in complained
    _, alive = psutil.wait_procs([child], timeout=60)
    assert not alive


def test_nothing_but_its_own_folder_is_removed_with_a_check_that_nobody_waits_for(tmp_path):
    everybodys, room = tmp_path / "everybodys", tmp_path / "room"
    everybodys.mkdir()
    theirs = everybodys / "theirs.txt"
    theirs.touch()
    order = {"asked": {"allowed_signers": None}, "budget": asdict(ALLOWANCE), "room": str(room)}
    environment = {**os.environ, "TMPDIR": str(everybodys)}
    child = PythonChild(budget.__name__, str(tmp_path), json.dumps(order), env=environment)
    child.answers.close()
    child.stdin.close()
    assert child.wait(timeout=60) == 1
    assert theirs.exists()


def test_a_bundle_that_needs_too_much_is_not_trained_again(tmp_path):
    bag = tmp_path / "bag"
    bag.mkdir()
    (bag / "bagit.txt").touch()
    (bag / "link").symlink_to("/etc/passwd")
    done = wbcbench("verify", str(bag), "--rerun")
    assert done.code == 6
    assert "NOT VERIFIED" in done.out
    assert "Traceback" not in done.err
