"""Checks of the files: bag, completeness, secrets, research object, citation."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from wbcbench.bundle import describe, layout
from wbcbench.bundle.bounds import quoted, strict_json
from wbcbench.bundle.verify import Outcome, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core import run_folder
from wbcbench.core.errors import VerificationError
from wbcbench.core.record import RunRecord
from wbcbench.core.run_folder import RunDir
from wbcbench.core.units import mb_from_bytes

_FETCH = "fetch.txt"
_OXUM = "Payload-Oxum"

_PATTERNS = frozenset({"pattern", "patternProperties", "$ref", "$dynamicRef"})
_LOCAL = "#/"

_KINDS = {
    "a private key": r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----",
    "an access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a token": r"\b(?:ghp_|gho_|github_pat_|glpat-|hf_|xox[abpr]-|sk-|npm_|pypi-)[\w-]{20,}",
    "a password": r"(?i)\b(?:password|passwd|api[_-]?key|secret|token)\b[\"']?\s*[=:]\s*[\"']?"
    r"(?!null\b|none\b|true\b|false\b|<)[^\s\"',;]{8,}",
    "a password in an address": r"\b[a-z][a-z0-9+.-]{1,10}://[^\s/@:]+:[^\s/@]+@",
    "a home folder": r"(?:/home/|/Users/)[\w.-]+|/root/[\w.-]|[A-Za-z]:\\\\?Users\\\\?[\w.-]+",
    "an address of a machine": r"\b(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01]))"
    r"\.\d{1,3}\.\d{1,3}\b",
    "the name of a machine": r"\b[\w-]+@[\w-]+:|\b[\w-]+\.(?:local|lan|internal|localdomain)\b",
    "a place": r"(?i)\"?\b(?:latitude|longitude|lat|lon)\b\"?\s*[=:]\s*-?\d{1,3}\.\d{2,}",
}

_TEXTS = frozenset(
    (
        ".json", ".jsonl", ".csv", ".md", ".txt", ".cff", ".html", ".svg", ".tex", ".toml",
        ".log", ".diff",
    )
)  # fmt: skip
_NUMBERS_ALONE = (run_folder.TELEMETRY,)

_ACTION_KEYS = ("instrument", "object", "result", "startTime", "endTime")
_PROFILE = "https://w3id.org/ro/wfrun/process/"

_CITATION_KEYS = ("cff-version", "message", "title", "authors")
_KEY = re.compile(r"^\"?([A-Za-z][\w-]*)\"?\s*:(.*)$")


def check_bag(bundle: Bundle) -> Outcome:
    """Bag whole: every file is there, none is added, and each has the digest of the manifest."""
    payload = {name: d for name, d in bundle.digests.items() if name.startswith(layout.PAYLOAD)}
    tags = {name: d for name, d in bundle.digests.items() if name not in payload}
    tags.pop(layout.TAG_MANIFEST, None)
    errors = [
        *_declared(bundle),
        *_differing(_manifest(bundle, layout.MANIFEST), payload),
        *_differing(_manifest(bundle, layout.TAG_MANIFEST), tags),
        *_size(bundle, payload),
    ]
    size = sum((bundle.root / name).stat().st_size for name in payload)
    return outcome(
        f"{len(payload)} files of {mb_from_bytes(size):.1f} MB as in the manifest.", errors
    )


def _declared(bundle: Bundle) -> Iterator[str]:
    if bundle.digests.get(layout.BAGIT) is None:
        yield f"There is no {layout.BAGIT}, so this is no bag."
    elif (bundle.root / layout.BAGIT).read_text(encoding="utf-8") != layout.BAGIT_TEXT:
        yield f"{layout.BAGIT} is not that of a BagIt 1.0 bag in UTF-8."
    if _FETCH in bundle.digests:
        yield f"{_FETCH} names files that are elsewhere; nothing is fetched to be checked."


def _manifest(bundle: Bundle, name: str) -> Mapping[str, str]:
    found = dict[str, str]()
    for line in (bundle.root / name).read_text(encoding="utf-8").splitlines():
        digest, _, path = line.partition("  ")
        if len(digest) != 64 or not path or unquote(path) in found:
            raise VerificationError(f"{name} holds a line that is none: {quoted(line)}.")
        found[unquote(path)] = digest.lower()
    return found


def _differing(listed: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(listed.keys() | found.keys()):
        if name not in found:
            yield f"{quoted(name)} is missing."
        elif name not in listed:
            yield f"{quoted(name)} is not in the manifest: it was added later."
        elif listed[name] != found[name]:
            yield f"{quoted(name)} was changed: its digest is not that of the manifest."


def _size(bundle: Bundle, payload: Mapping[str, str]) -> Iterator[str]:
    lines = (bundle.root / layout.BAG_INFO).read_text(encoding="utf-8").splitlines()
    said = next((line.split(":", 1)[1].strip() for line in lines if line.startswith(_OXUM)), None)
    size = sum((bundle.root / name).stat().st_size for name in payload)
    if said is not None and said != f"{size}.{len(payload)}":
        yield f"{layout.BAG_INFO} speaks of {said} (bytes.files); there are {size}.{len(payload)}."


def check_required(bundle: Bundle) -> Outcome:
    """Files complete: everything a bundle has is there and of its schema, embedded and built in."""
    study = bundle.document.study
    errors = [f"{name} is missing." for name in layout.required(study) if not bundle.has(str(name))]
    errors += _strangers(bundle)
    for run in (*bundle.runs, *bundle.pilots):
        errors += _run(bundle, run)
    warnings = [*_schemas(bundle)]
    good = f"{len(bundle.names())} files, {len(bundle.runs)} runs, all of their schemas."
    return outcome(good, errors, warnings)


def _strangers(bundle: Bundle) -> Iterator[str]:
    """Studies of which ``submission.json`` knows nothing."""
    said = {bundle.document.study, bundle.document.pilot_study}
    found = {
        name.split("/")[1] for name in bundle.names(f"{layout.RESULTS}/") if name.count("/") > 1
    }
    yield from (
        f"{layout.RESULTS}/{name} belongs to no study of this bundle."
        for name in sorted(found - said)
    )


def _run(bundle: Bundle, run: RunDir) -> Iterator[str]:
    folder = run.path.relative_to(bundle.data).as_posix()
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
    yield from _traces(bundle, run, record)


def _traces(bundle: Bundle, run: RunDir, record: RunRecord) -> Iterator[str]:
    folder = run.path.relative_to(bundle.data).as_posix()
    name = f"{folder}/{run_folder.TRACES}"
    if any(sampling.samples for sampling in record.sampling) and not bundle.has(name):
        yield f"{name} is missing: joules without a trace cannot be checked."


def _schemas(bundle: Bundle) -> Iterator[str]:
    """Where the embedded schema is this version's, reading the document has checked it already."""
    runs_schema = f"{layout.study_dir(bundle.document.study)}/{layout.RUNS_SCHEMA}"
    for name, made in (
        (layout.RECORD_SCHEMA, _record_schema()),
        (runs_schema, describe.runs_schema()),
    ):
        if strict_json(bundle.read(name)) != made:
            yield f"{name} is another version's; records and table are of this one's."
    embedded = strict_json(bundle.read(layout.SUBMISSION_SCHEMA))
    if embedded == _submission_schema():
        return
    yield "The embedded schema of submission.json is another version's."
    if _is_safe(embedded):
        yield from _violations(embedded, strict_json(bundle.read(layout.SUBMISSION)))


