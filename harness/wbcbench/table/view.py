"""One run and one study as columns, comparisons and reports see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wbcbench.core.record import Epoch, Inference, RunRecord, Sampling
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Domain
from wbcbench.core.window import IDLE_AFTER, IDLE_BEFORE, TRAIN, Window, is_validation
from wbcbench.energy.appraise import steps_duration_s
from wbcbench.energy.metrics import Reached, energy_above_idle_j, mean_known, sum_if_all_known
from wbcbench.energy.source import (
    PRIMARY_DOMAINS,
    EnergySource,
    cost_of_target,
    first_with_energy,
    meter_of,
    rank_sources,
    source_energy_j,
    source_power_w,
)
from wbcbench.registry import VARIANTS, load_part
from wbcbench.train.variants import Variant

ABSENT = "absent"

# Joules of runs that differ in one of these are not put on one axis.
COMPARABLE = (
    "primary_domain",
    "primary_method",
    "primary_status",
    "synthetic",
    "dataset_sha256",
    "host_id",
    "gpu_name",
)

_PLAIN = (str, int, float, bool)

Row = dict[str, Any]
"""Cells by column; ``None`` is unknown."""


class Run:
    """A run: its record, what follows from it, and its folder.

    Whatever takes work is worked out when it is first asked for, and once.

    Attributes:
        record: What came of the run.
        folder: Where it lies; ``None`` where there is the record alone.
        study: Name of the study it was read from, which a renamed folder decides.
    """

    def __init__(self, record: RunRecord, folder: RunDir | None = None, study: str = "") -> None:
        self.record = record
        self.folder = folder
        self.study = study

    @property
    def run_id(self) -> str:
        """Its name."""
        return self.record.run_id

    @property
    def spec(self) -> RunSpec:
        """What was asked."""
        return self.record.spec

    @property
    def place(self) -> tuple[str, int, str]:
        """What the table is sorted by."""
        return self.spec.variant, self.spec.block, self.run_id

    @cached_property
    def row(self) -> Row:
        """Its row of the results table, in the table's order."""
        from wbcbench.table import COLUMNS  # the columns are functions of a run

        return {column.name: column.value(self) for column in COLUMNS}

    def number(self, column: str) -> float | None:
        """A cell that holds a number."""
        cell = self.row.get(column)
        return float(cell) if isinstance(cell, int | float) else None

    @property
    def is_done(self) -> bool:
        """Whether it ended well and its numbers may be used."""
        return bool(self.row["status"] == "done")

    @property
    def train_energy_j(self) -> float | None:
        """Headline joules of ``train``, as the table has them."""
        energy_j: float | None = self.row["primary_energy_train_j"]
        return energy_j

    @property
    def comparable_by(self) -> tuple[Any, ...]:
        """What must agree before joules are put beside each other."""
        return tuple(self.row[name] for name in COMPARABLE)

    @cached_property
    def predictions_path(self) -> Path | None:
        """Where its predictions lie; ``None`` if they were not kept."""
        path = self.folder.predictions_path if self.folder else None
        return path if path and path.exists() else None

    def fact(self, name: str) -> str | int | float | bool | None:
        """One plain value of the provenance; ``None`` if it is not there."""
        value = self.record.provenance.get(name)
        return value if isinstance(value, _PLAIN) else None

    def meter_fact(self, meter: str, *path: str) -> str | None:
        """One word of what a meter said of itself; ``None`` if it did not."""
        value: object = self.record.meters.get(meter)
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return None if value is None else str(value)

    @cached_property
    def variant(self) -> Variant | None:
        """The variant itself; ``None`` for a variant this version does not know."""
        name = self.record.spec.variant
        found: Variant | None = load_part("variant", name) if name in VARIANTS else None
        return found

    @cached_property
    def primary(self) -> EnergySource | None:
        """Who speaks for the run."""
        found = (self.source(domain) for domain in PRIMARY_DOMAINS)
        return first_with_energy(self.record, [each for each in found if each])

    @cached_property
    def origins(self) -> Mapping[str, str]:
        """Part of the machine, or ``primary`` → measured, estimated … or absent."""
        sources = {domain.value: self.source(domain) for domain in Domain}
        sources["primary"] = self.primary
        return {part: who.status.value if who else ABSENT for part, who in sources.items()}

    @property
    def gain_error(self) -> float | None:
        """Relative error of the headline's sensor that all runs on it share; ``None`` = unknown."""
        gains = {channel.name: channel.gain_error for channel in self.record.channels}
        channels = self.primary.channels if self.primary else ()
        known = [gain for name in channels if (gain := gains[name]) is not None]
        return max(known) if known and len(known) == len(channels) else None

    @cached_property
    def _speakers(self) -> dict[Domain, EnergySource | None]:
        return {domain: first_with_energy(self.record, self.readings[domain]) for domain in Domain}

    @cached_property
    def readings(self) -> dict[Domain, list[EnergySource]]:
        """Every way each part of the machine was read, the most trusted first."""
        return {domain: rank_sources(self.record.channels, domain) for domain in Domain}

    def source(self, domain: Domain) -> EnergySource | None:
        """Who speaks for one part of the machine."""
        return self._speakers[domain]

    def energy_j(self, domain: Domain, window: str = TRAIN) -> float | None:
        """Joules of one part in one window."""
        return source_energy_j(self.record, self.source(domain), window)

    def meter_energy_j(self, meter: str, domain: Domain, window: str = TRAIN) -> float | None:
        """Joules of one part in one window as one meter saw it, whoever speaks for the part."""
        own = (s for s in self.readings[domain] if meter_of(s.channels[0]) == meter)
        return source_energy_j(self.record, next(own, None), window)

    def idle_w(self, who: EnergySource | None, windows: tuple[str, ...]) -> float | None:
        """Mean power of the first of these idle windows that is known."""
        found = (source_power_w(self.record, who, name) for name in windows)
        return next((power_w for power_w in found if power_w is not None), None)

    def energy_above_idle_j(self, who: EnergySource | None) -> float | None:
        """Joules of ``train`` above idle: the mean of the idle power before and after."""
        train_s = self.duration_s(TRAIN)
        if train_s is None:
            return None
        return energy_above_idle_j(
            source_energy_j(self.record, who, TRAIN), self.idle_mean_w(who), train_s
        )

    def idle_mean_w(self, who: EnergySource | None) -> float | None:
        """Mean of the idle power before and after; of the one that is known, else ``None``."""
        return mean_known([self.idle_w(who, IDLE_BEFORE), self.idle_w(who, IDLE_AFTER)])

    def validation_j(self, domain: Domain) -> float | None:
        """Joules of one part in all validation passes; ``None`` if there was none."""
        return sum_if_all_known([self.energy_j(domain, name) for name in self._passes])

    @property
    def validation_s(self) -> float | None:
        """Seconds of all validation passes; ``None`` if there was none."""
        return sum_if_all_known([self.duration_s(name) for name in self._passes])

    @cached_property
    def _passes(self) -> list[str]:
        return [w.name for w in self.record.windows if is_validation(w.name)]

    def duration_s(self, window: str) -> float | None:
        """Length of a window; ``None`` if the run did not get there.

        That of ``train`` leaves out the validation passes, as its joules do.
        """
        if window == TRAIN:
            return steps_duration_s(self.record.windows)
        found = self.record.window(window)
        return found.duration_s if found else None

    @cached_property
    def phases(self) -> list[Window]:
        """Windows whose joules add up to the run's.

        None lies in another but the validation passes, which are counted apart from ``train``.
        """
        windows = self.record.windows
        return [w for w in windows if is_validation(w.name) or not self._is_part(w)]

    def _is_part(self, window: Window) -> bool:
        start_s, end_s = window.start_s, window.end_s
        return any(
            other.start_s <= start_s
            and end_s <= other.end_s
            and other.duration_s > window.duration_s
            for other in self.record.windows
        )

    @cached_property
    def best_epoch(self) -> Epoch | None:
        """The epoch with the best validation; the first of equals; ``None`` without validation."""
        scored = [(s, e) for e in self.record.epochs if (s := _validation(e)) is not None]
        return max(scored, key=lambda pair: pair[0])[1] if scored else None

    @cached_property
    def reached(self) -> Reached | None:
        """What it took to reach the plan's target on the headline's joules."""
        return cost_of_target(self.record, self.primary)

    def inference(self, batch_size: int) -> Inference | None:
        """The inference window of one batch size."""
        windows = (i for i in self.record.inference if i.batch_size == batch_size)
        return next(windows, None)

    @cached_property
    def sampling(self) -> Sampling | None:
        """How well the headline's meter was sampled."""
        if self.primary is None:
            return None
        meter = meter_of(self.primary.channels[0])
        found = (s for s in self.record.sampling if meter_of(s.meter) == meter)
        return next(found, None)


