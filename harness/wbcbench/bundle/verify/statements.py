"""Checks of what is said: statements true, report made again."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from wbcbench.bundle import describe, document, layout
from wbcbench.bundle.describe import SubmittedStudy
from wbcbench.bundle.papers import PAPERS, write_papers
from wbcbench.bundle.verify import Outcome, not_checked, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.bundle.verify.inspect import why_not_rebuilt
from wbcbench.bundle.verify.records import differences
from wbcbench.compare.result import contrasts_csv
from wbcbench.core.files import sha256_of
from wbcbench.report.formats import figure_data
from wbcbench.report.publish import MANIFEST_FILE, PAGE_FORMATS, publish, read_manifest

_TOLERANCE = 1e-9

_REMADE_FROM = (f"{layout.RESULTS}/", "code/", layout.LOCK, layout.SUBMISSION)
"""What papers and settings are made from."""

_TO_FILL = "[author]"
_SIZE = re.compile(r"[\d.,]+ MB\b")


def check_statements(bundle: Bundle) -> Outcome:
    """Statements true: contrasts, totals and every sentence with a number follow from the runs."""
    before = why_not_rebuilt(bundle)
    if before is not None:
        return before
    errors = [*_contrasts(bundle), *_document(bundle), *_words(bundle), *_git(bundle)]
    warnings = list[str]()
    for name in PAPERS if bundle.is_same_source else ():
        lacking, own = _differing_lines(bundle, name)
        errors += (f"{name} does not say what the results make: {_short(line)}" for line in lacking)
        warnings += [f"{name} has {len(own)} lines of the author's own."] if own else []
    count = len(bundle.document.claims)
    good = f"Contrasts, papers and {count} sentences follow from the runs."
    return outcome(good, errors, warnings)


def _document(bundle: Bundle) -> Iterator[str]:
    """Field by field; another version may put a sentence in other words, but not its numbers."""
    made = dict(_restated_fields(bundle))
    said = json.loads(bundle.read(layout.SUBMISSION))
    if not bundle.is_same_source:
        made["claims"] = _numbers(made["claims"], said["claims"])
        said["claims"] = _numbers(said["claims"], _restated_fields(bundle)["claims"])
    for path in differences({name: said.get(name) for name in made}, made):
        yield f"submission.json: {path}."


def _numbers(claims: list[Any], others: list[Any]) -> dict[str, Any]:
    """The numbers of those claims that both sides make, by id and column."""
    known = {each["id"]: each["values"].keys() for each in others}
    return {
        each["id"]: {n: v for n, v in each["values"].items() if n in known[each["id"]]}
        for each in claims
        if each["id"] in known
    }


def _short(line: str) -> str:
    return line.strip() if len(line) <= 80 else f"{line.strip()[:79]}…"


def _restated_fields(bundle: Bundle) -> dict[str, Any]:
    """The fields of ``submission.json`` that follow from the study."""
    study = bundle.document.study
    folders = (f"{layout.RESULTS}/", "code/", f"{layout.report_dir(study)}/")
    return _restated(bundle.data, study, bundle.digest(*folders))


@lru_cache(maxsize=256)
def _restated(data: Path, name: str, digest: str) -> dict[str, Any]:
    study = SubmittedStudy(data, name)
    first = study.first.row
    made = {
        "created_utc": study.ended_utc,
        "synthetic": any(record.synthetic for record in study.records),
        "git": asdict(describe.git_state(study, data)),
        "design": asdict(describe.design(study)),
        "analysis": _plain_or_none(describe.analysis(study)),
        "host_ids": study.different("host_id"),
        "gpu_name": first["gpu_name"],
        "driver_version": first["driver_version"],
        "meter": {part: asdict(state) for part, state in describe.meters(first).items()},
        "n_runs": asdict(describe.counts(study)),
        "energy_total_j": asdict(describe.totals(study.records, study.pilots)),
        "results_sha256": describe.results_sha256(data, name),
        "report_sha256": describe.report_sha256(data, name),
        "claims": [asdict(each) for each in describe.stated(study)],
    }
    plain: dict[str, Any] = json.loads(json.dumps(made))
    return plain


def _plain_or_none(value: Any) -> Any:
    return None if value is None else asdict(value)


@lru_cache(maxsize=256)
def _comparison_csv(data: Path, name: str, digest: str) -> str | None:
    found = SubmittedStudy(data, name).comparison
    return None if found is None else contrasts_csv(found)


def _contrasts(bundle: Bundle) -> Iterator[str]:
    """``contrasts.csv`` cell by cell; numbers to one part in 10⁹."""
    study = bundle.document.study
    made = _comparison_csv(bundle.data, study, bundle.digest(f"{layout.RESULTS}/"))
    said = (bundle.study_dir / layout.CONTRASTS).read_text(encoding="utf-8")
    if made is None or said == made:
        return
    found, expected = _rows(said), _rows(made)
    for key in sorted(found.keys() | expected.keys()):
        name = " ".join(key)
        if key not in found or key not in expected:
            yield f"contrasts.csv has {'a row' if key in found else 'no row'} for {name}."
            continue
        for column, cell in expected[key].items():
            if not _same(found[key].get(column, ""), cell):
                yield f"contrasts.csv: {column} of {name} is {cell}, not {found[key].get(column)}."


def _rows(text: str) -> dict[tuple[str, str], dict[str, str]]:
    lines = csv.DictReader(io.StringIO(text, newline=""))
    return {(line["contrast"], line["metric"]): line for line in lines}


def _same(said: str, made: str) -> bool:
    try:
        one, other = float(said), float(made)
    except ValueError:
        return said == made
    return abs(one - other) <= _TOLERANCE * max(abs(one), abs(other))


def _git(bundle: Bundle) -> Iterator[str]:
    """``code/git.json`` says what the document says."""
    said = json.loads(bundle.read(layout.GIT))
    made = json.loads(json.dumps(asdict(bundle.document.git)))
    yield from (f"{layout.GIT}: {path}." for path in differences(said, made))


def _words(bundle: Bundle) -> Iterator[str]:
    """Each sentence stands in the report as it stands in the document."""
    path = bundle.data / layout.report_dir(bundle.document.study) / layout.REPORT_TEXT
    text = " ".join(path.read_text(encoding="utf-8").replace("\\", "").split())
    for claim in bundle.document.claims:
        if " ".join(claim.text.replace("\\", "").split()) not in text:
            yield f"The report does not say what claim {claim.id} says."


def check_rendering(bundle: Bundle) -> Outcome:
    """Report re-made: the numbers behind every figure; the files byte by byte where possible."""
    before = why_not_rebuilt(bundle)
    if before is not None:
        return before
    study = bundle.document.study
    digest = bundle.digest(f"{layout.RESULTS}/")
    errors = list(_manifest(bundle))
    if bundle.is_same_source:
        errors += _data(bundle, _figures(bundle.data, study, digest))
    if bundle.other_program and not errors:
        return not_checked(f"Files were not compared, for {bundle.other_program}.")
    if bundle.other_program:
        return outcome("", errors)
    formats = tuple(last.formats) if (last := read_manifest(_folder(bundle))) else PAGE_FORMATS
    errors += _files(bundle, _drawn(bundle.data, study, digest, formats))
    return outcome("Figure data and every file of the report are equal.", errors)


def _folder(bundle: Bundle) -> Path:
    return bundle.data / layout.report_dir(bundle.document.study)


def _manifest(bundle: Bundle) -> Iterator[str]:
    """The report's own list of files is that of the bundle."""
    last = read_manifest(_folder(bundle))
    if last is None:
        yield "The report has no list of its files that can be believed."
    elif not last.is_whole(_folder(bundle), but=[n for n in last.files if _is_data(n)]):
        yield "A file of the report is another than its list says."


