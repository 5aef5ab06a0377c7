"""Make a bundle: completely beside its target, then renamed into it; or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wbcbench import table
from wbcbench.bundle import describe, documents, inputs, layout
from wbcbench.bundle.crate import format_boamps, format_phases, write_bag, write_crate, write_zip
from wbcbench.bundle.describe import SubmittedStudy
from wbcbench.bundle.document import Author, Redaction, Submission, write_json
from wbcbench.bundle.redact import Redactor, copy_file, make_redactor
from wbcbench.bundle.verify.bundle import load_bundle
from wbcbench.compare.result import COLUMNS, format_contrasts_csv
from wbcbench.core import run_folder, study_folder
from wbcbench.core.errors import UsageError, VerificationError
from wbcbench.core.files import write_atomically
from wbcbench.core.run_condition import RunStage, condition
from wbcbench.core.run_folder import study_runs
from wbcbench.core.study_folder import pilot_study, require_study
from wbcbench.core.text import count_of
from wbcbench.core.units import kwh_from_j, mb_from_bytes
from wbcbench.core.version import __version__
from wbcbench.report.publish import ALL_FORMATS, publish_built
from wbcbench.run.finalise import finalise_abandoned

_RUN_FILES = (
    run_folder.SPEC, run_folder.BEGAN, run_folder.CHANNELS, run_folder.RECORD, run_folder.MARKS,
    run_folder.EPOCHS, run_folder.PREDICTIONS, run_folder.ATTACHMENT, run_folder.LOG,
    run_folder.TRACES, run_folder.ATTACHED_TRACE, f"{run_folder.TELEMETRY}/*.csv",
)  # fmt: skip
_STUDY_FILES = (study_folder.PLAN, study_folder.EARLIER_PLANS)


@dataclass(frozen=True, slots=True)
class Order:
    """The options of one submission.

    Attributes:
        results: The folder of the studies.
        study: Which one.
        authors, licence, title, course: Of the bundle.
        out: The folder or zip to write; ``None`` = named after study and date, here.
        as_zip: A zip instead of a folder.
        data: The folder of the images, if it is available: for their sizes, and for sets whose
            images are not listed elsewhere.
        redact: Whether private values are replaced.
        allow_synthetic: Whether a synthetic study may be submitted, for practice.
        force: Whether an existing bundle is replaced.
        formats: Of the report; by default all that need only wbcbench.
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
    """A bundle on disk.

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
            target exists or cannot be written. Nothing is left half written.
    """
    source = require_study(order.results, order.study)
    _refuse_running(source)
    finalise_abandoned(order.results, order.study)
    if (out := order.out) is not None:
        if out.is_symlink():  # what it names is written, and the link stays
            out = Path(os.path.realpath(out))
            order = replace(order, out=out)
        _refuse_existing(out, force=order.force)
    parent = (order.out or Path(order.study)).parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=".wbcbench-submit-") as temporary:
            return _make_bundle(order, source, Path(temporary))
    except OSError as error:
        raise _explain_write_error(parent, error) from error


def _refuse_running(source: Path) -> None:
    for run in study_runs(source.parent, source.name):
        if run.is_finished:
            continue
        state = condition(run)
        if state.stage is RunStage.UNKNOWN:
            raise UsageError(f"The run {run.path} has no record. {state.text}")
        if not state.may_be_finalised:
            raise UsageError(
                f"The run {run.path} is going on. Wait for it, or stop it with Ctrl-C where it was "
                f"started, and submit again. {state.text}"
            )


def _make_bundle(order: Order, source: Path, temporary: Path) -> Written:
    bag = temporary / "bag"
    payload = bag / layout.PAYLOAD
    payload.mkdir(parents=True)
    pilots = order.results / pilot_study(order.study)
    folders = [source, *([pilots] if pilots.is_dir() else [])]
    redactor = make_redactor(folders) if order.redact else None
    for folder in folders:
        _copy_study(folder, payload, redactor)
    study = SubmittedStudy(payload, order.study)
    describe.refuse_synthetic(study, allowed=order.allow_synthetic)
    top = f"submission-{order.study}-{study.ended_utc[:10]}"
    target = order.out or Path(top + (layout.ZIP_SUFFIX if order.as_zip else ""))
    _refuse_existing(target, force=order.force)
    submission = _write_contents(order, study, redactor)
    info = {
        "Bagging-Date": submission.created_utc[:10],
        "Bag-Software-Agent": f"wbcbench {__version__}",
        "Contact-Name": ", ".join(author.name for author in submission.authors),
        "External-Description": submission.title,
        "External-Identifier": top,
        "Bag-Group-Identifier": layout.SCHEMA,
    }
    write_bag(bag, info)
    try:
        load_bundle(bag)
    except VerificationError as error:
        raise UsageError(
            f"`wbcbench verify` would refuse this bundle, so none was written: {error} Repair or "
            "remove that file of the study, or submit fewer runs."
        ) from error
    files = len(layout.list_files(payload))
    size_bytes = sum(path.stat().st_size for path in layout.list_files(bag).values())
    if order.as_zip:
        folder, bag = bag, temporary / "bag.zip"
        write_zip(folder, bag, top)
        size_bytes = bag.stat().st_size
    if target.exists():
        target.rename(temporary / "before")
    bag.rename(target)
    return Written(target, size_bytes, files, submission)


