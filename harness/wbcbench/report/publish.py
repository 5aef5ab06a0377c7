"""From a study's folder to the files of its report, each written whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wbcbench.core.errors import UsageError
from wbcbench.core.files import write_whole
from wbcbench.core.study_folder import require_study
from wbcbench.report import manifest
from wbcbench.report.inputs import inputs_sha256
from wbcbench.report.manifest import Manifest

if TYPE_CHECKING:
    from wbcbench.report import Report
    from wbcbench.report.evidence import ReportStudy

PAGE = ("html", "md")
EVERY = ("html", "md", "tex", "csv", "svg", "pdf")
"""All that need nothing but the program; ``interactive`` needs an extra and scripts."""


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


def publish(results: Path, study: str, out: Path, formats: Sequence[str] = PAGE) -> list[Path]:
    """Make the report of a study and write it to ``out/<study>/``.

    Args:
        results: Where studies are.
        study: Which one.
        out: Where reports are.
        formats: Names in ``files.formats.FORMATS``.

    Returns:
        The files, the page first.

    Raises:
        UsageError: There is no such study or format, none of its runs is accounted for, a record
            is of a newer version, or ``out`` cannot be written.
    """
    return list(_made(results, study, out, formats, inputs_sha256(results / study)).files)


def publish_built(
    report: Report, study: ReportStudy, folder: Path, formats: Sequence[str] = PAGE
) -> list[Path]:
    """As :func:`publish`, of a report that its caller needs too: to build it takes long.

    Args:
        report: Built of ``study``.
        study: Read from a folder by :func:`read`.
        folder: Where the files go.
        formats: Names in ``files.formats.FORMATS``.

    Raises:
        UsageError: There is no such format, or ``folder`` cannot be written.
    """
    inputs = inputs_sha256(study.folder) if study.folder else ""
    return list(_set(report, study, folder, formats, inputs).files)


def refresh(
    results: Path, study: str, out: Path, formats: Sequence[str], *, force: bool = False
) -> Published:
    """As :func:`publish`, but what is up to date is left alone unless ``force`` is given."""
    inputs = inputs_sha256(require_study(results, study))
    folder = out / study
    last = manifest.read(folder)
    if not force and last and _is_up_to_date(last, folder, inputs, formats):
        return Published(folder, tuple(folder / name for name in _page_first(last)), built=False)
    return _made(results, study, out, formats, inputs)


def read(results: Path, study: str) -> ReportStudy:
    """The study as the sections see it.

    Raises:
        UsageError: As for :func:`publish`.
    """
    from wbcbench.report.evidence import ReportStudy
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


def _made(results: Path, study: str, out: Path, formats: Sequence[str], inputs: str) -> Published:
    from wbcbench.report import build
    from wbcbench.report.formats import known_formats

    known_formats(formats)
    evidence = read(results, study)
    return _set(build(evidence), evidence, out / study, formats, inputs)


def _set(
    report: Report, study: ReportStudy, folder: Path, formats: Sequence[str], inputs: str
) -> Published:
    from wbcbench.report.formats import files, known_formats

    asked = known_formats(formats)
    made = files(report, study, asked)
    try:
        return _placed(folder, made, Manifest(inputs, asked, manifest.digests(made)))
    except OSError as error:
        raise UsageError(
            f"The report cannot be written to {folder}: {error.strerror}. Choose another folder "
            "with --out, or free space and permissions."
        ) from error


def _placed(folder: Path, made: dict[str, bytes], new: Manifest) -> Published:
    """Write the files, and clear away what an earlier report left that is no longer true.

    Other formats of the same inputs stay, for they still are.
    """
    last = manifest.read(folder)
    for name, data in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    removed: list[Path] = []
    if last and last.inputs == new.inputs and last.is_whole(folder, but=made):
        formats = tuple(dict.fromkeys((*new.formats, *last.formats)))
        new = Manifest(new.inputs, formats, {**new.files, **last.files, **new.files})
    elif last:
        removed = manifest.remove(folder, last.files, set(last.files) - set(made))
    manifest.write(folder, new)
    return Published(folder, tuple(folder / name for name in made), True, tuple(removed))
