"""What runs to come will cost, from runs that were: time, joules and disk.

A run costs something once and something each epoch; both are read off finished runs with the
nearest settings. Nothing is guessed: without a past run the forecast is unknown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean
from typing import Any

from wbcbench.core.spec import RunSpec
from wbcbench.energy.metrics import sum_if_all_known
from wbcbench.table.derive import Past

_MUST_AGREE = ("image_size", "validation")
_NEARNESS = (
    "variant", "batch_size", "precision", "xla", "power_limit_w", "tuned", "threads",
    "steps_per_execution", "deterministic", "idle_s", "inference_s", "meters",
)  # fmt: skip
"""Settings that change what a run costs, the most important first."""
_read_costly = attrgetter("epochs", "dataset_id", *_MUST_AGREE, *_NEARNESS)


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


def forecast_cost(specs: Iterable[RunSpec], pasts: Sequence[Past]) -> Cost:
    """The cost of runs to come; unknown as soon as one of them has no past run to learn from.

    Joules of different status are not added: then they are unknown.
    """
    alike: dict[Any, list[RunSpec]] = defaultdict(list)
    for spec in specs:
        alike[_read_costly(spec)].append(spec)
    if not alike:
        return Cost(0, 0.0, 0.0, 0.0, 0.0, "", 0)
    nearest = {key: find_nearest(own[0], pasts) for key, own in alike.items()}
    used = {id(past): past for own in nearest.values() for past in own}
    statuses = {past.status for past in used.values()}
    costs = [
        [None if part is None else len(own) * part for part in _expect(own[0], nearest[key])]
        for key, own in alike.items()
    ]
    time_s, train_s, energy_j, disk_bytes = map(sum_if_all_known, zip(*costs, strict=True))
    return Cost(
        runs=sum(map(len, alike.values())),
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
