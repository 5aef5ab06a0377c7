"""What runs to come will cost, from runs that were: time, joules and disk.

A run costs something once and something each epoch; both are read off finished runs with the
nearest settings. Nothing is guessed: without a past run the forecast is unknown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean
from typing import Any

from wbcbench.core.spec import RunSpec, count_loops
from wbcbench.core.window import TRAIN
from wbcbench.energy.metrics import scale, sum_if_all_known
from wbcbench.table.derive import BETWEEN, EVERY_EPOCH, PartCost, Past

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
        epochs: Of all of them.
        parts: Part of a run → its cost in all of them; ``None`` if unknown.
        disk_bytes: Their folders.
        status: Of the joules.
        based_on: How many past runs the forecast rests on.
        based_on_epochs: How many epochs these had.
        missing: The settings of the first run for which there was no past one; empty if none.
    """

    runs: int
    epochs: int
    parts: dict[str, PartCost] | None
    disk_bytes: float | None
    status: str
    based_on: int
    based_on_epochs: int
    missing: str = ""

    @property
    def time_s(self) -> float | None:
        """Wall-clock seconds without pauses: the sum of the parts."""
        return None if self.parts is None else sum(part.time_s for part in self.parts.values())

    @property
    def train_s(self) -> float | None:
        """Of these, epochs with their validation."""
        if self.parts is None:
            return None
        return sum(part.time_s for name, part in self.parts.items() if name in EVERY_EPOCH)

    @property
    def energy_j(self) -> float | None:
        """Joules of the primary energy source, whole runs: the sum of the parts."""
        if self.parts is None or (self.runs and not self.status):
            return None
        of_windows = [part.energy_j for name, part in self.parts.items() if name != BETWEEN]
        return sum_if_all_known(of_windows) if self.runs else 0.0


def forecast_cost(specs: Iterable[RunSpec], pasts: Sequence[Past]) -> Cost:
    """The cost of runs to come; unknown as soon as one of them has no past run to learn from.

    Joules of different status are not added: then they are unknown.
    """
    alike: dict[Any, list[RunSpec]] = defaultdict(list)
    for spec in specs:
        alike[_read_costly(spec)].append(spec)
    nearest = {key: find_nearest(own[0], pasts) for key, own in alike.items()}
    used = {id(past): past for own in nearest.values() for past in own}
    statuses = {past.status for past in used.values()}
    costs: dict[str, list[PartCost]] = defaultdict(list)
    disk_bytes = 0.0
    for key, own in alike.items():
        parts = _expect_parts(own[0], nearest[key])
        for name, part in parts.items():
            energy_j = None if part.energy_j is None else len(own) * part.energy_j
            costs[name].append(PartCost(len(own) * part.time_s, energy_j))
        disk_bytes += len(own) * _expect_bytes(parts, nearest[key])
    is_known = all(nearest.values())
    return Cost(
        runs=sum(map(len, alike.values())),
        epochs=sum(spec.epochs for own in alike.values() for spec in own),
        parts={name: _add(own) for name, own in costs.items()} if is_known else None,
        disk_bytes=disk_bytes if is_known else None,
        status=statuses.pop() if len(statuses) == 1 else "",
        based_on=len(used),
        based_on_epochs=sum(past.spec.epochs for past in used.values()),
        missing=next((_describe_needed(alike[key][0]) for key in nearest if not nearest[key]), ""),
    )


def _describe_needed(spec: RunSpec) -> str:
    """``image_size 80, validation published``: what a past run must have in common with it."""
    images = ["the same images"] * bool(spec.dataset_id)
    return ", ".join([*(f"{name} {getattr(spec, name)}" for name in _MUST_AGREE), *images])


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


def _expect_parts(spec: RunSpec, pasts: Sequence[Past]) -> dict[str, PartCost]:
    """What one run will cost, by part: the mean of past runs."""
    parts: dict[str, list[PartCost]] = defaultdict(list)
    for past in pasts:
        for name, part in past.once.items():
            parts[name].append(part)
        for name, part in past.per_epoch.items():
            times = spec.epochs * (_expect_loops(spec, past) if name == TRAIN else 1)
            parts[name].append(PartCost(times * part.time_s, scale(part.energy_j, times)))
    means = {}
    for name, own in parts.items():
        known = [part.energy_j for part in own if part.energy_j is not None]
        # A run without a part spent nothing on it.
        share = len(own) / len(pasts)
        means[name] = PartCost(
            share * fmean(part.time_s for part in own), share * fmean(known) if known else None
        )
    return means


def _expect_loops(spec: RunSpec, past: Past) -> int:
    """How often a run will train, where the device that decides is that of a past run."""
    if isinstance(spec.loops, int):
        return spec.loops
    if spec.loops is None and past.loops == 1:
        return 1
    return count_loops(spec.epochs * past.per_epoch[TRAIN].time_s, spec.train_window_s)


def _expect_bytes(parts: Mapping[str, PartCost], pasts: Sequence[Past]) -> float:
    if not pasts:
        return 0.0
    time_s = sum(part.time_s for part in parts.values())
    once = fmean(past.once_bytes for past in pasts)
    return once + time_s * fmean(past.second_bytes for past in pasts)


def _add(parts: Sequence[PartCost]) -> PartCost:
    return PartCost(
        sum(part.time_s for part in parts), sum_if_all_known([part.energy_j for part in parts])
    )
