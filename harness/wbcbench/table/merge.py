"""Run folders of several studies brought together in one, none of them changed.

Records are copied as they are: each still says which study it was planned in and which machine it
ran on. Two runs of one name must be the same run; otherwise nothing is copied at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wbcbench.core.errors import UsageError
from wbcbench.core.files import sync_folder
from wbcbench.core.run_folder import LOCK, RunDir, study_runs


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did.

    Attributes:
        copied: Runs that are new in the folder.
        same: Runs that were there already, or came twice, with the same content.
        unfinished: Runs without a record; they stay where they are.
    """

    copied: int
    same: int
    unfinished: int


def merge_studies(studies: Sequence[Path], into: Path) -> Merged:
    """Copy every accounted-for run of these study folders into one.

    Raises:
        UsageError: Two runs of one name differ, a record cannot be read, a study is the target
            itself, or the target cannot be written. Nothing was copied then, except on a full
            disk: what was copied by then is whole.
    """
    if into.resolve() in {study.resolve() for study in studies}:
        raise UsageError(f"{into} cannot be merged into itself. Name another study with --into.")
    found = [run for study in studies for run in study_runs(study.parent, study.name)]
    finished = [run for run in found if run.is_finished]
    chosen = _chosen(finished, into)
    new = [run for run in chosen if not RunDir(into / run.run_id).is_finished]
    for run in new:
        run.read_record()  # a damaged or newer one is refused before anything is copied
    _copy(new, into)
    return Merged(len(new), len(finished) - len(new), len(found) - len(finished))


def _chosen(runs: Sequence[RunDir], into: Path) -> list[RunDir]:
    """One run of each name, after all of that name were found equal."""
    known = {run.run_id: run for run in study_runs(into.parent, into.name) if run.is_finished}
    chosen: dict[str, RunDir] = {}
    for run in runs:
        other = known.get(run.run_id) or chosen.get(run.run_id)
        if other is not None:
            _require_same(run, other)
        chosen.setdefault(run.run_id, run)
    return list(chosen.values())


def _require_same(run: RunDir, other: RunDir) -> None:
    for own, theirs in (
        (run.record_path, other.record_path),
        (run.predictions_path, other.predictions_path),
        (run.epochs_path, other.epochs_path),
    ):
        if _content(own) != _content(theirs):
            raise UsageError(
                f"{run.run_id} is there twice with different content: {own} and {theirs}. Equal "
                "specs are one run, so one of them was run again elsewhere. Nothing was copied. "
                "Leave one of the two out, or give the second its own seed or --again."
            )


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _copy(runs: Sequence[RunDir], into: Path) -> None:
    """Each run whole or not at all: copied beside, then renamed."""
    try:
        into.mkdir(parents=True, exist_ok=True)
        for run in runs:
            beside = into / f".{run.run_id}.tmp"
            shutil.rmtree(beside, ignore_errors=True)
            shutil.copytree(run.path, beside, ignore=shutil.ignore_patterns(LOCK))
            target = into / run.run_id
            shutil.rmtree(target, ignore_errors=True)  # only ever an unfinished one
            beside.rename(target)
        sync_folder(into)
    except OSError as error:
        raise UsageError(
            f"{into} cannot be written: {error.strerror or error}. Runs copied so far are whole; "
            "free space or permissions and merge again."
        ) from error
