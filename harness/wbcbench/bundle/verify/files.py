"""Checks of the files: bag, completeness, secrets, citation."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import get_args
from urllib.parse import unquote

from wbcbench.bundle import describe, layout, signature
from wbcbench.bundle.bounds import quote
from wbcbench.bundle.crate import format_bag_info, list_bag_info
from wbcbench.bundle.redact import IDENTITIES, LEAKS, Kind
from wbcbench.bundle.verify import Outcome, report_not_checked, report_outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.bundle.verify.energies import check_traces
from wbcbench.bundle.verify.records import has_evidence
from wbcbench.core import run_folder
from wbcbench.core.errors import VerificationError
from wbcbench.core.run_folder import RunDir
from wbcbench.core.strict_json import parse_json
from wbcbench.core.text import count_of
from wbcbench.core.units import mb_from_bytes
from wbcbench.study.statement import find_licence
from wbcbench.table.columns import JOB

_TEXTS = frozenset(
    (
        ".json", ".jsonl", ".csv", ".md", ".txt", ".cff", ".html", ".svg", ".tex", ".toml",
        ".log", ".diff",
    )
)  # fmt: skip
_NUMBER_FOLDERS = (run_folder.TELEMETRY,)

_CITATION_KEYS = ("cff-version", "message", "title", "authors")
_KEY = re.compile(r"^\"?([A-Za-z][\w-]*)\"?\s*:(.*)$")


def check_bag(bundle: Bundle) -> Outcome:
    """Bag complete: no file is missing or extra, and each has its digest in the manifest."""
    payload = {name: d for name, d in bundle.digests.items() if name.startswith(layout.PAYLOAD)}
    tags = {name: d for name, d in bundle.digests.items() if name not in payload}
    for name in (layout.TAG_MANIFEST, layout.SIGNATURE):
        tags.pop(name, None)
    size_bytes = sum((bundle.root / name).stat().st_size for name in payload)
    errors = list(_check_declaration(bundle, size_bytes, len(payload)))
    for manifest, digests in ((layout.MANIFEST, payload), (layout.TAG_MANIFEST, tags)):
        errors += _compare_digests(bundle.root, _read_manifest(bundle, manifest), digests)
    size_mb = mb_from_bytes(size_bytes)
    return report_outcome(f"{len(payload)} files of {size_mb:.1f} MB as in the manifest.", errors)


def _check_declaration(bundle: Bundle, octets: int, files: int) -> Iterator[str]:
    if bundle.digests.get(layout.BAGIT) is None:
        yield f"There is no {layout.BAGIT}, so this is not a bag."
    elif (bundle.root / layout.BAGIT).read_text(encoding="utf-8") != layout.BAGIT_TEXT:
        yield f"{layout.BAGIT} is not that of a BagIt 1.0 bag in UTF-8."
    expected = format_bag_info(list_bag_info(bundle.document), octets, files).splitlines()
    stated = (bundle.root / layout.BAG_INFO).read_text(encoding="utf-8").splitlines()
    for line in sorted(set(stated) ^ set(expected)):
        verb = "lacks" if line in expected else "should not say"
        yield f"{layout.BAG_INFO} {verb} {quote(line)}."
    tags = {name for name in bundle.digests if not name.startswith(f"{layout.PAYLOAD}/")}
    for name in sorted(tags - {*layout.TAG_FILES, layout.TAG_MANIFEST, layout.SIGNATURE}):
        yield f"{quote(name)} does not belong in a bundle."


def list_changed_files(bundle: Bundle) -> list[str]:
    """Files of the payload that are not as in the manifest, or are missing, or were added."""
    listed = _read_manifest(bundle, layout.MANIFEST)
    start = f"{layout.PAYLOAD}/"
    actual = {name: d for name, d in bundle.digests.items() if name.startswith(start)}
    names = sorted(listed.keys() | actual.keys())
    return [n.removeprefix(start) for n in names if listed.get(n) != actual.get(n)]


def _read_manifest(bundle: Bundle, name: str) -> Mapping[str, str]:
    digests = dict[str, str]()
    for line in (bundle.root / name).read_text(encoding="utf-8").splitlines():
        digest, _, path = line.partition("  ")
        if len(digest) != 64 or not path or unquote(path) in digests:
            raise VerificationError(f"{name} has an invalid line: {quote(line)}.")
        digests[unquote(path)] = digest.lower()
    return digests


def _compare_digests(
    root: Path, listed: Mapping[str, str], actual: Mapping[str, str]
) -> Iterator[str]:
    for name in sorted(listed.keys() | actual.keys()):
        if name not in actual:
            yield f"{quote(name)} is missing."
        elif name not in listed:
            yield f"{quote(name)} is not in the manifest: it was added later."
        elif listed[name] != actual[name]:
            cause = _guess_cause(root / name, listed[name])
            yield f"{quote(name)} was changed: its digest differs from the manifest's{cause}."


def _guess_cause(path: Path, digest: str) -> str:
    """What seems to have changed a file, and what to do; empty where nothing is likely."""
    data = path.read_bytes()
    if hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest() == digest:
        return ", but for line ends of Windows, as git (core.autocrlf) or an editor writes them"
    first = data.partition(b"\n")[0]
    is_saved = first.endswith(b"\r") or first.startswith((b"\xef\xbb\xbf", b'"'))
    if path.suffix == ".csv" and is_saved:
        return ", as where a spreadsheet saved it; ask for the bundle as `submit` wrote it"
    return ""


def check_signature(bundle: Bundle) -> Outcome:
    """Signature: the bag is signed by somebody who is allowed to, where that was asked for."""
    if not bundle.has_signature:
        if bundle.allowed_signers is None:
            return report_outcome("The bundle is not signed.")
        return report_outcome("", ["The bundle is not signed, and --allowed-signers wants it so."])
    if not signature.has_program():
        return report_not_checked("A signature cannot be checked without ssh-keygen of OpenSSH.")
    signer = signature.find_signer(bundle.root, bundle.allowed_signers)
    if signer is None:
        by = " by anybody in --allowed-signers" if bundle.allowed_signers else ""
        return report_outcome("", [f"{layout.SIGNATURE} is no valid signature of this bag{by}."])
    whose = "" if bundle.allowed_signers else "; --allowed-signers FILE tells whose key that is"
    return report_outcome(f"Signed by {signer}{whose}.")


def check_required(bundle: Bundle) -> Outcome:
    """Files complete: every file that a bundle needs is there, none besides, schemas built in."""
    required = layout.required_files(bundle.document.study)
    errors = [f"{name} is missing." for name in required if not bundle.has(name)]
    errors += (
        f"{quote(name)} does not belong in a bundle: nothing makes it, and nothing checks it."
        for name in bundle.list_names()
        if not _belongs(bundle, name)
    )
    for run in (*bundle.runs, *bundle.pilots):
        errors += _check_run_files(bundle, run)
    table = f"{layout.study_dir(bundle.document.study)}/{layout.RUNS_TABLE}"
    head = bundle.read(table).partition(b"\n")[0] if bundle.has(table) else b""
    schemas = describe.make_schemas(
        bundle.document.study, has_jobs=set(JOB) <= set(head.decode(errors="replace").split(","))
    )
    others = [
        f"{name} is not the schema of this format."
        for name, schema in schemas.items()
        if bundle.has(name) and parse_json(bundle.read(name)) != parse_json(schema)
    ]
    if others and not errors and "pydantic" in bundle.version_differences:  # which words them
        return report_not_checked(f"{others[0]} ({bundle.version_differences})")
    errors += others
    warnings = [
        f"{run.run_id} has no log of its board {device}."
        for run in bundle.finished_and_pilots
        for device in _find_unlogged(bundle, run)
    ]
    runs = count_of(len(bundle.runs), "run")
    good = f"{len(bundle.list_names())} files, {runs}; none besides."
    return report_outcome(good, errors, warnings)


def _find_unlogged(bundle: Bundle, run: RunDir) -> set[str]:
    """Boards that were read without a log, though the processor's was written beside it.

    A disk that cannot be written may cost a log and not the run.
    """
    record = bundle.record(run)
    if record.status != "done" or not has_evidence(record) or not run.cpu_time_path.is_file():
        return set()
    boards = {c.device for c in record.channels if c.name.startswith("nvml/") and c.device}
    return {device for device in boards if not run.telemetry_path(device).is_file()}


def _belongs(bundle: Bundle, name: str) -> bool:
    """Whether a file is on the list of what a bundle may hold; the report has its own list."""
    submission, path = bundle.document, PurePosixPath(name)
    if name in layout.REQUIRED or path.is_relative_to(layout.report_dir(submission.study)):
        return True
    records = bundle.records
    if name == layout.LOCK:
        return any(record.provenance.get("lock_sha256") for record in records)
    if name == layout.DIFF:
        return any(record.provenance.get("git_dirty") for record in records)
    own, of_runs = (*layout.STUDY_FILES, layout.DELETED_RUNS), layout.RUN_FILES
    if path.is_relative_to(layout.study_dir(submission.study)):
        own += (layout.RUNS_TABLE, layout.RUNS_SCHEMA, layout.CONTRASTS)
        of_runs += (layout.PHASES, layout.BOAMPS)
    elif not path.is_relative_to(layout.study_dir(submission.pilot_study or submission.study)):
        commits = submission.git.commits
        return name in {layout.source_archive(commit, commits) for commit in commits}
    inside = "/".join(path.parts[2:])
    return any(
        fnmatchcase(inside, pattern) and inside.count("/") == pattern.count("/")
        for pattern in (*own, *(f"*/{pattern}" for pattern in of_runs))
    )


def _check_run_files(bundle: Bundle, run: RunDir) -> Iterator[str]:
    folder = bundle.name_of(run)
    if not run.is_finished:
        yield f"{run.run_id} has no record."
        return
    record = bundle.record(run)
    needed = [layout.SPEC] if run in bundle.pilots else [layout.SPEC, layout.PHASES]
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


def check_secrets(bundle: Bundle) -> Outcome:
    """No secrets: no key, token, home folder, host name, address or location in any text."""
    texts = [
        path
        for path in map(PurePosixPath, bundle.list_names())
        if path.suffix in _TEXTS and path.parent.name not in _NUMBER_FOLDERS
    ]
    is_redacted = bundle.document.redaction.applied
    errors, warnings = (
        [
            f"{layout.SUBMISSION} says that {quote(kind)} was redacted, a kind that nothing is of."
            for kind in bundle.document.redaction.counts.keys() - set(get_args(Kind))
        ],
        [] if is_redacted else ["The bundle was made without redaction."],
    )
    for path in texts:
        digest = bundle.digests[f"{layout.PAYLOAD}/{path}"]
        for kind, place in _find_secrets(bundle.data / path, digest):
            # Who asked for no redaction names himself and his machine, and his code may look like a
            # password; he gives away no key.
            is_told = not is_redacted and (kind in IDENTITIES or "password" in kind)
            (warnings if is_told else errors).append(f"{quote(str(path))} holds {kind} ({place}).")
    return report_outcome(f"Nothing found in {len(texts)} texts.", errors, warnings)


@lru_cache(maxsize=8192)
def _find_secrets(path: Path, digest: str) -> tuple[tuple[str, str], ...]:
    """Each secret by its kind and line; it is not repeated."""
    text = path.read_text(encoding="utf-8")
    return tuple(
        (kind, f"line {text.count(chr(10), 0, match.start()) + 1}")
        for kind, rule in LEAKS.items()
        if (match := rule.search(text))
    )


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
        if json.dumps(author.name, ensure_ascii=False) not in text
    ]
    licence = values.get("license", "").strip("\"'")
    if licence and find_licence(licence) != licence:
        missing.append(f"CITATION.cff has the licence {quote(licence)}, no SPDX identifier.")
    return report_outcome("CITATION.cff names title and authors.", [], [*missing, *unnamed])
