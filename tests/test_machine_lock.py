"""One harness at a time, unless both are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from wbcbench.errors import CannotMeasureError
from wbcbench.machine.machine_lock import machine_lock


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
        assert hold.alone
