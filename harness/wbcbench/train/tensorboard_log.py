"""TensorBoard event files without TensorFlow, for the trainer and the recorder alike.

TensorBoard's own writer loads TensorFlow where that is installed; the recorder must stay small. So
the records are framed by TensorBoard's record writer and hold its own protocol buffers. Nothing
here is a result: the numbers are in the record and the trace.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from wbcbench.core.units import ms_from_s

if TYPE_CHECKING:
    from wbcbench.core.record import Epoch

EPOCHS_FILE = "events.out.tfevents.0000000001.epochs"
ENERGY_FILE = "events.out.tfevents.0000000002.energy"
RESULT_FILE = "events.out.tfevents.0000000003.result"

# Values of the enumerations DataType and DataClass in TensorBoard's protocol buffers.
_DT_FLOAT = 1
_DATA_CLASS_SCALAR = 1

_TAGS = {
    "epoch/loss": "loss",
    "epoch/accuracy": "accuracy",
    "epoch/val_loss": "val_loss",
    "epoch/val_accuracy": "val_accuracy",
    "epoch/val_balanced_accuracy": "val_balanced_accuracy",
    "epoch/learning_rate": "learning_rate",
}


class ScalarLog:
    """One event file of scalars."""

    def __init__(self, path: Path) -> None:
        """Start the file ``path``, replacing an older one; its folder is made."""
        # TensorBoard comes without types.
        from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import (  # type: ignore[import-untyped]
            RecordWriter,
        )

        path.parent.mkdir(parents=True, exist_ok=True)
        self._event: Any = Event
        self._writer = RecordWriter(path.open("wb"))
        self._described = set[str]()
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def __enter__(self) -> Self:
        """Hold the file open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._writer.close()

    def add(
        self, tag: str, value: float, *, step: int, wall_s: float, description: str = ""
    ) -> None:
        """Add one point.

        Args:
            tag: The curve; the part before a slash groups curves.
            value: The point.
            step: Its place on the horizontal axis.
            wall_s: Seconds since 1970, for the axis of wall time.
            description: What the step counts; shown once for each curve.
        """
        event = self._event(wall_time=wall_s, step=step)
        point = event.summary.value.add(tag=tag)
        point.tensor.dtype = _DT_FLOAT
        point.tensor.float_val.append(value)
        if tag not in self._described:
            point.metadata.plugin_data.plugin_name = "scalars"
            point.metadata.data_class = _DATA_CLASS_SCALAR
            point.metadata.summary_description = description
            self._described.add(tag)
        self._write(event)

    def add_summary(self, summary: Any, *, wall_s: float) -> None:
        """Add a summary of a plug-in's own, such as the table of settings."""
        self._write(self._event(wall_time=wall_s, step=0, summary=summary))

    def flush(self) -> None:
        """Make all points visible to a TensorBoard that is open."""
        self._writer.flush()

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())


def add_epoch(log: ScalarLog, epoch: Epoch, wall_s: float | None = None) -> None:
    """Add loss and accuracies of one epoch; what is unknown is left out.

    Args:
        log: Where to.
        epoch: What to add.
        wall_s: Seconds since 1970 at its end; now, if left out.
    """
    wall_s = time.time() if wall_s is None else wall_s
    for tag, name in _TAGS.items():
        value = getattr(epoch, name)
        if value is not None:
            log.add(tag, value, step=epoch.index, wall_s=wall_s, description="Step: epoch, from 1.")
    log.flush()


def write_energy_scalars(
    folder: Path,
    *,
    power_w: Iterable[tuple[float, float | None]],
    energy_j: Iterable[tuple[float, float]],
    wall_offset_s: float,
) -> None:
    """Write power and cumulative joules to ``folder``.

    Args:
        folder: The run's TensorBoard folder.
        power_w: Monotonic seconds and watts of each poll; ``None`` where a read failed.
        energy_j: Monotonic seconds and cumulative joules, times increasing.
        wall_offset_s: What to add to monotonic seconds to get seconds since 1970.
    """
    curves = {"energy/power_w": power_w, "energy/joules_cum": energy_j}
    with ScalarLog(folder / ENERGY_FILE) as log:
        for tag, points in curves.items():
            start_s: float | None = None
            for t_s, value in points:
                start_s = t_s if start_s is None else start_s
                if value is not None:
                    log.add(
                        tag,
                        value,
                        step=round(ms_from_s(t_s - start_s)),
                        wall_s=t_s + wall_offset_s,
                        description="Step: milliseconds since the first poll.",
                    )
