"""Room and permission for results, and a wall clock that can be believed."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wbcbench.doctor import Facts, Line, State

LEAST_BYTES = 100_000_000  # a run is not begun with less
LITTLE_BYTES = 2_000_000_000  # a study of some dozen runs with its cache
_UNSYNCHRONISED = 5  # TIME_ERROR of <sys/timex.h>
_TIMEX_BYTES = 512  # more than any kernel's struct timex


def check(facts: Facts) -> Iterator[Line]:
    """The results folder, the folder for temporary files, the clock."""
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
    text = f"{free / 1e9:.1f} GB free in {folder}"
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
