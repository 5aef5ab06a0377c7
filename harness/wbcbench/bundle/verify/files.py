"""Checks of the files: bag, completeness, secrets, research object, citation."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from wbcbench.bundle import describe, document, layout
from wbcbench.bundle.bounds import quote
from wbcbench.bundle.verify import Outcome, report_outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.bundle.verify.energies import check_traces
from wbcbench.core import run_folder
from wbcbench.core.errors import VerificationError
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.strict_json import parse_json
from wbcbench.core.text import count_of
from wbcbench.core.units import mb_from_bytes

_FETCH = "fetch.txt"
_OXUM = "Payload-Oxum"

# Each begins with what few texts hold, never with a repetition: a line of 30 MB is read once.
_SECRETS = {
    "a private key": r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----",
    "an access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a token": r"\b(?:ghp_|gho_|github_pat_|glpat-|hf_|xox[abpr]-|sk-|npm_|pypi-)[\w-]{20,}",
    "a password": r"(?i)\b(?:password|passwd|api[_-]?key|secret|token)\b[\"']?\s*[=:]\s*[\"']?"
    r"(?!null\b|none\b|true\b|false\b|<)[^\s\"',;]{8,}",
    "a password in an address": r"://(?<=[a-z0-9+.-]://)[^\s/@:]+:[^\s/@]+@",
    "a home folder": r"(?:/home/|/Users/)[\w.-]+|/root/[\w.-]|[A-Za-z]:\\\\?Users\\\\?[\w.-]+",
    "an address of a machine": r"\b(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01]))"
    r"\.\d{1,3}\.\d{1,3}\b",
    "the name of a machine": r"@(?<=\w@)[\w-]+:|\.(?<=\w\.)(?:local|lan|internal|localdomain)\b",
    "a place": r"(?i)\"?\b(?:latitude|longitude|lat|lon)\b\"?\s*[=:]\s*-?\d{1,3}\.\d{2,}",
}

_TEXTS = frozenset(
    (
        ".json", ".jsonl", ".csv", ".md", ".txt", ".cff", ".html", ".svg", ".tex", ".toml",
        ".log", ".diff",
    )
)  # fmt: skip
_NUMBER_FOLDERS = (run_folder.TELEMETRY,)

_ACTION_KEYS = ("instrument", "object", "result", "startTime", "endTime")
_PROFILE = "https://w3id.org/ro/wfrun/process/"

_CITATION_KEYS = ("cff-version", "message", "title", "authors")
_KEY = re.compile(r"^\"?([A-Za-z][\w-]*)\"?\s*:(.*)$")


def check_bag(bundle: Bundle) -> Outcome:
    """Bag complete: no file is missing or extra, and each has its digest in the manifest."""
    payload = {name: d for name, d in bundle.digests.items() if name.startswith(layout.PAYLOAD)}
    tags = {name: d for name, d in bundle.digests.items() if name not in payload}
    tags.pop(layout.TAG_MANIFEST, None)
    size_bytes = sum((bundle.root / name).stat().st_size for name in payload)
    oxum = f"{size_bytes}.{len(payload)}"
    errors = list(_check_declaration(bundle, oxum))
    for manifest, digests in ((layout.MANIFEST, payload), (layout.TAG_MANIFEST, tags)):
        errors += _compare_digests(_read_manifest(bundle, manifest), digests)
    size_mb = mb_from_bytes(size_bytes)
    return report_outcome(f"{len(payload)} files of {size_mb:.1f} MB as in the manifest.", errors)


def _check_declaration(bundle: Bundle, oxum: str) -> Iterator[str]:
    if bundle.digests.get(layout.BAGIT) is None:
        yield f"There is no {layout.BAGIT}, so this is not a bag."
    elif (bundle.root / layout.BAGIT).read_text(encoding="utf-8") != layout.BAGIT_TEXT:
        yield f"{layout.BAGIT} is not that of a BagIt 1.0 bag in UTF-8."
    if _FETCH in bundle.digests:
        yield f"{_FETCH} names files that are elsewhere, and nothing is fetched."
    for line in (bundle.root / layout.BAG_INFO).read_text(encoding="utf-8").splitlines():
        label, _, value = line.partition(":")
        if label == _OXUM and value.strip() != oxum:
            yield f"{layout.BAG_INFO} states {value.strip()} (bytes.files); there are {oxum}."


def _read_manifest(bundle: Bundle, name: str) -> Mapping[str, str]:
    digests = dict[str, str]()
    for line in (bundle.root / name).read_text(encoding="utf-8").splitlines():
        digest, _, path = line.partition("  ")
        if len(digest) != 64 or not path or unquote(path) in digests:
            raise VerificationError(f"{name} has an invalid line: {quote(line)}.")
        digests[unquote(path)] = digest.lower()
    return digests


def _compare_digests(listed: Mapping[str, str], actual: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(listed.keys() | actual.keys()):
        if name not in actual:
            yield f"{quote(name)} is missing."
        elif name not in listed:
            yield f"{quote(name)} is not in the manifest: it was added later."
        elif listed[name] != actual[name]:
            yield f"{quote(name)} was changed: its digest differs from the manifest's."


def check_required(bundle: Bundle) -> Outcome:
    """Files complete: every required file is there and fits its schema."""
    submission = bundle.document
    required = layout.required_files(submission.study)
    errors = [f"{name} is missing." for name in required if not bundle.has(name)]
    paths = [name.split("/") for name in bundle.list_names(f"{layout.RESULTS}/")]
    studies = {path[1] for path in paths if len(path) > 2}
    errors += (
        f"{layout.RESULTS}/{name} belongs to no study of this bundle."
        for name in sorted(studies - {submission.study, submission.pilot_study})
    )
    for run in (*bundle.runs, *bundle.pilots):
        errors += _check_run_files(bundle, run)
    runs = count_of(len(bundle.runs), "run")
    good = f"{len(bundle.list_names())} files, {runs}; all fit their schemas."
    return report_outcome(good, errors, list(_check_schemas(bundle)))


def _check_run_files(bundle: Bundle, run: RunDir) -> Iterator[str]:
    folder = bundle.name_of(run)
    if not run.is_finished:
        yield f"{run.run_id} has no record."
        return
    record = bundle.record(run)
    needed = [layout.SPEC, layout.PHASES]
    if run.read_began() is not None and record.windows:
        needed += [run_folder.CHANNELS, run_folder.MARKS]
    if record.status == "done":
        needed += [run_folder.PREDICTIONS, run_folder.EPOCHS, run_folder.BEGAN]
    yield from (
        f"{folder}/{name} is missing." for name in needed if not bundle.has(f"{folder}/{name}")
    )
    channels = check_traces(bundle, run).channels
    for sampling in record.sampling:
        if sampling.samples and not any(c.startswith(f"{sampling.meter}/") for c in channels):
            yield f"{folder} has no trace of {sampling.meter}, so its energy cannot be checked."


def _check_schemas(bundle: Bundle) -> Iterator[str]:
    """Embedded schemas are compared with this version's, never carried out: one can take hours."""
    runs_schema = f"{layout.study_dir(bundle.document.study)}/{layout.RUNS_SCHEMA}"
    for name, schema in (
        (layout.RECORD_SCHEMA, describe.record_schema()),
        (runs_schema, describe.runs_schema()),
    ):
        if parse_json(bundle.read(name)) != schema:
            yield f"{name} is another version's; the files fit this version's."
    if parse_json(bundle.read(layout.SUBMISSION_SCHEMA)) != describe.submission_schema():
        yield "The embedded schema of submission.json is another version's."


