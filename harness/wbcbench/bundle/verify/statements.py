"""Checks of statements: contrasts, claims, documents and report follow from the runs."""

from __future__ import annotations

import hashlib
import html
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from wbcbench.bundle import describe, document, layout
from wbcbench.bundle.describe import SubmittedStudy
from wbcbench.bundle.document import to_plain
from wbcbench.bundle.documents import DOCUMENTS, write_documents
from wbcbench.bundle.verify import Outcome, report_not_checked, report_outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.bundle.verify.inspect import why_not_rebuilt
from wbcbench.bundle.verify.records import compare_rows, find_differences, is_close, read_rows
from wbcbench.compare.result import ContrastResult, format_contrasts_csv
from wbcbench.core.files import sha256_of
from wbcbench.core.text import parse_number
from wbcbench.report.formats import figure_data
from wbcbench.report.publish import MANIFEST_FILE, PAGE_FORMATS, publish_built, read_manifest
from wbcbench.report.summaries import INTERVAL_COLUMNS

_SOURCES = (f"{layout.RESULTS}/", "code/", layout.LOCK, layout.SUBMISSION)
"""What documents and settings are made from."""

_KEY = ("family", "contrast", "against", "metric")
"""What names a row of ``contrasts.csv``."""

_CORRECTED = "p_equivalence_holm"
"""A column that bundles of the first edition lack."""

_TO_FILL = "[author]"
_SIZE = re.compile(r"(?<![\d.,])[\d.,]+ MB\b")


def check_statements(bundle: Bundle) -> Outcome:
    """Statements true: contrasts, totals and every sentence with a number follow from the runs."""
    reason = why_not_rebuilt(bundle)
    if reason is not None:
        return reason
    git = find_differences(json.loads(bundle.read(layout.GIT)), to_plain(bundle.document.git))
    errors = [f"{layout.GIT}: {difference}." for difference in git]
    errors += [*_check_contrasts(bundle), *_check_submission(bundle), *_check_claims(bundle)]
    warnings = list[str]()
    for name in DOCUMENTS if bundle.is_same_source else ():
        missing, added = _compare_lines(bundle, name)
        errors += (
            f"{name} lacks a line that follows from the results: "
            f"{line if len(line) <= 80 else f'{line[:79]}…'}"
            for line in map(str.strip, missing)
        )
        if added:
            warnings.append(f"{name} has {len(added)} lines of the author's own.")
    count = len(bundle.document.claims)
    good = f"Contrasts, documents and {count} sentences follow from the runs."
    return report_outcome(good, errors, warnings)


def _load_study(bundle: Bundle) -> SubmittedStudy:
    """The study; its comparison and report are computed once while the results stay the same."""
    digest = bundle.compute_digest(f"{layout.RESULTS}/")
    return _create_study(bundle.data, bundle.document.study, digest)


@lru_cache(maxsize=64)
def _create_study(data: Path, name: str, digest: str) -> SubmittedStudy:
    return SubmittedStudy(data, name)


def _check_contrasts(bundle: Bundle) -> Iterator[str]:
    """``contrasts.csv`` cell by cell; numbers to one part in 10⁹."""
    comparison = _load_study(bundle).comparison
    if comparison is None:
        return
    expected = format_contrasts_csv(comparison)
    stated = (bundle.study_dir / layout.CONTRASTS).read_text(encoding="utf-8")
    header, expected_header = (text.partition("\n")[0].split(",") for text in (stated, expected))
    old, new = (read_rows(text, *_KEY) for text in (stated, expected))
    missing = set(expected_header) - set(header)
    if _is_of_first_edition(bundle):
        missing -= {_CORRECTED}
        old = {key: _drop_other_rule(row, new.get(key, {})) for key, row in old.items()}
    yield from (f"{layout.CONTRASTS} has no column {column}." for column in sorted(missing))
    yield from compare_rows(layout.CONTRASTS, old, new, _is_equal_cell)


