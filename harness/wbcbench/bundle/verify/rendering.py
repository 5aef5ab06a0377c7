"""Report re-made: the numbers behind every figure, and the files byte by byte where that can be."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from wbcbench.bundle import layout
from wbcbench.bundle.described import sha256_of
from wbcbench.bundle.study import SubmittedStudy
from wbcbench.bundle.verify import Outcome, not_checked, outcome
from wbcbench.bundle.verify.bundle import Bundle
from wbcbench.bundle.verify.standing import fallen
from wbcbench.report.formats import figure_data
from wbcbench.report.publish import FILE, PAGE, publish, read_manifest


def check(bundle: Bundle) -> Outcome:
    """Draw everything again; of results that do not hold, nothing is drawn."""
    before = fallen(bundle)
    if before is not None:
        return before
    study = bundle.document.study
    digest = bundle.digest("results/")
    errors = list(_manifest(bundle))
    if bundle.is_same_source:
        errors += _data(bundle, _figures(bundle.data, study, digest))
    if bundle.other_program and not errors:
        return not_checked(f"Files were not compared, for {bundle.other_program}.")
    if bundle.other_program:
        return outcome("", errors)
    formats = tuple(last.formats) if (last := read_manifest(_folder(bundle))) else PAGE
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
        made = publish(data / "results", study, out, formats)
        return {path.relative_to(out / study).as_posix(): sha256_of(path) for path in made}


def _files(bundle: Bundle, made: Mapping[str, str]) -> Iterator[str]:
    folder = layout.report_dir(bundle.document.study).as_posix()
    there = {name[len(folder) + 1 :] for name in bundle.names(f"{folder}/")}
    for name in sorted((made.keys() | there) - {FILE}):
        said = bundle.digests.get(f"{layout.PAYLOAD}/{folder}/{name}")
        if said != made.get(name):
            what = "missing" if said is None else "another than drawn"
            yield f"{name} of the report is {what if name in made else 'not made from the runs'}."
