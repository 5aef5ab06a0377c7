"""Lines of the results table kept from the last time, so that one more run costs one more row.

A large study keeps them in ``results/<study>/.runs.lines``. A line is taken from there only while
everything it was made from is the same: its record and attachment (size, time and inode: neither
is ever written in place) and this program's own files. A file that is torn, changed or of another
program is no file, and every row is worked out again; deleting it costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from wbcbench.core.files import write_whole
from wbcbench.core.run_folder import RunDir

FILE_NAME = ".runs.lines"
LEAST_RUNS = 100
"""Below it all records are read in a fraction of a second, and no file is left behind."""

Stamp = tuple[int, ...]
Place = tuple[str, int, str]


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


def lines(
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
    kept = _read(study_dir / FILE_NAME)
    current: Kept = {}
    for run in runs:
        stamp, known = _stamp(run), kept.get(run.run_id)
        current[run.run_id] = known if known and known[0] == stamp else (stamp, make(run))
    if current != kept:
        # A folder that cannot be written has no table either; that error is told by who writes it.
        with contextlib.suppress(OSError):
            write_whole(study_dir / FILE_NAME, _written(current))
    return [line for _, line in current.values()]


def _stamp(run: RunDir) -> Stamp:
    """What tells this record and attachment from any other that stood here."""
    return tuple(number for path in (run.record_path, run.attachment_path) for number in _of(path))


def _of(path: Path) -> Stamp:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return (found.st_size, found.st_mtime_ns, found.st_ino)


def _program() -> str:
    """Digest over the sizes and times of this package's files: what works the rows out."""
    root = Path(__file__).parents[1]
    files = sorted(path for path in root.rglob("*") if "__pycache__" not in path.parts)
    stamps = [(str(path), *_of(path)) for path in files if path.is_file()]
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()


def _written(kept: Kept) -> bytes:
    """A line that says for whom the rest is and what it sums up to, then a JSON array a run."""
    rest = "".join(
        json.dumps([run_id, stamp, line.place, line.text]) + "\n"
        for run_id, (stamp, line) in kept.items()
    ).encode()
    head = {"program": _program(), "sha256": hashlib.sha256(rest).hexdigest()}
    return json.dumps(head).encode() + b"\n" + rest


def _read(path: Path) -> Kept:
    """What is kept; nothing if there is no such file, or none that can be believed."""
    try:
        with path.open("rb") as stream:
            head = json.loads(stream.readline())
            if head["program"] != _program():
                return {}
            digest = hashlib.sha256()
            kept = dict(_parsed(_digested(stream, digest.update)))
            return kept if head["sha256"] == digest.hexdigest() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _digested(stream: IO[bytes], update: Callable[[bytes], None]) -> Iterator[bytes]:
    for each in stream:
        update(each)
        yield each


def _parsed(written: Iterable[bytes]) -> Iterator[tuple[str, tuple[Stamp, TableLine]]]:
    for each in written:
        run_id, stamp, place, text = json.loads(each)
        yield run_id, (tuple(stamp), TableLine(tuple(place), text))
