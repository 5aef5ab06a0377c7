"""A study for TensorBoard: the result of each run, and a server on this machine alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbcbench.core.errors import UsageError
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.text import shell_word
from wbcbench.core.window import unix_s
from wbcbench.energy.source import primary_source, timeline
from wbcbench.table.columns import Cell
from wbcbench.table.derive import wall_offset_s, write_scalars
from wbcbench.table.view import Run
from wbcbench.train.tensorboard_log import EPOCHS_FILE, RESULT_FILE, ScalarLog, add_epoch

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

SETTINGS = (
    "variant",
    "activation",
    "regulariser",
    "block",
    "seed",
    "epochs_planned",
    "batch_size",
    "learning_rate",
    "precision",
    "xla",
    "deterministic_ops",
    "primary_domain",
    "primary_status",
    "synthetic",
)
METRICS: Mapping[str, str] = {
    "primary_energy_train_j": "energy, training (J, as measured)",
    "primary_energy_train_above_idle_j": "energy, training (J, above idle)",
    "energy_to_target_j": "energy to target (J)",
    "energy_per_train_image_j": "energy per image seen (J)",
    "time_train_s": "time, training (s)",
    "balanced_accuracy": "balanced accuracy, TEST",
    "accuracy": "accuracy, TEST",
    "macro_f1": "macro-F1, TEST",
}
"""Columns of ``runs.csv`` that the HPARAMS page sorts by and draws axes of, with their labels."""

_CURVES = ("loss", "accuracy", "val_loss", "val_accuracy", "val_balanced_accuracy")

LOOPBACK = "127.0.0.1"


def write_logs(run: RunDir) -> None:
    """Write all logs of a finished run from its record and traces; none if it never trained."""
    record = run.read_record()
    if not record.epochs:
        return
    offset_s = wall_offset_s(record) or 0.0
    with ScalarLog(run.tensorboard_dir / EPOCHS_FILE) as log:
        for epoch in record.epochs:
            add_epoch(log, epoch, epoch.evaluate_end_s + offset_s)
    write_scalars(run, record)
    write_result(run.tensorboard_dir, record)


def add_result(run: RunDir) -> None:
    """Write the result of a finished run beside its curves.

    Nothing is written if it never trained, or without TensorBoard: the logs can be made later.
    """
    record = run.read_record()
    if record.epochs and find_spec("tensorboard"):
        write_result(run.tensorboard_dir, record)


def require_logs(study_dir: Path, runs: Sequence[RunDir]) -> int:
    """How many runs have logs.

    Raises:
        UsageError: None has.
    """
    count = sum(any(run.tensorboard_dir.glob("events.out.tfevents.*")) for run in runs)
    if not count:
        place = shell_word(study_dir.parent)
        raise UsageError(
            f"No run in {study_dir} has TensorBoard logs. Make them from records and traces: "
            f"wbcbench tensorboard {study_dir.name} --rebuild --results {place}"
        )
    return count


# The curves count training steps only, like ``energy_to_target_j``. The settings and results fill
# TensorBoard's HPARAMS page: one line a run, energy and accuracy as metrics.
def write_result(folder: Path, record: RunRecord) -> None:
    """Write the curves and the line of the HPARAMS page of a finished run to ``folder``."""
    cells, end_s = Run(record).row, unix_s(record.ended_utc)
    with ScalarLog(folder / RESULT_FILE) as log:
        _add_curves(log, record, end_s)
        for name in METRICS:
            value = cells[name]
            if isinstance(value, int | float):
                log.add(f"result/{name}", value, step=0, wall_s=end_s, description=METRICS[name])
        for summary in (
            _build_experiment(),
            _build_start(record, cells),
            _build_end(record, end_s),
        ):
            log.add_summary(summary, wall_s=end_s)


def _add_curves(log: ScalarLog, record: RunRecord, end_s: float) -> None:
    steps = record.model.steps_per_epoch if record.model else None
    for point in timeline(record, primary_source(record)):
        axes = {
            "over_steps": ("optimiser steps", steps and steps * point.epoch.index),
            "over_seconds": ("seconds of training steps", point.time_s),
            "over_joules": ("joules of training steps", point.energy_j),
        }
        for (axis, (label, position)), name in product(axes.items(), _CURVES):
            value = getattr(point.epoch, name)
            if value is not None and position is not None:
                tag, step = f"{axis}/{name}", round(position)
                log.add(tag, value, step=step, wall_s=end_s, description=f"Step: {label}.")


def _build_experiment() -> Summary:
    """Which settings and metrics there are; every run's file says the same."""
    from tensorboard.plugins.hparams import api_pb2, metadata  # type: ignore[import-untyped]

    experiment = api_pb2.Experiment(description="wbcbench: settings, energy and accuracy of runs")
    for name in SETTINGS:
        experiment.hparam_infos.add(name=name)
    for name, words in METRICS.items():
        metric = experiment.metric_infos.add(display_name=words)
        metric.name.tag = f"result/{name}"
    return _build_summary(metadata.EXPERIMENT_TAG, experiment=experiment)


def _build_start(record: RunRecord, cells: Mapping[str, Cell]) -> Summary:
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    info = plugin_data_pb2.SessionStartInfo(
        group_name=record.run_id, start_time_secs=unix_s(record.started_utc)
    )
    for name in SETTINGS:
        _set_value(info.hparams[name], cells[name])
    return _build_summary(metadata.SESSION_START_INFO_TAG, session_start_info=info)


def _set_value(message: Any, cell: Cell) -> None:
    """Put a cell into a protocol buffer's value; unknown stays empty."""
    if isinstance(cell, bool):
        message.bool_value = cell
    elif isinstance(cell, int | float):
        message.number_value = cell
    elif cell is not None:
        message.string_value = cell


def _build_end(record: RunRecord, end_s: float) -> Summary:
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    done = record.status == "done"
    status = api_pb2.STATUS_SUCCESS if done else api_pb2.STATUS_FAILURE
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=end_s)
    return _build_summary(metadata.SESSION_END_INFO_TAG, session_end_info=info)


def _build_summary(tag: str, **content: Any) -> Summary:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData(**content)
    summary = Summary()
    summary.value.add(
        tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR
    )
    return summary


def start_server(logs: Path, port: int | None) -> str:
    """Start TensorBoard in the background of this process; returns its address.

    Args:
        logs: Folder under which event files lie.
        port: To listen on; 0 is any free one, ``None`` the first free one from TensorBoard's own.

    Raises:
        UsageError: The port is taken, or the folder cannot be served.
    """
    from tensorboard import program  # type: ignore[import-untyped]

    arguments = ["wbcbench", "--logdir", str(logs), "--host", LOOPBACK]
    arguments += [] if port is None else ["--port", str(port)]
    board = program.TensorBoard()
    board.configure(argv=arguments)
    try:
        return str(board.launch())
    except program.TensorBoardServerException as error:
        raise UsageError(
            f"TensorBoard cannot listen on {LOOPBACK}: {error.msg} Choose another port with --port."
        ) from error
