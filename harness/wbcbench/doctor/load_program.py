"""The program that loads a board at known times, from outside: ``train.known_load``."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import tempfile
from collections.abc import Callable
from typing import IO, Any, Protocol, Self

from wbcbench.core.child import PythonChild
from wbcbench.core.environment import clean_environment
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.window import Clock
from wbcbench.energy.load_plan import Bout, Played
from wbcbench.power.device import Device

READY_S = 300.0  # its import takes a minute on a busy machine
PATIENCE_S = 30.0  # after the end of a load
LOOK_S = 0.2
LEAD_S = 0.05  # from the order to the beginning of a load
_MOST_SAID = 120
_READ_SIZE = 65_536


class LoadPlayer(Protocol):
    """Plays loads of known edges.

    Attributes:
        loaded_on: Where its board loads run, as TensorFlow names it.
    """

    loaded_on: str

    def play(self, bout: Bout) -> Played:
        """Play one load and wait for its end, the idle time after it included."""


class LoadProgram:
    """The program in a process of its own, which sees one GPU; a context manager.

    ``loaded_on`` is known once it is entered: it has its context and is warm.
    """

    loaded_on: str

    def __init__(self, device: Device | None, clock: Clock, watch: Callable[[], None]) -> None:
        """Prepare.

        Args:
            device: The board to load; ``None`` for the processor.
            clock: The machine's monotonic one: the program stamps on it.
            watch: Called while it is waited for; what it raises ends the waiting.
        """
        name, entry = device.visible_as if device else ("CUDA_VISIBLE_DEVICES", "")
        self._environment = clean_environment(os.environ) | {name: entry}
        self._clock, self._watch, self._partial = clock, watch, b""

    def __enter__(self) -> Self:
        """Start it and wait until it is warm; raises ``CannotMeasureError`` if it ends."""
        self._said: IO[bytes] = tempfile.TemporaryFile()
        how = {"env": self._environment, "stderr": self._said}
        self._process = PythonChild("wbcbench.train.known_load", **how)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.answers, selectors.EVENT_READ)
        try:
            self.loaded_on = self._hear(READY_S)["loaded_on"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it, with everything that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        self._process.answers.close()
        self._said.close()

    def play(self, bout: Bout) -> Played:
        """Order one load and wait for its end; raises ``CannotMeasureError`` if it dies."""
        start_s = self._clock.now_s() + LEAD_S
        order = {"at_s": start_s, "spans": bout.spans, "where": bout.where}
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended, which its silence tells
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
        spans = self._hear(bout.loaded_s + PATIENCE_S)["spans"]
        end_s = max(start_s + bout.loaded_s, spans[-1][1]) + bout.length_s - bout.loaded_s
        while self._clock.now_s() < end_s:
            self._watch()
            self._clock.sleep_until(min(self._clock.now_s() + LOOK_S, end_s))
        return Played(bout.name, bout.where, start_s, end_s, tuple((a, b) for a, b in spans))

    def _hear(self, within_s: float) -> dict[str, Any]:
        """Its next message."""
        until_s = self._clock.now_s() + within_s
        while b"\n" not in self._partial:
            self._watch()
            if self._clock.now_s() > until_s:
                raise CannotMeasureError(
                    f"The program that loads the board said nothing for {within_s:.0f} s. "
                    "Try again on a machine that is less busy."
                )
            if self._selector.select(LOOK_S):
                data = os.read(self._process.answers.fileno(), _READ_SIZE)
                if not data:
                    raise CannotMeasureError(
                        f"The program that loads the board ended{self._quote_end()}. "
                        "See whether `wbcbench run --epochs 1` trains here."
                    )
                self._partial += data
        line, _, self._partial = self._partial.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def _quote_end(self) -> str:
        """The last line that it wrote, after a colon; empty if it wrote none."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1][:_MOST_SAID]}" if lines else ""
