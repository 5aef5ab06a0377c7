"""What the watcher says: single words on standard input, and silence when it is dead."""

from __future__ import annotations

import os
import threading

ORPHANED = 70
"""Exit status of a trainer whose watcher died (nobody is left to see it)."""


class Control:
    """Listens on a file descriptor in a thread of its own, also while TensorFlow computes.

    ``go`` lets training start, ``stop`` asks to end after this epoch. End of file means that the
    watcher is dead: nobody measures any more, so the process ends at once, in the middle of
    whatever it does.
    """

    def __init__(self, fd: int = 0) -> None:
        """Start to listen on ``fd``."""
        self._fd = fd
        self._changed = threading.Condition()
        self._go = False
        self._stop = False
        self._released = False
        threading.Thread(target=self._listen, name="control", daemon=True).start()

    @property
    def is_stopping(self) -> bool:
        """Whether the watcher asked to stop."""
        return self._stop

    def wait_for_go(self) -> bool:
        """Wait until the watcher says ``go`` or ``stop``; return whether to train."""
        with self._changed:
            self._changed.wait_for(lambda: self._go or self._stop)
        return not self._stop

    def release(self) -> None:
        """From now on the watcher may go away: everything has been told."""
        self._released = True

    def _listen(self) -> None:
        # Raw reads: a buffered stdin held by this thread would block the interpreter's exit.
        rest = b""
        while chunk := os.read(self._fd, 4096):
            *words, rest = (rest + chunk).split(b"\n")
            self._hear({word.strip() for word in words})
        if not self._released:
            os._exit(ORPHANED)

    def _hear(self, words: set[bytes]) -> None:
        with self._changed:
            self._go = self._go or b"go" in words
            self._stop = self._stop or b"stop" in words
            self._changed.notify_all()
