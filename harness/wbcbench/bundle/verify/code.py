"""Check of the source: an archive is that of its commit, and holds the program of the runs."""

from __future__ import annotations

import hashlib
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
from wbcbench.core.text import count_of

_PACKAGE = PurePath("harness/wbcbench")
"""Where the program lies in a checkout."""


def check_code(bundle: Bundle) -> Outcome:
    """Source of the runs: each archive is of the commit it is named for, and gives its program.

    Runs of a checkout with uncommitted changes had another program than the commit's; runs of an
    installed program have no commit. Of both no archive is asked.
    """
    commits = bundle.document.git.commits
    programs = defaultdict[str, set[str]](set)
    for record in bundle.records.values():
        facts = record.provenance
        if facts.get("git_dirty") is False and facts.get("program_sha256"):
            programs[str(facts.get("git_commit"))].add(str(facts["program_sha256"]))
    errors, count = list[str](), 0
    for commit in commits:
        name = layout.source_archive(commit, commits)
        if bundle.has(name):
            count += 1
            digest = bundle.digests[f"{layout.PAYLOAD}/{name}"]
            problems = _check_archive(bundle.data / name, digest, commit, *programs[commit])
            errors += (f"{name} {problem}." for problem in problems)
        elif len(programs[commit]) > 1:
            errors.append(f"The runs of commit {commit[:12]} had different programs.")
    return report_outcome(f"{count_of(count, 'archive')} of source, as the runs state.", errors)


@lru_cache(maxsize=64)
def _check_archive(path: Path, _: str, commit: str, *programs: str) -> tuple[str, ...]:
    """What is wrong with an archive of this digest, in words that follow its name."""
    try:
        return tuple(_compare_archive(path, commit, *programs))
    except (tarfile.TarError, OSError, ValueError, LookupError, EOFError) as error:
        return (f"cannot be read: {str(error) or type(error).__name__}",)


def _compare_archive(path: Path, commit: str, *programs: str) -> Iterator[str]:
    files = list[tuple[PurePath, str]]()
    with tarfile.open(path, "r:") as archive:
        for count, member in enumerate(archive):
            if count > BOUNDS.files:
                raise ValueError(f"it holds more than {BOUNDS.files:,} files")
            if not PurePath(member.name).is_relative_to(_PACKAGE):
                continue
            name = PurePath(member.name).relative_to(_PACKAGE)
            stream = archive.extractfile(member)  # of a link, what it names; of a folder, nothing
            if stream is not None and is_source(name):
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
                files.append((name, sha256))
        stated = archive.pax_headers.get("comment")  # where git writes the commit
    if stated != commit:
        yield f"is of the commit {str(stated)[:12]}, not {commit[:12]}"
    if not files:
        yield f"has no file of {_PACKAGE}"
    elif programs and {digest_program(files)} != set(programs):
        yield f"gives another program than the runs of {commit[:12]} state"
