"""A launcher of somebody else's: a queue that is a folder, whose jobs run here one at a time.

``install`` makes the package that brings it: this file, and the line by which it is found. It shows
what a launcher must answer, with nothing of Slurm in it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from wbcbench.run.launchers import CarryOut, EngineError, JobStage, JobStatus
from wbcbench.run.launchers.cluster import ClusterSettings


class ToyQueue:
    """Jobs in ``toy/`` beside the folders of the jobs; a file ``down`` makes it unreachable."""

    most_in_submission = 2

    def __init__(self, jobs: Path) -> None:
        self._spool = jobs / "toy"
        self._spool.mkdir(parents=True, exist_ok=True)

    def submit(
        self,
        name: str,
        folders: Sequence[Path],
        carry_out: CarryOut,
        node: str = "",
        avoid: Collection[str] = (),
    ) -> list[str]:
        del carry_out, node, avoid
        self._require_reachable()
        return [self._start(f"{name}-{place}", folder) for place, folder in enumerate(folders)]

    def _start(self, job_id: str, folder: Path) -> str:
        with (self._spool / f"{job_id}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, __file__, str(self._spool / "turn"), str(folder)],
                start_new_session=True,
                stdout=log,
                stderr=log,
            )
        (self._spool / job_id).write_text(str(process.pid))
        return job_id

    def find(self, name: str, place: int) -> str | None:
        self._require_reachable()
        return f"{name}-{place}" if (self._spool / f"{name}-{place}").exists() else None

    def ask(self, jobs: Mapping[str, str]) -> Mapping[str, JobStatus]:
        self._require_reachable()
        return {job_id: self._ask(job_id) for job_id in jobs}

    def _ask(self, job_id: str) -> JobStatus:
        pid = self._pid(job_id)
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # where it is a child of ours
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return JobStatus(JobStage.ENDED, "here", "ended")
        return JobStatus(JobStage.RUNNING, "here", "running")

    def cancel(self, jobs: Mapping[str, str]) -> None:
        self._require_reachable()
        for job_id in jobs:
            os.killpg(self._pid(job_id), signal.SIGTERM)

    def _pid(self, job_id: str) -> int:
        return int((self._spool / job_id).read_text())

    def _require_reachable(self) -> None:
        if (self._spool / "down").exists():
            raise EngineError("The toy queue does not answer: it is down.")


class ToyLauncher:
    """Jobs of a folder, one at a time."""

    is_queue = True

    def connect(self, settings: ClusterSettings, jobs: Path) -> ToyQueue:
        del settings
        return ToyQueue(jobs)


launch = ToyLauncher()


def install(folder: Path) -> dict[str, str]:
    """Make the package in ``folder``; returns the variable with which Python finds it."""
    facts = folder / "toy_launcher-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-launcher\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[wbcbench.launcher]\ntoy = toy_launcher:launch\n")
    (folder / "toy_launcher.py").write_bytes(Path(__file__).read_bytes())
    return {"PYTHONPATH": str(folder)}


def main(turn: str, folder: str) -> None:
    """A job's process: its turn, then ``wbcbench work FOLDER``."""
    with Path(turn).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([sys.executable, "-m", "wbcbench", "work", folder], check=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
