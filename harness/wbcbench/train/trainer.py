"""The child process that trains: ``python -m wbcbench.train.trainer RUN_DIR MARK_FD``.

It knows nothing of meters. What it sees it tells over the pipe ``MARK_FD`` (see ``marks``); what
it is told comes in words on standard input; what it prints goes to the run's log. TensorFlow is
imported after the ear is open, so that a dead watcher is noticed during the import too.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from wbcbench.core.errors import WbcbenchError
from wbcbench.core.record import Failure
from wbcbench.core.run_folder import Messenger, RunDir
from wbcbench.train.control import Control

KINDS = {
    "MemoryError": "out-of-memory",
    "ResourceExhaustedError": "out-of-memory",
    "NanLossError": "nan-loss",
}
"""Failures with a name of their own; all others are named after their class."""


def main(arguments: Sequence[str]) -> int:
    """Carry out one run and return the exit status: 0, or that of the error."""
    # Ctrl-C on the terminal is the watcher's to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = Control()
    folder, descriptor = arguments
    # The pipe stays open until the process is gone: its end tells the watcher that we are.
    stream = open(int(descriptor), "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    messenger = Messenger(stream)
    # Keras imports it where it can, half a second of each start, for plots that no run draws.
    sys.modules["matplotlib"] = None  # type: ignore[assignment]
    try:
        from wbcbench.train.session import carry_out

        end = carry_out(RunDir(Path(folder)), messenger, control)
    except WbcbenchError as error:
        _tell(messenger, error)
        traceback.print_exc()
        return error.exit_code
    except Exception as error:
        _tell(messenger, error)
        raise
    control.release()
    messenger.send({"end": end})
    return 0


def _tell(messenger: Messenger, error: Exception) -> None:
    with contextlib.suppress(BrokenPipeError):
        messenger.send({"failure": failure(error)})


def failure(error: Exception) -> Failure:
    """Say why a run failed."""
    name = type(error).__name__
    return Failure(
        kind=KINDS.get(name, name),
        message=str(error) or name,
        traceback="".join(traceback.format_exception(error)),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
