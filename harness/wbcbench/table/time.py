"""Columns: how long each phase took, on the monotonic clock."""

from __future__ import annotations

from wbcbench.core.window import STARTUP, TRAIN, WARMUP
from wbcbench.table.column import Column, ColumnGroup, unfilled
from wbcbench.table.view import Run


def _total_s(run: Run) -> float | None:
    windows = run.record.windows
    if not windows:
        return None
    return max(w.end_s for w in windows) - min(w.start_s for w in windows)


NOT_THERE = "the run did not get there"

GROUP = ColumnGroup(
    "Time",
    (
        Column(
            "time_total_s",
            "float",
            NOT_THERE,
            "start of the first window to end of the last",
            _total_s,
            formula="end of the last window - start of the first",
        ),
        Column(
            "time_train_s",
            "float",
            NOT_THERE,
            "training steps of all epochs: window `train` without its validation passes",
            lambda r: r.duration_s(TRAIN),
            formula="seconds of train - sum of the seconds of validate-k",
        ),
        Column(
            "time_eval_s",
            "float",
            NOT_THERE,
            "validation passes of all epochs",
            lambda r: r.validation_s,
            formula="sum of the seconds of validate-k",
        ),
        Column(
            "time_setup_s",
            "float",
            NOT_THERE,
            "window `startup`",
            lambda r: r.duration_s(STARTUP),
            formula="end - start of window startup",
        ),
        Column(
            "time_warmup_s",
            "float",
            NOT_THERE,
            "window `warmup`",
            lambda r: r.duration_s(WARMUP),
            formula="end - start of window warmup",
        ),
        unfilled("time_step_median_ms", "float", "steady training step"),
    ),
)
