"""From a study's folder to the files of its report; what is still right is not made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from wbcbench.core import run_folder
from wbcbench.core.errors import UsageError
from wbcbench.core.files import sha256_of, write_atomically
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.core.study_folder import RUNS_TABLE, require_study

if TYPE_CHECKING:
    from wbcbench.report import Report
    from wbcbench.report.study import ReportStudy

PAGE_FORMATS = ("html", "md")
ALL_FORMATS = ("html", "md", "tex", "csv", "svg", "pdf")
"""All that need nothing but the program; ``interactive`` needs an extra and scripts."""

# What draws and sets; another version of it makes other bytes.
RENDERERS = ("matplotlib", "jinja2", "markupsafe", "typst", "altair", "vl-convert-python", "numpy")

# No report reads these: logs, what speaks of one machine, what is derived again.
_LEFT_OUT = frozenset(
    {run_folder.LOG, run_folder.LOCAL, run_folder.STATE, run_folder.LOCK, RUNS_TABLE}
)
_LEFT_OUT_FOLDERS = frozenset({run_folder.TENSORBOARD})

MANIFEST_FILE = "files.json"
MANIFEST_SCHEMA = "wbcbench.report-files/1"


@dataclass(frozen=True, slots=True)
class Published:
    """A report on disk.

    Attributes:
        folder: Where it lies.
        files: Its files, the page first.
        built: Whether they were made now; else they were found to be up to date.
        removed: Files of an earlier report that this one has no more.
    """

    folder: Path
    files: tuple[Path, ...]
    built: bool
    removed: tuple[Path, ...] = ()


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
        UsageError: There is no such study or format, none of its runs is accounted for, a record
            is of a newer version, or ``out`` cannot be written.
    """
    return list(
        _build_and_write(results, study, out, formats, _inputs_sha256(results / study)).files
    )


def publish_built(
    report: Report, study: ReportStudy, folder: Path, formats: Sequence[str] = PAGE_FORMATS
) -> list[Path]:
    """As :func:`publish`, of a report that its caller needs too: to build it takes long.

    Args:
        report: Built of ``study``.
        study: Read from a folder by :func:`read_report_study`.
        folder: Where the files go.
        formats: Names in ``report.formats.FORMATS``.

    Raises:
        UsageError: There is no such format, or ``folder`` cannot be written.
    """
    inputs = _inputs_sha256(study.folder) if study.folder else ""
    return list(_write_formats(report, study, folder, formats, inputs).files)


def refresh(
    results: Path, study: str, out: Path, formats: Sequence[str], *, force: bool = False
) -> Published:
    """As :func:`publish`, but what is up to date is left alone unless ``force`` is given."""
    inputs = _inputs_sha256(require_study(results, study))
    folder = out / study
    last = read_manifest(folder)
    if not force and last and _is_up_to_date(last, folder, inputs, formats):
        return Published(folder, tuple(folder / name for name in _page_first(last)), built=False)
    return _build_and_write(results, study, out, formats, inputs)


def read_report_study(results: Path, study: str) -> ReportStudy:
    """The study as the sections see it.

    Raises:
        UsageError: As for :func:`publish`.
    """
    from wbcbench.report.study import ReportStudy
    from wbcbench.table.view import read_study

    folder = require_study(results, study)
    found = read_study(folder)
    if not found.runs:
        raise UsageError(
            f"No run in {folder} has a record yet ({found.unfinished} are going on or were cut "
            "off). Wait for them, or finish one with: wbcbench run --variant leaky-dropout --study "
            f"{study}"
        )
    return ReportStudy(study, found.runs, found.unfinished, folder)


def _is_up_to_date(last: Manifest, folder: Path, inputs: str, formats: Sequence[str]) -> bool:
    return last.inputs == inputs and set(formats) <= set(last.formats) and last.is_whole(folder)


def _page_first(last: Manifest) -> list[str]:
    return sorted(last.files, key=lambda name: (not name.startswith("report."), name))


def _build_and_write(
    results: Path, study: str, out: Path, formats: Sequence[str], inputs: str
) -> Published:
    from wbcbench.report import build
    from wbcbench.report.formats import known_formats

    known_formats(formats)
    evidence = read_report_study(results, study)
    return _write_formats(build(evidence), evidence, out / study, formats, inputs)


