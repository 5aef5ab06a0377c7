"""A study as the sections read it: its comparison, and what they need of each run's record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from wbcbench.compare.measures import MEASURES
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.quality import QualityWarning
from wbcbench.core.record import AbsentMeter, DatasetFacts, Failure, Scores, SensorCard
from wbcbench.core.study_folder import CLAIMS, PLAN
from wbcbench.core.trace import Channel, Origin
from wbcbench.core.window import TRAIN, WindowEnergy
from wbcbench.energy.bill import Bill
from wbcbench.energy.checks.job import describe_node_joules
from wbcbench.energy.cross_check import agreements, deepest_check
from wbcbench.energy.metrics import mean_known, sum_if_all_known
from wbcbench.energy.source import describe_model, target_score, timeline
from wbcbench.table.deleted import DeletedRun, read_deleted
from wbcbench.table.derive import Spent, spent
from wbcbench.table.view import Run, Study

if TYPE_CHECKING:
    from wbcbench.compare.claims import ClaimResult
    from wbcbench.compare.design import Configuration
    from wbcbench.compare.result import Comparison, PlannedClaimResult
    from wbcbench.report.style import Styles
    from wbcbench.study.plan import Plan

_PARTS = {"gpu": "GPU", "cpu": "CPU", "system": "whole machine"}
_READ = {
    "counter": "energy counter",
    "integral_instant": "integrated power",
    "integral_usage": "integrated power",
    "integral_average": "integrated averaged power",
    "integral_unnamed": "integrated power",
    "rapl_package": "RAPL counter",
    "rapl_dram": "RAPL counter",
    "rapl_rapl_package": "RAPL counter",
    "rapl_rapl_dram": "RAPL counter",
    "rapl_rapl_psys": "RAPL counter",
    "codecarbon_tdp_load": "a model of power rating and load",
    "codecarbon_constant": "a constant power",
    "wall_wall_meter": "wall meter",
}

_BUDGET = {"gain": 2, "quantisation": 2, "edges": 1, "sampling": 1, "baseline": 1}
"""Part of a budget → how devices add up: 1 as they are, for they are late alike; 2 in squares."""


LEARNING = {
    "stuck": 1.2, "final_train_accuracy": 0.0, "validation_movement": 0.5,
    "epochs_until_near_best": 0.02,
}  # fmt: skip
"""Measure of a learning curve → its number (``compare.measures``)."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The validation metric of one run at the end of its epochs, as far as it is known.

    Attributes:
        epochs: Their numbers.
        energy_j: Primary energy of the training steps up to each; ``None`` is unknown.
        time_s: Seconds of the same steps.
        score: The plan's target metric.
    """

    epochs: tuple[int, ...]
    energy_j: tuple[float | None, ...]
    time_s: tuple[float, ...]
    score: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PairedReading:
    """Two readings of one part of the machine in ``train``: ``a`` and ``b`` are channels."""

    a: str
    b: str
    a_j: float
    b_j: float
    is_judged: bool


@dataclass(frozen=True, slots=True)
class RunEvidence:
    """What the sections need of one record; a record itself is too large to hold thousands.

    Attributes:
        curve: Its learning curve.
        learning: Measures of it, by the names of ``LEARNING``; ``None`` is unknown.
        bill: What each part of it cost.
        readings: Pairs of readings of one part.
        depths: Counter → how closely it was checked, in per cent, and by how many readings.
        budget_j: Part of the ± of the training's primary energy → its half-width.
        model: What estimated joules rest on, as a clause; empty where it is not known.
        inference_s: Lengths of its inference windows.
        idle_w: Idle power of the primary energy's part, before and after.
        cost: From its first window to its last.
        whose: Whose joules those of all but boards are, where a job had a part of its node.
        test, leakage_free, dataset, warnings, absent, error, channels, cards: As in the record.
    """

    curve: Curve
    learning: Mapping[str, float | None]
    bill: Bill
    readings: tuple[PairedReading, ...]
    depths: Mapping[str, tuple[float | None, int]]
    budget_j: Mapping[str, float | None]
    model: str
    test: Scores | None
    leakage_free: Scores | None
    dataset: DatasetFacts | None
    warnings: tuple[QualityWarning, ...]
    absent: tuple[AbsentMeter, ...]
    error: Failure | None
    channels: tuple[Channel, ...]
    cards: tuple[SensorCard, ...]
    inference_s: tuple[float, ...]
    idle_w: tuple[float | None, float | None]
    cost: Spent
    whose: str


def _read_evidence(run: Run) -> RunEvidence:
    record = run.record
    train = [energy for energy in record.energies if energy.window == TRAIN]
    lengths = (run.duration_s(each.window) for each in record.inference)
    return RunEvidence(
        curve=_read_curve(run),
        learning={name: MEASURES[name].read(record, at) for name, at in LEARNING.items()},
        bill=run.bill,
        readings=tuple(_pair_readings(run, train)),
        depths=_read_depths(run),
        budget_j={name: _read_budget_j(run, name) for name in _BUDGET},
        model=describe_model(record.meters, str(run.row["primary_method"])),
        test=record.test,
        leakage_free=record.test_leakage_free,
        dataset=record.dataset,
        warnings=record.warnings,
        absent=record.absent,
        error=record.error,
        channels=record.channels,
        cards=record.sensor_cards,
        inference_s=tuple(length_s for length_s in lengths if length_s is not None),
        idle_w=(run.idle_w(run.primary, "before"), run.idle_w(run.primary, "after")),
        cost=spent(run),
        whose=describe_node_joules(record.channels, record.provenance),
    )


def _read_curve(run: Run) -> Curve:
    points = [
        (point.epoch.index, point.energy_j or None, point.time_s, score)
        for point in timeline(run.record, run.primary)
        if (score := target_score(run.record, point.epoch)) is not None
        and math.isfinite(score)
        and point.time_s > 0
    ]
    epochs, energy_j, time_s, scores = zip(*points, strict=True) if points else ((),) * 4
    return Curve(epochs, energy_j, time_s, scores)


def _pair_readings(run: Run, train: Sequence[WindowEnergy]) -> Iterable[PairedReading]:
    known = {energy.channel: energy.energy_j for energy in train}

    def add_up(names: str) -> float | None:
        return sum_if_all_known([known.get(name) for name in names.split("+")])

    for pair in agreements(run.record.channels, train):
        a_j, b_j = add_up(pair.a), add_up(pair.b)
        if a_j is not None and b_j:
            yield PairedReading(pair.a, pair.b, a_j, b_j, pair.status != "cross-check")


def _read_depths(run: Run) -> Mapping[str, tuple[float | None, int]]:
    pairs = run.record.agreements
    counters = dict.fromkeys(pair.a for pair in pairs if pair.status != "cross-check")
    checks = {counter: deepest_check(pairs, counter, TRAIN) for counter in counters}
    return {name: (check.depth_pct, check.readings) for name, check in checks.items() if check}


def _read_budget_j(run: Run, part: str) -> float | None:
    """A part of the training window's uncertainty, over the devices of the primary energy."""
    if run.row["primary_status"] == "estimated" or run.primary is None:
        return None
    order, channels = _BUDGET[part], run.primary.channels
    budgets = [b for b in run.record.budgets if b.window == TRAIN and b.channel in channels]
    halves: list[float | None] = [getattr(budget, f"{part}_j") for budget in budgets]
    total = sum_if_all_known([None if half is None else half**order for half in halves])
    return None if total is None else total ** (1 / order)


