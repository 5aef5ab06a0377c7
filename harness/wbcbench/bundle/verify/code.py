"""Check of the source: an archive is that of its commit, and holds the program of the runs."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePath

from wbcbench.bundle import layout
from wbcbench.bundle.bounds import BOUNDS
from wbcbench.bundle.verify import Outcome, report_outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.core.provenance import digest_program, is_source
from wbcbench.core.record import RunRecord
from wbcbench.core.text import count_of

_PACKAGE = PurePath("harness/wbcbench")
"""Where the program lies in a checkout."""
_SAID_IN = {
    "core/version.py": re.compile(rb'^__version__ = "([^"]+)"$', re.MULTILINE),
    "core/record.py": re.compile(rb'^RECORD_SCHEMA = "([^"]+)"$', re.MULTILINE),
}
"""Where the source says its own version, and that of the records it writes."""


def check_code(bundle: Bundle) -> Outcome:
    """Source of the runs: each archive is of the commit it is named for, and gives its program.

    Runs of a checkout with uncommitted changes had another program than the commit's; runs of an
    installed program have no commit. Of both no archive is asked.
    """
    commits = bundle.document.git.commits
    programs = defaultdict[str, set[tuple[str, ...]]](set)
    for record in bundle.records:
        if record.provenance.get("git_dirty") is False:
            programs[str(record.provenance.get("git_commit"))].add(_state_program(record))
    errors, count = list[str](), 0
    for commit in commits:
        name = layout.source_archive(commit, commits)
        if len(programs[commit]) > 1:
            errors.append(f"The runs of the commit {commit[:12]} had several programs.")
        elif bundle.has(name):
            count += 1
            digest = bundle.digests[f"{layout.PAYLOAD}/{name}"]
            problems = _check_archive(bundle.data / name, digest, commit, *programs[commit])
            errors += (f"{name} {problem}." for problem in problems)
    return report_outcome(f"{count_of(count, 'archive')} of source, as the runs state.", errors)


def _state_program(record: RunRecord) -> tuple[str, ...]:
    """What a run says of its program: version, schema of its record, digest (older: empty)."""
    facts = record.provenance
    version, digest = (str(facts.get(n) or "") for n in ("wbcbench_version", "program_sha256"))
    return version, record.schema, digest


@lru_cache(maxsize=64)
def _check_archive(
    path: Path, _: str, commit: str, program: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """What is wrong with an archive of this digest, in words that follow its name."""
    try:
        return tuple(_compare_archive(path, commit, program))
    except (tarfile.TarError, OSError, ValueError, LookupError, EOFError) as error:
        return (f"cannot be read: {str(error) or type(error).__name__}",)


def _compare_archive(path: Path, commit: str, program: tuple[str, ...]) -> Iterator[str]:
    files, said = list[tuple[PurePath, str]](), dict[str, str]()
    with tarfile.open(path, "r:") as archive:
        for count, member in enumerate(archive):
            if count > BOUNDS.files:
                raise ValueError(f"it holds more than {BOUNDS.files:,} files")
            if not PurePath(member.name).is_relative_to(_PACKAGE):
                continue
            name = PurePath(member.name).relative_to(_PACKAGE)
            stream = archive.extractfile(member)  # of a link, what it names; of a folder, nothing
            if stream is not None and is_source(name):
                data = stream.read()
                files.append((name, hashlib.sha256(data).hexdigest()))
                pattern = _SAID_IN.get(name.as_posix())
                if pattern is not None and (found := pattern.search(data)):
                    said[name.as_posix()] = found[1].decode()
        commit_there = archive.pax_headers.get("comment")  # where git writes it
    if commit_there != commit:
        yield f"is of the commit {str(commit_there)[:12]}, not {commit[:12]}"
    if not files:
        yield f"has no file of {_PACKAGE}"
        return
    for place, stated in zip(_SAID_IN, program, strict=False):
        if said.get(place, stated) != stated:
            yield f"is of version {said[place]} ({place}), its runs of {stated}"
    if program and program[-1] not in {"", digest_program(files)}:
        yield f"gives another program than the runs of {commit[:12]} state"
