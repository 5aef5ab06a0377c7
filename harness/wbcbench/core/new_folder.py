"""A folder that appears whole, for its maker alone; and what a killed maker left.

The folder is made under a name that says which process makes it, and renamed when it is whole. A
rename onto a folder that holds something fails, so that of two makers one gets the name.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from wbcbench.core.process_identity import Liveness, this_process, token_liveness
from wbcbench.core.wholefile import sync_folder

_NEW = ".new"


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill, which becomes ``path`` at the end; nothing stays after an error.

    Raises:
        FileExistsError: There is such a folder.
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.parent / f"{_NEW}.{this_process().token}.{secrets.token_hex(4)}"
    new.mkdir()
    try:
        yield new
        new.rename(path)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError(errno.EEXIST, "exists", str(path)) from error
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
    sync_folder(path.parent)


def is_new(path: Path) -> bool:
    """Whether a folder is still being made, or was left while it was."""
    return path.name.startswith(f"{_NEW}.")


def remove_left_behind(parent: Path) -> list[Path]:
    """Remove the folders in ``parent`` whose makers are gone; returns those of unknown makers.

    Nothing was measured in them. A maker that cannot be seen from here may still be at it.
    """
    unknown: list[Path] = []
    for path in sorted(parent.glob(f"{_NEW}.*")):
        found = token_liveness(path.name.split(".")[2])
        if found is Liveness.GONE:
            shutil.rmtree(path, ignore_errors=True)
        elif found is Liveness.UNKNOWN:
            unknown.append(path)
    return unknown
