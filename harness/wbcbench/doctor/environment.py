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
from wbcbench.core.extras import INSTALL_TRAINING, list_missing_packages
from wbcbench.core.provenance import read_version
from wbcbench.core.units import gb_from_bytes
from wbcbench.core.version import __version__
from wbcbench.doctor import Facts, Line, State, fail, info, ok

DISTRIBUTION = "wbcbench"
TRAIN = "train"  # an extra
LISTED = ("tensorflow", "keras", "numpy", "nvidia-ml-py", "codecarbon")

LEAST_BYTES = 100_000_000  # a run does not start with less
LITTLE_BYTES = 2_000_000_000  # a study of some dozen runs with its cache
_UNSYNCHRONISED = 5  # TIME_ERROR of <sys/timex.h>
_TIMEX_BYTES = 512  # more than any kernel's struct timex


def check_packages(facts: Facts) -> Iterator[Line]:
    """The Python packages: installed, and in supported versions."""
    del facts
    yield ok("python", f"Python {platform.python_version()}, wbcbench {__version__}")
    missing = list_missing_packages()
    needed = _list_requirements("" if missing else TRAIN)
    wrong = [line for requirement in needed if (line := _check_version(requirement))]
    versions = ", ".join(f"{name} {version}" for name in LISTED if (version := _version(name)))
    text = f"{len(needed) - len(wrong)} of {len(needed)} needed packages fit"
    yield ok("packages", f"{text} ({versions})" if versions else text)
    yield from wrong
    if missing:
        yield info(
            "training",
            f"not installed: {', '.join(missing)}",
            why="run, sweep and data synth need them; everything else works without",
            fix=INSTALL_TRAINING,
        )


def _list_requirements(extra: str) -> list[Requirement]:
    """What wbcbench needs, with this extra if there is one."""
    try:
        stated = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    requirements = [Requirement(text) for text in stated]
    return [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": extra})]


def _check_version(required: Requirement) -> Line | None:
    name, version = required.name, _version(required.name)
    if version is not None and required.specifier.contains(version, prereleases=True):
        return None
    return Line(
        State.FAIL if version is None else State.WARN,
        name,
        f"{name} {version or 'is not installed'}; {required.specifier} is needed",
        why="wbcbench was not tested with it",
        fix=f"pip install '{required}'",
        undo=f"pip install '{name}=={version}'" if version else f"pip uninstall {name}",
    )


def _version(name: str) -> str | None:
    version = read_version(name)
    return None if version is None else re.sub(r"[^\w.+-]", "", version)


def check_data(facts: Facts) -> Iterator[Line]:
    """The images that would be trained on."""
    if facts.data is None:
        yield info(
            "data",
            "no --data: the embedded synthetic images would be used",
            why="accuracy on synthetic images says nothing about blood",
            fix="wbcbench data fetch DIR, then --data DIR/dataset2-master",
        )
        return
    from wbcbench.data.check import check_folder

    try:
        report = check_folder(facts.data)
    except UsageError as error:
        yield fail("data", f"{facts.data} holds no data set", why=str(error))
        return
    images = sum(sum(classes.values()) for classes in report.counts.values())
    classes = {name for counts in report.counts.values() for name in counts}
    text = f"{report.dataset_id}  {images} images, {len(classes)} classes"
    yield Line(State.WARN if report.problems else State.OK, "data", text)
    fix = f"wbcbench data check {facts.data}"
    for problem in report.problems:
        yield fail(problem.code, problem.detail, fix=fix)
    for note in report.notes:
        yield info(note.code, note.detail)


def check_storage(facts: Facts) -> Iterator[Line]:
    """Free space and permission for results, and whether the wall clock is synchronised."""
    yield _check_folder("results", facts.results, "--results")
    yield _check_folder("temporary", Path(tempfile.gettempdir()), "TMPDIR")
    yield _check_clock()


def _check_folder(name: str, wanted: Path, option: str) -> Line:
    folder = next(path for path in (wanted.absolute(), *wanted.absolute().parents) if path.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return fail(
            name,
            f"{folder} cannot be written",
            why="a run could not store its readings",
            fix=f"name another folder with {option}",
        )
    free = shutil.disk_usage(folder).free
    text = f"{gb_from_bytes(free):.1f} GB free in {folder}"
    if free >= LITTLE_BYTES:
        return ok(name, text)
    return Line(
        State.FAIL if free < LEAST_BYTES else State.WARN,
        name,
        text,
        why="a full disk ends a run, and its energy is lost",
        fix=f"free space, or name another folder with {option}",
    )


def _check_clock() -> Line:
    """Whether the kernel's wall clock follows a reference; asks, sets nothing."""
    try:
        state = ctypes.CDLL(None).ntp_adjtime(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return info("clock", "the system does not report whether its clock is right")
    if state != _UNSYNCHRONISED:
        return ok("clock", "the wall clock is synchronised")
    return info(
        "clock",
        "the wall clock is not synchronised",
        why="only the log of a wall meter depends on it: it would be shifted",
        fix="sudo timedatectl set-ntp true",
        undo="sudo timedatectl set-ntp false",
    )
