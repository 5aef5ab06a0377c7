"""Fixtures of tests that need a cluster, and of those that need runs of a second."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cells import made_once
from fakes.scripted_trainer import make_python
from fakes.slurm_cluster import Cluster, missing_programs, start

AGAIN = 2  # before the start whose failure is told


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[Cluster]:
    """A Slurm of two nodes with a GPU each, for all tests of a worker."""
    if missing := missing_programs():
        why = os.environ.get("WBCBENCH_NO_SLURM", f"not installed: {', '.join(missing)}")
        pytest.skip(f"no Slurm here: {why}")
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        cluster = _start_patiently(Path(folder))
        yield cluster
        cluster.stop()


def _start_patiently(folder: Path) -> Cluster:
    """Start a cluster, again if need be: where much else starts, a daemon may take too long."""
    for number in range(AGAIN):
        with suppress(TimeoutError, subprocess.SubprocessError, OSError):
            return start(folder / f"cluster{number}", parent=os.getpid())
    return start(folder / "cluster", parent=os.getpid())


@pytest.fixture(scope="session")
def scripted_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python whose trainer is scripted: ``fakes.scripted_trainer``."""
    folder = made_once(tmp_path_factory, "scripted-python", lambda path: make_python(path) and None)
    return folder / "bin" / "python"
