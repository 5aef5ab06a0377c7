"""What the sections read: the study's records, its rows, and which of them may stand together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbcbench import table
from wbcbench.joules.metrics import mean_known
from wbcbench.runs.records import RunRecord
from wbcbench.runs.rundir import RunDir
from wbcbench.table.view import RunView

if TYPE_CHECKING:
    from wbcbench.comparison.result import Comparison
    from wbcbench.planning.plan import Plan

Row = dict[str, Any]

# Runs that differ in one of these are not put on one axis of joules.
COMPARABLE = (
    "headline_domain",
    "headline_method",
    "headline_status",
    "synthetic",
    "dataset_sha256",
    "host_id",
    "gpu_name",
)

_PARTS = {"gpu": "GPU energy", "cpu": "CPU energy", "system": "energy of the whole machine"}
_STATUS = {
    "measured": "measured",
    "estimated": "estimated from another part's sensor",
    "modelled": "modelled, not measured: no sensor on this machine",
    "synthetic": "synthetic: a made-up signal",
}


@dataclass(frozen=True)
class Run:
    """One run of the study: its record and its row of the table."""

    record: RunRecord
    row: Row

    @cached_property
    def view(self) -> RunView:
        """The record with what follows from it."""
        return RunView(self.record)

    @property
    def variant(self) -> str:
        """Its network."""
        return self.record.spec.variant

    @property
    def is_done(self) -> bool:
        """Whether it ended well and its numbers may be used."""
        return bool(self.row["status"] == "done")

    @property
    def energy_j(self) -> float | None:
        """Headline joules of ``train``."""
        energy_j: float | None = self.row["headline_energy_train_j"]
        return energy_j

    @property
    def gain_error(self) -> float | None:
        """Relative error of the headline's sensor that all runs on it share; ``None`` = unknown."""
        named = {channel.name: channel.gain_error for channel in self.record.channels}
        who = self.view.headline
        found = [named[name] for name in who.channels] if who else []
        known = [gain for gain in found if gain is not None]
        return max(known) if known and len(known) == len(found) else None

    @property
    def key(self) -> tuple[Any, ...]:
        """What must agree before joules are put beside each other."""
        return tuple(self.row[name] for name in COMPARABLE)


@dataclass(frozen=True)
class Evidence:
    """A study as the sections see it.

    Attributes:
        name: The study.
        runs: Every run with a record, in the table's order, failed ones included.
        unfinished: Runs without a record.
        folder: Where the study lies, with plan, traces and predictions; ``None`` = records alone.
    """

    name: str
    runs: tuple[Run, ...]
    unfinished: int = 0
    folder: Path | None = None

    @cached_property
    def plan(self) -> Plan | None:
        """What was fixed before the first run; ``None`` for single runs."""
        from wbcbench.planning import plan

        path = self.folder / plan.FILE_NAME if self.folder else None
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
        from wbcbench.report.page.compared import compared

        if self.folder is None:
            return "The runs' folder is not at hand."
        return compared(((r.record, r.row) for r in self.runs), self.unfinished, self.folder)

    def run_dir(self, run: Run) -> RunDir | None:
        """The folder of one run, for its traces and predictions."""
        return RunDir(self.folder / run.record.run_id) if self.folder else None

    @cached_property
    def done(self) -> tuple[Run, ...]:
        """Runs that ended well."""
        return tuple(run for run in self.runs if run.is_done)

    @cached_property
    def comparable(self) -> tuple[Run, ...]:
        """Finished runs with joules that may stand on one axis: the largest such set."""
        known = [run for run in self.done if run.energy_j is not None]
        counts = Counter(run.key for run in known)
        if not counts:
            return ()
        key = max(counts, key=lambda k: (counts[k], repr(k)))
        return tuple(run for run in known if run.key == key)

    @property
    def left_out(self) -> int:
        """Finished runs whose joules may not stand beside the others, or are unknown."""
        return len(self.done) - len(self.comparable)

    @cached_property
    def is_synthetic(self) -> bool:
        """Whether any run used drawn images or a made-up signal."""
        return any(run.record.synthetic for run in self.runs)

    @property
    def energy_words(self) -> str:
        """What the joules of this report are, for captions."""
        if not self.comparable:
            return "no energy was read" if self.done else "of no finished run"
        row = self.comparable[0].row
        part = _PARTS.get(row["headline_domain"], "energy")
        status = _STATUS.get(row["headline_status"], str(row["headline_status"]))
        return f"{part} in training, gross, {status} ({row['headline_method']})"

    @property
    def energy_kind(self) -> str:
        """``modelled `` and the like before the word energy; nothing where it is measured."""
        statuses = sorted({str(run.row["headline_status"]) for run in self.comparable})
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

    @property
    def variants(self) -> list[str]:
        """Every variant, sorted."""
        return sorted({run.variant for run in self.runs})

    @cached_property
    def _arm_of(self) -> Mapping[str, str]:
        from wbcbench.comparison.arms import arms_of
        from wbcbench.comparison.observed import Observed

        seen = [
            Observed(self.name, run.record.run_id, run.record.spec, run.row, {})
            for run in self.runs
        ]
        return {key.partition("/")[2]: arm.label for key, arm in arms_of(seen).items()}

    def arm(self, run: Run) -> str:
        """What is compared: the variant, with those settings in which this study's runs differ."""
        return self._arm_of[run.record.run_id]

    @cached_property
    def arms(self) -> list[str]:
        """Every arm, sorted; the variants, where runs differ in nothing else."""
        return sorted(set(self._arm_of.values()))


def gather(
    name: str, records: list[RunRecord], unfinished: int = 0, folder: Path | None = None
) -> Evidence:
    """Put a study's records together, in the order of the results table."""
    ordered = sorted(records, key=lambda r: (r.spec.variant, r.spec.block, r.run_id))
    runs = tuple(Run(record, dict(table.row(record))) for record in ordered)
    return Evidence(name, runs, unfinished, folder)


def known(runs: tuple[Run, ...] | list[Run], column: str) -> list[float]:
    """The known values of a column, in order."""
    return [run.row[column] for run in runs if run.row[column] is not None]


def average(runs: tuple[Run, ...] | list[Run], column: str) -> float | None:
    """Mean of the known values of a column; ``None`` if none is known."""
    return mean_known(known(runs, column))
