"""One run as a comparison sees it, and how a study's folder is read into such runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wbcbench import table
from wbcbench.joules.energy import Domain
from wbcbench.runs.records import RunRecord
from wbcbench.runs.rundir import study_runs
from wbcbench.runs.study import RunSpec
from wbcbench.table.columns import Cell
from wbcbench.table.view import RunView

ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Observed:
    """One run.

    Attributes:
        study: Name of the folder it was read from.
        run_id: Of the run.
        spec: What was asked.
        cells: Its row of the results table.
        origins: Part of the machine, or ``headline`` → measured, estimated, modelled, …
        predictions: Where its predictions lie; ``None`` if they are not kept.
    """

    study: str
    run_id: str
    spec: RunSpec
    cells: Mapping[str, Cell]
    origins: Mapping[str, str]
    predictions: Path | None = None

    def number(self, column: str) -> float | None:
        """A cell that holds a number."""
        cell = self.cells.get(column)
        return float(cell) if isinstance(cell, int | float) else None


@dataclass(frozen=True, slots=True)
class StudyRuns:
    """Every run of a study that is accounted for, and how many are not."""

    runs: tuple[Observed, ...]
    unfinished: int


def read_study(study_dir: Path) -> StudyRuns:
    """Read every record of a study.

    Raises:
        UsageError: A record is damaged or was written by a newer version.
    """
    folders = study_runs(study_dir.parent, study_dir.name)
    finished = [run for run in folders if run.is_finished]
    runs = tuple(
        observe(
            run.read_record(),
            study_dir.name,
            run.predictions_path if run.predictions_path.exists() else None,
        )
        for run in finished
    )
    return StudyRuns(runs, len(folders) - len(finished))


def observe(
    record: RunRecord,
    study: str,
    predictions: Path | None = None,
    cells: Mapping[str, Cell] | None = None,
) -> Observed:
    """One record as a comparison sees it; ``cells`` are its row where it was made already."""
    view = RunView(record)
    speakers = {domain.value: view.speaker(domain) for domain in Domain}
    speakers["headline"] = view.headline
    origins = {part: who.status.value if who else ABSENT for part, who in speakers.items()}
    row = table.row(record) if cells is None else cells
    return Observed(study, record.run_id, record.spec, row, origins, predictions)
