"""What runs to come will cost, from runs that were: time, joules and disk.

A run costs something once and something each epoch; both are read off finished runs with the
nearest settings. Nothing is estimated: without a past run the forecast is unknown.
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
"""Settings that change what a run costs, the weightiest first."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a finished run teaches.

    Attributes:
        spec: What it was asked.
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
        energy_j: Joules of the headline's channels, whole runs.
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


def past_of(run: RunDir, record: RunRecord) -> Past | None:
    """What a run teaches; ``None`` when it finished no epoch."""
    total = spent(record)
    if not record.epochs or total.time_s is None:
        return None
    n = len(record.epochs)
    epochs_s = record.epochs[-1].evaluate_end_s - record.epochs[0].start_s
    epochs_j = _epochs_j(record)
    growing, fixed = run.bytes_on_disk()
    known = total.is_whole and total.energy_j is not None and epochs_j is not None
    return Past(
        spec=record.spec,
        status=total.status,
        once_s=max(total.time_s - epochs_s, 0.0),
        epoch_s=epochs_s / n,
        once_j=max(total.energy_j - epochs_j, 0.0) if known else None,  # type: ignore[operator]
        epoch_j=epochs_j / n if known else None,  # type: ignore[operator]
        once_bytes=fixed,
        second_bytes=growing / max(total.time_s, 1.0),
    )


def _epochs_j(record: RunRecord) -> float | None:
    """Joules of training and of the validation passes, on the headline's channels."""
    view = Run(record)
    passes = [w.name for w in record.windows if is_validation(w.name)]
    return sum_if_all_known(
        [source_energy_j(record, view.primary, name) for name in (TRAIN, *passes)]
    )


def forecast_cost(specs: Iterable[RunSpec], pasts: Sequence[Past]) -> Cost:
    """The cost of runs to come; unknown as soon as one of them has no past run to learn from."""
    wanted = list(specs)
    found = [_expected(spec, nearest(spec, pasts)) for spec in wanted]
    used = {id(each) for spec in wanted for each in nearest(spec, pasts)}
    statuses = sorted({each.status for each in pasts if id(each) in used})
    return Cost(
        runs=len(wanted),
        time_s=sum_if_all_known([each[0] for each in found]) if found else 0.0,
        train_s=sum_if_all_known([each[1] for each in found]) if found else 0.0,
        energy_j=_energy_j([each[2] for each in found], statuses),
        disk_bytes=sum_if_all_known([each[3] for each in found]) if found else 0.0,
        status=statuses[0] if len(statuses) == 1 else "",
        based_on=len(used),
    )


def _energy_j(each_j: Sequence[float | None], statuses: Sequence[str]) -> float | None:
    """Joules of one status only: measured and estimated ones are not added."""
    if not each_j:
        return 0.0
    return sum_if_all_known(list(each_j)) if len(statuses) == 1 else None


def nearest(spec: RunSpec, pasts: Sequence[Past]) -> list[Past]:
    """The past runs whose settings are nearest; empty if none was on such images."""
    fitting = [each for each in pasts if _fits(spec, each.spec)]
    best = max((_likeness(spec, each.spec) for each in fitting), default=())
    return [each for each in fitting if _likeness(spec, each.spec) == best]


def _fits(spec: RunSpec, other: RunSpec) -> bool:
    same = all(getattr(spec, name) == getattr(other, name) for name in _MUST_AGREE)
    named = spec.dataset_id
    return same and (not named or named == other.dataset_id)


def _likeness(spec: RunSpec, other: RunSpec) -> tuple[int, ...]:
    agree = [getattr(spec, name) == getattr(other, name) for name in _NEARNESS]
    return (sum(agree), *map(int, agree))


def _expected(
    spec: RunSpec, pasts: Sequence[Past]
) -> tuple[float | None, float | None, float | None, float | None]:
    """Seconds, seconds of training, joules and bytes of one run."""
    if not pasts:
        return None, None, None, None
    train_s = spec.epochs * fmean(each.epoch_s for each in pasts)
    time_s = fmean(each.once_s for each in pasts) + train_s
    joules = [
        each.once_j + spec.epochs * each.epoch_j
        for each in pasts
        if each.once_j is not None and each.epoch_j is not None
    ]
    disk = fmean(each.once_bytes for each in pasts)
    disk += time_s * fmean(each.second_bytes for each in pasts)
    return time_s, train_s, fmean(joules) if joules else None, disk
