"""How far a run is: submitted → running → its record. Kept in ``state.json`` from the first byte.

``submitted`` says who asked for the run, where and when; ``running`` says which process carries it
out. The record (done, failed, interrupted) is the end. Each step is written whole.
"""

from __future__ import annotations

import getpass
from dataclasses import dataclass, replace

from wbcbench.core.clock import utc_now
from wbcbench.core.process_identity import ProcessIdentity, this_process


@dataclass(frozen=True, slots=True)
class RunState:
    """What stands in ``state.json``.

    Attributes:
        submitter: The process that submitted the run.
        user: Who that process belonged to.
        submitted_utc: When.
        is_queued: Whether a queue starts the run, so that the submitter's end says nothing of it.
        runner: The process that carries the run out; ``None`` as long as none has begun.
        running_utc: Since when.
    """

    submitter: ProcessIdentity
    user: str
    submitted_utc: str
    is_queued: bool = False
    runner: ProcessIdentity | None = None
    running_utc: str | None = None

    def running(self) -> RunState:
        """The next state: this process carries the run out."""
        return replace(self, runner=this_process(), running_utc=utc_now())


def submitted(*, is_queued: bool) -> RunState:
    """The first state: this process submits the run."""
    return RunState(this_process(), _user(), utc_now(), is_queued)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may know no name for its user
        return "unknown"
