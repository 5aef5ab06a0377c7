"""What the trainer sends to the recorder: one JSON line a message, over one pipe.

The trainer stamps with the monotonic clock, which both processes share. The recorder answers on
the trainer's standard input with single words: ``go`` (train now) and ``stop`` (end after this
epoch). End of file there means that the recorder is dead, and the trainer stops at once.

    {"mark": "open",  "window": "train", "t_s": 12.3}        a window's edge
    {"epoch": {...}}                                          an ``Epoch``
    {"progress": {"phase": "train", "epoch": 3, "epochs": 25, "loss": 0.4, "accuracy": 0.8}}
    {"dataset": {...}}  {"model": {...}}  {"inference": {...}}
    {"scores": {"name": "test", ...}}                         ``Scores``; or "test_leakage_free"
    {"failure": {...}}                                        a ``Failure``
    {"end": "done"}                                           or "interrupted"

The last line in the run's folder is the recorder's own, what it knew when the run had ended:

    {"recorder": {"shared": false, "sampling": [...], ...}}   ``AT_END`` of ``core.record``
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import IO, Any, Literal

from wbcbench.core.text import encodable

Edge = Literal["open", "close"]


class Messenger:
    """The trainer's end of the pipe; every message is flushed, so a kill loses at most one."""

    def __init__(self, stream: IO[str]) -> None:
        """Write to ``stream``, a text stream in line mode."""
        self._stream = stream
        self._lock = threading.Lock()  # progress is sent by a thread of its own

    def send(self, message: dict[str, Any]) -> None:
        """Send one message; dataclasses inside are sent as their fields."""
        line = json.dumps(message, default=asdict)
        with self._lock:
            append_line(self._stream, line)

    def mark(self, edge: Edge, window: str, t_s: float) -> None:
        """Send one edge of a window."""
        self.send({"mark": edge, "window": window, "t_s": t_s})


def encode_mark(edge: Edge, window: str, t_s: float) -> bytes:
    """One edge of a window as a line."""
    return json.dumps({"mark": edge, "window": encodable(window), "t_s": t_s}).encode() + b"\n"


def append_line(stream: IO[str], line: str, *, sync: bool = False) -> None:
    """Append one line and flush it; with ``sync`` it is on disk when this returns."""
    stream.write(line + "\n")
    stream.flush()
    if sync:
        os.fsync(stream.fileno())


def parse_lines(lines: Iterable[str | bytes]) -> Iterator[dict[str, Any]]:
    """Messages from lines; what a kill tore or is none is left out, and no number is ``None``."""
    for line in lines:
        try:
            message = json.loads(line, parse_constant=lambda _: None, parse_float=_parse_known)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict):
            yield message


def _parse_known(word: str) -> float | None:
    return value if math.isfinite(value := float(word)) else None
