"""Statements true: contrasts, totals and every sentence with a number follow from the runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from wbcbench.bundle import described, layout
from wbcbench.bundle.papers import PAPERS
from wbcbench.bundle.study import SubmittedStudy
from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.accounts import differences
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.bundle.verify.remade import unsaid
from wbcbench.bundle.verify.standing import fallen
from wbcbench.compare.result import as_csv

_TOLERANCE = 1e-9


def check(bundle: Bundle) -> Outcome:
    """Compare anew, and say everything again that ``submission.json`` says."""
    before = fallen(bundle)
    if before is not None:
        return before
    errors = [*_contrasts(bundle), *_document(bundle), *_words(bundle), *_git(bundle)]
    warnings = list[str]()
    for name in PAPERS if bundle.is_same_source else ():
        lacking, own = unsaid(bundle, name)
        errors += (f"{name} does not say what the results make: {_short(line)}" for line in lacking)
        warnings += [f"{name} has {len(own)} lines of the author's own."] if own else []
    count = len(bundle.document.claims)
    good = f"Contrasts, papers and {count} sentences follow from the runs."
    return outcome(good, errors, warnings)


def _document(bundle: Bundle) -> Iterator[str]:
    """Field by field; another version may put a sentence in other words, but not its numbers."""
    made = dict(restated(bundle))
    said = json.loads(bundle.read(layout.SUBMISSION))
    if not bundle.is_same_source:
        made["claims"] = _numbers(made["claims"], said["claims"])
        said["claims"] = _numbers(said["claims"], restated(bundle)["claims"])
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


def restated(bundle: Bundle) -> dict[str, Any]:
    """The fields of ``submission.json`` that follow from the study."""
    study = bundle.document.study
    folders = ("results/", "code/", f"{layout.report_dir(study)}/")
    return _restated(bundle.data, study, bundle.digest(*folders))


@lru_cache(maxsize=256)
def _restated(data: Path, name: str, digest: str) -> dict[str, Any]:
    study = SubmittedStudy(data, name)
    first = study.first.row
    made = {
        "created_utc": study.ended_utc,
        "synthetic": any(record.synthetic for record in study.records),
        "git": asdict(described.git_state(study, data)),
        "design": asdict(described.design(study)),
        "analysis": _plain_or_none(described.analysis(study)),
        "host_ids": study.different("host_id"),
        "gpu_name": first["gpu_name"],
        "driver_version": first["driver_version"],
        "meter": {part: asdict(state) for part, state in described.meters(first).items()},
        "n_runs": asdict(described.counts(study)),
        "energy_total_j": asdict(described.totals(study.records, study.pilots)),
        "results_sha256": described.results_sha256(data, name),
        "report_sha256": described.report_sha256(data, name),
        "claims": [asdict(each) for each in described.stated(study)],
    }
    plain: dict[str, Any] = json.loads(json.dumps(made))
    return plain


def _plain_or_none(value: Any) -> Any:
    return None if value is None else asdict(value)


@lru_cache(maxsize=256)
def _comparison_csv(data: Path, name: str, digest: str) -> str | None:
    found = SubmittedStudy(data, name).comparison
    return None if found is None else as_csv(found)


def _contrasts(bundle: Bundle) -> Iterator[str]:
    """``contrasts.csv`` cell by cell; numbers to one part in 10⁹."""
    study = bundle.document.study
    made = _comparison_csv(bundle.data, study, bundle.digest("results/"))
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
