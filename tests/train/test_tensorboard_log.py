"""Event files, read back with TensorBoard's own reader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wbcbench.core.record import Epoch
from wbcbench.train.tensorboard_log import EPOCHS_FILE, ScalarLog, add_epoch, write_energy_scalars


def epoch(index: int, *, val_accuracy: float | None = 0.5) -> Epoch:
    start_s = 100.0 + 10 * (index - 1)
    return Epoch(
        index=index,
        start_s=start_s,
        end_s=start_s + 8,
        evaluate_end_s=start_s + 10,
        loss=1.0 / index,
        accuracy=0.25 * index,
        val_loss=None,
        val_accuracy=val_accuracy,
        val_balanced_accuracy=None,
        images_seen=10,
        learning_rate=0.001,
    )


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def curve(events: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    from tensorboard.util.tensor_util import make_ndarray

    return [(e.step, float(make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]


def test_epochs_are_read_back_and_the_unknown_is_left_out(tmp_path: Path) -> None:
    with ScalarLog(tmp_path / "tb" / EPOCHS_FILE) as log:
        add_epoch(log, epoch(1))
        add_epoch(log, epoch(2, val_accuracy=None))
    events = read(tmp_path / "tb")
    assert curve(events, "epoch/loss") == [(1, 1.0), (2, 0.5)]
    assert curve(events, "epoch/val_accuracy") == [(1, 0.5)]
    assert "epoch/val_loss" not in events.Tags()["tensors"]


def test_a_watching_tensorboard_sees_each_epoch_at_once(tmp_path: Path) -> None:
    with ScalarLog(tmp_path / EPOCHS_FILE) as log:
        add_epoch(log, epoch(1))
        assert curve(read(tmp_path), "epoch/accuracy") == [(1, 0.25)]


def test_power_and_joules_stand_over_milliseconds(tmp_path: Path) -> None:
    write_energy_scalars(
        tmp_path,
        power_w=[(100.0, 50.0), (100.5, None), (101.0, 70.0)],
        energy_j=[(100.0, 0.0), (101.0, 60.0)],
        wall_offset_s=1e9,
    )
    events = read(tmp_path)
    assert curve(events, "energy/power_w") == [(0, 50.0), (1000, 70.0)]
    assert curve(events, "energy/joules_cum") == [(0, 0.0), (1000, 60.0)]
    assert events.Tensors("energy/power_w")[1].wall_time == pytest.approx(1e9 + 101)


def test_writing_a_log_does_not_load_tensorflow(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from wbcbench.train.tensorboard_log import *\n"
        f"write_energy_scalars(Path({str(tmp_path)!r}), power_w=[(0.0, 1.0)], "
        "energy_j=[], wall_offset_s=0.0)\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
