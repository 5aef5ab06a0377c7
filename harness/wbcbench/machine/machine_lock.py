"""One harness at a time on a machine: two would pay for each other's joules.

The lock is advisory and held by the open file: it ends with the process, however that ends. Who
joins with ``--share`` leaves a mark beside it, so that the first one knows, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wbcbench.errors import CannotMeasureError

HOST = "host"


@dataclass(frozen=True, slots=True)
class Hold:
    """A device while we measure on it.

    Attributes:
        alone: Whether nobody held it when we came.
        joined: The file that somebody who joins us leaves.
    """

    alone: bool
    joined: Path

    @property
    def is_shared(self) -> bool:
        """Whether somebody else has measured on this device in our time."""
        return not self.alone or self.joined.exists()


def lock_path(device: str = HOST) -> Path:
    """The lock file of a device; the same for every user, so two users exclude each other."""
    folder = Path(os.environ.get("WBCBENCH_LOCK_DIR", tempfile.gettempdir()))
    return folder / f"wbcbench-{device}.lock"


@contextlib.contextmanager
def machine_lock(device: str, *, share: bool) -> Iterator[Hold]:
    """Hold ``device`` while a run is measured.

    Raises:
        CannotMeasureError: Somebody else holds it and ``share`` was not asked for.
    """
    path = lock_path(device)
    joined = path.with_suffix(".joined")
    handle = _open(path)
    try:
        alone = _try(handle)
        if not alone and not share:
            raise CannotMeasureError(
                f"Another wbcbench run is measuring on {_where(device)} (lock {path}). Two at once "
                "would each be charged the other's joules. Wait for it, or use --share: "
                "then both runs are marked contaminated."
            )
        if alone:
            joined.unlink(missing_ok=True)
        else:
            os.close(_open(joined))
        yield Hold(alone, joined)
    finally:
        os.close(handle)


def _where(device: str) -> str:
    return "this machine" if device == HOST else device


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
