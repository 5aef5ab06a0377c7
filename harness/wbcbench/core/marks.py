"""What the trainer tells the watcher: one JSON line a message, over one pipe.

The trainer stamps with the monotonic clock, which both processes share. The watcher answers on
the trainer's standard input with single words: ``go`` (train now) and ``stop`` (end after this
epoch). End of file there means the watcher is dead, and the trainer stops at once.

    {"mark": "open",  "window": "train", "t_s": 12.3}        a window's edge
    {"epoch": {...}}                                          an ``Epoch``
    {"progress": {"phase": "train", "epoch": 3, "epochs": 25, "loss": 0.4, "accuracy": 0.8}}
    {"dataset": {...}}  {"model": {...}}  {"inference": {...}}
    {"scores": {"name": "test", ...}}                         ``Scores``; or "test_leak_free"
    {"failure": {...}}                                        a ``Failure``
    {"end": "done"}                                           or "interrupted"
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from typing import IO, Any, Literal

Edge = Literal["open", "close"]


class Messenger:
    """The trainer's end of the pipe; every message is flushed, so a kill loses at most one."""

    def __init__(self, stream: IO[str]) -> None:
        """Write to ``stream``, a text stream in line mode."""
        self._stream = stream
        self._lock = threading.Lock()  # the trainer tells its progress from a thread of its own

    def send(self, message: dict[str, Any]) -> None:
        """Send one message; dataclasses inside are sent as their fields."""
        line = json.dumps(message, default=_plain) + "\n"
        with self._lock:
            self._stream.write(line)
            self._stream.flush()

    def mark(self, edge: Edge, window: str, t_s: float) -> None:
        """Tell one edge of a window."""
        self.send({"mark": edge, "window": window, "t_s": t_s})


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"cannot send {type(value).__name__} over the pipe")


def parse_lines(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Messages from lines; a line torn by a kill is left out."""
    for line in lines:
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict):
            yield message
