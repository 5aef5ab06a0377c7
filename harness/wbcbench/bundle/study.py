"""A study that is handed in, read once: records, rows, plan, comparison, pilots, report.

Everything here is read from the bundle's own copy, so that what the papers say and what a verifier
finds come from the same files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbcbench import table
from wbcbench.bundle import layout
from wbcbench.core.errors import UsageError
from wbcbench.core.record import RunRecord
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import pilot_study
from wbcbench.report.publish import read
from wbcbench.report.study import ReportStudy
from wbcbench.study.plan import Plan
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from wbcbench.compare.result import Comparison
    from wbcbench.report import Report


@dataclass(frozen=True)
class SubmittedStudy:
    """One study under a payload folder, ``data/`` of a bundle.

    Attributes:
        payload: The folder that holds ``results/``.
        name: Of the study.
    """

    payload: Path
    name: str

    @property
    def folder(self) -> Path:
        """``results/<study>``."""
        return self.payload / layout.study_dir(self.name)

    @cached_property
    def reported(self) -> ReportStudy:
        """As the report sees it; raises ``UsageError`` where no run has a record."""
        return read(self.payload / "results", self.name)

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run with a record, in the table's order."""
        return self.reported.runs

    @cached_property
    def records(self) -> tuple[RunRecord, ...]:
        """In the order in which they began."""
        found = (run.record for run in self.runs)
        return tuple(sorted(found, key=lambda r: (r.started_utc, r.run_id)))

    @cached_property
    def done(self) -> tuple[Run, ...]:
        """Runs that ended well, in the order in which they began."""
        return tuple(sorted(self.reported.done, key=lambda run: run.record.started_utc))

    @property
    def first(self) -> Run:
        """A run to take facts from that all runs should share: the first done one, else any."""
        return self.done[0] if self.done else self.runs[0]

    @property
    def spec(self) -> RunSpec:
        """What the first run was asked."""
        return self.first.record.spec

    @property
    def plan(self) -> Plan | None:
        """What was fixed before the first run."""
        return self.reported.plan

    @cached_property
    def kept_utc(self) -> str | None:
        """Since when the plan is kept with the study; ``None`` where that is not known."""
        path = self.folder / layout.PLAN
        if not path.exists():
            return None
        found: Any = json.loads(path.read_bytes()).get("kept_utc")
        return str(found) if found else None

    @property
    def comparison(self) -> Comparison | None:
        """What ``wbcbench compare`` says."""
        return self.reported.comparison

    @cached_property
    def report(self) -> Report:
        """The report before it is set."""
        from wbcbench.report import build

        return build(self.reported)

    @cached_property
    def pilots(self) -> tuple[RunRecord, ...]:
        """Runs made only to know the cost."""
        folder = self.payload / layout.study_dir(pilot_study(self.name))
        return tuple(table.study_records(folder)) if folder.is_dir() else ()

    @property
    def ended_utc(self) -> str:
        """When the last run ended: the date of everything that is made from the study."""
        return max(record.ended_utc for record in self.records)

    def fact(self, column: str) -> Any:
        """A cell of the first run's row; ``None`` is unknown."""
        return self.first.row[column]

    def different(self, column: str) -> list[str]:
        """Every value that a column has, sorted."""
        return sorted({str(r.row[column]) for r in self.runs if r.row[column] is not None})


def refuse_synthetic(study: SubmittedStudy, *, allowed: bool) -> None:
    """See that a study is real, or wholly synthetic and meant to be.

    Raises:
        UsageError: It is synthetic and that was not asked for, or it is mixed.
    """
    made_up = [run.run_id for run in study.runs if run.record.synthetic]
    if not made_up:
        return
    if len(made_up) < len(study.runs):
        raise UsageError(
            f"{study.folder.name} mixes {len(made_up)} synthetic with "
            f"{len(study.runs) - len(made_up)} real runs (synthetic: {made_up[0]}, …). A bundle of "
            "both would pass made-up joules off beside measured ones. Submit them apart."
        )
    if not allowed:
        raise UsageError(
            f"Every run of {study.folder.name} is synthetic: drawn cells or a made-up signal. Its "
            "numbers say nothing of real cells or real joules, and `wbcbench verify` will refuse "
            "the bundle (V13). To practise, say --allow-synthetic."
        )
