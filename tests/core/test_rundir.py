"""A run's folder: whole or not at all, never overwritten, found again after a crash."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.run import make_spec
from wbcbench.core.errors import RunExistsError, UsageError
from wbcbench.core.files import write_atomically
from wbcbench.core.record import RunRecord
from wbcbench.core.run_condition import RunStage, condition
from wbcbench.core.run_folder import LOCK_WAIT_S, Local, RunDir, study_runs
from wbcbench.core.spec import RunSpec


def made(root: Path, spec: RunSpec | None = None) -> RunDir:
    spec = spec or RunSpec(variant="leaky-dropout")
    run = RunDir(root / spec.study / spec.run_id)
    run.create(spec, Local(data="images", command=("wbcbench", "run")))
    return run


def record(run: RunDir) -> RunRecord:
    return RunRecord(run.run_id, run.read_spec(), "done", "then", "now", {})


def test_what_was_asked_is_read_back_as_it_was(tmp_path: Path) -> None:
    spec = RunSpec(variant="relu-dropout", gpus=("GPU-1",), meters=("nvml", "rapl"), threads=2)
    run = made(tmp_path, spec)
    assert run.read_spec() == spec
    assert run.read_local() == Local(data="images", command=("wbcbench", "run"))


def test_a_finished_record_is_never_overwritten(tmp_path: Path) -> None:
    run = made(tmp_path)
    run.write_record(record(run))
    before = run.record_path.read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        run.write_record(record(run))
    assert run.record_path.read_bytes() == before


def test_a_second_run_never_shares_a_folder(tmp_path: Path) -> None:
    run = made(tmp_path)
    before = run.read_state()
    with pytest.raises(RunExistsError, match="There is a run"):
        made(tmp_path)
    assert run.read_state() == before
    assert [path.name for path in run.path.parent.iterdir()] == [run.run_id]


def test_a_run_whose_submitter_lives_waits_and_is_never_gone(tmp_path: Path) -> None:
    run = made(tmp_path)
    found = condition(run)
    assert (found.stage, found.is_alive, found.may_be_finalised) == (RunStage.WAITING, True, False)


def test_whoever_holds_the_lock_is_alive_whatever_else_is_known(tmp_path: Path) -> None:
    run = made(tmp_path)
    (run.path / "state.json").unlink()
    with run.hold_lock() as is_free:
        assert is_free
        found = condition(run)
    assert (found.stage, found.is_alive) == (RunStage.RUNNING, True)
    assert condition(run).stage is RunStage.UNKNOWN


def test_folders_that_are_no_runs_are_passed_over(tmp_path: Path) -> None:
    run = made(tmp_path)
    (tmp_path / "runs" / "notes").mkdir()
    assert study_runs(tmp_path, "runs") == [run]
    assert study_runs(tmp_path, "no-such-study") == []


def test_words_that_are_not_utf_8_are_stored_all_the_same(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "runs" / "a-run")
    run.create(make_spec(), Local(command=("wbcbench", "--results", "r\udcff", "ü")))
    assert run.read_local().command == ("wbcbench", "--results", "r?", "ü")
    run.read_state()


def test_a_damaged_spec_is_named_in_the_message(tmp_path: Path) -> None:
    run = made(tmp_path)
    (run.path / "spec.json").write_text("{")
    with pytest.raises(UsageError, match=r"spec\.json"):
        run.read_spec()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_results_folder_is_refused_with_a_way_out(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="--results"):
        made(tmp_path)


def test_a_results_folder_that_is_a_file_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(UsageError, match="--results"):
        made(tmp_path)


def test_a_write_that_fails_leaves_the_old_file_and_no_leavings(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_atomically(path, b"old")
    path.with_suffix(".dir").mkdir()
    with pytest.raises(OSError, match=r"table\.dir"):
        write_atomically(path.with_suffix(".dir"), b"new")
    assert path.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table.csv", "table.dir"]


@given(st.binary(max_size=2000))
def test_damaged_traces_and_marks_never_stop_a_reader(tmp_path_factory, junk: bytes) -> None:
    run = made(tmp_path_factory.mktemp("junk"))
    (run.path / "trace" / "nvml-gpu0.csv").write_bytes(b"t_s,nvml/gpu0/counter\n" + junk)
    run.marks_path.write_bytes(junk)
    run.read_traces()
    run.read_messages()


def test_a_look_at_a_run_leaves_nothing_in_its_folder(tmp_path):
    run = RunDir(tmp_path / "runs" / "a-run")
    run.create(make_spec(), Local())
    before = sorted(run.path.rglob("*"))
    condition(run)
    assert not run.is_locked
    assert sorted(run.path.rglob("*")) == before


def test_a_runner_is_not_turned_away_by_somebody_who_looks(tmp_path):
    run = RunDir(tmp_path / "runs" / "a-run")
    run.create(make_spec(), Local())
    with run.hold_lock() as is_free:
        assert is_free
        assert run.is_locked
    with (run.path / ".lock").open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        threading.Timer(0.1, fcntl.flock, (look.fileno(), fcntl.LOCK_UN)).start()
        with run.hold_lock(LOCK_WAIT_S) as is_free:
            assert is_free
