"""Record one run: claim its folder, measure, write its record, whatever happens on the way."""

from __future__ import annotations

import shutil

from wbcbench.core.errors import UsageError, WbcbenchError
from wbcbench.core.record import Circumstances, Failure, RunRecord
from wbcbench.core.run_condition import require_submitted
from wbcbench.core.run_folder import RunDir
from wbcbench.core.window import MonotonicClock, utc_now
from wbcbench.energy.account import account
from wbcbench.run.interrupts import Interrupts
from wbcbench.run.live import View
from wbcbench.run.watcher import Watcher

LEAST_FREE_BYTES = 100_000_000  # trace, predictions and log of a run take a few megabytes


def record_run(
    run: RunDir, view: View, interrupts: Interrupts, host_lock: int | None = None
) -> RunRecord:
    """Carry out one run and write its record.

    What keeps a run from beginning (no meter, no space, another harness) becomes a failed record.

    Args:
        run: Its folder.
        view: Shows how it goes on.
        interrupts: Whether the user asked to stop.
        host_lock: The open file by which the command that started us holds this machine;
            ``None`` to take the machine here.

    Raises:
        UsageError: Somebody else carries out this run, or did.
        RunsFailedError: Not even the record could be written; the next command accounts for it.
    """
    with run.watched() as is_free:
        if not is_free:
            raise UsageError(f"The run {run.run_id} is being carried out by another process.")
        state = require_submitted(run)
        try:
            run.write_state(state.running())
            _require_space(run)
            record = Watcher(run, view, interrupts, MonotonicClock(), host_lock).carry_out()
        except (WbcbenchError, OSError) as error:
            began = run.read_began() or Circumstances(started_utc=utc_now(), provenance={})
            record = account(run, began, "failed", Failure(type(error).__name__, str(error)))
        run.write_record(record)
        return record


def _require_space(run: RunDir) -> None:
    free = shutil.disk_usage(run.path).free
    if free < LEAST_FREE_BYTES:
        raise UsageError(
            f"The disk of {run.path} has {free / 1e6:.0f} MB left; a run wants "
            f"{LEAST_FREE_BYTES / 1e6:.0f} MB. Training was not started. Free space or choose "
            "another folder with --results."
        )