def check_secrets(bundle: Bundle) -> Outcome:
    """No secrets: no key, token, home folder, host name, address or location in any text."""
    texts = [
        path
        for path in map(PurePosixPath, bundle.list_names())
        if path.suffix in _TEXTS and path.parent.name not in _NUMBER_FOLDERS
    ]
    errors = [
        f"{quote(str(path))} {secret}"
        for path in texts
        for secret in _find_secrets(bundle.data / path, bundle.digests[f"{layout.PAYLOAD}/{path}"])
    ]
    is_redacted = bundle.document.redaction.applied
    warnings = [] if is_redacted else ["The bundle was made without redaction."]
    return report_outcome(f"Nothing found in {len(texts)} texts.", errors, warnings)


@lru_cache(maxsize=8192)
def _find_secrets(path: Path, digest: str) -> tuple[str, ...]:
    """Each secret by its kind and line; it is not repeated."""
    text = path.read_text(encoding="utf-8")
    return tuple(
        f"holds {kind} (line {text.count(chr(10), 0, match.start()) + 1})."
        for kind, rule in _SECRETS.items()
        if (match := re.search(rule, text))
    )


def check_crate(bundle: Bundle) -> Outcome:
    """Research object: the RO-Crate parses and has one action for every run, with its times."""
    crate = _read_crate(bundle.data, bundle.digests[f"{layout.PAYLOAD}/{layout.CRATE}"])
    errors = list[str]()
    profiles = _as_list(crate.root_dataset.properties().get("conformsTo") or [])
    if not any(str(profile.get("@id", "")).startswith(_PROFILE) for profile in profiles):
        errors.append("The crate does not state that it is a Process Run Crate.")
    errors += (
        f"The crate lists {name}, which is not there."
        for name in (str(entity.id) for entity in crate.data_entities)
        if not ("://" in name or name.endswith("/") or bundle.has(name.removeprefix("./")))
    )
    counts = Counter[str]()
    for entity in crate.get_entities():
        if "CreateAction" in _as_list(entity.type):
            run_id = str(entity.id).removeprefix("#")
            counts[run_id] += 1
            problem = _find_action_problem(entity.properties(), bundle.records.get(run_id))
            errors += [f"{run_id}: {problem}."] if problem else []
    errors += (
        f"{run_id} is {counts[run_id]} actions of the crate, not one."
        for run_id in bundle.records
        if counts[run_id] != 1
    )
    return report_outcome(f"{count_of(counts.total(), 'action')}, one a run.", errors)


