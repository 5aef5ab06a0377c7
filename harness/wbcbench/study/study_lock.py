"""One sweep at a time on a study. The lock is held by the open file and ends with the process."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from wbcbench.core.errors import UsageError


@contextlib.contextmanager
def study_lock(study_dir: Path) -> Iterator[None]:
    """Hold a study while it is swept.

    Raises:
        UsageError: Another sweep holds it, or the folder cannot be written.
    """
    try:
        study_dir.mkdir(parents=True, exist_ok=True)
        stream = (study_dir / ".sweep.lock").open("w")
    except OSError as error:
        raise UsageError(
            f"The results folder {study_dir} cannot be written: {error.strerror}. "
            "Choose another with --results, or free space and permissions."
        ) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"Another sweep is carrying out the study in {study_dir}. Two at once would pay "
                "for each other's joules; wait for it, or stop it."
            ) from error
        yield
