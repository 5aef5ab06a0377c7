"""From a study's folder to the files of its report; what is up to date is not made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from wbcbench.core import run_folder
from wbcbench.core.errors import UsageError
from wbcbench.core.files import sha256_of, write_atomically
from wbcbench.core.provenance import program_sha256
from wbcbench.core.run_folder import study_runs
from wbcbench.core.study_folder import CLAIMS, RUNS_TABLE, require_study
from wbcbench.table.view import Study, read_study

if TYPE_CHECKING:
    from wbcbench.report import Report
    from wbcbench.report.study import ReportStudy

PAGE_FORMATS = ("html", "md")
ALL_FORMATS = ("html", "md", "tex", "csv", "svg", "pdf")
"""All that need nothing but the program; ``interactive`` needs an extra and scripts."""

# What draws and typesets; another version of it makes other bytes.
RENDERERS = ("matplotlib", "jinja2", "markupsafe", "typst", "altair", "vl-convert-python", "numpy")

# No report reads these: logs, facts of one machine, what is derived again.
_UNREAD = {run_folder.LOG, run_folder.LOCAL, run_folder.STATE, run_folder.LOCK, RUNS_TABLE}

MANIFEST_FILE = "files.json"
MANIFEST_SCHEMA = "wbcbench.report-files/2"


@dataclass(frozen=True, slots=True)
class Published:
    """A report on disk.

    Attributes:
        folder: Where it lies.
        files: Its files, the page first.
        built: Whether they were made now; otherwise they were up to date.
        removed: Files of an earlier report that this one has no more.
    """

    folder: Path
    files: tuple[Path, ...]
    built: bool
    removed: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one report.

    Attributes:
        inputs: Digest of what it was made from.
        formats: Those that were made.
        files: Digest of each file, by path below the report's folder.
    """

    inputs: str
    formats: tuple[str, ...]
    files: Mapping[str, str]
    schema: str = MANIFEST_SCHEMA

    def is_complete(self, folder: Path, but: Iterable[str] = ()) -> bool:
        """Whether every file, ``but`` those left out, is there as it was written."""
        names = set(self.files) - set(but)
        return all(_digest_or_empty(folder / name) == self.files[name] for name in names)


def publish(
    results: Path, study: str, out: Path, formats: Sequence[str] = PAGE_FORMATS
) -> list[Path]:
    """Make the report of a study and write it to ``out/<study>/``.

    Args:
        results: Where studies are.
        study: Which one.
        out: Where reports are.
        formats: Names in ``report.formats.FORMATS``.

    Returns:
        The files, the page first.

    Raises:
        UsageError: There is no such study or format, none of its runs has a record, a record is of
            a newer version, or ``out`` cannot be written.
    """
    return list(refresh(results, study, out, formats, force=True).files)


def build_report_files(
    report: Report, study: ReportStudy, formats: Sequence[str] = PAGE_FORMATS
) -> dict[str, bytes]:
    """The files of a report that is built already, and their list; nothing is written.

    Args:
        report: Built of ``study``.
        study: Read from a folder by :func:`read_report_study`.
        formats: Names in ``report.formats.FORMATS``.

    Raises:
        UsageError: There is no such format.
    """
    from wbcbench.report.formats import build_files, known_formats

    files = build_files(report, study, formats)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    inputs = _hash_inputs(study.folder) if study.folder else ""
    return files | {
        MANIFEST_FILE: format_manifest(Manifest(inputs, known_formats(formats), digests))
    }


def refresh(
    results: Path, study: str, out: Path, formats: Sequence[str], *, force: bool = False
) -> Published:
    """As :func:`publish`, but what is up to date stays as it is unless ``force`` is given."""
    from wbcbench.report import build
    from wbcbench.report.formats import known_formats
    from wbcbench.table.summary import summarise_study

    inputs = _hash_inputs(require_study(results, study))
    folder = out / study
    last = read_manifest(folder)
    is_current = last and last.inputs == inputs and set(formats) <= set(last.formats)
    if not force and last and is_current and last.is_complete(folder):
        names = sorted(last.files, key=lambda name: (not name.startswith("report."), name))
        return Published(folder, tuple(folder / name for name in names), built=False)
    known_formats(formats)  # before the work, not after it
    read = read_report_study(results, study, summarise_study)
    return _write(build(read), read, folder, formats, inputs)