@cache
def _submission_schema() -> dict[str, Any]:
    return describe.submission_schema()


@cache
def _record_schema() -> dict[str, Any]:
    return describe.record_schema()


def _is_safe(schema: Any) -> bool:
    """No pattern that could run for ever, no reference that leads out of the bundle."""
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            leads_out = not isinstance(value, str) or not value.startswith(_LOCAL)
            if key in _PATTERNS and ("pattern" in key or leads_out):
                return False
        return all(_is_safe(value) for value in schema.values())
    return all(_is_safe(item) for item in schema) if isinstance(schema, list) else True


def _violations(schema: Any, value: Any) -> Iterator[str]:
    import jsonschema
    from referencing import Registry

    found = jsonschema.Draft202012Validator(schema, registry=Registry())
    for error in found.iter_errors(value):
        yield f"submission.json breaks its embedded schema: {error.message[:120]}."


_RULES = tuple((kind, re.compile(rule)) for kind, rule in _KINDS.items())


def check_secrets(bundle: Bundle) -> Outcome:
    """Secrets left out: no key, token, home folder, host, address or place in any text."""
    errors = list[str]()
    searched = [name for name in bundle.names() if _is_text(PurePosixPath(name))]
    for name in searched:
        digest = bundle.digests[f"{layout.PAYLOAD}/{name}"]
        errors += (f"{quoted(name)} {said}" for said in _secrets_in(bundle.data / name, digest))
    said = (
        "" if bundle.document.redaction.applied else " The bundle says that nothing was taken out."
    )
    warnings = [said.strip()] if said else []
    return outcome(f"Nothing found in {len(searched)} texts.", errors, warnings)


