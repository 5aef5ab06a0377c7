"""Records → the results table: ``results/<study>/runs.csv``, one row a run.

The table is rebuilt from the records each time, so it never disagrees with them; failed and
interrupted runs stay in it. Units are in the names, unknown is an empty cell, and the same records
give the same bytes. What each column means stands beside its function in ``table.columns_*``
and, for readers, in ``harness/RESULTS_TABLE.md``.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from wbcbench.core.errors import UsageError
from wbcbench.core.files import write_atomically
from wbcbench.core.record import RunRecord, require_schema
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.core.study_folder import RUNS_TABLE, TABLE_LINES
from wbcbench.table import columns_energy, columns_machine, columns_quality, columns_run
from wbcbench.table.column import Cell
from wbcbench.table.view import Run

GROUPS = (
    columns_run.IDENTITY,
    columns_run.SETUP,
    columns_quality.QUALITY,
    columns_run.TIME,
    columns_energy.ENERGY_GPU,
    columns_energy.ENERGY_REST,
    columns_energy.DERIVED,
    columns_quality.SAMPLING,
    columns_machine.STATE,
    columns_machine.SOFTWARE,
)
COLUMNS = tuple(column for group in GROUPS for column in group.columns)
NAMES = tuple(column.name for column in COLUMNS)

LEAST_RUNS = 100
"""Below it all records are read in a fraction of a second, and no file is left behind."""

Stamp = tuple[int, ...]
Place = tuple[str, int, str]


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

    A run that another command finished meanwhile would be missing, so the runs are counted again
    once the table is written: of two commands that end together, the last one writes every row.

    Raises:
        UsageError: A newer version wrote here, or the folder cannot be written.
    """
    runs = _accounted_for(study_dir)
    path = _write_rows(study_dir, runs)
    while (now := _accounted_for(study_dir)) != runs:
        runs = now
        path = _write_rows(study_dir, runs)
    return path


def _write_rows(study_dir: Path, runs: Sequence[RunDir]) -> Path:
    path = study_dir / RUNS_TABLE
    lines = read_lines(study_dir, runs, _line)
    data = _csv(line.text for line in sorted(lines, key=lambda line: line.place))
    refuse_newer_table(study_dir)
    try:
        write_atomically(path, data)
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


def _line(folder: RunDir) -> TableLine:
    run = Run(folder.read_record(), folder)
    return TableLine(run.place, _csv_line(run.row))


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
    """Raise ``UsageError`` when another major version wrote this study's table."""
    path = study_dir / RUNS_TABLE
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as stream:
        first = next(csv.DictReader(stream), {})
    with contextlib.suppress(KeyError, ValueError):  # an empty table, or none of ours
        require_schema(first["schema_version"], str(path))


# Lines of the last table are kept, so that one more run costs one more row. A large study keeps
# them in ``results/<study>/.runs.lines``. A line is taken from there only while everything it was
# made from is the same: its record and attachment (size, time and inode: neither is ever written in
# place) and this program's own files. A file that is torn, changed or of another program is no
# file, and every row is worked out again; deleting it costs time and nothing else.
@dataclass(frozen=True, slots=True)
class TableLine:
    """One run's line.

    Attributes:
        place: What the table is sorted by: variant, block and run.
        text: The line as it stands in ``runs.csv``.
    """

    place: Place
    text: str


Kept = dict[str, tuple[Stamp, TableLine]]


def read_lines(
    study_dir: Path, runs: Sequence[RunDir], make: Callable[[RunDir], TableLine]
) -> list[TableLine]:
    """The line of every run, made only where it is not kept; those made are kept for next time.

    Args:
        study_dir: Where lines are kept.
        runs: Every run of the study that is accounted for.
        make: Works out one line; what it raises, this raises.
    """
    if len(runs) < LEAST_RUNS:
        return [make(run) for run in runs]
    kept = _read_kept(study_dir / TABLE_LINES)
    current: Kept = {}
    for run in runs:
        stamp, known = _stamp(run), kept.get(run.run_id)
        current[run.run_id] = known if known and known[0] == stamp else (stamp, make(run))
    if current != kept:
        # A folder that cannot be written has no table either; that error is told by who writes it.
        with contextlib.suppress(OSError):
            write_atomically(study_dir / TABLE_LINES, _kept_bytes(current))
    return [line for _, line in current.values()]


def _stamp(run: RunDir) -> Stamp:
    """What tells this record and attachment from any other that stood here."""
    return tuple(
        number for path in (run.record_path, run.attachment_path) for number in _stat_numbers(path)
    )


def _stat_numbers(path: Path) -> Stamp:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return (found.st_size, found.st_mtime_ns, found.st_ino)


def _program_digest() -> str:
    """Digest over the sizes and times of this package's files: what works the rows out."""
    root = Path(__file__).parents[1]
    files = sorted(path for path in root.rglob("*") if "__pycache__" not in path.parts)
    stamps = [(str(path), *_stat_numbers(path)) for path in files if path.is_file()]
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()


def _kept_bytes(kept: Kept) -> bytes:
    """A line that says for whom the rest is and what it sums up to, then a JSON array a run."""
    rest = "".join(
        json.dumps([run_id, stamp, line.place, line.text]) + "\n"
        for run_id, (stamp, line) in kept.items()
    ).encode()
    head = {"program": _program_digest(), "sha256": hashlib.sha256(rest).hexdigest()}
    return json.dumps(head).encode() + b"\n" + rest


def _read_kept(path: Path) -> Kept:
    """What is kept; nothing if there is no such file, or none that can be believed."""
    try:
        with path.open("rb") as stream:
            head = json.loads(stream.readline())
            if head["program"] != _program_digest():
                return {}
            digest = hashlib.sha256()
            kept = dict(_parse_kept(_digested(stream, digest.update)))
            return kept if head["sha256"] == digest.hexdigest() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _digested(stream: IO[bytes], update: Callable[[bytes], None]) -> Iterator[bytes]:
    for each in stream:
        update(each)
        yield each


def _parse_kept(written: Iterable[bytes]) -> Iterator[tuple[str, tuple[Stamp, TableLine]]]:
    for each in written:
        run_id, stamp, place, text = json.loads(each)
        yield run_id, (tuple(stamp), TableLine(tuple(place), text))
