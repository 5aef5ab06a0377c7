"""What deleted runs were and cost: their joules stay in the sum of the study that spent them.

A bundle holds the list, too, so that nobody takes a run that was deleted for one that is hidden.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

from wbcbench.core.errors import UsageError
from wbcbench.core.files import read_file, sha256_of, write_atomically
from wbcbench.core.record import AFTER_RUN
from wbcbench.core.run_folder import RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.strict_json import read_document
from wbcbench.core.study_folder import DELETED_RUNS
from wbcbench.core.window import utc_now
from wbcbench.table.derive import Spent, spent
from wbcbench.table.view import Run

SCHEMA = "wbcbench.deleted-runs/1"


_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,159}")
Ended = Literal["done", "invalid", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class DeletedRun:
    """One run that is no more.

    Attributes:
        run_id: Its name.
        record_sha256: Digest of its record; while a folder with that record is there, the run is.
        status: How it ended.
        started_utc, deleted_utc: When it began, and when it was deleted.
        host_id, after_run, plan_sha256: Of its provenance: machine, run before it, plan.
        spec: What was asked for.
        spent: What it cost.
    """

    run_id: str
    record_sha256: str
    status: Ended
    started_utc: str
    deleted_utc: str
    host_id: str | None
    after_run: str | None
    plan_sha256: str | None
    spec: RunSpec
    spent: Spent

    @property
    def has_result(self) -> bool:
        """Whether it was finished, valid or not."""
        return self.status in {"done", "invalid"}


@dataclass(frozen=True, slots=True)
class DeletedRuns:
    """The file."""

    schema: str
    runs: tuple[DeletedRun, ...]


def keep_cost(run: RunDir) -> None:
    """Write down what a run was and has cost, before it is deleted.

    Raises:
        UsageError: Its record, or the list of runs deleted before, is damaged.
        OSError: The list cannot be written.
    """
    view = Run(run.read_own_record())
    facts = view.record.provenance
    host_id, after_run, plan_sha256 = (
        None if facts.get(name) is None else str(facts[name])
        for name in ("host_id", AFTER_RUN, "plan_sha256")
    )
    deleted = DeletedRun(
        run_id=run.run_id,
        record_sha256=sha256_of(run.record_path),
        status=cast(Ended, view.status),
        started_utc=view.record.started_utc,
        deleted_utc=utc_now(),
        host_id=host_id,
        after_run=after_run,
        plan_sha256=plan_sha256,
        spec=view.spec,
        spent=spent(view),
    )
    write_deleted(run.path.parent, _drop_same([*_read(run.path.parent), deleted]))


def write_deleted(study_dir: Path, runs: Sequence[DeletedRun]) -> None:
    """Write the list of a study; none where it is empty and there was none.

    Raises:
        OSError: It cannot be written.
    """
    path = study_dir / DELETED_RUNS
    if runs or path.exists():
        study_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(path, format_deleted(runs))


def format_deleted(runs: Sequence[DeletedRun]) -> bytes:
    """The list as JSON."""
    file = DeletedRuns(SCHEMA, tuple(runs))
    return f"{json.dumps(asdict(file), indent=1, sort_keys=True)}\n".encode()


def merge_deleted(study_dirs: Iterable[Path]) -> list[DeletedRun]:
    """The deleted runs of several studies, each once.

    Raises:
        UsageError: A list is damaged, or of another version.
    """
    return _drop_same([each for folder in study_dirs for each in _read(folder)])


def read_deleted(study_dir: Path) -> list[DeletedRun]:
    """The runs of a study that were deleted; one that is still there is none.

    Raises:
        UsageError: The list is damaged, or of another version.
    """
    return [each for each in _read(study_dir) if not _is_there(study_dir, each)]


def _is_there(study_dir: Path, deleted: DeletedRun) -> bool:
    record = RunDir(study_dir / deleted.run_id).record_path
    with contextlib.suppress(OSError):
        return sha256_of(record) == deleted.record_sha256
    return False


def _drop_same(runs: Iterable[DeletedRun]) -> list[DeletedRun]:
    """Each run once, as the last entry has it."""
    return list({(each.run_id, each.record_sha256): each for each in runs}.values())


def _read(study_dir: Path) -> tuple[DeletedRun, ...]:
    path = study_dir / DELETED_RUNS
    try:
        file = read_document(DeletedRuns, read_file(path))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path} cannot be read: {reason}.") from error
    if file.schema != SCHEMA:
        raise UsageError(f"{path} is of another format than {SCHEMA}, which this version reads.")
    if not all(_RUN_ID.fullmatch(run.run_id) for run in file.runs):
        raise UsageError(f"{path} has a run with a name that no run has.")
    return file.runs
