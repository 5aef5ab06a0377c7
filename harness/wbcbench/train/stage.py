"""What a training shares: phases and their windows, control from outside, progress, model."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from wbcbench.core.messages import Messenger
from wbcbench.core.run_folder import RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.window import EVALUATE, TRAIN, VALIDATION_PHASE, WRITE, Clock
from wbcbench.data.dataset import Dataset
from wbcbench.train.inputs import Forward, Placed, Sets
from wbcbench.train.paths import PROGRESS_PERIOD_S, TrainingPath

ORPHANED = 70
"""Exit status of a trainer whose recorder died."""


@dataclass(frozen=True, slots=True)
class Wire:
    """The connection to the recorder: marks and messages out, commands in, the clock."""

    messenger: Messenger
    control: Control
    phases: Phases
    clock: Clock

    def send_phase(self, phase: str) -> None:
        """Send that ``phase`` begins."""
        self.messenger.send({"progress": {"phase": phase}})


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Data, network and connection of one run.

    Attributes:
        run, spec: The folder and what was requested.
        dataset, sets: All images, and which of them are for what.
        model: The compiled network.
        path: What trains it.
        forward: Its forward pass.
        images: The sets where these two find them.
        is_on_gpu: Whether a GPU trains.
        wire: The connection to the recorder.
    """

    run: RunDir
    spec: RunSpec
    dataset: Dataset
    sets: Sets
    model: keras.Model
    path: TrainingPath
    forward: Forward
    images: Placed
    is_on_gpu: bool
    wire: Wire

    @property
    def steps_per_epoch(self) -> int:
        """Training steps of one epoch; the last may be a smaller batch."""
        return math.ceil(len(self.sets.train) / self.spec.batch_size)


# TensorFlow returns before an accelerator has done its work. Every edge therefore waits for all
# devices first: work that was started inside a window is paid for inside it.
class Phases:
    """Sends the edges of windows."""

    def __init__(
        self,
        messenger: Messenger,
        synchronise: Callable[[], None],
        clock: Clock,
        entered: str = "",
    ) -> None:
        """Send by ``messenger``; ``synchronise`` returns when the devices are idle.

        ``entered`` is a window that has begun already, as by ``enter``.
        """
        self._messenger, self._synchronise, self._clock = messenger, synchronise, clock
        self._entered = entered

    def edge_s(self) -> float:
        """Wait until all devices are idle and return the time of that."""
        self._synchronise()
        return self._clock.now_s()

    def open(self, window: str, t_s: float) -> None:
        """Send that ``window`` began at ``t_s``; what was entered ends there."""
        self.leave(t_s)
        self._messenger.mark("open", window, t_s)

    def close(self, window: str, t_s: float) -> None:
        """Send that ``window`` ended at ``t_s``, and so did what was entered in it."""
        self.leave(t_s)
        self._messenger.mark("close", window, t_s)
        if window == EVALUATE:  # its predictions are scored and written at once
            self.enter(WRITE, t_s)

    def enter(self, window: str, t_s: float) -> None:
        """Send that ``window`` began at ``t_s``: it lasts until the next one begins."""
        self.open(window, t_s)
        self._entered = window

    def leave(self, t_s: float) -> None:
        """End what was entered, if anything was."""
        if self._entered:
            self._messenger.mark("close", self._entered, t_s)
        self._entered = ""

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Open ``name``, do the work, close it.

        When the work raises, the window stays open: the recorder closes it where the trace ends,
        because a failed phase used energy until then.
        """
        self.open(name, self.edge_s())
        yield
        self.close(name, self.edge_s())

    def idle(self, name: str, duration_s: float) -> None:
        """Do nothing for ``duration_s`` seconds, in a window of its own; nothing at all for 0."""
        if duration_s > 0:
            with self.window(name):
                self._clock.sleep_until(self._clock.now_s() + duration_s)


class Control:
    """Listens on a file descriptor in a thread of its own, also while TensorFlow computes.

    ``go`` lets training start, ``stop`` asks to end after this epoch. End of file means that the
    recorder is dead and nothing is measured any more, so the process ends at once.
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
        """Whether the recorder asked to stop."""
        return self._stop

    def wait_for_go(self) -> bool:
        """Wait until the recorder sends ``go`` or ``stop``; return whether to train."""
        with self._changed:
            self._changed.wait_for(lambda: self._go or self._stop)
        return not self._stop

    def release(self) -> None:
        """From now on the recorder may end: everything has been sent."""
        self._released = True

    def _listen(self) -> None:
        # Raw reads: a buffered stdin held by this thread would block the interpreter's exit.
        rest = b""
        while chunk := os.read(self._fd, 4096):
            *lines, rest = (rest + chunk).split(b"\n")
            commands = {line.strip() for line in lines}
            with self._changed:
                self._go |= b"go" in commands
                self._stop |= b"stop" in commands
                self._changed.notify_all()
        if not self._released:
            os._exit(ORPHANED)


class ProgressReporter:
    """Sends the step, and the loss and accuracy of the epoch so far."""

    def __init__(
        self, messenger: Messenger, clock: Clock, *, epochs: int, steps: int, loops: int
    ) -> None:
        """Report on ``epochs`` epochs of ``steps`` steps each, made ``loops`` times."""
        self._messenger, self._clock = messenger, clock
        self._epochs, self._steps, self._loops = epochs, steps, loops
        self._epoch, self._loop = 0, 1
        self._sent_s = -math.inf

    def begin_epoch(self, epoch: int, loop: int = 1) -> None:
        """Send that the steps of an epoch begin; of a later loop, if nothing was sent just now."""
        self._epoch, self._loop = epoch, loop
        if loop == 1:
            self._send(TRAIN, 0, {})
        else:
            self.report(0, {})

    def report(self, step: int, means: Mapping[str, Any]) -> None:
        """Send how far the epoch is, unless that was sent a moment ago."""
        if self._clock.now_s() - self._sent_s >= PROGRESS_PERIOD_S:
            self._send(TRAIN, step, means)

    def begin_validation(self) -> None:
        """Send that the epoch's validation begins."""
        self._send(VALIDATION_PHASE, self._steps, {})

    def _send(self, phase: str, step: int, logs: Mapping[str, Any]) -> None:
        self._sent_s = self._clock.now_s()
        place = {
            "phase": phase,
            "epoch": self._epoch,
            "epochs": self._epochs,
            "step": min(step, self._steps),
            "steps": self._steps,
        }
        if self._loops > 1:
            place |= {"loop": self._loop, "loops": self._loops}
        means = {name: float(logs[name]) for name in ("loss", "accuracy") if name in logs}
        self._messenger.send({"progress": place | means})
