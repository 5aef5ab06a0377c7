"""What is derived from finished records: epochs, TensorBoard scalars, the energy of runs.

All of it can be made again from record and trace at any time; nothing is measured here. Energies of
different status (measured, estimated, …) are never added.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec

from wbcbench.core.files import write_atomically
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Domain, Kind
from wbcbench.core.window import IDLE, TRAIN, VALIDATION_PHASE, Window, is_idle, phase
from wbcbench.energy.appraise import review_traces
from wbcbench.energy.metrics import sum_if_all_known
from wbcbench.energy.source import (
    choose_source,
    live_channel,
    primary_source,
    source_energy_j,
    spent_j,
    timeline,
)
from wbcbench.table.view import Run
from wbcbench.train import tensorboard_log

EPOCH_COLUMNS = (
    "run_id", "epoch", "t_s", "energy_gpu_cum_j", "energy_primary_cum_j", "train_loss",
    "train_acc", "val_loss", "val_acc", "val_balanced_accuracy", "lr",
)  # fmt: skip

BETWEEN = "between"  # the windows, which alone have joules
EVERY_EPOCH = (TRAIN, VALIDATION_PHASE)


def derive(run: RunDir) -> None:
    """Write what is derived from a run's record; a run that never trained has nothing."""
    record = run.read_record()
    if record.epochs:
        write_atomically(run.epochs_path, format_epochs_csv(record))
        if find_spec("tensorboard"):  # an extra; its logs can be made later
            write_scalars(run, record)


