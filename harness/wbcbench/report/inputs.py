"""What a report is made from, as one digest: equal digests mean that there is nothing to redo.

By content alone, so that the digest is the same on every machine. Runs that are going on count by
name: the report says only that they are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from wbcbench.core.run_folder import RunDir, study_runs

# What draws and sets; another version of it makes other bytes.
RENDERERS = ("matplotlib", "jinja2", "markupsafe", "typst", "altair", "vl-convert-python", "numpy")

# No report reads these: logs, what speaks of one machine, what is derived again.
_LEFT_OUT = frozenset({"log.txt", "local.json", "state.json", ".lock", "runs.csv"})
_LEFT_OUT_FOLDERS = frozenset({"tb"})


def inputs_sha256(study_dir: Path) -> str:
    """The digest of a study, of this program, and of what draws for it."""
    digest = hashlib.sha256()
    for line in (*_program(), *_study(study_dir)):
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()


@cache
def program_sha256() -> str:
    """The digest of this program's own files, of whatever version they call themselves."""
    return hashlib.sha256("\n".join(_code()).encode()).hexdigest()


@cache
def _program() -> tuple[str, ...]:
    return (*(f"{name} {_version(name)}" for name in RENDERERS), *_code())


def _code() -> list[str]:
    package = Path(__file__).parents[1]
    sources = sorted(p for p in package.rglob("*") if p.is_file() and p.suffix != ".pyc")
    return [f"{path.relative_to(package)} {_sha256(path)}" for path in sources]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _study(study_dir: Path) -> Iterator[str]:
    yield study_dir.name
    for path in sorted(study_dir.glob("*.json")):
        yield f"{path.name} {_sha256(path)}"
    for run in study_runs(study_dir.parent, study_dir.name):
        yield run.run_id
        if run.is_finished:
            yield from _run(run)


def _run(run: RunDir) -> Iterator[str]:
    for path in sorted(run.path.rglob("*")):
        inside = path.relative_to(run.path)
        is_read = inside.parts[0] not in _LEFT_OUT_FOLDERS and path.name not in _LEFT_OUT
        if is_read and path.is_file():
            yield f"{inside} {_sha256(path)}"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
