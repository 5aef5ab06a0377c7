"""The trainer seen from outside: start it, hear its messages, tell it to stop, reap it.

The child gets three things: the write end of a pipe for its messages, a pipe as standard input
for ``go`` and ``stop`` (its end of file means nobody watches any more), and ``log.txt`` as its
standard output and error. It runs in its own session, so a Ctrl-C on the terminal reaches the
watcher alone, which decides.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from wbcbench.core.run_folder import RunDir

_READ_SIZE = 65536


@dataclass(frozen=True, slots=True)
class Exit:
    """How the trainer ended: status as in subprocess (negative = signal), and what it used."""

    status: int
    cpu_s: float
    rss_peak_bytes: int


class TrainerProcess:
    """A running trainer."""

    def __init__(self, run: RunDir, environment: Mapping[str, str]) -> None:
        """Start it on ``run`` with ``environment`` (complete, set before TensorFlow loads)."""
        self._pipe, theirs = os.pipe()
        with run.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "wbcbench.train.trainer", str(run.path), str(theirs)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(environment),
                pass_fds=(theirs,),
                start_new_session=True,
            )
        os.close(theirs)
        os.set_blocking(self._pipe, False)
        self._torn = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self.is_silent = False  # the pipe is at its end: no message can follow

    @property
    def pid(self) -> int:
        """Process id, for telling our GPU process from foreign ones."""
        return self._process.pid

    def lines(self, wait_s: float) -> list[str]:
        """Messages that came within ``wait_s`` seconds, one line each."""
        if self.is_silent or not self._selector.select(wait_s):
            return []
        try:
            data = os.read(self._pipe, _READ_SIZE)
        except BlockingIOError:
            return []
        self.is_silent = not data
        *whole, self._torn = (self._torn + data).split(b"\n")
        return [line.decode(errors="replace") for line in whole]

    def say(self, word: str) -> None:
        """Send ``go`` or ``stop``; a trainer that is gone hears nothing."""
        if self._process.stdin is None:
            return
        with contextlib.suppress(OSError):
            self._process.stdin.write(f"{word}\n".encode())
            self._process.stdin.flush()

    def kill(self) -> None:
        """End it at once, with everything it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def reap(self) -> Exit:
        """Wait for its end and close the pipes."""
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._selector.close()
        os.close(self._pipe)
        return Exit(
            status=self._process.returncode,
            cpu_s=usage.ru_utime + usage.ru_stime,
            rss_peak_bytes=usage.ru_maxrss * 1024,  # Linux states kibibytes
        )
