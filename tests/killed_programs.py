"""Measured programs that are killed at a moment, and whether what they left is told and is right.

``monitor`` and programs with a ``Meter`` run on a scripted GPU of constant power, so that the
joules of any window are known. Tests kill a few at chosen moments, a benchmark many at random ones.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fakes.faulty_machine import HEALTHY, POWER_W, environment
from fakes.nvml_scenario import Scenario
from program import command, processes_of, wait_for, wbcbench
from wbcbench.core.record import RunRecord
from wbcbench.core.run_condition import condition
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.core.spec import MEASURED
from wbcbench.energy.account import replay
from wbcbench.energy.source import primary_source, source_energy_j, source_uncertainty_j

SAMPLER = "wbcbench.measure.sampling_process"
PROGRAM = """
import sys, time
from wbcbench import Meter
with Meter("nvml", interval_s=0.05) as meter:
    open(sys.argv[1], "w").close()
    with meter.window("train"):
        time.sleep(1.0)
        with meter.window("inner"):
            time.sleep(1.0)
"""


@dataclass(frozen=True)
class Place:
    """A folder for one victim: its results, and a file that says that its work has begun."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def started(self) -> Path:
        return self.folder / "started"

    @property
    def runs(self) -> list[RunDir]:
        return study_runs(self.results, MEASURED)

    def marked(self, edge: str, window: str) -> bool:
        """Whether an edge of a window has been written."""
        return any(
            message.get("mark") == edge and message.get("window") == window
            for run in self.runs
            for message in run.read_messages()
        )

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words, env=dict(self.environment), cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def monitor(self, length_s: float = 2.0) -> subprocess.Popen[bytes]:
        work = f"touch {self.started}; exec sleep {length_s}"
        options = ("--meters", "nvml", "--interval", "0.05")
        return self.start(*command("monitor", *options, "--", "sh", "-c", work))

    def program(self, text: str = PROGRAM) -> subprocess.Popen[bytes]:
        return self.start(sys.executable, "-c", text, str(self.started))


def make_place(nvml_folder: Path, folder: Path) -> Place:
    """A place on a machine with one GPU of ``POWER_W``."""
    folder.mkdir(parents=True)
    env = environment(nvml_folder, Scenario((HEALTHY,)).write(folder))
    return Place(
        folder, {**env, "WBCBENCH_RESULTS": str(folder / "results"), "TMPDIR": str(folder)}
    )


def kill_when(
    place: Place,
    victim: subprocess.Popen[bytes],
    is_time: Callable[[], bool],
    *,
    with_sampler: bool = False,
) -> None:
    """SIGKILL a victim, and the process that samples for it, at a moment; wait for what it left."""
    wait_for(lambda: victim.poll() is not None or is_time(), "the moment to kill")
    samplers = [pid for run in place.runs for pid in processes_of(run, SAMPLER)]
    victim.kill()
    for pid in samplers if with_sampler else ():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    victim.wait()
    wait_for(lambda: all(map(is_left, place.runs)), "the sampler's end")


def is_left(run: RunDir) -> bool:
    """Whether no process is at it any more."""
    if processes_of(run, SAMPLER):
        return False
    return run.is_finished or condition(run).may_be_finalised


def kill_after(
    place: Place, victim: subprocess.Popen[bytes], after_s: float, *, with_sampler: bool = False
) -> None:
    """The same so many seconds from now."""
    end_s = time.monotonic() + after_s
    kill_when(place, victim, lambda: time.monotonic() >= end_s, with_sampler=with_sampler)


def list_losses(place: Place) -> list[str]:
    """What was lost without a word or is wrong, once the next command has looked; else nothing."""
    listed = wbcbench("list", env=place.environment, cwd=place.folder)
    losses = [f"list: {listed.err}"] * (listed.code not in (0, 2) or "Traceback" in listed.err)
    if place.started.exists() and not place.runs:
        losses.append("the work began, and there is no run")
    for run in place.runs:
        if not run.is_finished:
            losses.append(f"{run.run_id} has no record: {listed.out}")
        else:
            losses += list_wrongs(run, run.read_record())
            if run.run_id not in listed.out:
                losses.append(f"{run.run_id} is not listed")
    return losses


def list_wrongs(run: RunDir, record: RunRecord) -> list[str]:
    """Windows that were opened and are not in the record, and joules that are not the truth."""
    events = replay(run.read_messages())
    begun = {*events.opened, *(window.name for window in events.windows)}
    wrongs = [f"the window {name} is lost" for name in begun - {w.name for w in record.windows}]
    if record.status == "interrupted" and record.error is None:
        wrongs.append("nothing says why it was interrupted")
    if not record.windows and not record.warnings:
        wrongs.append("nothing says that nothing was read")
    for window in record.windows:
        source = primary_source(record, window.name)
        energy_j = source_energy_j(record, source, window.name)
        u_j = source_uncertainty_j(record, source, window.name)
        true_j = POWER_W * window.duration_s
        if energy_j is None:
            if not any(w.window == window.name for w in record.warnings):
                wrongs.append(f"nothing says why {window.name} has no joules")
        elif u_j is None or abs(energy_j - true_j) > 1.5 * u_j:  # ± holds 95 %
            wrongs.append(f"{window.name}: {energy_j:.1f} ± {u_j} J, in truth {true_j:.1f} J")
    return wrongs