def _write_formats(
    report: Report, study: ReportStudy, folder: Path, formats: Sequence[str], inputs: str
) -> Published:
    from wbcbench.report.formats import known_formats, report_files

    asked = known_formats(formats)
    made = report_files(report, study, asked)
    try:
        return _put_in_place(folder, made, Manifest(inputs, asked, _content_digests(made)))
    except OSError as error:
        raise UsageError(
            f"The report cannot be written to {folder}: {error.strerror}. Choose another folder "
            "with --out, or free space and permissions."
        ) from error


def _put_in_place(folder: Path, made: dict[str, bytes], new: Manifest) -> Published:
    """Write the files, and clear away what an earlier report left that is no longer true.

    Other formats of the same inputs stay, for they still are.
    """
    last = read_manifest(folder)
    for name, data in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    removed: list[Path] = []
    if last and last.inputs == new.inputs and last.is_whole(folder, but=made):
        formats = tuple(dict.fromkeys((*new.formats, *last.formats)))
        new = Manifest(new.inputs, formats, {**new.files, **last.files, **new.files})
    elif last:
        removed = _remove_unchanged(folder, last.files, set(last.files) - set(made))
    write_manifest(folder, new)
    return Published(folder, tuple(folder / name for name in made), True, tuple(removed))


# What a report is made from is known by content alone, so that its digest is the same on every
# machine. Runs that are going on count by name: the report says only that they are there.
def _inputs_sha256(study_dir: Path) -> str:
    """The digest of a study, of this program, and of what draws for it."""
    digest = hashlib.sha256()
    for line in (*_program_lines(), *_study_lines(study_dir)):
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()


@cache
def program_sha256() -> str:
    """The digest of this program's own files, of whatever version they call themselves."""
    return hashlib.sha256("\n".join(_code_lines()).encode()).hexdigest()


@cache
def _program_lines() -> tuple[str, ...]:
    return (*(f"{name} {_version(name)}" for name in RENDERERS), *_code_lines())


def _code_lines() -> list[str]:
    package = Path(__file__).parents[1]
    sources = sorted(p for p in package.rglob("*") if p.is_file() and p.suffix != ".pyc")
    return [f"{path.relative_to(package)} {sha256_of(path)}" for path in sources]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _study_lines(study_dir: Path) -> Iterator[str]:
    yield study_dir.name
    for path in sorted(study_dir.glob("*.json")):
        yield f"{path.name} {sha256_of(path)}"
    for run in study_runs(study_dir.parent, study_dir.name):
        yield run.run_id
        if run.is_finished:
            yield from _run_lines(run)


def _run_lines(run: RunDir) -> Iterator[str]:
    for path in sorted(run.path.rglob("*")):
        inside = path.relative_to(run.path)
        is_read = inside.parts[0] not in _LEFT_OUT_FOLDERS and path.name not in _LEFT_OUT
        if is_read and path.is_file():
            yield f"{inside} {sha256_of(path)}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one report.

    Attributes:
        inputs: Digest of what it was made from.
        formats: Which were asked for.
        files: Digest of each file, by path below the report's folder.
    """

    inputs: str
    formats: tuple[str, ...]
    files: Mapping[str, str]
    schema: str = MANIFEST_SCHEMA

    def is_whole(self, folder: Path, but: Iterable[str] = ()) -> bool:
        """Whether every file, ``but`` those left out, is there as it was written."""
        left = set(self.files) - set(but)
        return all(_sha256_or_empty(folder / name) == self.files[name] for name in left)


def read_manifest(folder: Path) -> Manifest | None:
    """What the last report said it wrote; ``None`` if it said nothing that can be believed."""
    try:
        found = TypeAdapter(Manifest).validate_json((folder / MANIFEST_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    believable = found.schema == MANIFEST_SCHEMA and all(_is_below(name) for name in found.files)
    return found if believable else None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Keep it beside the files it speaks of."""
    text = json.dumps(asdict(manifest), indent=1, sort_keys=True)
    write_atomically(folder / MANIFEST_FILE, f"{text}\n".encode())


def _content_digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """The digest of each content."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def _remove_unchanged(folder: Path, left: Mapping[str, str], names: Iterable[str]) -> list[Path]:
    """Delete those of the named files that are still as a report left them; returns them."""
    gone = [folder / name for name in names if _sha256_or_empty(folder / name) == left[name]]
    for path in gone:
        path.unlink()
    return gone


def _is_below(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.name != MANIFEST_FILE


def _sha256_or_empty(path: Path) -> str:
    """The digest of a file; empty if there is none to read."""
    try:
        if path.is_symlink():
            return ""
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
