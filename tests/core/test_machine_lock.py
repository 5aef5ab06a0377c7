"""One harness at a time, unless both are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.lock import inherited_lock, machine_lock


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WBCBENCH_LOCK_DIR", str(tmp_path))


def test_a_second_harness_is_refused_with_a_way_out() -> None:
    with (
        machine_lock("host", share=False) as hold,
        pytest.raises(CannotMeasureError, match="--share"),
        machine_lock("host", share=False),
    ):
        pass
    assert not hold.is_shared


def test_with_share_both_know_that_they_were_not_alone() -> None:
    with machine_lock("host", share=False) as first:
        with machine_lock("host", share=True) as second:
            assert second.is_shared
        assert first.is_shared


def test_who_comes_after_both_are_gone_is_alone() -> None:
    with machine_lock("host", share=False), machine_lock("host", share=True):
        pass
    with machine_lock("host", share=True) as hold:
        assert not hold.is_shared


def test_another_device_is_another_lock() -> None:
    with machine_lock("host", share=False), machine_lock("GPU-1", share=False) as hold:
        assert hold.is_exclusive


def test_a_lock_that_is_handed_on_is_held_without_a_gap() -> None:
    with machine_lock("host", share=False) as hold:
        handed = os.dup(hold.handle)
    with inherited_lock("host", handed) as hold:
        assert hold.is_exclusive
        with pytest.raises(CannotMeasureError), machine_lock("host", share=False):
            pass
        assert not hold.is_shared
        with machine_lock("host", share=True):
            assert hold.is_shared
    with machine_lock("host", share=False) as hold:
        assert hold.is_exclusive


def test_another_file_is_not_taken_for_the_lock(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    handle = os.open(tmp_path / "other", os.O_RDWR)
    with pytest.raises(CannotMeasureError, match="lost"), inherited_lock("host", handle):
        pass
    with pytest.raises(CannotMeasureError, match="lost"), inherited_lock("host", 10_000):
        pass
    os.close(handle)
