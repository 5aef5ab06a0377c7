"""A bundle as the checks see it: its files with their digests, and what is read from them once.

Whatever is worked out from files is kept by their digests, so that checking a bundle again after a
change works out again only what the change touches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from wbcbench import table
from wbcbench.bundle import describe, document, layout
from wbcbench.bundle.bounds import BOUNDS, Bounds, quoted, require_readable
from wbcbench.bundle.document import Submission
from wbcbench.bundle.open import Predictions, plain_files, read_predictions, require_readable_traces
from wbcbench.core import run_folder, study_folder
from wbcbench.core.errors import VerificationError
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.study import plan
from wbcbench.study.plan import Plan
from wbcbench.table.column import Cell

_KEPT = 4096


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes:
        root: The bag.
        digests: Every file's SHA-256, by its path in the bag.
    """

    root: Path
    digests: Mapping[str, str] = field(repr=False)

    @property
    def data(self) -> Path:
        """The payload."""
        return self.root / layout.PAYLOAD

    def has(self, name: str) -> bool:
        """Whether the payload holds this file."""
        return f"{layout.PAYLOAD}/{name}" in self.digests

    def names(self, below: str = "") -> list[str]:
        """Every file of the payload below a folder, by its path in the payload."""
        start = f"{layout.PAYLOAD}/{below}"
        return [name[len(layout.PAYLOAD) + 1 :] for name in self.digests if name.startswith(start)]

    def digest(self, *below: str) -> str:
        """One digest of all the payload's files below these folders, logs apart: none is read."""
        total = hashlib.sha256()
        for name in sorted({name for each in below for name in self.names(each)}):
            if name.endswith(f"/{run_folder.LOG}"):
                continue
            total.update(f"{name}\0{self.digests[f'{layout.PAYLOAD}/{name}']}\n".encode())
        return total.hexdigest()

    def read(self, name: str) -> bytes:
        """The bytes of one file of the payload.

        Raises:
            VerificationError: There is no such file.
        """
        if not self.has(name):
            raise VerificationError(f"The bundle has no {name}.")
        return (self.data / name).read_bytes()

    @cached_property
    def document(self) -> Submission:
        """``submission.json``."""
        found = document.from_json(self.read(layout.SUBMISSION), layout.SUBMISSION)
        for name in (found.study, found.pilot_study):
            if name is not None and (name in {"", ".", ".."} or "/" in name):
                raise VerificationError(f"{quoted(name)} is no name of a study.")
        return found

    @cached_property
    def other_program(self) -> str:
        """What made the bundle and is another version here; empty where all is the same.

        Drawings may differ then, byte by byte, and are not held against the bundle.
        """
        said, here = self.document.renderer, describe.renderer()
        names = sorted(said.keys() | here.keys())
        other = (f"{n} {said.get(n)} ≠ {here.get(n)}" for n in names if said.get(n) != here.get(n))
        return ", ".join(other)

    @property
    def is_same_source(self) -> bool:
        """Whether this very program made the bundle, so that it must make every word again."""
        return self.document.renderer.get("source") == describe.renderer()["source"]

    @cached_property
    def study_dir(self) -> Path:
        """The study, as the program keeps one."""
        return self.data / layout.study_dir(self.document.study)

    @cached_property
    def runs(self) -> tuple[RunDir, ...]:
        """Every run of the study."""
        return self._runs_of(self.document.study)

    @cached_property
    def pilots(self) -> tuple[RunDir, ...]:
        """Runs that were made only to know the cost."""
        pilot = self.document.pilot_study
        return self._runs_of(pilot) if pilot else ()

    def _runs_of(self, study: str) -> tuple[RunDir, ...]:
        folder = f"{layout.study_dir(study)}/"
        found = {
            name[len(folder) :].split("/")[0] for name in self.names(folder) if name.count("/") > 2
        }
        return tuple(RunDir(self.data / folder / name) for name in sorted(found))

    @cached_property
    def finished(self) -> tuple[RunDir, ...]:
        """Runs of the study that have a record."""
        return tuple(run for run in self.runs if run.is_finished)

    @cached_property
    def records(self) -> Mapping[str, RunRecord]:
        """The study's records by the name of their folder."""
        return {run.run_id: self.record(run) for run in self.finished}

    @cached_property
    def plan(self) -> Plan | None:
        """What was fixed before the first run; ``None`` for single runs."""
        path = self.study_dir / study_folder.PLAN
        return plan.from_json(path) if path.is_file() else None

    def digest_of(self, run: RunDir) -> str:
        """One digest of everything in a run's folder."""
        return self.digest(f"{run.path.relative_to(self.data).as_posix()}/")

    def record(self, run: RunDir) -> RunRecord:
        """A run's record, without what was attached to it."""
        return _record(run, self.digest_of(run))

    def row(self, run: RunDir) -> dict[str, Cell]:
        """A run's row of the results table, what was attached to it included."""
        return _row(run, self.digest_of(run))

    def predictions(self, run: RunDir) -> Predictions | None:
        """What the network said of the test images; ``None`` if the run kept none."""
        if not run.predictions_path.is_file():
            return None
        name = run.predictions_path.relative_to(self.root).as_posix()
        return _predictions(run.predictions_path, self.digests[name])


def survey(root: Path, bounds: Bounds = BOUNDS) -> Bundle:
    """See that every file of an opened bundle can be read safely, and take its digest.

    Raises:
        VerificationError: A file is not what a bundle holds.
    """
    digests = dict[str, str]()
    for name in plain_files(root, bounds):
        with (root / name).open("rb") as stream:
            digests[name] = hashlib.file_digest(stream, "sha256").hexdigest()
        _require_readable(root / name, name, digests[name], bounds)
    return Bundle(root, digests)


@lru_cache(maxsize=_KEPT)
def _require_readable(path: Path, name: str, digest: str, bounds: Bounds) -> None:
    """Look at a file once as long as its digest stays."""
    require_readable(path, name, bounds)
    if path.name in (run_folder.TRACES, run_folder.ATTACHED_TRACE):
        require_readable_traces(path, bounds)


@lru_cache(maxsize=_KEPT)
def _record(run: RunDir, digest: str) -> RunRecord:
    return run.read_own_record()


@lru_cache(maxsize=_KEPT)
def _row(run: RunDir, digest: str) -> dict[str, Cell]:
    return table.row(run.read_record())


@lru_cache(maxsize=_KEPT)
def _predictions(path: Path, digest: str) -> Predictions:
    return read_predictions(path)
