"""The code of the runs: an archive of each commit, and uncommitted changes if there are any."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from wbcbench.bundle import layout
from wbcbench.bundle.described import git_state
from wbcbench.bundle.document import GitState
from wbcbench.bundle.redaction import Redactor, write_text
from wbcbench.bundle.study import SubmittedStudy
from wbcbench.core.files import write_whole
from wbcbench.core.provenance import source_root

# Runs and reports are what the code made, not the code.
_NOT_CODE = (":(exclude)results", ":(exclude)reports")
_ARCHIVE_S = 120.0


def write_code(study: SubmittedStudy, by: Redactor | None) -> GitState:
    """Write ``code/`` and the lock of the last commit; returns what is there of the code."""
    commits = _commits(study)
    root = source_root()
    (study.payload / layout.GIT).parent.mkdir(parents=True, exist_ok=True)
    if root is not None and (root / ".git").exists() and shutil.which("git"):
        for commit in commits:
            _archive(root, commit, study.payload / layout.source_of(commit, commits))
        if commits and any(r.provenance.get("git_dirty") for r in study.records):
            _write_diff(root, commits[-1], study.payload / layout.DIFF, by)
        _write_lock(root, study)
    state = git_state(study, study.payload)
    text = json.dumps(asdict(state), indent=1, sort_keys=True)
    write_whole(study.payload / layout.GIT, (text + "\n").encode())
    return state


def _commits(study: SubmittedStudy) -> tuple[str, ...]:
    found = (record.provenance.get("git_commit") for record in study.records)
    return tuple(dict.fromkeys(str(commit) for commit in found if commit))


def _archive(root: Path, commit: str, target: Path) -> None:
    """A tar of the commit, the same each time; nothing where the commit is not at hand."""
    data = _git(root, "archive", "--format=tar", commit, "--", ".", *_NOT_CODE)
    if data is not None:
        write_whole(target, data)


def _write_diff(root: Path, commit: str, target: Path, by: Redactor | None) -> None:
    data = _git(root, "diff", "--no-color", "--no-ext-diff", commit, "--", ".", *_NOT_CODE)
    if data:
        write_text(target, data.decode(errors="replace"), by)


def _write_lock(root: Path, study: SubmittedStudy) -> None:
    """The lock that the runs were made with, known by its digest; else none."""
    import hashlib

    wanted = study.fact("lock_sha256")
    candidates: Sequence[bytes | None] = (
        *(_git(root, "show", f"{commit}:requirements.lock") for commit in _commits(study)),
        (root / "requirements.lock").read_bytes()
        if (root / "requirements.lock").exists()
        else None,
    )
    for data in candidates:
        if data is not None and hashlib.sha256(data).hexdigest() == wanted:
            (study.payload / layout.LOCK).parent.mkdir(parents=True, exist_ok=True)
            write_whole(study.payload / layout.LOCK, data)
            return


def _git(root: Path, *words: str) -> bytes | None:
    """What git says; ``None`` where it does not know the commit."""
    done = subprocess.run(
        ["git", "-C", str(root), *words], check=False, capture_output=True, timeout=_ARCHIVE_S
    )
    return done.stdout if done.returncode == 0 else None
