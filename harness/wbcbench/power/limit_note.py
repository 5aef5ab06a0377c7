"""A note of a power limit that a run changed, so that somebody can put it back.

It is written before the limit is touched and locked by the open file while it is in force. A note
whose lock is free belongs to a run that was killed: the next command puts its limit back. Knows
nothing of drivers.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from wbcbench.core.lock import lock_path

_PREFIX = "power-limit-"
_MOST_BYTES = 4096  # whatever is longer was not written here


@dataclass(frozen=True, slots=True)
class LimitNote:
    """What to put back: ``before_w`` on the board ``uuid``; ``asked_w`` was set instead."""

    uuid: str
    before_w: float
    asked_w: float


class NoteInUseError(Exception):
    """Another process holds the note: its limit is in force."""


class OpenNote:
    """A note that this process holds."""

    def __init__(self, handle: int) -> None:
        """Take over an open and locked file."""
        self._handle = handle

    def read(self) -> LimitNote | None:
        """What a killed run left; ``None`` if nothing, or nothing that makes sense."""
        try:
            told = json.loads(os.pread(self._handle, _MOST_BYTES, 0))
            return LimitNote(str(told["uuid"]), float(told["before_w"]), float(told["asked_w"]))
        except (ValueError, KeyError, TypeError):
            return None

    def write(self, note: LimitNote) -> None:
        """Put the note on disk; only when this returns may the limit be changed."""
        self.clear()
        os.pwrite(self._handle, json.dumps(asdict(note)).encode(), 0)
        os.fsync(self._handle)

    def clear(self) -> None:
        """Say that nothing is to be put back."""
        os.ftruncate(self._handle, 0)


@contextlib.contextmanager
def open_note(uuid: str) -> Iterator[OpenNote]:
    """Hold the note of one board.

    Raises:
        NoteInUseError: Another process holds it.
        OSError: It cannot be opened, or belongs to another user.
    """
    with _locked(lock_path(_PREFIX + uuid), os.O_CREAT) as note:
        yield note


def abandoned_paths() -> list[Path]:
    """Notes that hold something to put back and that nobody holds; cheap when there are none."""
    pattern = lock_path(_PREFIX + "*")
    return [path for path in sorted(pattern.parent.glob(pattern.name)) if _is_abandoned(path)]


@contextlib.contextmanager
def open_abandoned(path: Path) -> Iterator[OpenNote]:
    """Hold a note that was found; raises like ``open_note``."""
    with _locked(path, 0) as note:
        yield note


def _is_abandoned(path: Path) -> bool:
    try:
        with _locked(path, 0) as note:
            return note.read() is not None
    except (NoteInUseError, OSError):
        return False


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[OpenNote]:
    """Open and lock; a link or another user's file could make us set what we never changed."""
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | how, 0o600)
    try:
        if os.fstat(handle).st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NoteInUseError(str(path)) from error
        yield OpenNote(handle)
    finally:
        os.close(handle)