def _copy_study(source: Path, payload: Path, redactor: Redactor | None) -> None:
    """Copy plans and runs of one study folder to ``results/<its name>`` of the bundle."""
    target = payload / layout.study_dir(source.name)
    runs = study_runs(source.parent, source.name)
    for run in runs:
        run.pack_traces()
    folders = [(run.path, target / run.run_id, _RUN_FILES) for run in runs]
    for folder, into, patterns in (*folders, (source, target, _STUDY_FILES)):
        for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
            if path.is_symlink() or path.parent.is_symlink():
                raise UsageError(
                    f"{path} is a link, and a bundle holds no files from outside the study. Put "
                    "the file itself there, or remove the link."
                )
            copy_file(path, into, path.relative_to(folder).as_posix(), redactor)


def _write_contents(order: Order, study: SubmittedStudy, redactor: Redactor | None) -> Submission:
    """Everything that is made from the copy, in the order in which one depends on another."""
    table.write_table(study.folder)
    comparison = study.comparison
    contrasts = format_contrasts_csv(comparison) if comparison else ",".join(COLUMNS) + "\n"
    write_atomically(study.folder / layout.CONTRASTS, contrasts.encode())
    for run in study.runs:
        folder = study.folder / run.run_id
        write_atomically(folder / layout.PHASES, format_phases(run.record))
        if (boamps := format_boamps(run, order.licence)) is not None:
            write_atomically(folder / layout.BOAMPS, boamps)
    dataset = inputs.write_images(study, order.data)
    describe.write_settings(study)
    inputs.write_code(study, redactor)
    describe.write_schemas(study)
    folder = study.payload / layout.report_dir(study.name)
    publish_built(study.report, study.reported, folder, order.formats)
    retained = describe.list_retained(study)
    submission = describe.build_submission(
        study,
        title=order.title or f"Energy and accuracy of {study.name}",
        authors=order.authors,
        licence=order.licence,
        course=order.course,
        dataset=dataset,
        redaction=redactor.summary(retained) if redactor else Redaction(applied=False),
    )
    documents.write_documents(study, submission)
    write_json(study.payload / layout.SUBMISSION, submission)
    write_crate(study, submission)
    return submission


def _refuse_existing(target: Path, *, force: bool) -> None:
    """Raise ``UsageError`` if the target exists and may not be replaced."""
    if not target.exists() and not target.is_symlink():
        return
    if not force:
        raise UsageError(
            f"{target} already exists and is not overwritten. Choose another path with --out, "
            "or replace it with --force."
        )
    is_zip = target.is_file() and target.suffix == layout.ZIP_SUFFIX
    if not is_zip and not (target / layout.BAGIT).is_file():
        raise UsageError(
            f"{target} is not a bundle, so --force does not replace it: that would delete what is "
            "in it. Choose another path with --out."
        )


def _explain_write_error(parent: Path, error: OSError) -> UsageError:
    is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    reason = "the disk is full" if is_full else (error.strerror or str(error))
    if is_full and parent.exists():
        reason += f" ({mb_from_bytes(shutil.disk_usage(parent).free):.0f} MB are free)"
    return UsageError(
        f"The bundle cannot be written to {parent.resolve()}: {reason}. No partial bundle is left "
        "there. Free space, change permissions, or choose another path with --out."
    )


def format_lines(written: Written) -> Iterator[str]:
    """For a terminal."""
    submission = written.submission
    runs, redaction, dataset = submission.n_runs, submission.redaction, submission.dataset
    if redaction.applied:
        replaced = ", ".join(
            kind if count == 1 else f"{count} {kind}{'es' if kind.endswith('s') else 's'}"
            for kind, count in redaction.counts.items()
        )
        retained = f". Retained, as part of a run's identity: {', '.join(redaction.retained)}."
        yield f"Redacted: {replaced or 'nothing'}{retained if redaction.retained else ''}"
    else:
        yield "Nothing was redacted: paths, names, serial numbers and UUIDs are in the bundle."
    energies = [
        f"{kwh_from_j(energy_j):.3g} kWh {status}"
        for status, energy_j in sorted(submission.energy_total_j.study.items())
    ]
    contents = ", ".join([count_of(runs.done + runs.spoiled, "run"), *energies])
    waste = f"; {count_of(runs.spoiled, 'spoiled run')} counted as waste" if runs.spoiled else ""
    yield f"{written.path}   {mb_from_bytes(written.size_bytes):.1f} MB   ({contents}{waste})"
    if submission.git.note:
        yield f"Note: {submission.git.note}"
    if dataset is not None and not dataset.complete:
        yield "Note: only tested images are listed by digest; --data FOLDER lists all of them."
    yield f"Check it: wbcbench verify {written.path}"


def build_document(written: Written) -> dict[str, Any]:
    """For programs."""
    submission = asdict(written.submission)
    names = ("study", "created_utc", "n_runs", "energy_total_j", "redaction", "git")
    return {
        "path": str(written.path),
        "bytes": written.size_bytes,
        "files": written.files,
        "claims": len(written.submission.claims),
        **{name: submission[name] for name in names},
    }
