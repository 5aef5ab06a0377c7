"""What runs to come will cost, from runs that were: time, joules and disk.

A run costs something once and something each epoch; both are read off finished runs with the
nearest settings. Nothing is guessed: without a past run the forecast is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.window import TRAIN, is_validation
from wbcbench.energy.metrics import sum_if_all_known
from wbcbench.energy.source import source_energy_j
from wbcbench.table.derive import spent
from wbcbench.table.view import Run

_MUST_AGREE = ("image_size", "validation")
_NEARNESS = (
    "variant", "batch_size", "precision", "xla", "power_limit_w", "tuned", "threads",
    "steps_per_execution", "deterministic", "idle_s", "inference_s", "meters",
)  # fmt: skip
"""Settings that change what a run costs, the most important first."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a finished run cost.

    Attributes:
        spec: What was asked.
        status: Of its joules.
        once_s, epoch_s: Seconds apart from epochs, and of an epoch with its validation.
        once_j, epoch_j: Joules of the same; ``None`` if unknown.
        once_bytes, second_bytes: Disk apart from what grows with time, and a second of that.
    """

    spec: RunSpec
    status: str
    once_s: float
    epoch_s: float
    once_j: float | None
    epoch_j: float | None
    once_bytes: float
    second_bytes: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What some runs will cost; ``None`` is unknown.

    Attributes:
        runs: How many.
        time_s: Wall-clock seconds without pauses.
        train_s: Of these, epochs.
        energy_j: Joules of the primary energy source, whole runs.
        disk_bytes: Their folders.
        status: Of the joules.
        based_on: How many past runs the forecast rests on.
    """

    runs: int
    time_s: float | None
    train_s: float | None
    energy_j: float | None
    disk_bytes: float | None
    status: str
    based_on: int


def learn_cost(run: RunDir, record: RunRecord) -> Past | None:
    """What a run cost; ``None`` when it finished no epoch."""
    total = spent(record)
    if not record.epochs or total.time_s is None:
        return None
    n = len(record.epochs)
    epochs_s = record.epochs[-1].evaluate_end_s - record.epochs[0].start_s
    validations = [w.name for w in record.windows if is_validation(w.name)]
    source = Run(record).primary
    epochs_j = sum_if_all_known(
        [source_energy_j(record, source, name) for name in (TRAIN, *validations)]
    )
    once_j = epoch_j = None
    if total.is_complete and total.energy_j is not None and epochs_j is not None:
        once_j, epoch_j = max(total.energy_j - epochs_j, 0.0), epochs_j / n
    growing, fixed = run.bytes_on_disk()
    return Past(
        spec=record.spec,
        status=total.status,
        once_s=max(total.time_s - epochs_s, 0.0),
        epoch_s=epochs_s / n,
        once_j=once_j,
        epoch_j=epoch_j,
        once_bytes=fixed,
        second_bytes=growing / max(total.time_s, 1.0),
    )


def forecast_cost(specs: Iterable[RunSpec], pasts: Sequence[Past]) -> Cost:
    """The cost of runs to come; unknown as soon as one of them has no past run to learn from.

    Joules of different status are not added: then they are unknown.
    """
    nearest = [(spec, find_nearest(spec, pasts)) for spec in specs]
    if not nearest:
        return Cost(0, 0.0, 0.0, 0.0, 0.0, "", 0)
    used = {id(past): past for _, own in nearest for past in own}
    statuses = {past.status for past in used.values()}
    costs = [_expect(spec, own) for spec, own in nearest]
    time_s, train_s, energy_j, disk_bytes = map(sum_if_all_known, zip(*costs, strict=True))
    return Cost(
        runs=len(nearest),
        time_s=time_s,
        train_s=train_s,
        energy_j=energy_j if len(statuses) == 1 else None,
        disk_bytes=disk_bytes,
        status=statuses.pop() if len(statuses) == 1 else "",
        based_on=len(used),
    )


def find_nearest(spec: RunSpec, pasts: Sequence[Past]) -> list[Past]:
    """The past runs whose settings are nearest; empty if none was on such images."""

    def rank(past: Past) -> tuple[int, ...]:
        agree = [getattr(spec, name) == getattr(past.spec, name) for name in _NEARNESS]
        return (sum(agree), *agree)

    fitting = [
        past
        for past in pasts
        if all(getattr(spec, name) == getattr(past.spec, name) for name in _MUST_AGREE)
        and spec.dataset_id in {"", past.spec.dataset_id}
    ]
    best = max(map(rank, fitting), default=())
    return [past for past in fitting if rank(past) == best]


def _expect(
    spec: RunSpec, pasts: Sequence[Past]
) -> tuple[float | None, float | None, float | None, float | None]:
    """Seconds, seconds of training, joules and bytes of one run."""
    if not pasts:
        return None, None, None, None
    train_s = spec.epochs * fmean(past.epoch_s for past in pasts)
    time_s = fmean(past.once_s for past in pasts) + train_s
    joules = [
        past.once_j + spec.epochs * past.epoch_j
        for past in pasts
        if past.once_j is not None and past.epoch_j is not None
    ]
    disk = fmean(past.once_bytes for past in pasts)
    disk += time_s * fmean(past.second_bytes for past in pasts)
    return time_s, train_s, fmean(joules) if joules else None, disk
