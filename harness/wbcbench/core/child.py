"""Another Python of ours: nothing of the user's folder in it, and a pipe of its own to answer on.

Whatever is printed as Python starts, or by a library later, is no answer. Every child reads orders
on its standard input, which ends when we do.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
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
