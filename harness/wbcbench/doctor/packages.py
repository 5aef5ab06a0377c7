"""The Python packages: there, and of versions that this one was written for."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

from wbcbench.core.version import __version__
from wbcbench.doctor import Facts, Line, State

DISTRIBUTION = "wbcbench"


def check(facts: Facts) -> Iterator[Line]:
    """Python, then every package that wbcbench needs; those that fit share one line."""
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
