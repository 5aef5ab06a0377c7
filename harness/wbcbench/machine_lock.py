"""One harness at a time on a machine: two would pay for each other's joules.

The lock is advisory and held by the open file: it ends with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wbcbench.errors import CannotMeasureError


def lock_path(device: str = "host") -> Path:
    """The lock file of a device; the same for every user, so two users exclude each other."""
    folder = Path(os.environ.get("WBCBENCH_LOCK_DIR", tempfile.gettempdir()))
    return folder / f"wbcbench-{device}.lock"


@contextlib.contextmanager
def machine_lock(device: str, *, share: bool) -> Iterator[bool]:
    """Hold ``device`` while a run is measured; yields whether it is held alone.

    Raises:
        CannotMeasureError: Somebody else holds it and ``share`` was not asked for.
    """
    path = lock_path(device)
    handle = _open(path)
    try:
        alone = _try(handle)
        if not alone and not share:
            raise CannotMeasureError(
                f"Another wbcbench run is measuring on this machine (lock {path}). Two at once "
                "would each be charged the other's joules. Wait for it, or use --share: "
                "then both runs are marked contaminated."
            )
        yield alone
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with contextlib.suppress(OSError):
        path.chmod(0o666)
    return handle


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
