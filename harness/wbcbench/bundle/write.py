"""Make a bundle: completely beside its target, then renamed into it; or not at all."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from wbcbench.bundle import describe, document, layout
from wbcbench.bundle.crate import list_bag_info, make_crate, write_bag, write_zip
from wbcbench.bundle.describe import SubmittedStudy
from wbcbench.bundle.document import Redaction, Submission
from wbcbench.bundle.documents import make_documents
from wbcbench.bundle.inputs import leave_digests_to_list, make_images, write_code
from wbcbench.bundle.make import (
    Files,
    make_contrasts,
    make_descriptions,
    make_report,
    make_tables,
)
from wbcbench.bundle.redact import IDENTITIES, LEAKS, Redactor, copy_file, make_redactor
from wbcbench.bundle.verify.bundle import load_bundle
from wbcbench.bundle.verify.likeness import find_differences
from wbcbench.core import run_folder
from wbcbench.core.errors import UsageError, VerificationError
from wbcbench.core.files import write_atomically
from wbcbench.core.record import attachment_to_json, to_json, with_attachment
from wbcbench.core.run_condition import RunStage, condition
from wbcbench.core.run_folder import study_runs
from wbcbench.core.study_folder import pilot_study, require_study
from wbcbench.core.text import count_of, shell_word
from wbcbench.core.trace_file import repack_parquet
from wbcbench.core.units import kwh_from_j, mb_from_bytes
from wbcbench.energy.account import remake_attachment, remake_record
from wbcbench.report import PAPER
from wbcbench.report.paper import find_unset_letters
from wbcbench.report.publish import ALL_FORMATS
from wbcbench.run.finalise import finalise_abandoned
from wbcbench.study.statement import ANSWERS, Author
from wbcbench.table import derive
from wbcbench.table.deleted import read_deleted, write_deleted

_MOST_LETTERS = 20


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
        answers: The author's own, for the documents, by the keys of ``study.statement``.
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
    answers: Mapping[str, str] = field(default_factory=dict)
    formats: tuple[str, ...] = ALL_FORMATS


@dataclass(frozen=True, slots=True)
class Written:
    """A bundle on disk.

    Attributes:
        path: The bundle.
        size_bytes: Of the zip, or of all files of the folder.
        files: In the payload.
        submission: Its document.
        remade: Runs that were accounted for otherwise, mostly by another version, with the fields
            of their records that are others in the bundle.
        open: Keys of the author's answers that are still missing.
    """

    path: Path
    size_bytes: int
    files: int
    submission: Submission
    remade: Mapping[str, tuple[str, ...]]
    open: tuple[str, ...]


def submit(order: Order) -> Written:
    """Make the bundle of a study.

    Raises:
        UsageError: There is no such study, a run of it is going on, it is synthetic or mixed, a
            title is private, the target exists or cannot be written. Nothing is left half written.
    """
    source = require_study(order.results, order.study)
    _refuse_private(order)
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
        raise explain_write_error(parent, error) from error


def _refuse_private(order: Order) -> None:
    """Raise ``UsageError`` if what is never redacted holds what ``verify`` lets no bundle hold."""
    names = [("author", author.name) for author in order.authors]
    words = [
        ("study's name", order.study),
        ("title", order.title),
        ("course", order.course),
        *((f"answer to '{key}'", text) for key, text in order.answers.items()),
        *names,
    ]
    for what, text in words:
        for kind, rule in LEAKS.items():
            is_told = not order.redact and (kind in IDENTITIES or "password" in kind)
            if text and rule.search(text) and not is_told:
                raise UsageError(
                    f"The {what} looks as if it held {kind}, which `wbcbench verify` lets pass in "
                    "no redacted bundle. Choose another, or keep it with --no-redact."
                )


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
    remade = dict(_account_again([payload / layout.study_dir(each.name) for each in folders]))
    study = SubmittedStudy(payload, order.study, order.authors, order.course)
    describe.refuse_unfit(study, allowed=order.allow_synthetic)
    top = layout.bag_name(order.study, study.ended_utc)
    target = order.out or Path(top + (layout.ZIP_SUFFIX if order.as_zip else ""))
    _refuse_existing(target, force=order.force)
    submission = _write_contents(order, study, redactor)
    write_bag(bag, list_bag_info(submission))
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
    replace_bundle(target, bag, temporary)
    missing = tuple(key for key in ANSWERS if key not in order.answers)
    return Written(target, size_bytes, files, submission, remade, missing)


def replace_bundle(target: Path, new: Path, temporary: Path) -> None:
    """Put a whole bundle into its place: a zip in one step; a folder goes aside first, and away."""
    if target.is_dir() or (new.is_dir() and target.exists()):
        target.rename(temporary / "before")
    new.replace(target)


def _copy_study(source: Path, payload: Path, redactor: Redactor | None) -> None:
    """Copy plans, runs and the list of deleted ones to ``results/<its name>`` of the bundle."""
    target = payload / layout.study_dir(source.name)
    runs = study_runs(source.parent, source.name)
    for run in runs:
        run.pack_traces()
    folders = [(run.path, target / run.run_id, layout.RUN_FILES) for run in runs]
    for folder, into, patterns in (*folders, (source, target, layout.STUDY_FILES)):
        for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
            if path.is_symlink() or path.parent.is_symlink():
                raise UsageError(
                    f"{path} is a link, and a bundle holds no files from outside the study. Put "
                    "the file itself there, or remove the link."
                )
            copy_file(path, into, path.relative_to(folder).as_posix(), redactor)
    if deleted := read_deleted(source):  # those that are no more, for here no record tells
        write_deleted(target, deleted)
        copy_file(target / layout.DELETED_RUNS, target, layout.DELETED_RUNS, redactor)


def _account_again(studies: Iterable[Path]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Write what today's rules make of the copied runs; yields those of which it is something else.

    Where traces or marks were lost, the record says more than they do, and stays.
    """
    for run in (run for folder in studies for run in study_runs(folder.parent, folder.name)):
        own = run.read_own_record()
        if (own.channels and not run.has_traces) or (own.windows and not run.marks_path.is_file()):
            continue
        before = run.read_record()
        remade = remake_record(run, own)
        attachment = remake_attachment(run, remade)
        after = with_attachment(remade, attachment) if attachment else remade
        stated, again = (json.loads(to_json(record)) for record in (before, after))
        changed = tuple(name for name in again if any(find_differences(stated[name], again[name])))
        if changed:
            write_atomically(run.record_path, to_json(remade))
            if attachment:
                write_atomically(run.attachment_path, attachment_to_json(attachment))
            if run.epochs_path.exists():
                write_atomically(run.epochs_path, derive.format_epochs_csv(remade))
            yield run.run_id, changed