class ReportStudy(Study):
    """A study with what the report needs beyond its runs, each computed once."""

    @cached_property
    def plan(self) -> Plan | None:
        """The plan; ``None`` for single runs."""
        from wbcbench.study import plan

        path = self.folder / PLAN if self.folder else None
        return plan.from_json(path) if path and path.exists() else None

    @property
    def is_fixed_beforehand(self) -> bool:
        """Whether the plan lay with the study before the first run began."""
        from wbcbench.compare.planned import is_before
        from wbcbench.study.plan import read_stored_utc

        if self.plan is None or self.folder is None:
            return False
        return is_before(read_stored_utc(self.folder / PLAN, self.plan), self.runs)

    @property
    def planned(self) -> int:
        """How many runs the plan has without those added by a stopping rule; 0 without a plan."""
        plan = self.plan
        return sum(run.block <= plan.blocks for run in plan.runs) if plan else 0

    @cached_property
    def deleted(self) -> Sequence[DeletedRun]:
        """Runs of the study that are no more."""
        return read_deleted(self.folder) if self.folder else ()

    @property
    def comparison(self) -> Comparison | None:
        """The result of ``wbcbench compare``; ``None`` where nothing can be compared.

        The joules compared are the best that this study has: the plan's channel first.
        """
        return None if isinstance(self._outcome, str) else self._outcome

    @property
    def why_not_compared(self) -> str:
        """Why there is no comparison, in whole sentences; empty where there is one."""
        return self._outcome if isinstance(self._outcome, str) else ""

    @cached_property
    def planned_claims(self) -> tuple[PlannedClaimResult, ...]:
        """The claims of the plan, each with its result; inconclusive where nothing is compared."""
        from wbcbench.compare.planned_claims import leave_open
        from wbcbench.study.plan import choose_settings

        if self.comparison is not None or self.folder is None:
            return self.comparison.claims if self.comparison else ()
        return leave_open(choose_settings([self.folder], {}), self.why_not_compared)

    @cached_property
    def kept_claims(self) -> tuple[ClaimResult, ...]:
        """The claims of the file that lies with the study, each with its result.

        Raises:
            UsageError: It is no file of claims.
        """
        from wbcbench.compare.claims import evaluate_claim, read_claims

        path = self.folder / CLAIMS if self.folder else None
        if path is None or not path.is_file():
            return ()
        runs = sorted(self.runs, key=lambda run: run.run_id)
        return tuple(evaluate_claim(claim, runs) for claim in read_claims(path))

    @cached_property
    def _outcome(self) -> Comparison | str:
        """The comparison with the study's own plan, or why there is none.

        Without a plan the joules compared are the most trustworthy ones of every configuration.
        """
        from wbcbench.compare.analysis import compare
        from wbcbench.study.plan import choose_settings

        if self.folder is None:
            return "The folder of the runs is not known."
        settings = choose_settings([self.folder], {})
        outcome: Comparison | str = ""
        for status in [settings.lowest_status] if settings.plan_sha256 else list(Origin):
            try:
                settings = replace(settings, lowest_status=status)
                outcome = compare(self.runs, settings, [self.folder.name], self.unfinished)
            except (CannotMeasureError, UsageError) as error:
                outcome = outcome or str(error)
                continue
            if outcome.energy.metric is not None:
                break
        return outcome

    @property
    def blocks_used(self) -> int:
        """How many complete blocks the means are of; 0 where they are of runs."""
        return len(self.comparison.blocks.runs) if self.comparison else 0

    @cached_property
    def evidence(self) -> Mapping[Run, RunEvidence]:
        """What the sections need of each record, which is read once."""
        return {run: _read_evidence(run) for run in self.runs}

    @cached_property
    def styles(self) -> Styles:
        """The style of each variant, in every figure."""
        from wbcbench.report.style import choose_styles

        return choose_styles(self.labels)

    @property
    def energy_words(self) -> str:
        """Part, status and method of this report's joules: ``GPU, measured (energy counter)``."""
        if not self.comparable:
            return "unknown"
        row = self.comparable[0].row
        part = _PARTS.get(row["primary_domain"], str(row["primary_domain"]))
        return f"{part}, {describe_status(row['primary_status'], row['primary_method'])}"

    @property
    def energy_status(self) -> str:
        """Measured, estimated, simulated or, without joules, absent."""
        return str(self.comparable[0].row["primary_status"]) if self.comparable else "absent"

    @property
    def energy_kind(self) -> str:
        """``estimated `` and the like before the word energy; empty where it is measured."""
        return "" if self.energy_status in {"measured", "absent"} else f"{self.energy_status} "

    @property
    def stamp(self) -> str:
        """Added to the caption of what may be seen alone: that it is no result, if so."""
        return " Synthetic: no result." if self.is_synthetic else ""

    def stamp_of(self, metrics: Iterable[str]) -> str:
        """The stamp of what was compared: of joules under another name, their name says what."""
        is_primary = any(
            name in {"primary_energy_train_j", "energy_gpu_train_j"} for name in metrics
        )
        return self.energy_stamp if is_primary else self.stamp

    @property
    def energy_stamp(self) -> str:
        """The same for joules, with their part and status."""
        return f" Energy: {self.energy_words}.{self.stamp}"

    @cached_property
    def configurations(self) -> tuple[Configuration, ...]:
        """Every configuration with a record, in the comparison's order, then by label."""
        from wbcbench.compare.design import configurations

        compared = self.comparison.design.configurations if self.comparison else ()
        order = {configuration.label: place for place, configuration in enumerate(compared)}
        return tuple(
            sorted(
                configurations(self.runs), key=lambda c: (order.get(c.label, len(order)), c.label)
            )
        )

    @cached_property
    def _labels(self) -> dict[Run, str]:
        return {run: c.label for c in self.configurations for run in c.runs}

    def label_of(self, run: Run) -> str:
        """Its configuration: the variant, with those settings in which this study's runs differ."""
        return self._labels[run]

    @property
    def labels(self) -> list[str]:
        """The label of every configuration, sorted; the variants, where runs differ no further."""
        return sorted(set(self._labels.values()))

    def by_label(self, runs: Iterable[Run]) -> dict[str, list[Run]]:
        """These runs by label, configurations in the comparison's order, runs in the study's."""
        chosen = set(runs)
        groups = {c.label: [run for run in c.runs if run in chosen] for c in self.configurations}
        return {label: own for label, own in groups.items() if own}

    def used(self, configuration: Configuration) -> tuple[Run, ...]:
        """Its runs of complete blocks; without any complete block, its comparable or done runs."""
        return tuple(run for run in configuration.runs if run in self._used)

    def metered(self, configuration: Configuration) -> tuple[Run, ...]:
        """Those of its used runs whose joules are comparable with the others'."""
        comparable = set(self.comparable)
        return tuple(run for run in self.used(configuration) if run in comparable)

    @cached_property
    def _used(self) -> frozenset[Run]:
        blocks = self.comparison.blocks.runs if self.comparison else ()
        in_blocks = frozenset(run for block in blocks for run in block)
        return in_blocks or frozenset(self.comparable or self.done)

    @property
    def photographs(self) -> float | None:
        """How many photographs the test images are made from; ``None`` where that is unknown."""
        return next((n for n in known_values(self.done, "n_test_photographs") if n), None)

    def distinct_values(self, column: str) -> list[str]:
        """The known values of a column of the results table, each once, sorted as text."""
        return sorted({str(run.row[column]) for run in self.runs if run.row[column] is not None})


def known_values(runs: Sequence[Run], column: str) -> list[float]:
    """The known values of a column, in order."""
    return [run.row[column] for run in runs if run.row[column] is not None]


def mean_of_known(runs: Sequence[Run], column: str) -> float | None:
    """Mean of the known values of a column; ``None`` if none is known."""
    return mean_known(known_values(runs, column))


def describe_status(status: object, method: object) -> str:
    """``measured (energy counter)``, ``estimated (a model of power rating and load)``."""
    ways = dict.fromkeys(_READ.get(way, way.replace("_", " ")) for way in str(method).split("+"))
    return f"{status} ({' and '.join(ways)})"
