"""Ctrl-C, once and twice, and the leash that ends an orphaned watcher.

The first interrupt asks the run to end after its epoch, the second ends it at once, and so do
SIGTERM and the loss of the process that started the watcher.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType


class Interrupts:
    """How often the user asked to stop; install before the run starts."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self._asked = 0
        self._now = threading.Event()

    @property
    def wants_stop(self) -> bool:
        """Whether the run should end after the epoch."""
        return self._asked > 0 or self._now.is_set()

    @property
    def wants_stop_now(self) -> bool:
        """Whether the run should end at once."""
        return self._asked > 1 or self._now.is_set()

    def install(self, *, leash: bool) -> None:
        """Take over SIGINT and SIGTERM; with ``leash``, end of file on stdin ends the run."""
        signal.signal(signal.SIGINT, self._on_interrupt)
        signal.signal(signal.SIGTERM, self._on_terminate)
        if leash:
            threading.Thread(target=self._hold_leash, name="leash", daemon=True).start()

    def _on_interrupt(self, _: int, __: FrameType | None) -> None:
        self._asked += 1

    def _on_terminate(self, _: int, __: FrameType | None) -> None:
        self._now.set()

    def _hold_leash(self) -> None:
        # Not sys.stdin: its lock, held by a daemon thread, aborts the interpreter at its end.
        while os.read(0, 1024):
            pass
        self._now.set()
