"""Runs on this machine, one after the other, each watched by a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType


def launch(run_dirs: Sequence[Path], options: Sequence[str] = ()) -> Iterator[Path]:
    """Yield each folder when its watcher has ended; Ctrl-C is passed on to the watcher.

    The watcher has its own session, so that a Ctrl-C on the terminal reaches it once, through
    us. Its standard input is a leash: when this process dies, the watcher ends its run. A handler
    that the caller installed hears the signal, too: a sweep must not start the next run.
    """
    for path in run_dirs:
        _watch(path, options)
        yield path


def _watch(path: Path, options: Sequence[str]) -> None:
    command = [sys.executable, "-m", "wbcbench", "work", str(path), "--leash", *options]
    watcher = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def pass_on(number: int, frame: FrameType | None) -> None:
        watcher.send_signal(number)
        outer = before[signal.Signals(number)]
        if callable(outer) and outer is not signal.default_int_handler:
            outer(number, frame)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, pass_on)
    try:
        watcher.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
