"""Records → the results table: ``results/<study>/runs.csv``, one row a run.

The table is rebuilt from the records each time, so it never disagrees with them; failed and
interrupted runs stay in it. Units are in the names, unknown is an empty cell, and the same records
give the same bytes. What each column means stands beside its function in this folder's files and,
for readers, in ``harness/RESULTS_TABLE.md``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from wbcbench.core.errors import UsageError
from wbcbench.core.files import write_whole
from wbcbench.core.record import RunRecord, refuse_newer
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.table import (
    derived,
    energy_gpu,
    energy_rest,
    identity,
    kept_lines,
    machine,
    quality,
    sampling,
    setup,
    time,
)
from wbcbench.table.column import Cell
from wbcbench.table.view import Run

FILE_NAME = "runs.csv"

GROUPS = (
    identity.GROUP,
    setup.GROUP,
    quality.GROUP,
    time.GROUP,
    energy_gpu.GROUP,
    energy_rest.GROUP,
    derived.GROUP,
    sampling.GROUP,
    machine.STATE,
    machine.SOFTWARE,
)
COLUMNS = tuple(column for group in GROUPS for column in group.columns)
NAMES = tuple(column.name for column in COLUMNS)


def row(record: RunRecord) -> dict[str, Cell]:
    """One run's cells by column, in the table's order; ``None`` is unknown."""
    return Run(record).row


def rows(records: Iterable[RunRecord]) -> list[dict[str, Cell]]:
    """The rows of many runs, sorted by variant, block and run."""
    placed = [(run.place, run.row) for run in map(Run, records)]
    return [cells for _, cells in sorted(placed, key=lambda pair: pair[0])]


def study_records(study_dir: Path) -> list[RunRecord]:
    """The record of every run of a study that is accounted for.

    Raises:
        UsageError: A record is damaged or was written by a newer version.
    """
    return [run.read_record() for run in _accounted_for(study_dir)]


def study_rows(study_dir: Path) -> list[dict[str, Cell]]:
    """The rows of a study; raises like :func:`study_records`, and holds one record at a time."""
    return rows(run.read_record() for run in _accounted_for(study_dir))


def _accounted_for(study_dir: Path) -> list[RunDir]:
    runs = study_runs(study_dir.parent, study_dir.name)
    return [run for run in runs if run.is_finished]


def write_table(study_dir: Path) -> Path:
    """Write ``runs.csv`` whole or not at all; returns its path.

    Raises:
        UsageError: A newer version wrote here, or the folder cannot be written.
    """
    path = study_dir / FILE_NAME
    lines = kept_lines.lines(study_dir, _accounted_for(study_dir), _line)
    data = _csv(line.text for line in sorted(lines, key=lambda line: line.place))
    refuse_newer_table(study_dir)
    try:
        write_whole(path, data)
    except OSError as error:
        raise UsageError(
            f"The results table {path} cannot be written: {error.strerror}. The records beside it "
            "are whole; free space or permissions and ask for the table again."
        ) from error
    return path


def to_csv(table_rows: Iterable[dict[str, Cell]]) -> bytes:
    """UTF-8, LF, one header line; the same rows give the same bytes."""
    return _csv(map(_csv_line, table_rows))


def _csv(lines: Iterable[str]) -> bytes:
    return "".join([",".join(NAMES), "\n", *lines]).encode()


def _line(folder: RunDir) -> kept_lines.TableLine:
    run = Run(folder.read_record(), folder)
    return kept_lines.TableLine(run.place, _csv_line(run.row))


def _csv_line(cells: dict[str, Cell]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([_text(cells[name]) for name in NAMES])
    return out.getvalue()


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return repr(cell) if isinstance(cell, float) else str(cell)


def refuse_newer_table(study_dir: Path) -> None:
    """Raise ``UsageError`` when a newer version wrote this study's table."""
    path = study_dir / FILE_NAME
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as stream:
        first = next(csv.DictReader(stream), {})
    schema = first.get("schema_version") or "0"
    if schema.split(".", maxsplit=1)[0].isdigit():
        refuse_newer(schema, str(path))
