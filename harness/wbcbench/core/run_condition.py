"""What is known of a run without a record, and whether it may be finalised.

A run is *gone* only when its runner is proven to be: the same host and boot, and no such process
any more. Whoever holds the folder's lock is alive, whatever else is known. Everything else is
unknown, and only ``wbcbench finalise RUN --force`` ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wbcbench.core.errors import UsageError
from wbcbench.core.run_folder import RunDir
from wbcbench.core.run_state import Liveness, ProcessIdentity, RunState, liveness
from wbcbench.core.text import printable


class RunStage(StrEnum):
    """How far a run without a record is."""

    WAITING = "waiting"
    RUNNING = "running"
    GONE = "runner gone"
    UNKNOWN = "runner unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """What is known of a run without a record.

    Attributes:
        stage: How far it is.
        text: What is known of who carries it out, and what to do; a sentence or two.
        is_alive: Whether a process of this host is proven to be at it, so that not even force
            may end it.
        was_started: Whether a runner ever began.
    """

    stage: RunStage
    text: str
    is_alive: bool = False
    was_started: bool = True

    @property
    def may_be_finalised(self) -> bool:
        """Whether the record may be made by whoever comes by."""
        return self.stage is RunStage.GONE


def condition(run: RunDir) -> Condition:
    """Look at a run without a record; changes nothing, and works in a folder of others.

    The lock is looked at only where no process is known to be alive; a runner that is about to
    take it waits longer than a look takes.
    """
    found = condition_unlocked(run)
    if found.is_alive or found.stage is RunStage.WAITING:
        return found
    if run.is_locked:
        text = "It is being carried out: its folder is locked."
        return Condition(RunStage.RUNNING, text, is_alive=True)
    return found


def condition_unlocked(run: RunDir) -> Condition:
    """The same for a caller who holds the folder's lock, or knows that nobody does."""
    try:
        state = run.read_state()
    except UsageError:
        text = f"Its state.json is missing or damaged. {_way_out(run)}"
        return Condition(RunStage.UNKNOWN, text)
    if state.runner is not None:
        return _of_runner(run, state.runner, state.running_utc)
    return _of_submitted(run, state)


def require_submitted(run: RunDir) -> RunState:
    """The state of a run that nobody has begun.

    For a runner that holds the folder's lock and is about to begin.

    Raises:
        UsageError: It has its record, or another process began it: traces of two are no trace.
    """
    if run.is_finished:
        raise UsageError(f"The run {run.run_id} has its record already.")
    state = run.read_state()
    if state.runner is not None:
        raise UsageError(
            f"{run.run_id} was begun by another process. {condition_unlocked(run).text}"
        )
    return state


def _of_runner(run: RunDir, runner: ProcessIdentity, since_utc: str | None) -> Condition:
    name = _name(runner)
    match liveness(runner):
        case Liveness.ALIVE:
            text = f"It is being carried out by {name}, since {since_utc}."
            return Condition(RunStage.RUNNING, text, is_alive=True)
        case Liveness.GONE:
            return Condition(RunStage.GONE, f"Its runner, {name}, is gone. {_next_command(run)}")
        case _:
            text = f"Its runner, {name} since {since_utc}, cannot be seen from here."
            return Condition(RunStage.UNKNOWN, f"{text} {_way_out(run)}")


def _of_submitted(run: RunDir, state: RunState) -> Condition:
    name = f"{printable(state.user)} ({_name(state.submitter)})"
    since = f"submitted by {name} at {state.submitted_utc}"
    if state.is_queued:
        text = f"It waits in a queue, {since}. If the queue has lost it: {_force(run)}"
        return Condition(RunStage.WAITING, text, was_started=False)
    match liveness(state.submitter):
        case Liveness.ALIVE:
            text = f"It is about to begin, {since}."
            return Condition(RunStage.WAITING, text, is_alive=True, was_started=False)
        case Liveness.GONE:
            text = f"It never began: {name}, who submitted it, is gone. {_next_command(run)}"
            return Condition(RunStage.GONE, text, was_started=False)
        case _:
            text = f"It was {since}, who cannot be seen from here. {_way_out(run)}"
            return Condition(RunStage.UNKNOWN, text, was_started=False)


def _name(process: ProcessIdentity) -> str:
    return f"process {process.pid} on {printable(process.hostname)}"


def _next_command(run: RunDir) -> str:
    return (
        f"The next `wbcbench run` of this study accounts for it, or: wbcbench finalise {run.path}"
    )


def _way_out(run: RunDir) -> str:
    return f"When you know that nothing runs it any more: {_force(run)}"


def _force(run: RunDir) -> str:
    return f"wbcbench finalise {run.path} --force"
