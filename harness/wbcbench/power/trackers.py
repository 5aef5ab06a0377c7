"""Other programs that measure energy on this machine: their work is in our joules.

One look at the list of processes. A tracker inside somebody's script shows only if it is
CodeCarbon's and holds its lock file. A killed one leaves that behind, so it counts while a Python
program of its owner runs that is older.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from wbcbench.power.cpu_time import ROOT_VARIABLE

CODECARBON_LOCK = ".codecarbon.lock"
_PROGRAMS = {"codecarbon", "carbontracker", "zeus", "zeusd", "perun", "scaphandre", "powerjoular"}
_STARTED = 19  # of the words of /proc/PID/stat after the name: clock ticks since the boot


def find_trackers(root: Path | None = None, temporary: Path | None = None) -> list[str]:
    """Names of those that run now, with their processes; empty where no process can be seen.

    Args:
        root: What stands for ``/proc``.
        temporary: The folder of CodeCarbon's lock file.
    """
    root = root or Path(os.environ.get(ROOT_VARIABLE, "/proc"))
    lock = (temporary or Path(tempfile.gettempdir())) / CODECARBON_LOCK
    names = {process: _read_names(process) for process in sorted(root.glob("[0-9]*"))}
    found = [
        f"{program} (process {process.name})"
        for process, own_names in names.items()
        for program in _PROGRAMS.intersection(own_names)
    ]
    python = [process for process, own_names in names.items() if own_names[:1] == ["python"]]
    owner = next(_iterate_owners(python, lock), None)
    return [*found, f"codecarbon (its lock file, older process {owner})"] if owner else found


def _read_names(process: Path) -> list[str]:
    """What a process runs: the program and, where that is Python, its script or package."""
    with suppress(OSError):
        program, *words = (process / "cmdline").read_text(errors="replace").split("\0")
        if not Path(program).name.startswith("python"):
            return [Path(program).name]
        is_package = words[:1] == ["-m"] and len(words) > 1
        return ["python", words[1].partition(".")[0] if is_package else Path(*words[:1]).stem]
    return []


def _iterate_owners(processes: list[Path], lock: Path) -> Iterator[str]:
    """Those of the processes that may hold the lock: its owner's, and older than it."""
    with suppress(OSError, ValueError, IndexError):
        of_lock = lock.stat()
        for process in processes:
            root = process.parent
            words = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
            boot_s = int((root / "stat").read_text().partition("btime ")[2].split()[0])
            started_s = boot_s + int(words[_STARTED]) / os.sysconf("SC_CLK_TCK")
            is_owners = process.stat().st_uid == of_lock.st_uid
            if is_owners and started_s < of_lock.st_mtime and process.name != str(os.getpid()):
                yield process.name