def _validation(epoch: Epoch) -> float | None:
    balanced = epoch.val_balanced_accuracy
    return epoch.val_accuracy if balanced is None else balanced


@dataclass(frozen=True)
class Study:
    """A study: its runs with a record, and how many have none.

    Attributes:
        name: Of its folder.
        runs: Every run with a record, in the table's order, failed ones included.
        unfinished: Runs without a record.
        folder: Where it lies, with plan, traces and predictions; ``None`` = records alone.
    """

    name: str
    runs: tuple[Run, ...]
    unfinished: int = 0
    folder: Path | None = None

    @cached_property
    def done(self) -> tuple[Run, ...]:
        """Runs that ended well."""
        return tuple(run for run in self.runs if run.is_done)

    @cached_property
    def comparable(self) -> tuple[Run, ...]:
        """Finished runs with joules that may stand on one axis: the largest such set."""
        known = [run for run in self.done if run.train_energy_j is not None]
        counts = Counter(run.comparable_by for run in known)
        if not counts:
            return ()
        largest = max(counts, key=lambda k: (counts[k], repr(k)))
        return tuple(run for run in known if run.comparable_by == largest)

    @property
    def left_out(self) -> int:
        """Finished runs whose joules may not stand beside the others, or are unknown."""
        return len(self.done) - len(self.comparable)

    @cached_property
    def is_synthetic(self) -> bool:
        """Whether any run used drawn images or a made-up signal."""
        return any(run.record.synthetic for run in self.runs)

    @property
    def variants(self) -> list[str]:
        """Every variant, sorted."""
        return sorted({run.spec.variant for run in self.runs})


def read_study(folder: Path) -> Study:
    """Read every record of a study, in the table's order.

    Raises:
        UsageError: A record is damaged or was written by a newer version.
    """
    run_dirs = study_runs(folder.parent, folder.name)
    runs = [Run(each.read_record(), each, folder.name) for each in run_dirs if each.is_finished]
    ordered = tuple(sorted(runs, key=lambda run: run.place))
    return Study(folder.name, ordered, len(run_dirs) - len(runs), folder)
