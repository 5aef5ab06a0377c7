"""What can be deleted: runs without a result, what killed commands left, caches; and how it goes.

Nothing outside the results and the program's own cache is touched, no link is followed, and no run
that is carried out, or may be. What the deleted runs of a plan have cost stays with the study.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wbcbench import table
from wbcbench.core.cache import cache_root
from wbcbench.core.errors import UsageError, WbcbenchError
from wbcbench.core.lock import HOST, is_held
from wbcbench.core.run_condition import RunStage, condition
from wbcbench.core.run_folder import WAY_OUT, RunDir, delete_folder, list_folders, list_left_behind
from wbcbench.core.run_state import Liveness
from wbcbench.core.spec import MEASURED
from wbcbench.core.study_folder import PLAN, find_run, is_pilot_study, studies
from wbcbench.data.synthetic import MARKER
from wbcbench.run import finalise
from wbcbench.study.sweep import study_lock
from wbcbench.table.deleted import keep_cost
from wbcbench.table.derive import Spent, spent
from wbcbench.table.view import Run

Kind = Literal["run", "leftover", "cache"]

_OLD_S = 3600.0  # a write takes seconds; what is older was left by a kill
_TEMPORARY = re.compile(
    r"\..+\.[0-9a-f]{8}\.tmp"  # of files
    r"|\..+-s\d+-[0-9a-f]{8}\.tmp"  # of runs that are copied
    r"|\.(new|[0-9a-f]+\.json|synthetic-cells-v[\ds-]+)\.[a-z0-9_]{8}",  # in the cache
    re.DOTALL,
)
# Folder of the cache → names in it, and what they hold. Nothing else in that folder is ours.
_CACHED = {
    "studies": (r"[0-9a-f]{24}\.jsonl", "rows of tables"),
    "listings": (r"[0-9a-f]+\.json", "image lists"),
    "pixels": (r"[0-9a-f]{32}-\d+px-[\w.-]+\.raw", "decoded images"),
    "sensor-cards": (r"[A-Za-z0-9-]{8,80}\.json", "sensor cards"),
    "": (r"synthetic-cells-v\d+-s\d+-\d+-\d+", "synthetic images"),
}

_CACHE_IN_USE = "A run measures on this machine and may read the cache."


@dataclass(frozen=True, slots=True)
class Removable:
    """Something that can be deleted.

    Attributes:
        kind: A run, what a killed command left, or a cache that is made again when needed.
        path: Where it lies.
        what: A run's status, or what it is.
        size_bytes: On disk.
        spent: What a run has cost; ``None`` without a record.
        is_counted: Whether its joules belong to the sum of a planned study.
    """

    kind: Kind
    path: Path
    what: str
    size_bytes: int
    spent: Spent | None = None
    is_counted: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that stays, and why."""

    path: Path
    reason: str


def find_removable_runs(
    results: Path, wanted: Sequence[str], *, force: bool
) -> tuple[list[Removable], list[Kept]]:
    """The runs of these ids or folders.

    Args:
        results: Where studies lie.
        wanted: Whole ids, or folders.
        force: Whether finished runs of planned studies may go.

    Raises:
        UsageError: There is no such run, or it is not in the results; nothing may go then.
    """
    found, kept = dict[Path, Removable](), list[Kept]()
    for name in wanted:
        run = find_run(results, name) if name else RunDir(Path())
        if name not in {run.run_id, str(run.path)} and Path(name) != run.path:
            raise UsageError(f"'{name}' is no whole run id. Did you mean '{run.run_id}'?")
        _require_inside(results, run.path)
        if why := _find_obstacle(run, force=force):
            kept.append(Kept(run.path, why))
            continue
        try:
            found[run.path.resolve()] = _describe_run(run)
        except UsageError as error:
            raise UsageError(f"{error} {WAY_OUT}") from error
    return list(found.values()), kept


def find_garbage(results: Path, *, with_caches: bool = True) -> tuple[list[Removable], list[Kept]]:
    """Runs that failed, were interrupted or lost their recorder, leftovers, and caches.

    Args:
        results: Where studies lie.
        with_caches: Whether caches may.
    """
    found, kept = list[Removable](), list[Kept]()
    for study in studies(results):
        if (results / study).is_symlink():
            kept.append(Kept(results / study, "It is a link to a folder elsewhere."))
            continue
        for run in list_folders(results, study):
            try:
                if _has_result(run):
                    continue
                why = _find_obstacle(run, force=False)
                kept += [Kept(run.path, why)] * bool(why)
                found += [] if why else [_describe_run(run)]
            except WbcbenchError as error:
                kept.append(Kept(run.path, f"{error} {WAY_OUT}"))
    cache = cache_root()
    folders = list(_walk_folders(results))
    if with_caches and is_held(HOST):
        kept.append(Kept(cache, _CACHE_IN_USE))
    elif with_caches:
        folders += [folder for name in _CACHED if not (folder := cache / name).is_symlink()]
    leftovers, alive = _find_leftovers(folders)
    found += leftovers
    kept += alive
    if with_caches and not is_held(HOST):
        found += _find_caches(cache)
    return found, kept


def _has_result(run: RunDir) -> bool:
    return run.is_finished and run.read_record().status == "done"


