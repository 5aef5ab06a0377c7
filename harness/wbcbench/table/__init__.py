"""Records → the results table: ``results/<study>/runs.csv``, one row a run.

The table follows from the records and is written anew, or gets a row more, whenever one is new, so
that it never disagrees with them; failed and interrupted runs stay in it. Units are in the names,
unknown is an empty cell, and the same records give the same bytes. ``columns.toml`` says what each
column means and how it is computed; the page for readers is ``harness/RESULTS_TABLE.md``.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.core.cache import KeptValues, read_stamp
from wbcbench.core.errors import UsageError
from wbcbench.core.files import write_atomically
from wbcbench.core.record import RunRecord, require_schema
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.core.study_folder import RUNS_TABLE, refuse_programs
from wbcbench.core.text import csv_quoted, safe_text
from wbcbench.table.columns import JOB, Cell, load_columns
from wbcbench.table.summary import summarise_study
from wbcbench.table.view import Run

if TYPE_CHECKING:
    import pandas as pd

_ROWS = "rows"  # what is kept of the table as it stands


def load_runs(study_dir: Path | str) -> pd.DataFrame:
    """Read the records of a study as a data frame: one row for each finished run.

    Columns are those of ``runs.csv``, each with its type; unknown is ``NA``. The frame's
    ``attrs["units"]`` and ``attrs["meanings"]`` hold the unit (empty where there is none) and the
    meaning of each column. Energies are in joules, times in seconds, powers in watts, accuracies
    are shares in [0, 1].

    Args:
        study_dir: The study's folder, such as ``results/runs``.

    Raises:
        UsageError: There is no such folder, or a record in it is damaged or was written by a newer
            version.
    """
    from wbcbench.table.export import to_frame

    study_dir = Path(study_dir)
    if not study_dir.is_dir():
        raise UsageError(f"There is no study folder {study_dir}. Name one, such as results/runs.")
    columns = tuple(load_columns().values())
    frame = to_frame(load_rows(study_dir.resolve()), columns)
    frame.attrs["units"] = {column.name: column.unit for column in columns}
    frame.attrs["meanings"] = {column.name: column.meaning for column in columns}
    return frame


def row(record: RunRecord) -> dict[str, Cell]:
    """One run's cells by column, in the table's order; ``None`` is unknown."""
    return dict(Run(record).row)


def rows(records: Iterable[RunRecord]) -> list[dict[str, Cell]]:
    """The rows of many runs, sorted by variant, block and run."""
    placed = [(run.place, dict(run.row)) for run in map(Run, records)]
    return [cells for _, cells in sorted(placed, key=lambda pair: pair[0])]


def load_records(study_dir: Path) -> list[RunRecord]:
    """The record of every finished run of a study.

    Raises:
        UsageError: A record is damaged or was written by a newer version.
    """
    return [run.read_record() for run in _find_finished_runs(study_dir)]


def load_rows(study_dir: Path) -> list[Mapping[str, Cell]]:
    """The rows of a study, in the table's order; raises like :func:`load_records`."""
    refuse_programs(study_dir.name)
    return [run.row for run in summarise_study(study_dir).runs]


def _find_finished_runs(study_dir: Path) -> list[RunDir]:
    runs = study_runs(study_dir.parent, study_dir.name)
    refuse_programs(study_dir.name)
    return [run for run in runs if run.is_finished]


def write_table(study_dir: Path) -> Path:
    """Write ``runs.csv`` completely or not at all; returns its path.

    What another command finished or attached meanwhile would be missing, so the runs are looked at
    again once the table is written: of two that end together, the last one writes every row.

    Raises:
        UsageError: A newer version wrote here, or the folder cannot be written.
    """
    path = study_dir / RUNS_TABLE
    written = None
    while (digest := _digest_runs(runs := _find_finished_runs(study_dir))) != written:
        kept = KeptValues(path)
        data = _add_rows(path, runs, kept) or to_csv(load_rows(study_dir))
        refuse_newer_table(study_dir)
        try:
            write_atomically(path, data)
        except OSError as error:
            raise UsageError(
                f"The results table {path} cannot be written: {error.strerror}. All records are "
                "saved; free space or fix the permissions and repeat the command."
            ) from error
        kept.keep(_ROWS, read_stamp([path]), digest)
        kept.save()
        written = digest
    return path


def _add_rows(path: Path, runs: Sequence[RunDir], kept: KeptValues) -> bytes | None:
    """The table as it stands with the rows of new runs; ``None`` where it must be written anew.

    It is, unless these very bytes were written by this version from the records that are there.
    """
    if (known := kept.take(_ROWS, read_stamp([path]))) is None:
        return None
    columns = [*load_columns()]
    variant, block, run_id = map(columns.index, ("variant", "block", "run_id"))
    try:
        text = io.StringIO(path.read_bytes().decode(), newline="")
        lines = [[cells.get(name, "") for name in columns] for cells in csv.DictReader(text)]
        in_table = {line[run_id] for line in lines}
        if known != _digest_runs([run for run in runs if run.run_id in in_table]):
            return None
        lines += [_format_row(row(run.read_record())) for run in runs if run.run_id not in in_table]
        lines.sort(key=lambda line: (line[variant], int(line[block]), line[run_id]))
    except (OSError, ValueError, IndexError, csv.Error):
        return None
    return _join_lines(lines)


def _digest_runs(runs: Iterable[RunDir]) -> str:
    """What changes with any record or attachment."""
    stamps = [(run.run_id, read_stamp([run.record_path, run.attachment_path])) for run in runs]
    return hashlib.sha256(repr(stamps).encode()).hexdigest()


def to_csv(table_rows: Iterable[Mapping[str, Cell]]) -> bytes:
    """UTF-8, LF, one header line; the same rows give the same bytes."""
    return _join_lines(map(_format_row, table_rows))


def _join_lines(lines: Iterable[Sequence[str]]) -> bytes:
    table, out = [[*load_columns()], *lines], io.StringIO()
    places = [table[0].index(name) for name in JOB]
    if not any(line[place] for line in table[1:] for place in places):
        table = [[cell for i, cell in enumerate(line) if i not in places] for line in table]
    csv.writer(out, lineterminator="\n").writerows(table)
    text = out.getvalue()
    if "\r" in text:  # which that writer leaves unquoted
        text = "".join(f"{','.join(map(csv_quoted, line))}\n" for line in table)
    return text.encode()


def _format_row(cells: Mapping[str, Cell]) -> list[str]:
    return [_format_cell(cells[name]) for name in load_columns()]


def _format_cell(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return safe_text(cell) if isinstance(cell, str) else repr(cell)


def refuse_newer_table(study_dir: Path) -> None:
    """Raise ``UsageError`` when another major version wrote this study's table.

    One that cannot be read, as a spreadsheet may leave it, is none: it is made again.
    """
    path = study_dir / RUNS_TABLE
    with contextlib.suppress(OSError, KeyError, ValueError, TypeError, csv.Error):
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            first = next(csv.DictReader(stream), {})
        require_schema(str(first["schema_version"]), str(path))
