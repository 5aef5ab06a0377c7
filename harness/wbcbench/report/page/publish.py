"""From a study's folder to the files of its report, each written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from wbcbench import table
from wbcbench.errors import UsageError
from wbcbench.report import Report, build
from wbcbench.report.page.drawing import to_svg
from wbcbench.report.page.evidence import Evidence, gather
from wbcbench.report.page.html import to_html
from wbcbench.report.page.markdown import to_markdown
from wbcbench.runs.rundir import study_runs
from wbcbench.runs.study_folder import require_study
from wbcbench.writing.wholefile import write_whole


def publish(results: Path, study: str, out: Path) -> list[Path]:
    """Write ``out/<study>/``: the page, the Markdown and the figures.

    Returns:
        The files, the page first.

    Raises:
        UsageError: There is no such study, none of its runs is accounted for, a record is of a
            newer version, or ``out`` cannot be written.
    """
    report = build(read(results, study))
    folder = out / study
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        return _write(folder, report)
    except OSError as error:
        raise UsageError(
            f"The report cannot be written to {folder}: {error.strerror}. Choose another folder "
            "with --out, or free space and permissions."
        ) from error


def read(results: Path, study: str) -> Evidence:
    """The study as the sections see it.

    Raises:
        UsageError: As for :func:`publish`.
    """
    folder = require_study(results, study)
    records = table.study_records(folder)
    runs = study_runs(results, study)
    if not records:
        raise UsageError(
            f"No run in {folder} has a record yet ({len(runs)} are going on or were cut off). Wait "
            "for them, or finish one with: wbcbench run --variant leaky-dropout --study "
            f"{study}"
        )
    return gather(study, records, unfinished=len(runs) - len(records), folder=folder)


def _write(folder: Path, report: Report) -> list[Path]:
    files = {folder / "report.html": to_html(report), folder / "report.md": to_markdown(report)}
    for block in report.blocks:
        for figure in block.figures:
            files[folder / "figures" / f"{figure.name}.svg"] = to_svg(figure).encode()
    for path, data in files.items():
        write_whole(path, data)
    return list(files)