@lru_cache(maxsize=64)
def _figures(data: Path, study: str, digest: str) -> Mapping[str, bytes]:
    return figure_data(SubmittedStudy(data, study).report)


def _is_data(name: str) -> bool:
    return name.startswith(f"{layout.FIGURE_DATA}/")


def _data(bundle: Bundle, made: Mapping[str, bytes]) -> Iterator[str]:
    folder = layout.report_dir(bundle.document.study).as_posix()
    there = {name[len(folder) + 1 :] for name in bundle.names(f"{folder}/{layout.FIGURE_DATA}/")}
    for name in sorted(there | made.keys()):
        if name not in made or name not in there:
            yield f"{name} is {'of no figure of the report' if name in there else 'missing'}."
        elif bundle.read(f"{folder}/{name}") != made[name]:
            yield f"The numbers in {name} are not those of the runs."


@lru_cache(maxsize=64)
def _drawn(data: Path, study: str, digest: str, formats: tuple[str, ...]) -> Mapping[str, str]:
    """Every file that the report is made of → its SHA-256."""
    with tempfile.TemporaryDirectory(prefix="wbcbench-drawn-") as room:
        out = Path(room)
        made = publish(data / layout.RESULTS, study, out, formats)
        return {path.relative_to(out / study).as_posix(): sha256_of(path) for path in made}


