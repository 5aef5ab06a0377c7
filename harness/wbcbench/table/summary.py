"""What commands about many runs need of each: worked out once, kept from command to command.

A record holds every window of every channel, a summary what tables, comparisons and sweeps read. It
counts as long as record and attachment are the files that it was worked out from; what checks a
study (``submit``, ``verify``) reads the records themselves.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from wbcbench.core.cache import KeptValues, Stamp, read_stamp
from wbcbench.core.child import PythonChild
from wbcbench.core.errors import UsageError
from wbcbench.core.run_folder import WAY_OUT, RunDir, study_runs
from wbcbench.core.spec import RunSpec
from wbcbench.data.read import usable_cores
from wbcbench.table.columns import Cell, load_columns
from wbcbench.table.derive import Past, Spent, learn_cost, spent
from wbcbench.table.rows import Row
from wbcbench.table.view import Run, StoredRun, Study

_RUNS_WORTH_A_PROCESS, _MOST_PROCESSES = 500, 4


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One finished run.

    Attributes:
        spec: What was asked.
        cells: Its row of the results table.
        origins: Part of the machine, or ``primary`` → measured, estimated, simulated or absent.
        spent: What it cost from its first window to its last.
        past: What it teaches about the cost of runs to come; ``None`` if it finished no epoch.
    """

    spec: RunSpec
    cells: list[Cell]
    origins: Mapping[str, str]
    spent: Spent
    past: Past | None


_READ: dict[Path, tuple[Stamp, RunSummary]] = {}  # by this process


class Summaries:
    """The summaries of one study's finished runs."""

    def __init__(self, study_dir: Path) -> None:
        """Nothing is read before it is asked for, or written before :meth:`save`."""
        self._dir = study_dir

    @cached_property
    def _kept(self) -> KeptValues:
        return KeptValues(self._dir)

    def prepare(self, runs: Sequence[RunDir]) -> None:
        """Work out what is not known of many runs, on all processors at once."""
        stamps = ((run, _read_stamp(run)) for run in runs)
        new = [(run, stamp) for run, stamp in stamps if _READ.get(run.path, (None,))[0] != stamp]
        unknown = [run for run, stamp in new if not self._kept.knows(run.run_id, stamp)]
        worth = len(unknown) // _RUNS_WORTH_A_PROCESS
        processes = min(usable_cores(), _MOST_PROCESSES, worth)
        if processes < 2:
            return
        children = list[PythonChild]()
        try:
            with suppress(OSError):  # who cannot start another process does it all
                for place in range(1, processes):
                    children.append(_start_child(self._dir, unknown[place::processes]))
            self._work_out(unknown[::processes])
            for child in children:
                child.wait()
        finally:
            for child in children:
                child.kill()
                child.wait()
        del self._kept

    def _work_out(self, runs: Sequence[RunDir]) -> None:
        """Read each, and keep what comes of it; who reads a damaged one again says that it is."""
        parent = os.getppid()
        for number, run in enumerate(runs, start=1):
            with suppress(UsageError):
                self.read(run)
            if os.getppid() != parent:  # nobody waits for it
                return
            if number % _RUNS_WORTH_A_PROCESS == 0 or number == len(runs):
                self.save()

    def read(self, run: RunDir) -> RunSummary:
        """The summary of a run; raises like ``RunDir.read_record``, with the way out."""
        stamp, known = _read_stamp(run), _READ.get(run.path)
        if known and known[0] == stamp:
            return known[1]
        summary = None
        if kept := self._kept.take(run.run_id, stamp):
            with suppress(ValidationError):  # a damaged line
                summary = _adapter().validate_python(kept)
        if summary is None:
            try:
                summary = _summarise(run)
            except UsageError as error:
                raise UsageError(f"{error} {WAY_OUT}") from error
            self._kept.keep(run.run_id, stamp, summary)
        _READ[run.path] = stamp, summary
        return summary

    def adopt(self, run: RunDir, copied: RunDir) -> None:
        """Keep the summary of the run that this one is a copy of, if that is still as it was."""
        stamp, known = _read_stamp(run), _READ.get(copied.path)
        if known and known[0] == _read_stamp(copied):
            self._kept.keep(run.run_id, stamp, known[1])

    def save(self) -> None:
        """Keep what had to be worked out."""
        if "_kept" in vars(self):
            self._kept.save()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Keep it also when a later record is damaged."""
        self.save()


@cache
def _adapter() -> TypeAdapter[RunSummary]:
    return TypeAdapter(RunSummary)


def _read_stamp(run: RunDir) -> Stamp:
    return read_stamp([run.record_path, run.attachment_path])


def _start_child(study_dir: Path, runs: Sequence[RunDir]) -> PythonChild:
    child = PythonChild(__name__, str(study_dir.resolve()), stderr=subprocess.DEVNULL)
    child.answers.close()  # what it works out, it keeps where we find it
    assert child.stdin is not None
    with suppress(BrokenPipeError), child.stdin as names:
        names.write(b"\0".join(os.fsencode(run.run_id) for run in runs))
    return child


def _summarise(run: RunDir) -> RunSummary:
    record = run.read_record()
    view = Run(record, run)
    total = spent(view)
    return RunSummary(
        record.spec, Row(view).compute_all(), view.origins, total, learn_cost(view, total)
    )


class SummarisedRun(StoredRun):
    """A run of which the summary is at hand."""

    def __init__(self, summary: RunSummary, folder: RunDir, study: str = "") -> None:
        super().__init__(folder, study)
        self.summary = summary
        self.spec = summary.spec

    @cached_property
    def status(self) -> str:
        """How the run ended."""
        return str(self.row["status"])

    @property
    def warning_codes(self) -> str:
        """Codes of all warnings that are suspect or invalid, by ``;``."""
        return str(self.row["warnings"])

    @cached_property
    def row(self) -> Mapping[str, Any]:
        """Its row of the results table."""
        return dict(zip(load_columns(), self.summary.cells, strict=True))

    @cached_property
    def origins(self) -> Mapping[str, str]:
        """Part of the machine, or ``primary`` → measured, estimated, simulated or absent."""
        return self.summary.origins


def summarise_runs(study_dir: Path) -> tuple[list[tuple[RunDir, RunSummary]], int]:
    """The finished runs of a study, by name, and how many others it has.

    Raises:
        UsageError: A record is damaged or was written by a newer version.
    """
    runs = study_runs(study_dir.parent, study_dir.name)
    finished = [run for run in runs if run.is_finished]
    with Summaries(study_dir) as summaries:
        summaries.prepare(finished)
        return [(run, summaries.read(run)) for run in finished], len(runs) - len(finished)


def summarise_study(folder: Path) -> Study:
    """A study as ``view.read_study`` gives it, of summarised runs; raises like it."""
    finished, unfinished = summarise_runs(folder)
    runs = [SummarisedRun(summary, run, folder.name) for run, summary in finished]
    return Study(folder.name, tuple(sorted(runs, key=lambda run: run.place)), unfinished, folder)


def main() -> None:
    """Work out the runs of a study whose names come on standard input, for another process."""
    study_dir = Path(sys.argv[1])
    names = sys.stdin.buffer.read().split(b"\0")
    Summaries(study_dir)._work_out([RunDir(study_dir / os.fsdecode(name)) for name in names])


if __name__ == "__main__":
    main()
