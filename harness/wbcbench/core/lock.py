"""One harness at a time on a machine: two would each include the other's joules.

The lock is advisory and held by the open file: it ends with the last process that has it open,
however that ends. A command takes it before it makes a run's folder and passes it to the run's
recorder, so that no other process gets it in between. A run that joins with ``--share`` leaves a
file beside it, from which the first one knows.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wbcbench.core.errors import CannotMeasureError

HOST = "host"


@dataclass(frozen=True, slots=True)
class Hold:
    """A device while we measure on it.

    Attributes:
        is_exclusive: Whether no other run held it when this one came.
        joined: The file that a run which joins leaves.
        handle: The open file that holds the lock, for a process that is to go on holding it.
    """

    is_exclusive: bool
    joined: Path
    handle: int

    @property
    def is_shared(self) -> bool:
        """Whether another run has measured on this device at the same time."""
        return not self.is_exclusive or self.joined.exists()


def lock_path(device: str = HOST) -> Path:
    """The lock file of a device; the same for every user, so two users exclude each other."""
    folder = Path(os.environ.get("WBCBENCH_LOCK_DIR", tempfile.gettempdir()))
    return folder / f"wbcbench-{device}.lock"


@contextlib.contextmanager
def machine_lock(device: str, *, share: bool) -> Iterator[Hold]:
    """Hold ``device`` while a run is measured.

    Raises:
        CannotMeasureError: Another run holds it and ``share`` was not requested.
    """
    path = lock_path(device)
    joined = path.with_suffix(".joined")
    handle = _open_shared(path)
    try:
        is_exclusive = _try_lock(handle)
        if not is_exclusive and not share:
            place = "this machine" if device == HOST else device
            raise CannotMeasureError(
                f"Another wbcbench run is measuring on {place} (lock {path}). Two at once "
                "would each include the other's joules. Wait for it, or use --share: "
                "then both runs are marked contaminated."
            )
        if is_exclusive:
            joined.unlink(missing_ok=True)
        else:
            os.close(_open_shared(joined))
        yield Hold(is_exclusive, joined, handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def inherited_lock(device: str, handle: int) -> Iterator[Hold]:
    """Keep the lock that the process that started this one holds, also after its end.

    Raises:
        CannotMeasureError: The open file is not that lock, or does not hold it.
    """
    path = lock_path(device)
    try:
        is_lock = os.path.samestat(os.fstat(handle), path.stat()) and _try_lock(handle)
    except OSError:
        is_lock = False
    if not is_lock:
        raise CannotMeasureError(
            f"The lock {path}, which the command that started this run held, is lost. Its file was "
            "removed, or WBCBENCH_LOCK_DIR differs. Start the run again."
        )
    os.set_inheritable(handle, False)  # the trainer and whatever it leaves behind do not hold it
    try:
        yield Hold(True, path.with_suffix(".joined"), handle)
    finally:
        os.close(handle)


def _open_shared(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with contextlib.suppress(OSError):
        path.chmod(0o666)
    return handle


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
