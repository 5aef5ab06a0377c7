"""A study's files into the bundle: what a run leaves behind, and nothing else that lies about."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from wbcbench.bundle import layout, redaction
from wbcbench.bundle.redaction import Redactor
from wbcbench.core.errors import UsageError
from wbcbench.core.run_condition import RunStage, condition
from wbcbench.core.run_folder import study_runs

_OF_RUN = (
    "spec.json", "began.json", "channels.json", "record.json", "marks.jsonl", "epochs.csv",
    "predictions.parquet", "attached.json", "log.txt", "trace/*.csv", "telemetry/*.csv",
    "attached/*.csv",
)  # fmt: skip
_OF_STUDY = ("plan.json", "plan-*.json")


def copy_study(source: Path, payload: Path, by: Redactor | None) -> None:
    """Copy plans and runs of one study folder to ``results/<its name>`` of the bundle.

    Raises:
        UsageError: A file of it is a link, which may lead anywhere.
        OSError: It cannot be read, or the bundle cannot be written.
    """
    target = payload / layout.study_dir(source.name)
    for run in study_runs(source.parent, source.name):
        _copy(run.path, target / run.run_id, _OF_RUN, by)
    _copy(source, target, _OF_STUDY, by)


def refuse_running(source: Path) -> None:
    """See that nobody is at work in the study.

    Raises:
        UsageError: A run of it is going on.
    """
    for run in study_runs(source.parent, source.name):
        if run.is_finished:
            continue
        found = condition(run)
        if found.stage is RunStage.UNKNOWN:
            raise UsageError(f"The run {run.path} has no record. {found.text}")
        if not found.may_be_finalised:
            raise UsageError(
                f"The run {run.path} is going on. A bundle is of a study at rest: wait for the "
                f"run, or stop it with Ctrl-C where it was started. {found.text}"
            )


def remove(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path, patterns: tuple[str, ...], by: Redactor | None) -> None:
    for path in _files(source, patterns):
        if path.is_symlink() or path.parent.is_symlink():
            raise UsageError(
                f"{path} is a link. What it leads to is no part of the study, so it is not "
                "copied into a bundle. Put the file itself there, or remove the link."
            )
        name = redaction.name_of(PurePosixPath(path.relative_to(source).as_posix()), by)
        redaction.copy(path, target / name, by)


def _files(source: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(path for path in source.glob(pattern) if not path.is_dir())
