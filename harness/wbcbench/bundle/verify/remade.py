"""What surrounds the results, made from them once more: papers, settings, machine."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from wbcbench.bundle import document, layout, papers, surroundings
from wbcbench.bundle.study import SubmittedStudy
from wbcbench.bundle.verify.bundle import Bundle

_NEEDED = ("results/", "code/", layout.LOCK, layout.SUBMISSION)
"""What papers and settings are made from."""
_TO_FILL = "[author]"
_SIZE = re.compile(r"[\d.,]+ MB\b")


def remade(bundle: Bundle) -> Mapping[str, bytes]:
    """Every such file by its path in the payload, from the results and ``submission.json``."""
    return _remade(bundle.data, bundle.digest(*_NEEDED))


@lru_cache(maxsize=64)
def _remade(data: Path, digest: str) -> Mapping[str, bytes]:
    made = document.from_json((data / layout.SUBMISSION).read_bytes(), layout.SUBMISSION)
    with tempfile.TemporaryDirectory(prefix="wbcbench-remade-") as room:
        payload = Path(room)
        for name in filter(lambda each: (data / each).exists(), _NEEDED):
            (payload / name).parent.mkdir(exist_ok=True)
            (payload / name.rstrip("/")).symlink_to((data / name).resolve())
        study = SubmittedStudy(payload, made.study)
        papers.write_papers(study, made)
        surroundings.write_surroundings(study)
        files = [p for p in payload.rglob("*") if p.is_file() and not p.is_symlink()]
        return {path.relative_to(payload).as_posix(): path.read_bytes() for path in files}


def changed(bundle: Bundle, *names: str) -> Iterator[str]:
    """Names of files that are not what the results make."""
    made = remade(bundle)
    for name in names:
        if not bundle.has(name) or bundle.read(name) != made[name]:
            yield name


def unsaid(bundle: Bundle, name: str) -> tuple[list[str], list[str]]:
    """Lines that the results make and a paper lacks, and lines that it has beyond them.

    Lines that are left to the author may say anything.
    """
    said = bundle.read(name).decode("utf-8").splitlines()
    made = remade(bundle)[name].decode("utf-8").splitlines()
    kept, known = set(map(_sizeless, said)), set(map(_sizeless, made))
    lacking = [line for line in made if _TO_FILL not in line and _sizeless(line) not in kept]
    return lacking, [line for line in said if _sizeless(line) not in known]


def _sizeless(line: str) -> str:
    """A line without the size of the bundle, which is no result and known only when all is in."""
    return _SIZE.sub("… MB", line.strip())
