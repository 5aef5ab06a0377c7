"""Make a bundle: beside its place, whole, then renamed into it; or not at all."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wbcbench import table
from wbcbench.bundle import describe, document, inputs, layout, papers, run_files
from wbcbench.bundle.crate import write_bag, write_crate, write_zip
from wbcbench.bundle.describe import SubmittedStudy, refuse_synthetic
from wbcbench.bundle.document import Author, EnergyTotals, Redaction, RunCounts, Submission
from wbcbench.bundle.redact import Redactor, make_redactor
from wbcbench.compare.result import COLUMNS, contrasts_csv
from wbcbench.core.errors import UsageError
from wbcbench.core.files import write_atomically
from wbcbench.core.study_folder import pilot_study, require_study
from wbcbench.core.text import count_of
from wbcbench.core.units import kwh_from_j, mb_from_bytes
from wbcbench.core.version import __version__
from wbcbench.report.publish import ALL_FORMATS, publish_built
from wbcbench.run.finalise import finalise_abandoned
from wbcbench.table.view import Run


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes:
        results: Where studies are kept.
        study: Which one.
        authors, licence, title, course: Of the bundle.
        out: The folder or zip to write; ``None`` = named after study and date, here.
        as_zip: A zip instead of a folder.
        data: The folder of the images, if it is at hand: for their sizes, and for sets whose
            images are known in no other way.
        redact: Whether private things are taken out.
        allow_synthetic: Whether a synthetic study may be handed in, for practice.
        force: Whether a bundle in the place of the new one is replaced.
        formats: Of the report; all that need nothing but the program.
    """

    results: Path
    study: str
    authors: tuple[Author, ...]
    licence: str
    title: str | None = None
    course: str | None = None
    out: Path | None = None
    as_zip: bool = False
    data: Path | None = None
    redact: bool = True
    allow_synthetic: bool = False
    force: bool = False
    formats: tuple[str, ...] = ALL_FORMATS


@dataclass(frozen=True, slots=True)
class Written:
    """What was made.

    Attributes:
        path: The bundle.
        size_bytes: Of the zip, or of all files of the folder.
        files: In the payload.
        submission: Its document.
    """

    path: Path
    size_bytes: int
    files: int
    submission: Submission


def submit(order: Order) -> Written:
    """Make the bundle of a study.

    Raises:
        UsageError: There is no such study, a run of it is going on, it is synthetic or mixed, the
            target is taken or cannot be written. Nothing is left half written.
    """
    source = require_study(order.results, order.study)
    run_files.refuse_running(source)
    finalise_abandoned(order.results, order.study)
    if order.out is not None:
        _refuse_taken(order.out, force=order.force)
    beside = (order.out or Path(order.study)).parent
    try:
        beside.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=beside, prefix=".wbcbench-submit-") as temporary:
            return _make_bundle(order, source, Path(temporary))
    except OSError as error:
        raise _unwritable(beside, error) from error


def _make_bundle(order: Order, source: Path, temporary: Path) -> Written:
    payload = temporary / "bag" / layout.PAYLOAD
    payload.mkdir(parents=True)
    by = _copy_studies(order, source, payload)
    study = SubmittedStudy(payload, order.study)
    refuse_synthetic(study, allowed=order.allow_synthetic)
    top = f"submission-{order.study}-{study.ended_utc[:10]}"
    target = order.out or Path(top + (layout.ZIP_SUFFIX if order.as_zip else ""))
    _refuse_taken(target, force=order.force)
    made = _write_contents(order, study, by)
    write_bag(payload.parent, _info(made, top))
    files = len(layout.payload_files(payload.parent))
    ready = payload.parent
    if order.as_zip:
        ready = temporary / "bag.zip"
        write_zip(payload.parent, ready, top)
    _put_in_place(ready, target, temporary)
    return Written(target, _size_bytes(target), files, made)


def _copy_studies(order: Order, source: Path, payload: Path) -> Redactor | None:
    """The study and its pilots, without private things."""
    pilots = order.results / pilot_study(order.study)
    folders = [source, *([pilots] if pilots.is_dir() else [])]
    by = make_redactor(folders) if order.redact else None
    for folder in folders:
        run_files.copy_study(folder, payload, by)
    return by


def _write_contents(order: Order, study: SubmittedStudy, by: Redactor | None) -> Submission:
    """Everything that is made from the copy, each from what was made before it."""
    table.write_table(study.folder)
    _write_tables(study)
    for run in study.runs:
        _write_run_files(study, run, order.licence)
    dataset = inputs.write_images(study, order.data)
    describe.write_surroundings(study)
    git = inputs.write_code(study, by)
    describe.write_schemas(study)
    folder = study.payload / layout.report_dir(study.name)
    publish_built(study.report, study.reported, folder, order.formats)
    made = _document(order, study, by, dataset, git)
    papers.write_papers(study, made)
    write_atomically(study.payload / layout.SUBMISSION, document.to_json(made))
    write_crate(study, made)
    return made


def _write_tables(study: SubmittedStudy) -> None:
    found = study.comparison
    text = ",".join(COLUMNS) + "\n" if found is None else contrasts_csv(found)
    write_atomically(study.folder / layout.CONTRASTS, text.encode())


def _write_run_files(study: SubmittedStudy, run: Run, licence: str) -> None:
    folder = study.folder / run.run_id
    write_atomically(folder / layout.PHASES, run_files.phases_csv(run.record))
    boamps = run_files.boamps_json(run, licence)
    if boamps is not None:
        write_atomically(folder / layout.BOAMPS, boamps)


