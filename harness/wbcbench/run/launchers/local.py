"""Runs on this machine, one after the other, each recorded by a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from wbcbench.core.child import heeded_signals, python_command, withheld_signals
from wbcbench.core.environment import clean_environment

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OF_QUEUES = signal.SIGUSR2  # passed on by whoever listens to it


class LocalLauncher:
    """Runs on this machine, one after the other, each recorded by a process of its own."""

    is_queue = False

    def __call__(
        self, run_dirs: Sequence[Path], options: Sequence[str] = (), host_lock: int | None = None
    ) -> Iterator[Path]:
        """Yield each folder when its recorder has ended; signals are passed on to the recorder.

        The recorder has its own session, so that a Ctrl-C on the terminal reaches it once, through
        us. Its standard input is a leash: when this process dies, the recorder ends its run. A
        handler that the caller installed receives the signal, too: a sweep must not start the next
        run.
        """
        for path in run_dirs:
            _record(path, options, host_lock)
            yield path


launch = LocalLauncher()


def _record(path: Path, options: Sequence[str], host_lock: int | None) -> None:
    inherited = () if host_lock is None else (host_lock,)
    words = ["work", str(path), "--leash", *options]
    words += [word for handle in inherited for word in ("--host-lock", str(handle))]
    with withheld_signals():
        recorder = subprocess.Popen(
            python_command("wbcbench", *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # what it shows goes to standard error
            env=clean_environment(os.environ),
            start_new_session=True,
            pass_fds=inherited,
        )

    def pass_on(number: int, frame: FrameType | None) -> None:
        recorder.send_signal(number)
        outer = before[signal.Signals(number)]
        if callable(outer) and outer is not signal.default_int_handler:
            outer(number, frame)

    of_queues = [_OF_QUEUES] * callable(signal.getsignal(_OF_QUEUES))
    numbers = heeded_signals([*_PASSED_ON, *of_queues])
    before = {number: signal.getsignal(number) for number in numbers}
    for number in before:
        signal.signal(number, pass_on)
    try:
        recorder.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