def _files(bundle: Bundle, made: Mapping[str, str]) -> Iterator[str]:
    folder = layout.report_dir(bundle.document.study).as_posix()
    there = {name[len(folder) + 1 :] for name in bundle.names(f"{folder}/")}
    for name in sorted((made.keys() | there) - {MANIFEST_FILE}):
        said = bundle.digests.get(f"{layout.PAYLOAD}/{folder}/{name}")
        if said != made.get(name):
            what = "missing" if said is None else "another than drawn"
            yield f"{name} of the report is {what if name in made else 'not made from the runs'}."


def _remade_files(bundle: Bundle) -> Mapping[str, bytes]:
    """Every such file by its path in the payload, from the results and ``submission.json``."""
    return _remade(bundle.data, bundle.digest(*_REMADE_FROM))


@lru_cache(maxsize=64)
def _remade(data: Path, digest: str) -> Mapping[str, bytes]:
    made = document.from_json((data / layout.SUBMISSION).read_bytes(), layout.SUBMISSION)
    with tempfile.TemporaryDirectory(prefix="wbcbench-remade-") as room:
        payload = Path(room)
        for name in filter(lambda each: (data / each).exists(), _REMADE_FROM):
            (payload / name).parent.mkdir(exist_ok=True)
            (payload / name.rstrip("/")).symlink_to((data / name).resolve())
        study = SubmittedStudy(payload, made.study)
        write_papers(study, made)
        describe.write_surroundings(study)
        files = [p for p in payload.rglob("*") if p.is_file() and not p.is_symlink()]
        return {path.relative_to(payload).as_posix(): path.read_bytes() for path in files}


def changed_papers(bundle: Bundle, *names: str) -> Iterator[str]:
    """Names of files that are not what the results make."""
    made = _remade_files(bundle)
    for name in names:
        if not bundle.has(name) or bundle.read(name) != made[name]:
            yield name


def _differing_lines(bundle: Bundle, name: str) -> tuple[list[str], list[str]]:
    """Lines that the results make and a paper lacks, and lines that it has beyond them.

    Lines that are left to the author may say anything.
    """
    said = bundle.read(name).decode("utf-8").splitlines()
    made = _remade_files(bundle)[name].decode("utf-8").splitlines()
    kept, known = set(map(_sizeless, said)), set(map(_sizeless, made))
    lacking = [line for line in made if _TO_FILL not in line and _sizeless(line) not in kept]
    return lacking, [line for line in said if _sizeless(line) not in known]


def _sizeless(line: str) -> str:
    """A line without the size of the bundle, which is no result and known only when all is in."""
    return _SIZE.sub("… MB", line.strip())