def read_report_study(
    results: Path, study: str, read_runs: Callable[[Path], Study] = read_study
) -> ReportStudy:
    """The study as the sections see it.

    Args:
        results: Where studies are.
        study: Which one.
        read_runs: Reads its runs: the records themselves, or what was kept of them.

    Raises:
        UsageError: As for :func:`publish`.
    """
    from wbcbench.report.study import ReportStudy

    folder = require_study(results, study)
    read = read_runs(folder)
    if not read.runs:
        raise UsageError(
            f"No run in {folder} has a record yet ({read.unfinished} are still running or were "
            "interrupted). Wait for them, or finish one with: wbcbench run --variant leaky-dropout "
            f"--study {study}"
        )
    return ReportStudy(study, read.runs, read.unfinished, folder)


def _write(
    report: Report, study: ReportStudy, folder: Path, formats: Sequence[str], inputs: str
) -> Published:
    """Write the files, and remove what an earlier report left that is no longer true.

    Other formats of the same inputs stay, because they are still right.
    """
    from wbcbench.report.formats import build_files, known_formats

    files = build_files(report, study, formats)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = Manifest(inputs, known_formats(formats), digests)
    last = read_manifest(folder)
    removed: list[Path] = []
    try:
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        if last and last.inputs == inputs and last.is_complete(folder, but=files):
            names = tuple(dict.fromkeys((*manifest.formats, *last.formats)))
            manifest = Manifest(inputs, names, {**digests, **last.files, **digests})
        elif last:
            removed = _remove_unchanged(folder, last.files, set(last.files) - set(files))
        write_atomically(folder / MANIFEST_FILE, format_manifest(manifest))
    except OSError as error:
        raise UsageError(
            f"The report cannot be written to {folder}: {error.strerror}. Choose another folder "
            "with --out, or free space and permissions."
        ) from error
    return Published(folder, tuple(folder / name for name in files), True, tuple(removed))


# What a report is made from is known by content alone, so that its digest is the same on every
# machine. Runs that are going on count by name: the report says only that they exist.
def _hash_inputs(study_dir: Path) -> str:
    """The digest of a study, of this program, and of what draws for it."""
    lines = [*_list_program(), *_iterate_study(study_dir)]
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


@cache
def _list_program() -> tuple[str, ...]:
    def find_version(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "absent"

    return (*(f"{name} {find_version(name)}" for name in RENDERERS), program_sha256())


def _iterate_study(study_dir: Path) -> Iterator[str]:
    yield study_dir.name
    for path in sorted((*study_dir.glob("*.json"), *study_dir.glob(CLAIMS))):
        yield f"{path.name} {sha256_of(path)}"
    for run in study_runs(study_dir.parent, study_dir.name):
        yield run.run_id
        for path in sorted(run.path.rglob("*")) if run.is_finished else ():
            inside = path.relative_to(run.path)
            is_read = inside.parts[0] != run_folder.TENSORBOARD and path.name not in _UNREAD
            if is_read and path.is_file():
                yield f"{inside} {sha256_of(path)}"


def read_manifest(folder: Path) -> Manifest | None:
    """The list of files that the last report wrote; ``None`` without a valid one."""
    try:
        manifest = TypeAdapter(Manifest).validate_json((folder / MANIFEST_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    is_valid = manifest.schema == MANIFEST_SCHEMA and all(map(_is_below, manifest.files))
    return manifest if is_valid else None


def format_manifest(manifest: Manifest) -> bytes:
    """The list as it stands beside the files that it names."""
    return (json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n").encode()


def _remove_unchanged(folder: Path, digests: Mapping[str, str], names: Iterable[str]) -> list[Path]:
    """Delete those of the named files that are still as a report left them; returns them."""
    removed = [folder / name for name in names if _digest_or_empty(folder / name) == digests[name]]
    for path in removed:
        path.unlink()
    return removed


def _is_below(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.name != MANIFEST_FILE


def _digest_or_empty(path: Path) -> str:
    """The digest of a file; empty if there is none to read."""
    try:
        return "" if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
