"""A small set of synthetic cells for whole-program tests, drawn once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from program import wbcbench


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells") / "set"
    ended = wbcbench("data", "synth", str(folder), "--train", "160", "--test", "64")
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is cached in the user's own folders, and tests do not wait for each other's locks."""
    import os

    os.environ.setdefault("WBCBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    os.environ.setdefault("WBCBENCH_LOCK_DIR", str(tmp_path_factory.mktemp("locks")))
