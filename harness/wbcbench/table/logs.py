"""Which runs of a study have logs, and how to make them again from records and traces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wbcbench.core.errors import UsageError
from wbcbench.core.run_folder import RunDir
from wbcbench.table.aftermath import wall_offset_s, write_scalars
from wbcbench.table.result import write_result
from wbcbench.train import tensorboard_log


def rebuild(run: RunDir) -> None:
    """Write all logs of a finished run from its record and traces; none if it never trained."""
    record = run.read_record()
    if not record.epochs:
        return
    offset_s = wall_offset_s(record) or 0.0
    with tensorboard_log.ScalarLog(run.tensorboard_dir / tensorboard_log.EPOCHS_FILE) as log:
        for epoch in record.epochs:
            tensorboard_log.add_epoch(log, epoch, epoch.evaluate_end_s + offset_s)
    write_scalars(run, record)
    write_result(run.tensorboard_dir, record)


def add_result(run: RunDir) -> None:
    """Write what came of a finished run beside its curves; nothing if it never trained."""
    record = run.read_record()
    if record.epochs:
        write_result(run.tensorboard_dir, record)


def require_logs(study_dir: Path, runs: Sequence[RunDir]) -> int:
    """How many runs have logs.

    Raises:
        UsageError: None has; the message names the way out.
    """
    having = sum(any(run.tensorboard_dir.glob("events.out.tfevents.*")) for run in runs)
    if not having:
        raise UsageError(
            f"No run in {study_dir} has TensorBoard logs: studies are often kept without them. "
            f"Make them from records and traces with: wbcbench tensorboard {study_dir.name} "
            f"--rebuild --results {study_dir.parent}"
        )
    return having