def _is_text(path: PurePosixPath) -> bool:
    return path.suffix in _TEXTS and path.parent.name not in _NUMBERS_ALONE


@lru_cache(maxsize=8192)
def _secrets_in(path: Path, digest: str) -> tuple[str, ...]:
    return tuple(_find_secrets(path.read_text(encoding="utf-8")))


def _find_secrets(text: str) -> Iterator[str]:
    """What was found is told by kind and line, not repeated."""
    for kind, rule in _RULES:
        hit = rule.search(text)
        if hit:
            yield f"holds {kind} (line {text.count(chr(10), 0, hit.start()) + 1})."


@dataclass(frozen=True, slots=True)
class _Crate:
    """What ``rocrate`` reads: where the root conforms, files, and actions with their words."""

    profiles: tuple[str, ...]
    files: tuple[str, ...]
    actions: tuple[tuple[str, Mapping[str, Any]], ...]


def check_crate(bundle: Bundle) -> Outcome:
    """Research object: the RO-Crate parses and tells of every run as one action, with its times."""
    crate = _read(bundle.data, bundle.digests[f"{layout.PAYLOAD}/{layout.CRATE}"])
    errors = [*_profile(crate), *_files(bundle, crate), *_runs(bundle, crate)]
    return outcome(f"{len(crate.actions)} actions, one a run.", errors)


@lru_cache(maxsize=64)
def _read(data: Path, digest: str) -> _Crate:
    from rocrate.rocrate import ROCrate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        crate = ROCrate(str(data))
    actions = [each for each in crate.get_entities() if "CreateAction" in _as_list(each.type)]
    stated = _as_list(crate.root_dataset.properties().get("conformsTo") or [])
    return _Crate(
        profiles=tuple(str(each.get("@id", "")) for each in stated),
        files=tuple(str(each.id) for each in crate.data_entities),
        actions=tuple((str(each.id).removeprefix("#"), each.properties()) for each in actions),
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _profile(crate: _Crate) -> Iterator[str]:
    if not any(each.startswith(_PROFILE) for each in crate.profiles):
        yield "The crate does not say that it is a Process Run Crate."


def _files(bundle: Bundle, crate: _Crate) -> Iterator[str]:
    for name in crate.files:
        if "://" not in name and not name.endswith("/") and not bundle.has(name.removeprefix("./")):
            yield f"The crate speaks of {name}, which is not there."


def _runs(bundle: Bundle, crate: _Crate) -> Iterator[str]:
    records = bundle.records
    counts = Counter[str]()
    for run_id, said in crate.actions:
        if run_id not in records:
            yield f"The crate speaks of {run_id}, a run that is not there."
            continue
        counts[run_id] += 1
        yield from (f"{run_id}: {each}" for each in _action(said, records[run_id]))
    for run_id in records:
        if counts[run_id] != 1:
            yield f"{run_id} is {counts[run_id]} actions of the crate, not one."


def _action(said: Mapping[str, Any], record: RunRecord) -> Iterator[str]:
    missing = [name for name in _ACTION_KEYS if not said.get(name)]
    if missing:
        yield f"its action has no {', '.join(missing)}."
    times = (said.get("startTime"), said.get("endTime"))
    if not missing and times != (record.started_utc, record.ended_utc):
        yield f"its action ran from {times[0]} to {times[1]}; the record says otherwise."


def check_citation(bundle: Bundle) -> Outcome:
    """Citation usable: CITATION.cff has version, message, title and authors."""
    text = bundle.read(layout.CITATION).decode("utf-8")
    return outcome(
        "CITATION.cff names title and authors.",
        [],
        [*_missing(text), *_missing_authors(bundle, text)],
    )


def _missing(text: str) -> Iterator[str]:
    found = {hit[1]: hit[2].strip() for line in text.splitlines() if (hit := _KEY.match(line))}
    for key in _CITATION_KEYS:
        if key not in found or (not found[key] and key != "authors"):
            yield f"CITATION.cff has no {key}."


def _missing_authors(bundle: Bundle, text: str) -> Iterator[str]:
    for author in bundle.document.authors:
        family = author.name.split()[-1] if author.name.split() else ""
        if family and family not in text:
            yield f"CITATION.cff does not name {author.name}, an author of the bundle."
