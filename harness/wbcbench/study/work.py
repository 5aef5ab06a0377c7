"""A job on its node: the runs of a block, one after the other, each in a process of its own.

The process that does this measures nothing and writes no table: of a study's jobs many go on at
once, and whoever looks at the study brings its table up to date.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from wbcbench import registry
from wbcbench.core.child import heeded_signals, take_on_signals, withhold_from_children
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.quality import Quality
from wbcbench.core.run_folder import RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.run.finalise import finalise_ended
from wbcbench.run.job import JobDir, Task
from wbcbench.study import running
from wbcbench.study.loops import decide_loops
from wbcbench.table import derive, tensorboard

_ASKS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
_SLICE_S = 0.2


def carry_out_job(folder: Path) -> bool:
    """Carry out what is left of a job; for the engine's process on the node.

    A run that is done is not carried out again. One that an earlier start of this job has begun
    and not ended may still go on, on a node that the engine has lost: it is tried in a folder of
    its own. The job ends with its last run; when the engine asks it to; and when it was started
    anew elsewhere.

    Args:
        folder: Of the job.

    Returns:
        Whether it is at its end; if not, it was asked to end, and the engine may start it again.

    Raises:
        UsageError: The job was withdrawn, has ended, or cannot be read.
    """
    return _JobOnNode(JobDir(folder)).carry_out()


class _JobOnNode:
    """A job that this process carries out."""

    def __init__(self, folder: JobDir) -> None:
        self._folder, self._job = folder, folder.read()
        self._wants_stop = False
        self._has_run = False
        self._start = folder.start()

    def carry_out(self) -> bool:
        for number in heeded_signals(_ASKS):
            signal.signal(number, self._on_signal)
        withhold_from_children(_ASKS)
        take_on_signals(_ASKS)
        if self._job.timed:
            self._folder.write_loops([decide_loops(s, self._job.local) for s in self._job.timed])
        for task in self._job.tasks:
            run = self._carry_out_run(task)
            record = run.read_record() if run is not None else None
            if record is None:
                continue
            if record.error is not None and record.error.kind == CannotMeasureError.__name__:
                return True  # the node is to blame, and the other runs would fare no better here
            is_invalid = record.status == "done" and record.quality is Quality.INVALID
            if is_invalid and self._job.ends_when_invalid:
                return True
        return not self._wants_stop

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self._wants_stop = True

    @property
    def _should_end(self) -> bool:
        return self._wants_stop or not self._folder.is_current(self._start)

    def _carry_out_run(self, task: Task) -> RunDir | None:
        """Try a run until it has ended by itself; returns the attempt that did."""
        results = self._folder.study_dir.parent
        while True:
            attempts = running.find_attempts(results, task.spec)
            waiting, begun = self._sort(attempts)
            ended = [run for run in begun if run.is_finished]
            for run in [run for run in attempts if run.is_finished]:
                status = run.read_own_record().status
                if status == "done" or (status == "failed" and run in ended):
                    return run
            if self._should_end or len(begun) >= task.tries:
                return None
            run = waiting[0] if waiting else self._submit(results, task.spec)
            self._record(run, is_last=len(begun) + 1 >= task.tries)

    def _sort(self, attempts: Sequence[RunDir]) -> tuple[list[RunDir], list[RunDir]]:
        """This job's attempts at a run: those that wait, and those that were begun."""
        own = [(run, state) for run in attempts if (state := run.read_state()).job == self._name]
        begun = [run for run, state in own if state.runner is not None or run.is_finished]
        return [run for run, _ in own if run not in begun], begun

    @property
    def _name(self) -> str:
        return self._folder.name

    def _submit(self, results: Path, spec: RunSpec) -> RunDir:
        return running.submit(results, spec, self._job.local, self._job.launcher, self._name)

    def _record(self, run: RunDir, *, is_last: bool) -> None:
        if self._has_run:
            self._rest()
        if self._should_end:
            return
        self._has_run = True
        options = ["--quiet", "--no-live", "--grace", str(self._job.grace_s)]
        for _ in registry.load_part("launcher", "local")([run.path], options):
            if finalise_ended(run, is_last=is_last and not self._wants_stop):
                derive.derive(run)
                tensorboard.add_result(run)

    def _rest(self) -> None:
        """Rest as long as the plan says, so that no run pays for the heat of the one before."""
        end_s = time.monotonic() + self._job.rest_s
        while (left_s := end_s - time.monotonic()) > 0 and not self._should_end:
            time.sleep(min(left_s, _SLICE_S))
