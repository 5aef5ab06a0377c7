"""Packages, images, room for results."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from wbcbench.core.errors import UsageError
from wbcbench.core.units import gb_from_bytes
from wbcbench.core.version import __version__
from wbcbench.doctor import Facts, Line, State

DISTRIBUTION = "wbcbench"

LEAST_BYTES = 100_000_000  # a run is not begun with less
LITTLE_BYTES = 2_000_000_000  # a study of some dozen runs with its cache
_UNSYNCHRONISED = 5  # TIME_ERROR of <sys/timex.h>
_TIMEX_BYTES = 512  # more than any kernel's struct timex


def check_packages(facts: Facts) -> Iterator[Line]:
    """The Python packages: there, and of versions that this one was written for."""
    del facts
    yield Line(State.OK, "python", f"Python {platform.python_version()}, wbcbench {__version__}")
    required = _required()
    wrong = [line for line in map(_wrong, required) if line is not None]
    fitting = len(required) - len(wrong)
    yield Line(State.OK, "packages", f"{fitting} of {len(required)} needed packages fit{_named()}")
    yield from wrong


def _required() -> list[Requirement]:
    """What wbcbench itself needs, without its extras."""
    try:
        stated = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    found = [Requirement(text) for text in stated]
    return [each for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]


def _wrong(required: Requirement) -> Line | None:
    try:
        version = metadata.version(required.name)
    except metadata.PackageNotFoundError:
        version = None
    if version is not None and required.specifier.contains(version, prereleases=True):
        return None
    found = f"{required.name} {version or 'is not installed'}; {required.specifier} is needed"
    return Line(
        State.FAIL if version is None else State.WARN,
        required.name,
        found,
        why="wbcbench was not tested with it",
        fix=f"pip install '{required}'",
        undo=f"pip install '{required.name}=={version}'"
        if version
        else f"pip uninstall {required.name}",
    )


def _named() -> str:
    names = ("tensorflow", "keras", "numpy", "nvidia-ml-py", "codecarbon")
    told = [f"{name} {version}" for name in names if (version := _version(name))]
    return f" ({', '.join(told)})" if told else ""


def _version(name: str) -> str | None:
    try:
        return re.sub(r"[^\w.+-]", "", metadata.version(name))
    except metadata.PackageNotFoundError:
        return None


def check_data(facts: Facts) -> Iterator[Line]:
    """The images that would be trained on."""
    if facts.data is None:
        yield Line(
            State.INFO,
            "data",
            "no --data: the embedded synthetic cells would be used",
            why="accuracy on drawn cells says nothing about blood",
            fix="wbcbench data fetch DIR, then --data DIR/dataset2-master",
        )
        return
    from wbcbench.data.check import check_folder

    try:
        report = check_folder(facts.data)
    except UsageError as error:
        yield Line(State.FAIL, "data", f"{facts.data} holds no data set", why=str(error))
        return
    images = sum(sum(classes.values()) for classes in report.counts.values())
    classes = {name for found in report.counts.values() for name in found}
    text = f"{report.dataset_id}  {images} images, {len(classes)} classes"
    yield Line(State.OK if not report.problems else State.WARN, "data", text)
    for finding in report.problems:
        yield Line(
            State.FAIL, finding.code, finding.detail, fix=f"wbcbench data check {facts.data}"
        )
    for finding in report.notes:
        yield Line(State.INFO, finding.code, finding.detail)


def check_storage(facts: Facts) -> Iterator[Line]:
    """Room and permission for results, and a wall clock that can be believed."""
    yield from _folder("results", facts.results, "--results")
    yield from _folder("temporary", Path(tempfile.gettempdir()), "TMPDIR")
    yield _clock()


def _folder(name: str, wanted: Path, option: str) -> Iterator[Line]:
    folder = next(path for path in (wanted.absolute(), *wanted.absolute().parents) if path.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        yield Line(
            State.FAIL,
            name,
            f"{folder} cannot be written",
            why="a run would have nowhere to keep its readings",
            fix=f"name another folder with {option}",
        )
        return
    free = shutil.disk_usage(folder).free
    text = f"{gb_from_bytes(free):.1f} GB free in {folder}"
    if free >= LITTLE_BYTES:
        yield Line(State.OK, name, text)
        return
    state = State.FAIL if free < LEAST_BYTES else State.WARN
    why = "a full disk ends a run, and its joules with it"
    yield Line(state, name, text, why=why, fix=f"free space, or name another with {option}")


def _clock() -> Line:
    """The kernel's word on whether the wall clock follows a reference; asks, sets nothing."""
    try:
        state = ctypes.CDLL(None).ntp_adjtime(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return Line(State.INFO, "clock", "the system does not say whether its clock is right")
    if state == _UNSYNCHRONISED:
        return Line(
            State.INFO,
            "clock",
            "the wall clock is not synchronised",
            why="joules do not depend on it; a wall meter's log would be laid beside it wrongly",
            fix="sudo timedatectl set-ntp true",
            undo="sudo timedatectl set-ntp false",
        )
    return Line(State.OK, "clock", "the wall clock is synchronised")
