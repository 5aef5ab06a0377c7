"""A study as the sections read it, with the comparison that the report rests on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.study_folder import PLAN
from wbcbench.core.trace import Origin
from wbcbench.energy.metrics import mean_known
from wbcbench.table.view import Run, Study

if TYPE_CHECKING:
    from wbcbench.compare.design import Configuration
    from wbcbench.compare.result import Comparison, PlannedClaimResult
    from wbcbench.study.plan import Plan

_PARTS = {"gpu": "GPU energy", "cpu": "CPU energy", "system": "energy of the whole machine"}
_STATUS = {
    "measured": "measured",
    "estimated": "estimated, not measured: no sensor on this machine",
    "simulated": "simulated sensor",
}


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

    @property
    def energy_words(self) -> str:
        """Part, status and method of this report's joules, for captions."""
        if not self.comparable:
            return "no energy was read" if self.done else "of no finished run"
        row = self.comparable[0].row
        part = _PARTS.get(row["primary_domain"], "energy")
        status = _STATUS.get(row["primary_status"], str(row["primary_status"]))
        return f"{part} in training, idle included, {status} ({row['primary_method']})"

    @property
    def energy_kind(self) -> str:
        """``estimated `` and the like before the word energy; empty where it is measured."""
        statuses = sorted({str(run.row["primary_status"]) for run in self.comparable})
        return "".join(f"{status} " for status in statuses if status != "measured")

    @property
    def stamp(self) -> str:
        """Added to every caption: what a reader must know who sees it alone."""
        text = " Synthetic data: no result about real cells." if self.is_synthetic else ""
        if len(self.done) < max(len(self.runs) + self.unfinished, self.planned):
            text += " Incomplete study: not every run finished."
        if self.comparable and self.left_out:
            text += " Mixed study: runs that are not comparable with these are left out."
        return text

    @property
    def energy_stamp(self) -> str:
        """Added to captions of joules that do not name their status."""
        kind = self.energy_kind.strip()
        return (f" Joules are {kind}, not measured." if kind else "") + self.stamp

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
