"""One harness at a time on a device, unless both are told; no file, no permission, no leftovers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.lock import HOST, inherited_lock, is_held, machine_lock, require_free

HOLDER = (
    "import time\nfrom wbcbench.core.lock import machine_lock\n"
    "with machine_lock('host', share=False):\n print('held', flush=True)\n time.sleep(600)\n"
)


@pytest.fixture(autouse=True)
def own_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WBCBENCH_LOCK_DIR", str(tmp_path))


def test_a_second_harness_is_refused_with_a_way_out() -> None:
    with machine_lock(HOST, share=False) as hold:
        with (
            pytest.raises(CannotMeasureError, match="--share"),
            machine_lock(HOST, share=False),
        ):
            pass
        assert not hold.is_shared


def test_with_share_both_know_that_they_were_not_alone() -> None:
    with machine_lock(HOST, share=False) as first:
        with machine_lock(HOST, share=True) as second:
            assert second.is_shared
        assert first.is_shared
        assert first.is_shared  # it does not forget


def test_who_comes_after_both_are_gone_is_alone() -> None:
    with machine_lock(HOST, share=False), machine_lock(HOST, share=True):
        pass
    with machine_lock(HOST, share=True) as hold:
        assert not hold.is_shared


def test_who_shares_is_seen_after_the_one_it_joined_has_ended() -> None:
    first = machine_lock(HOST, share=False)
    first.__enter__()
    with machine_lock(HOST, share=True):
        first.__exit__(None, None, None)
        with pytest.raises(CannotMeasureError), machine_lock(HOST, share=False):
            pass
    assert not is_held(HOST)


def test_another_device_is_another_lock() -> None:
    with machine_lock(HOST, share=False), machine_lock("GPU-1", share=False) as hold:
        assert hold.is_exclusive


def test_runs_on_two_boards_go_side_by_side_and_both_know_that_they_share_the_processor() -> None:
    with machine_lock(HOST, share=False, alone=False) as first:
        assert not first.is_shared
        with machine_lock(HOST, share=False, alone=False) as second:
            assert first.is_shared
            assert second.is_shared


@pytest.mark.parametrize("is_first_alone", [True, False])
def test_a_run_on_the_processor_and_one_on_a_board_exclude_each_other(
    *, is_first_alone: bool
) -> None:
    with machine_lock(HOST, share=False, alone=is_first_alone) as first:
        with (
            pytest.raises(CannotMeasureError, match="--share"),
            machine_lock(HOST, share=False, alone=not is_first_alone),
        ):
            pass
        assert not first.is_shared


def test_looking_tells_nobody() -> None:
    require_free("GPU-1")
    with machine_lock("GPU-1", share=False) as hold:
        assert is_held("GPU-1")
        with pytest.raises(CannotMeasureError, match="GPU-1"):
            require_free("GPU-1")
        assert not hold.is_shared


def test_temporary_folders_do_not_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with machine_lock(HOST, share=False):
        (tmp_path / "other").mkdir()
        monkeypatch.setenv("TMPDIR", str(tmp_path / "other"))
        assert is_held(HOST)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_sees_the_lock_and_is_heard() -> None:
    def join_as_another() -> bool:
        os.setresuid(54321, 54321, 54321)
        try:
            require_free("GPU-1")
        except CannotMeasureError:
            with machine_lock("GPU-1", share=True) as own:
                return own.is_shared
        return False

    with machine_lock("GPU-1", share=False) as hold:
        pid = os.fork()
        if pid == 0:
            os._exit(0 if join_as_another() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert hold.is_shared


def test_a_killed_holder_leaves_nothing() -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(CannotMeasureError), machine_lock(HOST, share=False):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with machine_lock(HOST, share=False) as hold:
        assert not hold.is_shared


def test_a_lock_that_is_handed_on_is_held_without_a_gap() -> None:
    with machine_lock(HOST, share=False) as hold:
        assert hold.handle is not None
        handed = os.dup(hold.handle)
    with inherited_lock(HOST, handed) as hold:
        assert hold.is_exclusive
        with pytest.raises(CannotMeasureError), machine_lock(HOST, share=False):
            pass
        assert not hold.is_shared
        with machine_lock(HOST, share=True):
            assert hold.is_shared
    with machine_lock(HOST, share=False) as hold:
        assert hold.is_exclusive


def test_more_runs_than_there_are_places_are_shared_all_the_same() -> None:
    with ExitStack() as stack:
        holds = [stack.enter_context(machine_lock(HOST, share=True)) for _ in range(40)]
        assert all(hold.is_shared for hold in holds)


def test_another_file_is_not_taken_for_the_lock(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    handle = os.open(tmp_path / "other", os.O_RDWR)
    with pytest.raises(CannotMeasureError, match="lost"), inherited_lock(HOST, handle):
        pass
    with pytest.raises(CannotMeasureError, match="lost"), inherited_lock(HOST, 10_000):
        pass
    os.close(handle)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(b"\0wbcbench/another")
        with pytest.raises(CannotMeasureError, match="lost"), inherited_lock(HOST, other.fileno()):
            pass
        other.detach()
