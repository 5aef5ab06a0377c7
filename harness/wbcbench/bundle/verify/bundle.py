"""A bundle as the checks see it: its files with their digests, and the objects read from them.

Results that follow from files are cached by the files' digests, so that a bundle that is checked
again after a change computes only what the change affects.
"""

from __future__ import annotations

import hashlib
import sys
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

from wbcbench.bundle import describe, document, layout
from wbcbench.bundle.bounds import BOUNDS, Bounds, quote, require_readable
from wbcbench.bundle.describe import SubmittedStudy
from wbcbench.bundle.document import Submission
from wbcbench.bundle.open import (
    Predictions,
    list_plain_files,
    read_predictions,
    require_readable_traces,
)
from wbcbench.core import run_folder, study_folder
from wbcbench.core.errors import VerificationError
from wbcbench.core.lazy import LazySequence
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.strict_json import parse_json
from wbcbench.study import plan
from wbcbench.study.plan import Plan
from wbcbench.study.statement import Author

_CACHED = 2**16
_LAST = chr(sys.maxunicode)

T = TypeVar("T")

_UNREAD = frozenset((run_folder.LOG,))
_MADE = _UNREAD | {
    layout.RUNS_TABLE, layout.RUNS_SCHEMA, layout.CONTRASTS, layout.PHASES, layout.BOAMPS,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Bundle:
    """An opened bundle.

    Attributes:
        root: The bag.
        digests: Every file's SHA-256, by its path in the bag.
        allowed_signers: File of the keys of which one must have signed it.
        plan_digest: How the digest of its plan was posted before its first run.
    """

    root: Path
    digests: Mapping[str, str] = field(repr=False)
    allowed_signers: Path | None = None
    plan_digest: str | None = None

    @property
    def data(self) -> Path:
        """The payload."""
        return self.root / layout.PAYLOAD

    @property
    def has_signature(self) -> bool:
        """Whether somebody signed the bag."""
        return layout.SIGNATURE in self.digests

    def has(self, name: str) -> bool:
        """Whether the payload holds this file."""
        return f"{layout.PAYLOAD}/{name}" in self.digests

    def list_names(self, folder: str = "") -> list[str]:
        """Every file of the payload below a folder, by its path in the payload."""
        first = bisect_left(self._names, folder)
        return self._names[first : bisect_left(self._names, f"{folder}{_LAST}", first)]

    @cached_property
    def _names(self) -> list[str]:
        start = f"{layout.PAYLOAD}/"
        return sorted(n.removeprefix(start) for n in self.digests if n.startswith(start))

    def compute_digest(self, folder: str, but: frozenset[str] = _UNREAD) -> str:
        """One digest of the payload's files below a folder, ``but`` those with these names."""
        total = hashlib.sha256()
        for name in self.list_names(folder):
            if name.rpartition("/")[2] not in but:
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
        submission = document.from_json(self.read(layout.SUBMISSION), layout.SUBMISSION)
        for name in (submission.study, submission.pilot_study):
            if name is not None and (name in {"", ".", ".."} or "/" in name):
                raise VerificationError(f"{quote(name)} is not a name of a study.")
        return submission

    @cached_property
    def version_differences(self) -> str:
        """The renderers that have another version here than the bundle says of itself.

        How a page or a drawing looks may then differ; what it says may not.
        """
        stated, here = self.document.renderer, describe.list_renderers()
        return ", ".join(
            f"{name} {stated.get(name)} ≠ {here.get(name)}"
            for name in sorted(stated.keys() | here.keys())
            if stated.get(name) != here.get(name)
        )

    @property
    def study(self) -> SubmittedStudy:
        """The study as ``submit`` saw it; read once while the results stay the same."""
        stated = self.document
        said = (stated.study, stated.authors, stated.course)
        return create_study(self.data, *said, self.results_digest)

    @cached_property
    def results_digest(self) -> str:
        """Of everything that the study is read from; what is made from it is left out."""
        return self.compute_digest(f"{layout.RESULTS}/", but=_MADE)

    @cached_property
    def study_dir(self) -> Path:
        """The study, as wbcbench stores one."""
        return self.data / layout.study_dir(self.document.study)

    @cached_property
    def runs(self) -> tuple[RunDir, ...]:
        """Every run of the study."""
        return self._list_runs(self.document.study)

    @cached_property
    def pilots(self) -> tuple[RunDir, ...]:
        """Runs that were made only to forecast the cost."""
        return self._list_runs(self.document.pilot_study or "")

    def _list_runs(self, study: str) -> tuple[RunDir, ...]:
        parts = [name.split("/") for name in self.list_names(f"{layout.RESULTS}/")]
        run_ids = {path[2] for path in parts if path[1] == study and len(path) > 3}
        return tuple(RunDir(self.data / layout.study_dir(study) / name) for name in sorted(run_ids))

    @cached_property
    def finished(self) -> tuple[RunDir, ...]:
        """Runs of the study that have a record."""
        return tuple(run for run in self.runs if run.is_finished)

    @cached_property
    def finished_and_pilots(self) -> tuple[RunDir, ...]:
        """Runs and pilots that have a record."""
        return (*self.finished, *(run for run in self.pilots if run.is_finished))

    @property
    def records(self) -> Sequence[RunRecord]:
        """The study's records, in the order of ``finished``; each is read when it is asked for."""
        return LazySequence(self.record, self.finished)

    @cached_property
    def plan(self) -> Plan | None:
        """What was fixed before the first run; ``None`` for single runs."""
        path = self.study_dir / study_folder.PLAN
        return plan.from_json(path) if path.is_file() else None

    def name_of(self, run: RunDir) -> str:
        """The path of a run's folder in the payload."""
        return run.path.relative_to(self.data).as_posix()

    def record(self, run: RunDir) -> RunRecord:
        """A run's record, without what was attached to it."""
        return _read_record(self, run)

    def predictions(self, run: RunDir) -> Predictions | None:
        """The network's output for the test images; ``None`` if there are no predictions."""
        path = run.predictions_path
        digest = self.digests.get(path.relative_to(self.root).as_posix())
        return _read_predictions(path, digest) if digest else None


@lru_cache(maxsize=16)
def create_study(
    data: Path, name: str, authors: tuple[Author, ...], course: str | None, digest: str
) -> SubmittedStudy:
    """A study of these files; its comparison and its report are computed once."""
    return SubmittedStudy(data, name, authors, course)


def cache_by_files(
    compute: Callable[[RunDir], T], most: int = _CACHED
) -> Callable[[Bundle, RunDir], T]:
    """Compute a result of a run once for as long as the run's files stay the same."""

    @lru_cache(maxsize=most)
    def compute_once(run: RunDir, digest: str) -> T:
        return compute(run)

    return lambda bundle, run: compute_once(run, bundle.compute_digest(f"{bundle.name_of(run)}/"))


_read_record = cache_by_files(RunDir.read_own_record, most=256)  # of half a megabyte each


@lru_cache(maxsize=2)  # those of a large study are larger than memory
def _read_predictions(path: Path, digest: str) -> Predictions:
    return read_predictions(path)


def load_bundle(root: Path, bounds: Bounds = BOUNDS) -> Bundle:
    """Require that every file of an opened bundle can be read safely, and take its digest.

    Raises:
        VerificationError: A file is not what a bundle holds, or the format is not this version's.
    """
    digests = dict[str, str]()
    for name in list_plain_files(root, bounds):
        with (root / name).open("rb") as stream:
            digests[name] = hashlib.file_digest(stream, "sha256").hexdigest()
        _require_readable(root / name, name, digests[name], bounds)
    bundle = Bundle(root, digests)
    if bundle.has(layout.SUBMISSION):
        plain = parse_json(bundle.read(layout.SUBMISSION))
        if isinstance(plain, dict) and (problem := document.describe_format_problem(plain)):
            raise VerificationError(problem)
    return bundle


@lru_cache(maxsize=_CACHED)
def _require_readable(path: Path, name: str, digest: str, bounds: Bounds) -> None:
    """Check a file once for as long as its digest stays the same."""
    require_readable(path, name, bounds)
    if path.name in {run_folder.TRACES, run_folder.ATTACHED_TRACE}:
        require_readable_traces(path, bounds)