def _require_inside(results: Path, path: Path) -> None:
    """Raise ``UsageError`` where a folder is no run's own folder in a study of the results."""
    study = path.absolute().parent
    if path.resolve().parent.parent != results.resolve() or path.name != path.resolve().name:
        raise UsageError(f"{path} does not lie in a study under {results}/. Nothing was deleted.")
    if path.is_symlink() or study.is_symlink():
        raise UsageError(f"{path} is reached by a link. Remove the link yourself.")


def _find_obstacle(run: RunDir, *, force: bool) -> str:
    """Why a run may not be deleted; empty if it may."""
    if run.path.is_symlink():
        return "It is a link to a folder elsewhere."
    if run.is_locked:
        return "It is being carried out: its folder is locked."
    if not run.is_finished:
        state = condition(run)
        if state.stage is not RunStage.GONE:
            return state.text
    if not force and _is_of_plan(run) and _has_result(run):
        return (
            "It is a finished run of a planned study, and no bundle without it is verified. "
            "--force deletes it."
        )
    return ""


def _is_of_plan(run: RunDir) -> bool:
    study = run.path.parent
    return (study / PLAN).exists() or is_pilot_study(study.name)


def _describe_run(run: RunDir) -> Removable:
    size_bytes, is_counted = sum(run.bytes_on_disk()), _is_of_plan(run)
    if not run.is_finished:
        return Removable("run", run.path, "orphaned", size_bytes, is_counted=is_counted)
    view = Run(run.read_record())
    return Removable("run", run.path, view.status, size_bytes, spent(view), is_counted)


def _find_leftovers(folders: Iterable[Path]) -> tuple[list[Removable], list[Kept]]:
    """Half folders and half-written files of these folders."""
    found, kept = list[Removable](), list[Kept]()
    for folder in folders:
        for path, maker in list_left_behind(folder).items():
            if maker is Liveness.GONE:
                what = "half a folder, of a command that was killed"
                found.append(Removable("leftover", path, what, _measure(path)))
            elif maker is Liveness.UNKNOWN:
                kept.append(Kept(path, "Who makes or deletes it cannot be seen from here."))
        found += _find_temporary(folder)
    return found, kept


def _walk_folders(results: Path) -> Iterator[Path]:
    """The results, each study, each run; links are left out."""
    yield results
    for study in _list_folders(results):
        yield study
        yield from _list_folders(study)


def _list_folders(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return sorted(
            Path(entry.path)
            for entry in entries
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        )
    return []


def _find_temporary(folder: Path) -> Iterator[Removable]:
    """Files and folders under which something was written that was never renamed."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if _TEMPORARY.fullmatch(entry.name) and not entry.is_symlink():
                age_s = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if age_s > _OLD_S:
                    path = Path(entry.path)
                    what = "half a write, of a command that was killed"
                    yield Removable("leftover", path, what, _measure(path))


def _find_caches(root: Path) -> Iterator[Removable]:
    for name, (pattern, what) in _CACHED.items():
        if (folder := root / name).is_symlink():
            continue
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                path = Path(entry.path)
                is_ours = bool(re.fullmatch(pattern, entry.name)) and not entry.is_symlink()
                if is_ours and entry.is_dir(follow_symlinks=False):
                    is_ours = (path / "images" / MARKER).is_file()
                if is_ours:
                    yield Removable("cache", path, what, _measure(path))


def _measure(path: Path) -> int:
    """Bytes of a file, or of all in a folder; links count as links."""
    if path.is_dir() and not path.is_symlink():
        return sum(RunDir(path).bytes_on_disk())
    with contextlib.suppress(OSError):
        return path.lstat().st_size
    return 0


def delete(results: Path, items: Iterable[Removable]) -> tuple[list[Removable], list[Kept]]:
    """Delete; returns what is gone, and what is not with the reason.

    A run whose recorder was killed gets its record first, so that its joules are known. The cost of
    a run that its study counts is kept. The tables of the studies are made anew.

    Raises:
        UsageError: A sweep carries out one of the studies.
    """
    gone, kept = list[Removable](), list[Kept]()
    by_study: dict[Path, list[Removable]] = {}
    for item in items:
        if item.kind == "run":
            by_study.setdefault(item.path.parent, []).append(item)
            continue
        if item.kind == "cache" and is_held(HOST):
            kept.append(Kept(item.path, _CACHE_IN_USE))
            continue
        try:
            _delete_path(item.path)
        except OSError as error:
            kept.append(Kept(item.path, f"{error.strerror}."))
        else:
            gone.append(item)
    for study, runs in by_study.items():
        with study_lock(study):
            for item in runs:
                try:
                    gone.append(_delete_run(RunDir(item.path)))
                except WbcbenchError as error:
                    kept.append(Kept(item.path, str(error)))
                except OSError as error:
                    kept.append(Kept(item.path, f"It cannot be deleted: {error.strerror}."))
        if study.name != MEASURED:
            table.write_table(study)
    return gone, kept


def _delete_path(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        delete_folder(path)
    else:
        path.unlink(missing_ok=True)


def _delete_run(run: RunDir) -> Removable:
    """Delete one run; returns what it was.

    Raises:
        UsageError: It has begun meanwhile, or its record is damaged.
        OSError: It cannot be deleted.
    """
    if not run.is_finished:
        finalise.finalise(run, force=False)
    with run.hold_lock() as is_free:
        if not is_free:
            raise UsageError("It is being carried out: its folder is locked.")
        was = _describe_run(run)
        if was.is_counted:
            keep_cost(run)
        run.delete()
    return was