def format_epochs_csv(record: RunRecord) -> bytes:
    """One line an epoch; ``t_s`` and joules count from the first training step."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(EPOCH_COLUMNS)
    gpu = timeline(record, choose_source(record, Domain.GPU))
    for on_gpu, point in zip(gpu, timeline(record, primary_source(record)), strict=True):
        e = point.epoch
        cells = (
            record.run_id, e.index, point.time_s, on_gpu.energy_j, point.energy_j, e.loss,
            e.accuracy, e.val_loss, e.val_accuracy, e.val_balanced_accuracy, e.learning_rate,
        )  # fmt: skip
        writer.writerow("" if cell is None else cell for cell in cells)
    return out.getvalue().encode()


def write_scalars(run: RunDir, record: RunRecord) -> None:
    """Write power and energy of the channel that the live display followed.

    The power of a counter is the mean from knot to knot of its curve.
    """
    channel, offset_s = live_channel(record.channels), wall_offset_s(record)
    traces = review_traces(run.read_part(channel.name), record.windows).traces if channel else ()
    reviewed = next((each for each in traces if each.trace.channel == channel), None)
    if reviewed is None or not reviewed.curve.t_s or offset_s is None:
        return
    trace, curve = reviewed.trace, reviewed.curve
    means_w = ((t_s, curve.cell_w(i)) for i, t_s in enumerate(curve.t_s[1:]))
    is_counter = trace.channel.kind is Kind.COUNTER
    tensorboard_log.write_energy_scalars(
        run.tensorboard_dir,
        power_w=means_w if is_counter else zip(trace.t_s, trace.value, strict=True),
        energy_j=zip(curve.t_s, curve.energy_j, strict=True),
        wall_offset_s=offset_s,
    )


def wall_offset_s(record: RunRecord) -> float | None:
    """What to add to monotonic seconds to get seconds since 1970; ``None`` if unknown."""
    pair = record.provenance.get("clock_pair")
    if not isinstance(pair, dict):
        return None
    return float(str(pair["utc_s"])) - float(str(pair["monotonic_s"]))


@dataclass(frozen=True, slots=True)
class Spent:
    """What one run cost from its first window to its last.

    Attributes:
        energy_j: Primary energy over all windows in which it is known.
        status: Of this energy; ``absent`` when no meter worked.
        is_complete: Whether the energy of every window is known; if not, there was more.
        time_s: Wall-clock seconds; ``None`` if the record does not hold them.
    """

    energy_j: float | None
    status: str
    is_complete: bool
    time_s: float | None


@dataclass(frozen=True, slots=True)
class PartCost:
    """Time and energy of one part of a run, or of several runs.

    Attributes:
        time_s: Seconds.
        energy_j: Joules of the primary energy source; ``None`` if unknown.
    """

    time_s: float
    energy_j: float | None


@dataclass(frozen=True, slots=True)
class Past:
    """What a finished run teaches about the cost of others.

    Attributes:
        spec: What was asked.
        status: Of its joules.
        once: Part of a run that is there once → its cost. What lies between windows has no joules:
            those of a run are of its windows.
        per_epoch: The same of parts that each epoch has: training, validation.
        loops: How many trainings its window held, of which the cost is that of one.
        once_bytes, second_bytes: Disk apart from what grows with time, and a second of that.
    """

    spec: RunSpec
    status: str
    once: dict[str, PartCost]
    per_epoch: dict[str, PartCost]
    once_bytes: float
    second_bytes: float
    loops: int = 1


@dataclass(frozen=True, slots=True)
class Sum:
    """Several runs together.

    Attributes:
        runs: How many.
        energy_j: Status → energy of the runs where it is known.
        unknown: Runs whose energy is unknown in some window.
    """

    runs: int
    energy_j: dict[str, float]
    unknown: int


def spent(run: Run) -> Spent:
    """What a run cost according to its record."""
    record, source = run.record, run.primary
    whole_j = run.number("primary_energy_run_j")
    if whole_j is not None:
        return Spent(whole_j, run.origins["primary"], True, _read_wall_s(record))
    parts = [spent_j(record, source, name) for name in run.phase_names]
    known = [part for part in parts if part is not None]
    return Spent(
        energy_j=sum(known) if known else None,
        status=run.origins["primary"],
        is_complete=bool(parts) and len(known) == len(parts),
        time_s=_read_wall_s(record),
    )


def learn_cost(run: Run, total: Spent) -> Past | None:
    """What a run that cost so much teaches; ``None`` when it has no folder or finished no epoch."""
    record = run.record
    if run.folder is None or not record.epochs or total.time_s is None:
        return None
    n = len(record.epochs)
    if TRAIN not in (parts := _measure_parts(run)):
        return None
    epochs_s = record.epochs[-1].evaluate_end_s - record.epochs[0].start_s
    validation_s = parts[VALIDATION_PHASE].time_s if VALIDATION_PHASE in parts else 0.0
    # Epochs follow each other without a gap; windows leave out what is between them.
    parts[TRAIN] = PartCost(epochs_s - validation_s, parts[TRAIN].energy_j)
    repeated_s = (record.loop_count - 1) * (run.duration_s(TRAIN) or 0.0)
    measured_s = repeated_s + sum(part.time_s for part in parts.values())
    parts[BETWEEN] = PartCost(max(total.time_s - measured_s, 0.0), None)
    growing, fixed = run.folder.bytes_on_disk()
    return Past(
        spec=record.spec,
        status=total.status,
        once={name: part for name, part in parts.items() if name not in EVERY_EPOCH},
        per_epoch={
            name: PartCost(part.time_s / n, None if part.energy_j is None else part.energy_j / n)
            for name, part in parts.items()
            if name in EVERY_EPOCH
        },
        loops=record.loop_count,
        once_bytes=fixed,
        second_bytes=growing / max(total.time_s, 1.0),
    )


def _measure_parts(run: Run) -> dict[str, PartCost]:
    """Time and energy of a run by part, one training, in its order; one part for windows alike."""
    windows: dict[str, list[Window]] = defaultdict(list)
    for window in run.phases:
        windows[IDLE if is_idle(window.name) else phase(window.name)].append(window)
    return {
        name: PartCost(
            sum(run.duration_s(window.name) or 0.0 for window in own),
            sum_if_all_known(
                [source_energy_j(run.record, run.primary, window.name) for window in own]
            ),
        )
        for name, own in windows.items()
    }


def sum_spent(runs: Iterable[Spent]) -> Sum:
    """Runs together, energy by status."""
    energy_j: dict[str, float] = {}
    count = unknown = 0
    for run in runs:
        count += 1
        unknown += not run.is_complete
        if run.energy_j is not None:
            energy_j[run.status] = energy_j.get(run.status, 0.0) + run.energy_j
    return Sum(count, energy_j, unknown)


def _read_wall_s(record: RunRecord) -> float | None:
    try:
        start, end = map(datetime.fromisoformat, (record.started_utc, record.ended_utc))
    except ValueError:
        return None
    return max((end - start).total_seconds(), 0.0)