def _pack_traces(payload: Path) -> None:
    """Write traces of earlier versions as today's; whoever reads damaged ones says so."""
    for path in sorted(payload.glob(f"{layout.RESULTS}/*/*/{run_folder.TRACES}")):
        with suppress(UsageError):
            write_atomically(path, repack_parquet(path))


def _write_contents(order: Order, study: SubmittedStudy, redactor: Redactor | None) -> Submission:
    """Everything that is made from the copy, in the order in which one depends on another."""
    dataset, images = make_images(study, order.data)
    write_code(study, redactor)
    _pack_traces(study.payload)
    _write_files(study.payload, images)
    if dataset is not None and dataset.complete:
        leave_digests_to_list(study.payload, images[layout.IMAGES])
    _write_files(study.payload, make_tables(study, order.licence) | make_contrasts(study))
    _write_files(study.payload, make_descriptions(study) | make_report(study, order.formats))
    retained = describe.list_retained(study)
    submission = describe.build_submission(
        study,
        title=order.title or f"Energy and accuracy of {study.name}",
        licence=order.licence,
        dataset=dataset,
        redaction=redactor.summary(retained) if redactor else Redaction(applied=False),
    )
    for problem in document.find_invalid_words(submission):
        raise UsageError(f"The bundle cannot be written: {problem}")
    documents = make_documents(study, submission, order.answers)
    _write_files(study.payload, documents | {layout.SUBMISSION: document.to_json(submission)})
    _write_files(study.payload, {layout.CRATE: make_crate(study, submission)})
    return submission


def _write_files(payload: Path, files: Files) -> None:
    for name, data in files.items():
        path = payload / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)


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


def explain_write_error(parent: Path, error: OSError) -> UsageError:
    """The error of a bundle that cannot be written, with the way out."""
    is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    reason = "the disk is full" if is_full else (error.strerror or str(error))
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
    if written.remade:
        fields = ", ".join(sorted({name for names in written.remade.values() for name in names}))
        count = count_of(len(written.remade), "run")
        yield f"Note: {count} accounted again by today's rules, in the bundle alone: {fields}."
    if submission.git.note:
        yield f"Note: {submission.git.note}"
    if dataset is not None and not dataset.complete:
        yield "Note: only tested images are listed by digest; --data FOLDER lists all of them."
    said = [*(a.name for a in submission.authors), submission.course or ""]
    said += [claim.text for claim in submission.claims]
    if PAPER in submission.report_sha256 and (letters := find_unset_letters("".join(said))):
        cut = letters if len(letters) <= _MOST_LETTERS else f"{letters[:_MOST_LETTERS]}…"
        yield f"Note: the fonts of {PAPER} have no {cut}; the other documents show these letters."
    if written.open:
        yield (
            f"Open, for its author to answer (--statement, or wbcbench seal): "
            f"{', '.join(written.open)}."
        )
    yield f"Anybody can check it: wbcbench verify {shell_word(written.path)}"


def build_document(written: Written) -> dict[str, Any]:
    """For programs."""
    submission = asdict(written.submission)
    names = ("study", "created_utc", "n_runs", "energy_total_j", "redaction", "git")
    return {
        "path": str(written.path),
        "bytes": written.size_bytes,
        "files": written.files,
        "remade": {run_id: list(names) for run_id, names in written.remade.items()},
        "claims": len(written.submission.claims),
        "open": list(written.open),
        **{name: submission[name] for name in names},
    }
