"""Account for runs whose runner is gone: a record from what is on disk, status ``interrupted``."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from wbcbench.core.errors import UsageError, WbcbenchError
from wbcbench.core.record import Circumstances, Failure, RunRecord, Status
from wbcbench.core.run_condition import Condition, RunStage, condition, condition_unlocked
from wbcbench.core.run_folder import LOCK_WAIT_S, RunDir, remove_left_behind, study_runs
from wbcbench.core.spec import MEASURED
from wbcbench.core.window import utc_now
from wbcbench.energy.account import account
from wbcbench.power.power_limit import restore_abandoned

RECORDER_DIED = Failure(
    "recorder-died", "The recorder ended without a record; this one was made from what is on disk."
)
NEVER_BEGAN = Failure("never-began", "The run was submitted, but its process never began.")


def finalise_abandoned(results: Path, study: str) -> list[RunDir]:
    """Write the record of every run of a study whose runner is gone; returns those it wrote.

    A power limit that a killed run left behind is put back, whatever study it was of. Traces that
    a kill left as CSV files are packed.
    """
    restore_abandoned()
    remove_left_behind(results / study)
    runs = study_runs(results, study)
    for run in runs:
        if run.is_finished:
            run.pack_traces()
    return [run for run in runs if _finalise_if_gone(run)]


def finalise_programs(results: Path) -> list[RunDir]:
    """Write the record of every measured program whose measurement was killed; returns those.

    No run of their study comes after them, so that any command which looks there does it. Where
    nothing can be written, they stay as they are.
    """
    finalised: list[RunDir] = []
    with contextlib.suppress(OSError):
        for run in study_runs(results, MEASURED):
            with contextlib.suppress(OSError, WbcbenchError):
                finalised += [run] if _finalise_if_gone(run) else []
    return finalised


def describe_interrupted(run: RunDir) -> str:
    """What a command says of a run that it accounted for."""
    return f"{run.path} was interrupted; it has its record now."


def finalise_ended(run: RunDir, *, is_last: bool = False) -> bool:
    """Account for a run of which its launcher says that it ended; nothing if it has its record.

    The launcher's word counts where the runner cannot be seen; a living one is left alone.

    Args:
        run: The run.
        is_last: Whether it is not tried again: then it failed.

    Returns:
        Whether it has its record now.
    """
    with run.hold_lock(LOCK_WAIT_S) as is_free:
        if run.is_finished:
            return True
        state = condition_unlocked(run)
        if not is_free or (state.was_started and state.is_alive):
            return False
        failure = _failure(state)
        if is_last:
            text = f"{failure.message} It was tried as often as the plan allows."
            run.write_record(account_from_disk(run, "failed", Failure(failure.kind, text)))
        else:
            _write_record(run, failure)
        return True


def unaccounted(results: Path, study: str) -> list[str]:
    """What only a person can account for in a study, a sentence each with what to do."""
    unknown = [
        f"{run.run_id} has no record. {state.text}"
        for run in study_runs(results, study)
        if not run.is_finished and (state := condition(run)).stage is RunStage.UNKNOWN
    ]
    return unknown + [
        f"{path} was never finished, by a process that cannot be seen from here. Nothing was "
        "measured in it; remove it when no other host uses this study."
        for path in remove_left_behind(results / study)
    ]


def finalise(run: RunDir, *, force: bool) -> RunRecord:
    """Account for one run that no process carries out any more.

    Args:
        run: The run; it has no record yet.
        force: Whether the user says so where it cannot be proven from here.

    Raises:
        UsageError: A process carries it out, or may and ``force`` was not given; or it is a copy.
    """
    restore_abandoned()
    run.require_own_name()
    with run.hold_lock() as is_free:
        if run.is_finished:
            raise UsageError(f"{run.run_id} has its record already; it is never overwritten.")
        if not is_free:
            raise UsageError(f"{run.run_id} is being carried out: its folder is locked.")
        state = condition_unlocked(run)
        if state.is_alive or not (force or state.may_be_finalised):
            raise UsageError(f"{run.run_id} is not finalised. {state.text}")
        failure = _failure(state)
        if not state.may_be_finalised:
            known = f"Accounted for by `wbcbench finalise --force`. What was known: {state.text}"
            failure = Failure("finalised-by-force", known)
        return _write_record(run, failure)


def _finalise_if_gone(run: RunDir) -> bool:
    """Hold the lock while writing, so that two commands at once write one record."""
    if run.is_finished or not condition(run).may_be_finalised:
        return False
    with run.hold_lock() as is_free:
        if not is_free or run.is_finished:
            return False
        state = condition_unlocked(run)  # again: a runner may have begun before the lock was ours
        if state.may_be_finalised:
            _write_record(run, _failure(state))
        return state.may_be_finalised


def _write_record(run: RunDir, failure: Failure) -> RunRecord:
    record = account_from_disk(run, "interrupted", failure)
    run.write_record(record)
    return record


def account_from_disk(run: RunDir, status: Status, failure: Failure | None) -> RunRecord:
    """The record of a run by its folder alone, however far it came."""
    began = run.read_began() or Circumstances(started_utc=utc_now(), provenance={})
    return account(run, replace(began, **run.read_end()), status, failure)


def _failure(state: Condition) -> Failure:
    return RECORDER_DIED if state.was_started else NEVER_BEGAN
