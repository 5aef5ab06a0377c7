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
from wbcbench.core.window import TRAIN, VALIDATION_PHASE, Clock
from wbcbench.data.dataset import Dataset
from wbcbench.train.inputs import Batches, Forward, Sets

ORPHANED = 70
"""Exit status of a trainer whose watcher died (nobody is left to see it)."""

PROGRESS_PERIOD_S = 0.5


@dataclass(frozen=True, slots=True)
class Wire:
    """How a phase talks: marks and messages out, words in, the clock."""

    messenger: Messenger
    control: Control
    phases: Phases
    clock: Clock

    def progress(self, phase: str) -> None:
        """Tell that ``phase`` begins."""
        self.messenger.send({"progress": {"phase": phase}})


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Data, network and wire of one run.

    Attributes:
        run, spec: The folder and what was asked.
        dataset, sets: All images, and which of them are for what.
        model: The compiled network.
        forward: Its forward pass.
        batches: The pipelines that feed both.
        wire: How to talk.
    """

    run: RunDir
    spec: RunSpec
    dataset: Dataset
    sets: Sets
    model: keras.Model
    forward: Forward
    batches: Batches
    wire: Wire

    @property
    def steps_per_epoch(self) -> int:
        """Training steps of one epoch; the last may be a smaller batch."""
        return math.ceil(len(self.sets.train) / self.spec.batch_size)


# TensorFlow returns before an accelerator has done its work. Every edge therefore waits for all
# devices first: work that was started inside a window is paid for inside it.
class Phases:
    """Tells the edges of windows."""

    def __init__(self, messenger: Messenger, synchronise: Callable[[], None], clock: Clock) -> None:
        """Tell through ``messenger``; ``synchronise`` returns when the devices are idle."""
        self._messenger = messenger
        self._synchronise = synchronise
        self._clock = clock

    def edge_s(self) -> float:
        """Wait until all devices are idle and return the time of that."""
        self._synchronise()
        return self._clock.now_s()

    def open(self, window: str, t_s: float) -> None:
        """Tell that ``window`` began at ``t_s``."""
        self._messenger.mark("open", window, t_s)

    def close(self, window: str, t_s: float) -> None:
        """Tell that ``window`` ended at ``t_s``."""
        self._messenger.mark("close", window, t_s)

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Open ``name``, do the work, close it.

        When the work raises, the window stays open: the watcher closes it where the trace ends,
        for the joules of a failed phase were spent until then.
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
    watcher is dead: nobody measures any more, so the process ends at once, in the middle of
    whatever it does.
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
        """Whether the watcher asked to stop."""
        return self._stop

    def wait_for_go(self) -> bool:
        """Wait until the watcher says ``go`` or ``stop``; return whether to train."""
        with self._changed:
            self._changed.wait_for(lambda: self._go or self._stop)
        return not self._stop

    def release(self) -> None:
        """From now on the watcher may go away: everything has been told."""
        self._released = True

    def _listen(self) -> None:
        # Raw reads: a buffered stdin held by this thread would block the interpreter's exit.
        rest = b""
        while chunk := os.read(self._fd, 4096):
            *words, rest = (rest + chunk).split(b"\n")
            self._hear({word.strip() for word in words})
        if not self._released:
            os._exit(ORPHANED)

    def _hear(self, words: set[bytes]) -> None:
        with self._changed:
            self._go = self._go or b"go" in words
            self._stop = self._stop or b"stop" in words
            self._changed.notify_all()


# Keras calls batch hooks in step with training unless a callback says ``async_safe``: then it hands
# the numbers, which it fetches after every batch anyway, to a thread of its own. So this costs
# training nothing (harness/decisions/0051-epoch-marks-and-progress.md).
class Progress(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Tells the step, and the loss and accuracy of the epoch so far."""

    async_safe = True  # Keras may call on_train_batch_end from another thread, and late

    def __init__(self, messenger: Messenger, clock: Clock, *, epochs: int, steps: int) -> None:
        """Tell of ``epochs`` epochs of ``steps`` steps each."""
        super().__init__()
        self._messenger = messenger
        self._clock = clock
        self._epochs = epochs
        self._steps = steps
        self._epoch = 0
        self._told_s = 0.0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tell that the steps of an epoch begin."""
        self._epoch = epoch + 1
        self._tell(TRAIN, 0, {})

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tell where the epoch stands, unless that was told a moment ago."""
        if self._clock.now_s() - self._told_s >= PROGRESS_PERIOD_S:
            self._tell(TRAIN, batch + 1, logs or {})

    def validating(self) -> None:
        """Tell that the epoch's validation begins."""
        self._tell(VALIDATION_PHASE, self._steps, {})

    def _tell(self, phase: str, step: int, logs: Mapping[str, Any]) -> None:
        self._told_s = self._clock.now_s()
        place = {
            "phase": phase,
            "epoch": self._epoch,
            "epochs": self._epochs,
            "step": min(step, self._steps),
            "steps": self._steps,
        }
        means = {name: float(logs[name]) for name in ("loss", "accuracy") if name in logs}
        self._messenger.send({"progress": place | means})
