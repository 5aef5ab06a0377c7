"""A user's command as a child: found, started, told of signals, waited for.

Its standard input, output and error are ours, untouched. It stays in our process group, so that a
Ctrl-C on the terminal and job control reach it as they would without us; a signal that reached us
alone is passed on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from wbcbench.core.errors import UsageError
from wbcbench.core.window import Clock, Window

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
PATIENCE = 3  # the Ctrl-C that ends a command which would not end
_BY_SIGNAL = 128  # as a shell states it


class CommandNotFoundError(UsageError):
    """There is no such command; the exit status is the one a shell gives."""

    exit_code = 127


class CommandNotRunnableError(UsageError):
    """The command is there and cannot be started; the exit status is the one a shell gives."""

    exit_code = 126


def check(command: Sequence[str]) -> None:
    """See that a command can be started, before anything is measured.

    Raises:
        CommandNotFoundError: Nothing of that name is on PATH.
        CommandNotRunnableError: It is a folder, or may not be executed.
    """
    name = command[0]
    if shutil.which(name):
        return
    if os.sep in name and os.path.lexists(name):
        raise CommandNotRunnableError(
            f"{name} cannot be run: it is a folder or not executable. Nothing was measured. "
            f"Put its interpreter before it, or allow it with `chmod +x {name}`."
        )
    raise CommandNotFoundError(
        f"There is no command {name!r}. Nothing was measured. Check its spelling and PATH; "
        "a shell's own word or a pipeline needs a shell: `wbcbench monitor -- sh -c '…'`."
    )


class ChildCommand:
    """A command that goes on; ``window`` and ``exit_status`` are known once ``ended`` is set."""

    def __init__(self, command: Sequence[str], name: str, clock: Clock, stdout: int | None) -> None:
        """Start it.

        Args:
            command: Program and arguments.
            name: Name of its window.
            clock: Source of time.
            stdout: File descriptor for its standard output; ``None`` for ours.

        Raises:
            CommandNotRunnableError: The system cannot start it.
        """
        self._name, self._clock = name, clock
        self._interrupts = 0
        self.ended = threading.Event()
        self.window = Window(name, 0.0, 0.0)
        start_s = clock.now_s()
        try:
            self._process = subprocess.Popen(command, stdout=stdout)
        except OSError as error:
            raise CommandNotRunnableError(f"{command[0]} cannot be run: {error}.") from error
        # A waiting thread stamps the end when it comes; polling would stamp it late.
        threading.Thread(target=self._wait, args=(start_s,), daemon=True).start()

    def _wait(self, start_s: float) -> None:
        self._process.wait()
        self.window = Window(self._name, start_s, self._clock.now_s())
        self.ended.set()

    @property
    def exit_status(self) -> int:
        """Its exit status, or 128 + n where signal n ended it."""
        status = self._process.returncode
        return _BY_SIGNAL - status if status < 0 else status

    def hear(self, number: int) -> None:
        """Pass a signal on; the third Ctrl-C ends the command whatever it thinks of it."""
        self._interrupts += number == signal.SIGINT
        if self._interrupts >= PATIENCE:
            number = signal.SIGKILL
        elif number in (signal.SIGINT, signal.SIGQUIT) and _from_terminal():
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


def _from_terminal() -> bool:
    """Whether the terminal's keys reach our group: then the command has heard them, too."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


@contextlib.contextmanager
def signals_to(hear: Callable[[int], None]) -> Iterator[None]:
    """Give every signal that would end us to ``hear`` for a while."""

    def handler(number: int, _: FrameType | None) -> None:
        hear(number)

    before = {number: signal.signal(number, handler) for number in PASSED_ON}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
