"""A launcher that trains nothing: it leaves the record that a script says, in no time.

What starts runs is the outermost edge of a sweep; everything behind it (folders, states, table,
plan, account) is the project's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from builders.run import failed_record, make_record
from wbcbench.core.quality import Quality, QualityWarning, Severity
from wbcbench.core.record import Failure, RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.spec import RunSpec

Script = Callable[[RunSpec], str]


class StandIn:
    """Ends every run as ``script`` says: done, failed, interrupted, invalid, or no record."""

    is_queue = False

    def __init__(self, script: Script = lambda _: "done") -> None:
        self.script = script
        self.started: list[RunSpec] = []
        self.options: list[Sequence[str]] = []

    def __call__(
        self, run_dirs: Sequence[Path], options: Sequence[str], host_lock: int | None = None
    ) -> Iterator[Path]:
        for path in run_dirs:
            run = RunDir(path)
            spec = run.read_spec()
            self.started.append(spec)
            self.options.append(options)
            end = self.script(spec)
            if end != "no record":
                run.write_record(record_of(run, end))
            yield path


def record_of(run: RunDir, end: str) -> RunRecord:
    """A built record, ended that way, with what the run's folder says of itself."""
    spec = run.read_spec()
    provenance = {"host_id": "5f1e9c", **run.read_local().facts}
    if end == "failed":
        found = failed_record(spec=spec, provenance=provenance)
    else:
        found = make_record(spec=spec, provenance=provenance)
    found = replace(found, run_id=run.run_id)
    if end == "interrupted":
        why = Failure("interrupted", "Stopped by the user.")
        return replace(found, status="interrupted", error=why)
    if end == "invalid":
        doubt = QualityWarning("gaps", Severity.INVALID, "a hole in the trace", "repeat the run")
        return replace(found, warnings=(doubt,), quality=Quality.INVALID)
    return found
