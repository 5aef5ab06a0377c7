"""Of several attempts at one planned run, one is published: the first that is done.

Where a queue starts runs, a process may outlive the engine's belief in it, and the same run may be
carried out twice at once. Both are measured, both records stay, and one counts: whoever makes a
file under the next free number, which no two can, is published; the other's record says so.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from itertools import count

from wbcbench.core.errors import UsageError
from wbcbench.core.files import read_file, refresh_listing, write_new
from wbcbench.core.record import Failure, RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.study_folder import PUBLISHED

SUPERSEDED = "superseded"


def publish(run: RunDir, record: RunRecord) -> RunRecord:
    """The record that a run gets: as it is, or as that of an attempt which came second.

    Args:
        run: The run; its record is written by the caller, at once.
        record: Its record; only one of a planned run that is done is published.

    Raises:
        OSError: The study's folder cannot be written.
    """
    if record.status != "done" or record.spec.block == 0:
        return record
    folder = run.path.parent / PUBLISHED
    folder.mkdir(exist_ok=True)
    key = record.spec.identity.digest[:24]
    for number in count(1):
        slot = folder / f"{key}.{number}"
        with contextlib.suppress(FileExistsError):
            write_new(slot, run.run_id.encode())
            return record
        first = RunDir(run.path.parent / read_file(slot).decode(errors="replace"))
        if first.run_id == run.run_id:
            return record
        if _counts(first):
            text = (
                f"{first.run_id} is the same run and was done first; the joules of both are kept."
            )
            return replace(record, status="interrupted", error=Failure(SUPERSEDED, text))
    raise AssertionError


def _counts(run: RunDir) -> bool:
    """Whether a published run is done, or about to be; not one that was deleted, or given up."""
    if not run.path.is_dir():
        refresh_listing(run.path.parent)
        if not run.path.is_dir():
            return False
    if not run.is_finished:
        return True
    try:
        return run.read_own_record().status == "done"
    except UsageError:
        return True
