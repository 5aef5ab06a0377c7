"""What deleted runs have cost: their joules stay in the sum of the study that spent them."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from wbcbench.core.errors import UsageError
from wbcbench.core.files import read_file, sha256_of, write_atomically
from wbcbench.core.run_folder import RunDir
from wbcbench.core.strict_json import read_document
from wbcbench.core.study_folder import DELETED_RUNS
from wbcbench.core.window import utc_now
from wbcbench.table.derive import Spent, spent
from wbcbench.table.view import Run

SCHEMA = "wbcbench.deleted-runs/1"


@dataclass(frozen=True, slots=True)
class DeletedRun:
    """One run that is no more.

    Attributes:
        run_id: Its name.
        record_sha256: Digest of its record; while a folder with that record is there, the run is.
        status: How it ended.
        deleted_utc: When it was deleted.
        spent: What it cost.
    """

    run_id: str
    record_sha256: str
    status: str
    deleted_utc: str
    spent: Spent


@dataclass(frozen=True, slots=True)
class _File:
    schema: str
    runs: tuple[DeletedRun, ...]


def keep_cost(run: RunDir) -> None:
    """Write down what a run has cost, before it is deleted.

    Raises:
        UsageError: Its record, or the list of runs deleted before, is damaged.
        OSError: The list cannot be written.
    """
    study_dir, view = run.path.parent, Run(run.read_own_record())
    digest = sha256_of(run.record_path)
    known = [each for each in _read(study_dir) if each.record_sha256 != digest]
    deleted = DeletedRun(run.run_id, digest, view.status, utc_now(), spent(view))
    text = json.dumps(asdict(_File(SCHEMA, (*known, deleted))), indent=1, sort_keys=True)
    write_atomically(study_dir / DELETED_RUNS, f"{text}\n".encode())


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


def _read(study_dir: Path) -> tuple[DeletedRun, ...]:
    path = study_dir / DELETED_RUNS
    try:
        file = read_document(_File, read_file(path))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path} cannot be read: {reason}.") from error
    if file.schema != SCHEMA:
        raise UsageError(f"{path} is of another format than {SCHEMA}, which this version reads.")
    return file.runs
