"""One view of a study, for comparison, claims, report and bundle."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wbcbench.core.run_folder import study_runs
from wbcbench.table.view import Run


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
