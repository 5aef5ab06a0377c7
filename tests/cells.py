"""What whole-program tests share: drawn cells, one finished run, a cache, locks of their own.

Each is made once for all workers of a suite, and by none in a place that another suite could know.
A test that changes what is shared works on a copy of it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from program import SHORT, Ended, wbcbench

FINISHED = ("run", "--variant", "leaky-dropout", *SHORT, "--epochs", "2", "--deterministic")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first worker to ask for it makes, while the others wait."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # each worker has a folder of its own in that of the suite
    folder, ready = base / name, base / f"{name}.ready"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            folder.mkdir()
            make(folder)
            ready.touch()
    return folder


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set of synthetic cells."""

    def draw(folder: Path) -> None:
        ended = wbcbench("data", "synth", str(folder / "set"), "--train", "160", "--test", "64")
        assert ended.code == 0, ended.err

    return made_once(tmp_path_factory, "cells", draw) / "set"


def finished_words(cells: Path, results: Path) -> list[str]:
    """The command of the finished run, but for how it is printed."""
    where = ("--data", str(cells), "--results", str(results), "--meters", "simulated,codecarbon")
    return [*FINISHED, *where]


@pytest.fixture(scope="session")
def finished(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """Results with one finished run of every phase, and what its command printed as JSON."""

    def carry_out(folder: Path) -> None:
        ended = wbcbench(*finished_words(cells, folder / "results"), "--json")
        assert ended.code == 0, ended.err
        (folder / "out").write_text(ended.out)
        (folder / "err").write_text(ended.err)

    folder = made_once(tmp_path_factory, "finished", carry_out)
    ended = Ended(0, (folder / "out").read_text(), (folder / "err").read_text())
    return folder / "results", ended


@pytest.fixture(autouse=True, scope="session")
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests write to no folder of the user's, and do not wait for each other's locks."""
    cache = made_once(tmp_path_factory, "cache", lambda _: None)
    os.environ.setdefault("WBCBENCH_CACHE", str(cache))
    os.environ.setdefault("WBCBENCH_LOCK_DIR", str(tmp_path_factory.mktemp("locks")))
    # ``monitor`` and ``Meter`` keep what they measure, also where a test names no folder.
    os.environ["WBCBENCH_RESULTS"] = str(tmp_path_factory.mktemp("results"))
    # The suite runs beside others, whose processor time must not show in what tests measure.
    os.environ.setdefault("WBCBENCH_PROC_ROOT", str(tmp_path_factory.mktemp("proc")))


@pytest.fixture
def own_results() -> Path:
    """The results folder of ``monitor`` and ``Meter`` where a test names none."""
    return Path(os.environ["WBCBENCH_RESULTS"])
