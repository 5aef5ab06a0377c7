"""What is known of a run without a record, and whether it may be finalised.

A run is *gone* only when its runner is proven to be: the same host and boot, and no such process
any more. A process that holds the folder's lock is alive, whatever else is known. Everything else
is unknown, and only ``wbcbench finalise RUN --force`` ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wbcbench.core.errors import UsageError
from wbcbench.core.run_folder import RunDir
from wbcbench.core.run_state import Liveness, RunState, liveness
from wbcbench.core.spec import MEASURED
from wbcbench.core.text import printable, shell_word


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
        text: What is known of its process, and what to do; a sentence or two.
        is_alive: Whether a process of this host is proven to be at it, so that not even force
            may end it.
        was_started: Whether a runner ever began.
        is_queued: Whether a queue has it, and will start it.
    """

    stage: RunStage
    text: str
    is_alive: bool = False
    was_started: bool = True
    is_queued: bool = False

    @property
    def may_be_finalised(self) -> bool:
        """Whether any command may write the record."""
        return self.stage is RunStage.GONE


def condition(run: RunDir) -> Condition:
    """The condition of a run without a record; changes nothing, and needs no right to write.

    The lock is tested only where no process is known to be alive; a runner that is about to take
    it waits longer than a test takes.
    """
    unlocked = condition_unlocked(run)
    if unlocked.is_alive or unlocked.stage is RunStage.WAITING or not run.is_locked:
        return unlocked
    text = "It is being carried out: its folder is locked."
    return Condition(RunStage.RUNNING, text, is_alive=True)


def condition_unlocked(run: RunDir) -> Condition:
    """The same for a caller who holds the folder's lock, or knows that it is free."""
    force = f"wbcbench finalise {shell_word(run.path)} --force"
    way_out = f"When you know that no process carries it out any more: {force}"
    is_program = run.path.parent.name == MEASURED
    writer = "`wbcbench list`" if is_program else "The next `wbcbench run` of this study"
    next_command = f"{writer} writes its record, or: wbcbench finalise {shell_word(run.path)}"
    try:
        state = run.read_state()
    except UsageError:
        text = f"Its state.json is missing or damaged. {way_out}"
        return Condition(RunStage.UNKNOWN, text)
    is_begun = state.runner is not None
    process = state.runner or state.submitter
    life, name = liveness(process), f"process {process.pid} on {printable(process.hostname)}"
    since = f"submitted by {printable(state.user)} ({name}) at {state.submitted_utc}"
    if not is_begun and state.is_queued:
        text = (
            f"It waits for its turn in job {state.job} of a queue ({state.launcher or 'unknown'}), "
            f"{since}. "
            f"`wbcbench list {shell_word(run.path.parent.name)} --watch` asks the queue."
        )
        return Condition(RunStage.WAITING, text, was_started=False, is_queued=True)
    match life, is_begun:
        case Liveness.ALIVE, True:
            stage = RunStage.RUNNING
            text = f"It is being carried out by {name}, since {state.running_utc}."
        case Liveness.ALIVE, False:
            stage, text = RunStage.WAITING, f"It is about to begin, {since}."
        case Liveness.GONE, True:
            stage, text = RunStage.GONE, f"Its runner, {name}, is gone. {next_command}"
        case Liveness.GONE, False:
            stage = RunStage.GONE
            text = f"It never began: the process that submitted it, {name}, is gone. {next_command}"
        case _, True:
            stage = RunStage.UNKNOWN
            since = f"since {state.running_utc}"
            text = f"Its runner, {name} {since}, cannot be seen from here. {way_out}"
            if state.launcher:  # its queue can tell; a person need not
                study = shell_word(run.path.parent.name)
                text = f"{text} `wbcbench list {study} --watch` asks the queue, which knows."
        case _:
            stage = RunStage.UNKNOWN
            text = f"It was {since}, which cannot be seen from here. {way_out}"
    return Condition(stage, text, is_alive=life is Liveness.ALIVE, was_started=is_begun)


def require_submitted(run: RunDir) -> RunState:
    """The state of a run that no process has begun.

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
