"""Account for runs whose watcher died: a record from what is on disk, status ``interrupted``."""

from __future__ import annotations

from pathlib import Path

from wbcbench.clock import utc_now
from wbcbench.gpu.asked_limit import put_back_abandoned
from wbcbench.reckoning.accounting import account
from wbcbench.runs.records import Circumstances, Failure
from wbcbench.runs.rundir import RunDir, study_runs

NOBODY_WATCHED = Failure(
    "watcher-died", "The watcher ended without a record; this one was made from what is on disk."
)


def finalise_abandoned(results: Path, study: str) -> list[RunDir]:
    """Write the record of every abandoned run of a study; returns those it wrote.

    A power limit that a killed run left behind is put back, whatever study it was of.
    """
    put_back_abandoned()
    return [run for run in study_runs(results, study) if _finalise(run)]


def _finalise(run: RunDir) -> bool:
    """Hold the lock while writing, so that two commands at once write one record."""
    if run.is_finished:
        return False
    with run.watched() as mine:
        if not mine or run.is_finished:
            return False
        began = run.read_began() or Circumstances(started_utc=utc_now(), provenance={})
        run.write_record(account(run, began, "interrupted", NOBODY_WATCHED))
        return True
