"""Processes that stop before any touch of the disk, and can be killed there.

A forked child does real work. Python's audit events tell it of every file that it opens, renames,
links, removes or locks under a folder; it counts them and waits at the one it was told to. So a
test decides how two processes interleave, and kills either of them between any two files.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

TOUCHES = frozenset(
    ("open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "fcntl.flock")
)
WHOLE = 1_000_000  # more touches than any process makes


class Line:
    """What a test and one process say to each other: how far to go, and where it stopped."""

    def __init__(self) -> None:
        self._go_out, self._go_in = os.pipe()
        self._said_out, self._said_in = os.pipe()

    def child_side(self) -> None:
        """Give up the test's ends, so that the test sees this process's end."""
        os.close(self._go_in)
        os.close(self._said_out)

    def parent_side(self) -> None:
        """Give up the process's ends."""
        os.close(self._go_out)
        os.close(self._said_in)

    def go(self, touches: int) -> None:
        """Let the process go on."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._go_in, f"{touches}\n".encode())

    def say(self, word: str) -> None:
        """Tell the test one line."""
        os.write(self._said_in, f"{word}\n".encode())

    def wait(self) -> int:
        """Wait until the test says how far to go on; the test's end ends us."""
        text = _line(self._go_out)
        return int(text) if text else os._exit(9)

    def hear(self) -> str:
        """What the process says next; empty when it is gone."""
        return _line(self._said_out)

    def close(self) -> None:
        """Close the test's ends."""
        os.close(self._go_in)
        os.close(self._said_out)


def _line(handle: int) -> str:
    text = b""
    while not text.endswith(b"\n"):
        byte = os.read(handle, 1)
        if not byte:
            return ""
        text += byte
    return text.decode().strip()


class Stops:
    """In the child: counts what is done under ``root`` and waits where it must."""

    def __init__(self, line: Line, root: Path) -> None:
        self._line, self._root = line, str(root)
        self._left = 0
        self._pid = os.getpid()  # a process that this one forks has its own
        sys.addaudithook(self._on_event)

    def stop(self, where: str) -> None:
        """Tell the test where we are and wait for it."""
        self._line.say(where)
        self._left = self._line.wait()

    def tell(self, where: str) -> None:
        """Tell the test where we are and go on."""
        self._line.say(where)

    def _on_event(self, event: str, args: tuple[object, ...]) -> None:
        if event not in TOUCHES or os.getpid() != self._pid:
            return
        if event != "fcntl.flock" and not str(args[0]).startswith(self._root):
            return
        if self._left == 0:
            self.stop("paused")
        self._left -= 1


class Paused:
    """A process as the test sees it."""

    def __init__(self, pid: int, line: Line) -> None:
        self.pid, self.line = pid, line
        self.is_alive = True
        self.is_waiting = False  # for another process, which the test must let go on
        self.end = ""

    def follow(self) -> str:
        """Hear until the process stops or ends; what it said."""
        word = self.line.hear()
        self.is_waiting = word == "waiting"
        if word.startswith("ended") or not word:
            self.end = word
            self._bury()
        return word

    def advance(self, touches: int) -> str:
        """Let it go on for so many touches of the disk."""
        self.line.go(touches)
        return self.follow()

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        self._bury()

    def _bury(self) -> None:
        """Wait until it holds nothing any more; it may stay as a zombie of another parent."""
        while not _is_dead(self.pid):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
            time.sleep(0.0005)
        self.is_alive = self.is_waiting = False
        self.line.close()


def _is_dead(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def fork(work: Callable[[Stops], str], line: Line, root: Path) -> int:
    """Do ``work`` in a child, which waits at once; returns its process id to the parent."""
    pid = os.fork()
    if pid:
        return pid
    end = "ended: not at all"
    try:
        line.child_side()
        stops = Stops(line, root)
        stops.stop("begun")
        end = f"ended: {work(stops)}"
    except BaseException as error:  # noqa: BLE001 whatever it is, the test must see it
        end = f"ended: {type(error).__name__}: {error}".replace("\n", " ")
    finally:
        line.say(end)
        os._exit(0)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a run's folder."""
    with (path / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
