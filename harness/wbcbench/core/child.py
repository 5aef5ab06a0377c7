"""Another Python of ours: nothing of the user's folder in it, and a pipe of its own to answer on.

Whatever is printed as Python starts, or by a library later, is no answer. Every child reads orders
on its standard input, which ends when we do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from wbcbench.core import start
from wbcbench.core.environment import clean_environment

# Of a child that shares the machine with what is measured, and computes nothing: one BLAS thread
# and one allocator arena.
MODEST = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}

_FIRST_FREE = 3  # below lie the standard streams, which the program that we are in may have closed


def heeded_signals(numbers: Iterable[signal.Signals]) -> list[signal.Signals]:
    """Those that were not ignored when we were started: `nohup` and a shell's `&` ignore some.

    A handler of ours would undo that, here and in what we start.
    """
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


# In a job, Slurm sends a signal to every process of it at once, whatever session that is in.
_withheld: set[signal.Signals] = set()


def withhold_from_children(numbers: Iterable[signal.Signals]) -> None:
    """From now on, start children that never get these signals, unless they take them on."""
    _withheld.update(numbers)


@contextlib.contextmanager
def withheld_signals() -> Iterator[None]:
    """Start a child that does not get what is withheld; it inherits what is blocked here."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _withheld)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def take_on_signals(numbers: Iterable[signal.Signals]) -> None:
    """Get signals that who started us has withheld, also those that came meanwhile."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def python_command(module: str, *words: str) -> list[str]:
    """The command that runs a module of ours."""
    return [sys.executable, "-P", start.__file__, module, *words]


class PythonChild(subprocess.Popen[bytes]):
    """A module of ours that runs in a session of its own, where the terminal's Ctrl-C is not.

    Attributes:
        answers: What it writes to its pipe, unbuffered.
    """

    def __init__(self, module: str, *words: str, **options: Any) -> None:
        """Start it.

        Args:
            module: Name of the module.
            words: Its arguments; one more follows: the open file that it answers on.
            options: As those of ``Popen``, where it should not have our environment, print nothing
                and share our standard error and folder.
        """
        ends = os.pipe()
        ours, theirs = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE) for end in ends)
        self.answers = os.fdopen(ours, "rb", buffering=0)
        usual: dict[str, Any] = {"env": clean_environment(os.environ), "stdout": subprocess.DEVNULL}
        try:
            with withheld_signals():
                super().__init__(
                    python_command(module, *words, str(theirs)),
                    bufsize=0,  # a forked child of ours must have nothing to write twice
                    stdin=subprocess.PIPE,
                    pass_fds=(theirs,),
                    start_new_session=True,
                    **(usual | options),
                )
        finally:
            for handle in (*ends, theirs):
                os.close(handle)
