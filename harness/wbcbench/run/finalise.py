"""Account for runs whose runner is gone: a record from what is on disk, status ``interrupted``."""

from __future__ import annotations

from pathlib import Path

from wbcbench.core.errors import UsageError
from wbcbench.core.record import Circumstances, Failure, RunRecord
from wbcbench.core.run_condition import Condition, RunStage, condition, condition_unlocked
from wbcbench.core.run_folder import LOOK_OVER_S, RunDir, remove_left_behind, study_runs
from wbcbench.core.window import utc_now
from wbcbench.energy.account import account
from wbcbench.power.power_limit import restore_abandoned

NOBODY_WATCHED = Failure(
    "watcher-died", "The watcher ended without a record; this one was made from what is on disk."
)
NEVER_BEGAN = Failure(
    "never-began", "The run was submitted, but the process that was to carry it out never began."
)


def finalise_abandoned(results: Path, study: str) -> list[RunDir]:
    """Write the record of every run of a study whose runner is gone; returns those it wrote.

    A power limit that a killed run left behind is put back, whatever study it was of.
    """
    restore_abandoned()
    remove_left_behind(results / study)
    return [run for run in study_runs(results, study) if _finalise_if_gone(run)]


def finalise_ended(run: RunDir) -> None:
    """Account for a run of which its launcher says that it ended; nothing if it has its record.

    The launcher's word counts where the runner cannot be seen; a living one is left alone.
    """
    with run.watched(LOOK_OVER_S) as is_free:
        if not is_free or run.is_finished:
            return
        found = condition_unlocked(run)
        if not (found.was_started and found.is_alive):
            _write_record(run, _failure(found))


def unaccounted(results: Path, study: str) -> list[str]:
    """What nobody but a person can account for in a study, a sentence each with what to do."""
    runs = [run for run in study_runs(results, study) if not run.is_finished]
    conditions = {run.run_id: condition(run) for run in runs}
    unknown = [
        f"{run_id} has no record. {found.text}"
        for run_id, found in conditions.items()
        if found.stage is RunStage.UNKNOWN
    ]
    folders = remove_left_behind(results / study)
    return unknown + [
        f"{path} was never finished, by a process that cannot be seen from here. Nothing was "
        "measured in it; remove it when no other host uses this study."
        for path in folders
    ]


def finalise(run: RunDir, *, force: bool) -> RunRecord:
    """Account for one run that nobody carries out any more.

    Args:
        run: The run; it has no record yet.
        force: Whether somebody who knows says so where it cannot be proven from here.

    Raises:
        UsageError: A process is at it, or may be and ``force`` was not given.
    """
    restore_abandoned()
    with run.watched() as is_free:
        if run.is_finished:
            raise UsageError(f"{run.run_id} has its record already; it is never overwritten.")
        if not is_free:
            raise UsageError(f"{run.run_id} is being carried out: its folder is locked.")
        found = condition_unlocked(run)
        if found.is_alive or not (force or found.may_be_finalised):
            raise UsageError(f"{run.run_id} is not finalised. {found.text}")
        is_proven = found.may_be_finalised
        return _write_record(run, _failure(found) if is_proven else _forced(found))


def _finalise_if_gone(run: RunDir) -> bool:
    """Hold the lock while writing, so that two commands at once write one record."""
    if run.is_finished or not condition(run).may_be_finalised:
        return False
    with run.watched() as is_free:
        if not is_free or run.is_finished:
            return False
        found = condition_unlocked(run)  # again: a runner may have begun before the lock was ours
        if not found.may_be_finalised:
            return False
        _write_record(run, _failure(found))
        return True


def _write_record(run: RunDir, why: Failure) -> RunRecord:
    began = run.read_began() or Circumstances(started_utc=utc_now(), provenance={})
    record = account(run, began, "interrupted", why)
    run.write_record(record)
    return record


def _failure(found: Condition) -> Failure:
    return NOBODY_WATCHED if found.was_started else NEVER_BEGAN


def _forced(found: Condition) -> Failure:
    why = f"Accounted for by `wbcbench finalise --force`. What was known: {found.text}"
    return Failure("finalised-by-force", why)
