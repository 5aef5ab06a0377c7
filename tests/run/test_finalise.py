"""What is known of runs without a record, and `wbcbench finalise` for those that nobody ends."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from builders.run import make_spec
from program import wbcbench
from wbcbench.core.errors import UsageError
from wbcbench.core.lock import machine_lock
from wbcbench.core.run_condition import RunStage, condition
from wbcbench.core.run_folder import Local, RunDir, remove_left_behind, study_runs
from wbcbench.core.run_state import (
    Liveness,
    ProcessIdentity,
    RunState,
    identify,
    liveness,
    this_process,
    token_liveness,
)
from wbcbench.run import finalise


def elsewhere() -> ProcessIdentity:
    return replace(this_process(), hostname="node17", boot_id="another", pid=4711)


def unfinished(results: Path, runner: ProcessIdentity, seed: int = 1) -> RunDir:
    """A run that a process carries out, or carried out."""
    spec = make_spec(seed=seed)
    run = RunDir(results / spec.study / spec.run_id)
    run.create(spec, Local())
    run.write_state(RunState(runner, "alice", "2026-03-01T09:00:00Z", runner=runner))
    return run


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "600"])


# --- processes ---------------------------------------------------------------------------------


def test_a_process_is_alive_until_it_ends_even_before_it_is_reaped() -> None:
    process = sleeper()
    who = identify(process.pid)
    assert liveness(who) is token_liveness(who.token) is Liveness.ALIVE
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{process.pid}").exists()  # a zombie
    assert liveness(who) is Liveness.GONE
    process.wait()
    assert liveness(who) is token_liveness(who.token) is Liveness.GONE


def test_a_stopped_process_is_alive() -> None:
    process = sleeper()
    who = identify(process.pid)
    process.send_signal(signal.SIGSTOP)
    assert liveness(who) is Liveness.ALIVE
    process.kill()
    process.wait()


@pytest.mark.parametrize("token", ["", "no token", "a_b_c_d_e", "-_-_-_-_-", "a_b_c_1_2"])
def test_a_name_that_says_nothing_of_its_maker_is_unknown(token: str) -> None:
    assert token_liveness(token) is Liveness.UNKNOWN


# --- folders of killed makers ------------------------------------------------------------------


def test_a_folder_that_was_never_finished_is_no_run_and_goes_with_its_maker(
    tmp_path: Path,
) -> None:
    study = tmp_path / "runs"
    process = sleeper()
    process.kill()
    process.wait()
    gone = replace(this_process(), pid=process.pid)
    for who in (gone, this_process(), elsewhere()):
        folder = study / f".new.{who.token}.0a1b2c3d"
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text("{}")
    assert study_runs(tmp_path, "runs") == []
    (left,) = remove_left_behind(study)
    assert elsewhere().token in left.name
    assert len(list(study.iterdir())) == 2
    (sentence,) = finalise.unaccounted(tmp_path, "runs")
    assert str(left) in sentence


# --- the command -------------------------------------------------------------------------------


def test_a_run_of_another_host_is_ended_by_force_alone(tmp_path: Path) -> None:
    run = unfinished(tmp_path, elsewhere())
    listed = wbcbench("list", "--results", str(tmp_path))
    assert "runner unknown" in listed.out
    assert "process 4711 on node17" in listed.out
    assert "--force" in listed.out
    entry = json.loads(wbcbench("list", "--results", str(tmp_path), "--json").out)["runs"][0]
    assert (entry["status"], entry["stage"]) == ("unfinished", "runner unknown")

    refused = wbcbench("finalise", run.run_id, "--results", str(tmp_path))
    assert refused.code == 2
    assert "process 4711 on node17" in refused.err
    assert not run.is_finished

    ended = wbcbench("finalise", run.run_id, "--force", "--results", str(tmp_path), "--json")
    assert ended.code == 0, ended.err
    assert ended.json["row"]["status"] == "interrupted"
    error = run.read_record().error
    assert error is not None
    assert error.kind == "finalised-by-force"
    assert "node17" in error.message
    with (run.path.parent / "runs.csv").open() as stream:
        assert [row["run_id"] for row in csv.DictReader(stream)] == [run.run_id]

    again = wbcbench("finalise", run.run_id, "--force", "--results", str(tmp_path))
    assert again.code == 2
    assert "never overwritten" in again.err


def test_a_command_that_is_refused_leaves_no_folder_and_says_what_it_cannot_account_for(
    cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBCBENCH_LOCK_DIR", str(tmp_path))
    run = unfinished(tmp_path / "results", elsewhere())
    words = ("--data", str(cells), "--results", str(tmp_path / "results"), "--meters", "simulated")
    with machine_lock("host", share=False):
        ended = wbcbench("run", "--variant", "relu-dropout", *words)
    assert ended.code == 3, ended.err
    assert "--share" in ended.err
    assert "process 4711 on node17" in ended.err
    assert list(run.path.parent.iterdir()) == [run.path]
    assert not run.is_finished


def test_a_living_runner_is_not_replaced_even_by_force(tmp_path: Path) -> None:
    run = unfinished(tmp_path, this_process())
    ended = wbcbench("finalise", run.run_id, "--force", "--results", str(tmp_path))
    assert ended.code == 2
    assert f"process {os.getpid()}" in ended.err
    assert not run.is_finished


def test_a_locked_folder_is_not_replaced_even_by_force(tmp_path: Path) -> None:
    run = unfinished(tmp_path, elsewhere())
    with run.hold_lock(), pytest.raises(UsageError, match="locked"):
        finalise.finalise(run, force=True)
    assert not run.is_finished


def test_a_runner_that_is_gone_needs_no_force(tmp_path: Path) -> None:
    run = unfinished(tmp_path, replace(this_process(), start_ticks=1))
    assert condition(run).stage is RunStage.GONE
    assert wbcbench("finalise", str(run.path)).code == 0
    error = run.read_record().error
    assert error is not None
    assert error.kind == "recorder-died"


def test_a_damaged_state_is_unknown_and_ended_by_force(tmp_path: Path) -> None:
    run = unfinished(tmp_path, this_process())
    (run.path / "state.json").write_text("{")
    assert condition(run).stage is RunStage.UNKNOWN
    assert finalise.finalise_abandoned(tmp_path, "runs") == []
    assert finalise.finalise(run, force=True).status == "interrupted"


def test_the_launchers_word_ends_a_run_that_cannot_be_seen_but_no_living_one(
    tmp_path: Path,
) -> None:
    unseen, living = unfinished(tmp_path, elsewhere()), unfinished(tmp_path, this_process(), seed=2)
    for run in (unseen, living):
        finalise.finalise_ended(run)
    assert (unseen.is_finished, living.is_finished) == (True, False)


@pytest.mark.parametrize("runner", [elsewhere, this_process], ids=["elsewhere", "here"])
def test_a_run_that_was_begun_is_not_begun_again(runner, tmp_path: Path) -> None:
    run = unfinished(tmp_path, runner())
    before = (run.path / "state.json").read_bytes()
    words = [sys.executable, "-m", "wbcbench", "work", str(run.path), "--quiet"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "was begun by another process" in done.stderr
    assert (run.path / "state.json").read_bytes() == before
    assert not run.is_finished