def _document(
    order: Order,
    study: SubmittedStudy,
    by: Redactor | None,
    dataset: document.DatasetState | None,
    git: document.GitState,
) -> Submission:
    pilots = pilot_study(study.name)
    return Submission(
        title=order.title or f"What {study.name} costs in joules, and what it buys",
        study=study.name,
        authors=order.authors,
        course=order.course,
        licence=order.licence,
        created_utc=study.ended_utc,
        wbcbench_version=str(study.fact("wbcbench_version") or __version__),
        synthetic=study.reported.is_synthetic,
        git=git,
        dataset=dataset,
        design=describe.design(study),
        analysis=describe.analysis(study),
        host_ids=tuple(study.different("host_id")),
        gpu_name=study.fact("gpu_name"),
        driver_version=study.fact("driver_version"),
        meter=describe.meters(study.first.row),
        n_runs=describe.counts(study),
        energy_total_j=describe.totals(study.records, study.pilots),
        results_sha256=describe.results_sha256(study.payload, study.name),
        report_sha256=describe.report_sha256(study.payload, study.name),
        renderer=describe.renderer(),
        claims=describe.stated(study),
        redaction=by.report(describe.kept(study)) if by else Redaction(applied=False),
        pilot_study=pilots if study.pilots else None,
    )


def _info(made: Submission, top: str) -> dict[str, str]:
    names = ", ".join(author.name for author in made.authors)
    return {
        "Bagging-Date": made.created_utc[:10],
        "Bag-Software-Agent": f"wbcbench {__version__}",
        "Contact-Name": names,
        "External-Description": made.title,
        "External-Identifier": top,
        "Bag-Group-Identifier": layout.SCHEMA,
    }


def _refuse_taken(target: Path, *, force: bool) -> None:
    """Raise ``UsageError`` when something is there that may not be replaced."""
    if not target.exists() and not target.is_symlink():
        return
    if not force:
        raise UsageError(
            f"{target} is there already and is not overwritten. Name another place with --out, "
            "or replace it with --force."
        )
    is_bundle = (target / layout.BAGIT).is_file() or (
        target.is_file() and target.suffix == layout.ZIP_SUFFIX
    )
    if not is_bundle:
        raise UsageError(
            f"{target} is no bundle, so --force does not replace it: that would delete what is "
            "in it. Name another place with --out."
        )


def _put_in_place(ready: Path, target: Path, temporary: Path) -> None:
    if target.exists():
        target.rename(temporary / "before")
    ready.rename(target)


def _size_bytes(target: Path) -> int:
    if target.is_file():
        return target.stat().st_size
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def _unwritable(beside: Path, error: OSError) -> UsageError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    free = shutil.disk_usage(beside).free if full and beside.exists() else None
    room = f" ({mb_from_bytes(free):.0f} MB are free)" if free is not None else ""
    why = "the disk is full" if full else (error.strerror or str(error))
    return UsageError(
        f"The bundle cannot be written to {beside.resolve()}: {why}{room}. Nothing half written is "
        "left there. Free space or permissions, or name another place with --out."
    )


def submitted_lines(made: Written) -> Iterator[str]:
    """For a terminal."""
    yield _redacted(made.submission)
    said = made.submission
    parts = [count_of(_runs(said.n_runs), "run"), *_energy(said.energy_total_j)]
    spoiled = said.n_runs.failed + said.n_runs.interrupted + said.n_runs.invalid
    waste = f"; {count_of(spoiled, 'spoiled run')} counted as waste" if spoiled else ""
    yield f"{made.path}   {_megabytes(made.size_bytes)}   ({', '.join(parts)}{waste})"
    if said.git.note:
        yield f"Note: {said.git.note}"
    if said.dataset is not None and not said.dataset.complete:
        yield (
            "Note: the list of images holds the tested ones alone; with --data FOLDER it holds "
            "every image's digest."
        )
    yield f"Check it: wbcbench verify {made.path}"


def submitted_document(made: Written) -> dict[str, Any]:
    """For programs."""
    said = made.submission
    return {
        "path": str(made.path),
        "bytes": made.size_bytes,
        "files": made.files,
        "study": said.study,
        "created_utc": said.created_utc,
        "n_runs": asdict(said.n_runs),
        "energy_total_j": asdict(said.energy_total_j),
        "claims": len(said.claims),
        "redaction": asdict(said.redaction),
        "git": asdict(said.git),
    }


def _redacted(said: Submission) -> str:
    if not said.redaction.applied:
        return "Nothing was redacted: paths, names, serial numbers and UUIDs are in the bundle."
    found = [
        kind if count == 1 else f"{count} {_plural(kind)}"
        for kind, count in said.redaction.counts.items()
    ]
    kept = f" Kept, as part of a run's identity: {', '.join(said.redaction.kept)}."
    return f"Redacted: {', '.join(found) or 'nothing'}" + (
        f".{kept}" if said.redaction.kept else ""
    )


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


def _runs(counts: RunCounts) -> int:
    return counts.done + counts.failed + counts.interrupted + counts.invalid


def _energy(totals: EnergyTotals) -> Iterator[str]:
    for status, energy_j in sorted(totals.study.items()):
        yield f"{kwh_from_j(energy_j):.3g} kWh {status}"


def _megabytes(size_bytes: int) -> str:
    return f"{mb_from_bytes(size_bytes):.1f} MB"
