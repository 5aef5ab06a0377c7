"""Run folders of several studies copied into one, none of them changed.

Records are copied as they are: each still holds the study it was planned in and the machine it ran
on. Two runs of one name must be the same run; otherwise nothing is copied at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile

from wbcbench.core.errors import UsageError
from wbcbench.core.files import sync_folder
from wbcbench.core.run_folder import CLAIM, LOCK, RunDir
from wbcbench.data.read import usable_cores
from wbcbench.table.deleted import DeletedRun, merge_deleted, write_deleted
from wbcbench.table.summary import RunSummary, Summaries, SummarisedRun, summarise_runs
from wbcbench.table.view import COMPARABLE

_Finished = tuple[RunDir, RunSummary]

_ignore_lock = shutil.ignore_patterns(LOCK, CLAIM)


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did.

    Attributes:
        copied: Runs that are new in the folder.
        same: Runs that were there already, or came twice, with the same content.
        unfinished: Runs without a record; they stay where they are.
        differing: Columns whose values must agree for a comparison and differ between the runs.
    """

    copied: int
    same: int
    unfinished: int
    differing: tuple[str, ...] = ()


def merge_studies(studies: Sequence[Path], into: Path) -> Merged:
    """Copy every accounted-for run of these study folders into one, and what deleted ones cost.

    Raises:
        UsageError: Two runs of one name differ, a record or a list of deleted runs cannot be read,
            a study is the target itself, or the target cannot be written. Nothing was copied then,
            except on a full disk: what was copied by then is complete.
    """
    if into.resolve() in {study.resolve() for study in studies}:
        raise UsageError(f"{into} cannot be merged into itself. Name another study with --into.")
    # A damaged or newer one is refused before anything is copied.
    known = {run.run_id: (run, summary) for run, summary in summarise_runs(into)[0]}
    found = [summarise_runs(study) for study in studies]
    finished = [pair for runs, _ in found for pair in runs]
    new = [pair for pair in _choose_runs(finished, known) if pair[0].run_id not in known]
    _copy(new, into, merge_deleted([into, *studies]))
    views = [SummarisedRun(summary, run) for run, summary in (*known.values(), *new)]
    kinds = {run.comparable_by for run in views if run.is_done}
    differing = tuple(
        name
        for name, values in zip(COMPARABLE, zip(*kinds, strict=True), strict=False)
        if len(set(values)) > 1
    )
    unfinished = sum(count for _, count in found)
    return Merged(len(new), len(finished) - len(new), unfinished, differing)


def _choose_runs(runs: Sequence[_Finished], known: Mapping[str, _Finished]) -> list[_Finished]:
    """One run of each name; all runs of that name are equal.

    Raises:
        UsageError: Two of one name differ.
    """
    chosen: dict[str, _Finished] = {}
    for run, summary in runs:
        other = known.get(run.run_id) or chosen.get(run.run_id)
        if other is not None:
            _require_same(run, other[0])
        chosen.setdefault(run.run_id, (run, summary))
    return list(chosen.values())


def _require_same(run: RunDir, other: RunDir) -> None:
    for own, theirs in (
        (run.record_path, other.record_path),
        (run.predictions_path, other.predictions_path),
        (run.epochs_path, other.epochs_path),
    ):
        if _read_content(own) != _read_content(theirs):
            raise UsageError(
                f"Two runs named {run.run_id} differ: {own} and {theirs}. Nothing was copied. "
                "Leave one out, or repeat the second with another seed or with --again."
            )


def _read_content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _copy(runs: Sequence[_Finished], into: Path, deleted: Sequence[DeletedRun]) -> None:
    """Copy runs, several at once, for it is the system that takes its time."""
    pool = ThreadPoolExecutor(usable_cores())
    try:
        into.mkdir(parents=True, exist_ok=True)
        write_deleted(into, deleted)
        copies = pool.map(lambda pair: _copy_run(pair[0], into), runs)
        with Summaries(into) as summaries:
            for (run, _), copied in zip(runs, copies, strict=True):
                summaries.adopt(copied, run)
        sync_folder(into)
    except OSError as error:
        raise UsageError(
            f"{into} cannot be written: {error.strerror or error}. Runs copied so far are "
            "complete; free space or fix the permissions and merge again."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _copy_run(run: RunDir, into: Path) -> RunDir:
    """Copy a run completely or not at all: to a temporary folder, then renamed."""
    target, beside = RunDir(into / run.run_id), into / f".{run.run_id}.tmp"
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(run.path, beside, ignore=_ignore_lock, copy_function=copyfile)
    shutil.rmtree(target.path, ignore_errors=True)  # only ever an unfinished one
    beside.rename(target.path)
    return target