def _is_of_first_edition(bundle: Bundle) -> bool:
    """Whether equivalence was said before Holm's correction, and means had Student's interval.

    One of another version without contrasts does not tell, and counts as one.
    """
    path = bundle.study_dir / layout.CONTRASTS
    if bundle.is_same_source or not path.is_file():
        return not bundle.is_same_source
    return _CORRECTED not in path.read_text(encoding="utf-8").partition("\n")[0]


def _drop_other_rule(stated: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of a row of the first edition that today's rules could still give.

    It said equivalent before any correction, and gave p of what is not tested today.
    """
    is_tested = expected.get("result") != ContrastResult.NOT_TESTED
    dropped = set() if is_tested else {"p", "p_floor", "p_holm", "p_equivalence"}
    if not is_tested or stated["result"] == ContrastResult.EQUIVALENT:
        dropped.add("result")
    return {name: cell for name, cell in stated.items() if name not in dropped}


def _is_equal_cell(stated: str, expected: str) -> bool:
    try:
        return is_close(parse_number(stated), parse_number(expected))
    except ValueError:
        return stated == expected


def _check_submission(bundle: Bundle) -> Iterator[str]:
    """Field by field; another version may phrase a sentence differently, but not its numbers."""
    submission = bundle.document
    restated = describe.build_submission(
        _load_study(bundle),
        title=submission.title,
        authors=submission.authors,
        licence=submission.licence,
        course=submission.course,
        dataset=submission.dataset,
        redaction=submission.redaction,
    )
    expected, stated = to_plain(restated), json.loads(bundle.read(layout.SUBMISSION))
    del expected["renderer"]
    stated = {name: stated.get(name) for name in expected}
    if not bundle.is_same_source:
        _keep_common_claims(stated, expected, is_old=_is_of_first_edition(bundle))
    for difference in find_differences(stated, expected):
        yield f"{layout.SUBMISSION}: {difference}."


def _keep_common_claims(stated: Any, expected: Any, *, is_old: bool) -> None:
    """Leave of the claims of both documents the values that they must have in common.

    Other rules may choose other rows for the answer: of the first edition those are left out.
    """
    olds, news = ({c["id"]: c for c in plain["claims"]} for plain in (stated, expected))
    ids = [i for i in olds if i in news and (not is_old or olds[i]["row"] == news[i]["row"])]
    stated["claims"], expected["claims"] = {}, {}
    for i in ids:
        old, new = olds[i]["values"], news[i]["values"]
        if is_old:
            old = {k: v for k, v in old.items() if k not in INTERVAL_COLUMNS}
            old = _drop_other_rule(old, new) if "result" in old else old
        common = old.keys() & new.keys()
        stated["claims"][i] = {k: old[k] for k in common}
        expected["claims"][i] = {k: new[k] for k in common}


def _check_claims(bundle: Bundle) -> Iterator[str]:
    """Each sentence is in the report as it is in the document."""
    path = bundle.data / layout.report_dir(bundle.document.study) / layout.REPORT_TEXT
    report = _drop_markup(html.unescape(path.read_text(encoding="utf-8")))
    for claim in bundle.document.claims:
        if _drop_markup(claim.text) not in report:
            yield f"The report lacks the sentence of claim {claim.id}."


def _drop_markup(text: str) -> str:
    return " ".join(text.replace("\\", "").split())


def check_rendering(bundle: Bundle) -> Outcome:
    """Report rebuilt: the numbers of every figure; the files byte by byte where possible."""
    reason = why_not_rebuilt(bundle)
    if reason is not None:
        return reason
    folder = bundle.data / layout.report_dir(bundle.document.study)
    manifest = read_manifest(folder)
    errors = list[str]()
    if manifest is None:
        errors.append("The report has no valid list of its files.")
    elif not manifest.is_complete(folder, but=[n for n in manifest.files if _is_figure_data(n)]):
        errors.append("A file of the report differs from the report's list of files.")
    start = f"{layout.PAYLOAD}/{layout.report_dir(bundle.document.study)}/"
    digests = {n.removeprefix(start): d for n, d in bundle.digests.items() if n.startswith(start)}
    digests.pop(MANIFEST_FILE, None)
    if bundle.is_same_source:
        numbers = figure_data(_load_study(bundle).report)
        errors += _compare_files(
            {name: digest for name, digest in digests.items() if _is_figure_data(name)},
            {name: hashlib.sha256(data).hexdigest() for name, data in numbers.items()},
        )
    if bundle.version_differences:
        reason = report_not_checked(f"Files not compared because of {bundle.version_differences}.")
        return report_outcome("", errors) if errors else reason
    formats = tuple(manifest.formats) if manifest else PAGE_FORMATS
    results = bundle.compute_digest(f"{layout.RESULTS}/")
    rendered = _render(bundle.data, bundle.document.study, results, formats)
    errors += _compare_files(digests, rendered)
    return report_outcome("Figure data and every file of the report are equal.", errors)


def _is_figure_data(name: str) -> bool:
    return name.startswith(f"{layout.FIGURE_DATA}/")


def _compare_files(stated: Mapping[str, str], expected: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(stated.keys() | expected.keys()):
        if name not in expected:
            yield f"{name} of the report does not follow from the runs."
        elif name not in stated:
            yield f"{name} of the report is missing."
        elif stated[name] != expected[name]:
            yield f"{name} of the report differs from the one made here."


@lru_cache(maxsize=64)
def _render(data: Path, study: str, digest: str, formats: tuple[str, ...]) -> Mapping[str, str]:
    """Every file that the report consists of → its SHA-256."""
    with tempfile.TemporaryDirectory(prefix="wbcbench-report-") as folder:
        made = _create_study(data, study, digest)
        publish_built(made.report, made.reported, Path(folder), formats)
        files = layout.list_files(Path(folder))
        return {name: sha256_of(path) for name, path in files.items() if name != MANIFEST_FILE}


def _remake_files(bundle: Bundle) -> Mapping[str, bytes]:
    """Documents and settings by their path in the payload, from results and ``submission.json``."""
    return _remake(bundle.data, bundle.compute_digest(*_SOURCES))


@lru_cache(maxsize=64)
def _remake(data: Path, digest: str) -> Mapping[str, bytes]:
    submission = document.from_json((data / layout.SUBMISSION).read_bytes(), layout.SUBMISSION)
    with tempfile.TemporaryDirectory(prefix="wbcbench-remade-") as folder:
        payload = Path(folder)
        for name in (name for name in _SOURCES if (data / name).exists()):
            (payload / name).parent.mkdir(exist_ok=True)
            (payload / name.rstrip("/")).symlink_to((data / name).resolve())
        study = SubmittedStudy(payload, submission.study)
        write_documents(study, submission)
        describe.write_settings(study)
        files = layout.list_files(payload).items()
        return {name: path.read_bytes() for name, path in files if not path.is_symlink()}


def list_changed_files(bundle: Bundle, *names: str) -> list[str]:
    """Files of these that the results do not give."""
    expected = _remake_files(bundle)
    return [name for name in names if not bundle.has(name) or bundle.read(name) != expected[name]]


def _compare_lines(bundle: Bundle, name: str) -> tuple[list[str], list[str]]:
    """Lines that the results give and a document lacks, and lines that it adds.

    Lines that are left to the author may have any text.
    """
    stated, expected = (
        {_drop_size(line): line for line in data.decode("utf-8").splitlines()}
        for data in (bundle.read(name), _remake_files(bundle)[name])
    )
    missing = [expected[k] for k in expected if k not in stated and _TO_FILL not in expected[k]]
    return missing, [stated[k] for k in stated if k not in expected]


def _drop_size(line: str) -> str:
    """A line without the size of the bundle, which is not a result and known only at the end."""
    return _SIZE.sub("… MB", line.strip())