@lru_cache(maxsize=8)
def _read_crate(data: Path, digest: str) -> Any:
    from rocrate.rocrate import ROCrate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ROCrate(str(data))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _find_action_problem(action: Mapping[str, Any], record: RunRecord | None) -> str:
    if record is None:
        return "the crate lists this run, which is not there"
    if missing := [name for name in _ACTION_KEYS if not action.get(name)]:
        return f"its action in the crate has no {', '.join(missing)}"
    times = (action.get("startTime"), action.get("endTime"))
    if times != (record.started_utc, record.ended_utc):
        return f"its action in the crate ran from {times[0]} to {times[1]}, unlike its record"
    return ""


def check_citation(bundle: Bundle) -> Outcome:
    """Citation usable: CITATION.cff has version, message, title, authors and an SPDX licence."""
    text = bundle.read(layout.CITATION).decode("utf-8")
    matches = filter(None, map(_KEY.match, text.splitlines()))
    values = {match[1]: match[2].strip() for match in matches}
    missing = [
        f"CITATION.cff has no {key}."
        for key in _CITATION_KEYS
        if key not in values or (not values[key] and key != "authors")
    ]
    unnamed = [
        f"CITATION.cff does not name {author.name}, an author of the bundle."
        for author in bundle.document.authors
        if (words := author.name.split()) and words[-1] not in text
    ]
    licence = values.get("license", "").strip("\"'")
    if licence and document.find_licence(licence) != licence:
        missing.append(f"CITATION.cff has the licence {quote(licence)}, no SPDX identifier.")
    return report_outcome("CITATION.cff names title and authors.", [], [*missing, *unnamed])
