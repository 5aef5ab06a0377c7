"""Starts daemons in the foreground and ends with everything that descends from them.

    python -m fakes.process_keeper FOLDER [PARENT]

``FOLDER/daemons.json`` has the command of each daemon by its name. Orders are lines written to the
pipe ``FOLDER/orders``, once ``FOLDER/keeper.pid`` is there: ``start NAME``, after which
``FOLDER/NAME.pid`` holds the process id of that daemon, and ``stop``. Where a process id ``PARENT``
is given, the end of that process is a ``stop``, too.

The kernel hands the keeper every orphan among its descendants, also those that have begun a session
of their own, as a job of Slurm's does. So it finds them all, whoever has died before.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

DAEMONS, ORDERS = "daemons.json", "orders"
PERIOD_S = 0.5  # how long an orphan that has ended waits to be reaped

# prctl(2)
_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Keep the daemons of a folder until ``stop``."""
    folder, *parents = sys.argv[1:]
    os.setsid()
    libc = ctypes.CDLL(None)
    libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with selectors.DefaultSelector() as selector:
        # Opened for writing, too: without a writer it would be at its end.
        orders = os.open(Path(folder, ORDERS), os.O_RDWR)
        selector.register(orders, selectors.EVENT_READ)
        for parent in parents:
            selector.register(os.pidfd_open(int(parent)), selectors.EVENT_READ, "parent")
        write_pid(Path(folder), "keeper", os.getpid())  # from now on it takes orders
        is_stopping = False
        while not is_stopping:
            for key, _ in selector.select(PERIOD_S):
                lines = "stop" if key.data else os.read(orders, 4096).decode()
                for order, *names in map(str.split, lines.splitlines()):
                    is_stopping |= order == "stop"
                    for name in names:
                        start(Path(folder), name, libc)
            reap()
    while pids := [*descendants(os.getpid())]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        reap()


def start(folder: Path, name: str, libc: ctypes.CDLL) -> None:
    """Start a daemon; where the keeper itself is killed, the kernel ends it."""
    command = json.loads((folder / DAEMONS).read_text())[name]
    with (folder / f"{name}.out").open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=lambda: libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0),  # noqa: PLW1509
        )
    write_pid(folder, name, process.pid)


def write_pid(folder: Path, name: str, pid: int) -> None:
    """Say in a file which process it is; the file is there with its content or not at all."""
    path = folder / f"{name}.pid"
    path.with_suffix(".new").write_text(str(pid))
    path.with_suffix(".new").replace(path)


def reap() -> None:
    """Take note of every child that has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def descendants(root: int) -> Iterator[int]:
    """Processes that were started by ``root``, by those that it started, and so on."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            pid, rest = path.read_text(errors="replace").split(" ", 1)
            parent = int(rest.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(pid))
    found = [root]
    for pid in found:
        found += children.get(pid, ())
    yield from found[1:]


if __name__ == "__main__":
    main()
