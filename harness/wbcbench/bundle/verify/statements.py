"""Checks of statements: contrasts, documents, report and crate follow from the runs.

Each is made again here and compared, whatever the bundle says of the program that made it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from wbcbench.bundle import describe, layout
from wbcbench.bundle.crate import make_crate
from wbcbench.bundle.describe import SubmittedStudy
from wbcbench.bundle.document import Redaction, Submission, find_invalid_words, to_json
from wbcbench.bundle.documents import list_places, make_documents
from wbcbench.bundle.make import make_contrasts, make_descriptions, make_report
from wbcbench.bundle.verify import Outcome, report_not_checked, report_outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.bundle.verify.inspect import why_not_rebuilt
from wbcbench.bundle.verify.likeness import (
    compare_files,
    find_answers,
    find_differences,
)
from wbcbench.bundle.verify.scores import remake_images
from wbcbench.core.strict_json import parse_json
from wbcbench.core.text import count_of
from wbcbench.report.publish import (
    ALL_FORMATS,
    MANIFEST_FILE,
    PAGE_FORMATS,
    Manifest,
    format_manifest,
    read_manifest,
)

_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_statements(bundle: Bundle) -> Outcome:
    """Statements true: contrasts, totals, claims and documents follow from the runs."""
    reason = why_not_rebuilt(bundle)
    if reason is not None:
        return reason
    study, submission = bundle.study, _restate(bundle)
    made = make_contrasts(study) | {layout.SUBMISSION: to_json(submission)}
    errors, _ = compare_files(bundle, made)
    answers = list[str]()
    errors += find_invalid_words(bundle.document)
    for name, data in make_documents(study, bundle.document).items():
        texts = (bundle.read(name).decode("utf-8"), data.decode("utf-8"))
        found = find_answers(*texts, len(list_places(name)))
        if isinstance(found, list):
            answers += found
        else:
            errors.append(f"{name}: {found.text}.")
    good = f"Contrasts, documents and {len(submission.claims)} sentences follow from the runs"
    own = f"{count_of(len(answers), 'answer')} of the author's own, which nothing checks"
    if answers:
        good += f"; {own}"
    return replace(report_outcome(f"{good}.", errors), remark=own if answers else "")


def _restate(bundle: Bundle) -> Submission:
    """``submission.json`` as the runs give it; what only its author can say is taken from it."""
    stated = bundle.document
    restated = describe.build_submission(
        bundle.study,
        title=stated.title,
        licence=stated.licence,
        dataset=remake_images(bundle)[0],
        redaction=replace(stated.redaction, retained=describe.list_retained(bundle.study))
        if stated.redaction.applied
        else Redaction(applied=False),
    )
    return replace(restated, renderer=stated.renderer)


def compare_descriptions(bundle: Bundle, names: Collection[str]) -> list[str]:
    """What is wrong with these settings, facts of machine and code, and schemas."""
    made = make_descriptions(bundle.study)
    return compare_files(bundle, {name: made[name] for name in names})[0]


def check_rendering(bundle: Bundle) -> Outcome:
    """Report rebuilt: every file of it, and the numbers of every figure."""
    reason = why_not_rebuilt(bundle)
    if reason is not None:
        return reason
    folder = layout.report_dir(bundle.document.study)
    manifest = read_manifest(bundle.data / folder)
    formats = manifest.formats if manifest else PAGE_FORMATS
    errors = [] if manifest else ["The report has no valid list of its files."]
    if unknown := set(formats) - set(ALL_FORMATS):
        errors.append(f"The report has a format that no bundle has: {min(unknown)}.")
    known = tuple(name for name in ALL_FORMATS if name in formats)
    made = dict(_render(bundle.study, bundle.results_digest, known))
    path = f"{folder}/{MANIFEST_FILE}"
    made[path] = _relist(bundle, manifest, made.keys() - {path})
    errors += (
        f"{name} does not follow from the runs."
        for name in bundle.list_names(f"{folder}/")
        if name not in made
    )
    wrong, looks = compare_files(bundle, made)
    errors += wrong
    if looks and not errors:
        return report_not_checked(
            f"Words and numbers are equal, but how {count_of(len(looks), 'file')} look cannot be "
            f"compared here ({bundle.version_differences}): {looks[0]}"
        )
    return report_outcome(f"{len(made)} files and the numbers of every figure are equal.", errors)


@lru_cache(maxsize=16)
def _render(study: SubmittedStudy, digest: str, formats: tuple[str, ...]) -> Mapping[str, bytes]:
    return make_report(study, formats)


def _relist(bundle: Bundle, manifest: Manifest | None, names: Collection[str]) -> bytes:
    """The list of the report's files as they are here; ``inputs`` only says what is up to date."""
    if manifest is None:
        return b"{}"
    start = f"{layout.report_dir(bundle.document.study)}/"
    digests = {
        name.removeprefix(start): bundle.digests.get(f"{layout.PAYLOAD}/{name}", "")
        for name in names
    }
    inputs = manifest.inputs if _DIGEST.fullmatch(manifest.inputs) else ""
    return format_manifest(Manifest(inputs, manifest.formats, digests))


def _drop_form(crate: Any) -> Any:
    """A crate without what says how it is written, which may differ between its writers."""
    entities = [entity for entity in crate["@graph"] if entity["@id"] != layout.CRATE]
    return {"@graph": [{n: v for n, v in e.items() if n != "conformsTo"} for e in entities]}


def check_crate(bundle: Bundle) -> Outcome:
    """Research object: the RO-Crate describes each run once, and every file and author."""
    reason = why_not_rebuilt(bundle)
    if reason is not None:
        return reason
    crate = make_crate(bundle.study, bundle.document)
    errors, _ = compare_files(bundle, {layout.CRATE: crate})
    if errors and "rocrate" in bundle.version_differences:
        stated = parse_json(bundle.read(layout.CRATE))
        errors = list(find_differences(*map(_drop_form, (stated, parse_json(crate)))))
    return report_outcome(f"{count_of(len(bundle.study.runs), 'action')}, one a run.", errors)
