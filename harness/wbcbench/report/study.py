"""A study as the sections read it, with the comparison that the report rests on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.study_folder import PLAN
from wbcbench.core.trace import Origin
from wbcbench.energy.metrics import mean_known
from wbcbench.table.view import Run, Study

if TYPE_CHECKING:
    from wbcbench.compare.design import Configuration
    from wbcbench.compare.result import Comparison
    from wbcbench.study.plan import Plan

_PARTS = {"gpu": "GPU energy", "cpu": "CPU energy", "system": "energy of the whole machine"}
_STATUS = {
    "measured": "measured",
    "estimated": "estimated, not measured: no sensor on this machine",
    "simulated": "simulated sensor",
}


class ReportStudy(Study):
    """A study with what the report needs beyond its runs, each worked out once."""

    @cached_property
    def plan(self) -> Plan | None:
        """What was fixed before the first run; ``None`` for single runs."""
        from wbcbench.study import plan

        path = self.folder / PLAN if self.folder else None
        return plan.from_json(path) if path and path.exists() else None

    @property
    def planned(self) -> int:
        """How many runs the plan carries out whatever they show; 0 without a plan."""
        plan = self.plan
        return sum(run.block <= plan.blocks for run in plan.runs) if plan else 0

    @cached_property
    def comparison(self) -> Comparison | None:
        """What ``wbcbench compare`` says of this study; ``None`` where nothing can be compared.

        The joules compared are the best this study has, and say so: the plan's channel first.
        """
        return None if isinstance(self._outcome, str) else self._outcome

    @property
    def why_not_compared(self) -> str:
        """Why there is no comparison, in whole sentences; empty where there is one."""
        return self._outcome if isinstance(self._outcome, str) else ""

    @cached_property
    def _outcome(self) -> Comparison | str:
        if self.folder is None:
            return "The runs' folder is not at hand."
        return _compare_study(self.runs, self.unfinished, self.folder)

    @property
    def blocks_used(self) -> int:
        """How many complete blocks the means stand for; 0 where they stand for runs."""
        return len(self.comparison.blocks.runs) if self.comparison else 0

    @property
    def energy_words(self) -> str:
        """What the joules of this report are, for captions."""
        if not self.comparable:
            return "no energy was read" if self.done else "of no finished run"
        row = self.comparable[0].row
        part = _PARTS.get(row["primary_domain"], "energy")
        status = _STATUS.get(row["primary_status"], str(row["primary_status"]))
        return f"{part} in training, gross, {status} ({row['primary_method']})"

    @property
    def energy_kind(self) -> str:
        """``estimated `` and the like before the word energy; nothing where it is measured."""
        statuses = sorted({str(run.row["primary_status"]) for run in self.comparable})
        return "".join(f"{status} " for status in statuses if status != "measured")

    @property
    def stamp(self) -> str:
        """Added to every caption: what a reader must not forget on seeing it alone."""
        told = " Synthetic data: no result about real cells." if self.is_synthetic else ""
        if len(self.done) < max(len(self.runs) + self.unfinished, self.planned):
            told += " Incomplete study: not every run finished."
        if self.comparable and self.left_out:
            told += " Mixed study: runs that may not stand beside these are left out."
        return told

    @property
    def energy_stamp(self) -> str:
        """Added to captions of joules that do not say what the joules are."""
        kind = self.energy_kind.strip()
        return (f" Joules are {kind}, not measured." if kind else "") + self.stamp

    @cached_property
    def configurations(self) -> tuple[Configuration, ...]:
        """Every configuration with a record, in the comparison's order."""
        compared = self.comparison.design.configurations if self.comparison else ()
        order = {configuration.label: place for place, configuration in enumerate(compared)}
        found = sorted(self._configurations, key=lambda configuration: configuration.label)
        return tuple(sorted(found, key=lambda each: order.get(each.label, len(order))))

    @cached_property
    def _labels(self) -> dict[Run, str]:
        from wbcbench.compare.design import label_of_runs

        return label_of_runs(self._configurations)

    @cached_property
    def _configurations(self) -> tuple[Configuration, ...]:
        from wbcbench.compare.design import configurations

        return configurations(self.runs)

    def label_of(self, run: Run) -> str:
        """What is compared: the variant, with those settings in which this study's runs differ."""
        return self._labels[run]

    @cached_property
    def labels(self) -> list[str]:
        """The label of every configuration, sorted; the variants, where runs differ no further."""
        return sorted(set(self._labels.values()))

    def by_label(self, runs: Iterable[Run]) -> dict[str, list[Run]]:
        """These runs by label, configurations in the comparison's order, runs in the study's."""
        chosen = set(runs)
        own = {c.label: [run for run in c.runs if run in chosen] for c in self.configurations}
        return {label: found for label, found in own.items() if found}

    def used(self, configuration: Configuration) -> tuple[Run, ...]:
        """Its runs of complete blocks, where there are any.

        Else those that ended well and may stand together.
        """
        return tuple(run for run in configuration.runs if run in self._used)

    def metered(self, configuration: Configuration) -> tuple[Run, ...]:
        """Those of its used runs whose joules may stand beside the others'."""
        return tuple(run for run in self.used(configuration) if run in self._comparable)

    @cached_property
    def _used(self) -> frozenset[Run]:
        blocks = self.comparison.blocks.runs if self.comparison else ()
        in_blocks = frozenset(run for block in blocks for run in block)
        return in_blocks or frozenset(self.comparable or self.done)

    @cached_property
    def _comparable(self) -> frozenset[Run]:
        return frozenset(self.comparable)


def known_values(runs: Sequence[Run], column: str) -> list[float]:
    """The known values of a column, in order."""
    return [run.row[column] for run in runs if run.row[column] is not None]


def mean_of_known(runs: Sequence[Run], column: str) -> float | None:
    """Mean of the known values of a column; ``None`` if none is known."""
    return mean_known(known_values(runs, column))


def _compare_study(runs: Sequence[Run], unfinished: int, folder: Path) -> Comparison | str:
    """The comparison of a study with its own plan, or why nothing can be compared.

    Without a plan the joules compared are the most trustworthy ones that every arm has.

    Args:
        runs: Every run with a record.
        unfinished: How many runs have no record.
        folder: The study's, for its plan.
    """
    from wbcbench.compare.analysis import compare
    from wbcbench.study.plan import settings_for

    settings = settings_for(folder, {})
    trusts = [settings.least_trust] if settings.plan_sha256 else list(Origin)
    made: Comparison | str = ""
    for trust in trusts:
        try:
            trusting = replace(settings, least_trust=trust)
            made = compare(runs, trusting, [folder.name], unfinished)
        except (CannotMeasureError, UsageError) as error:
            made = made or str(error)
            continue
        if made.energy.metric is not None:
            return made
    return made
