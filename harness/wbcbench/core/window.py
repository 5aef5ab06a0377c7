"""Windows: named spans of the monotonic clock, their names and joules, and that clock.

The names are part of the format: they stand in marks, records and tables.

    whole_run     from the first poll to the end of the last phase; all others lie in it
    idle_cold     nothing of the run is on the board yet
    startup       from the trainer's start to a network in memory
    import        in ``startup``: Python starts and loads TensorFlow
    context       in ``startup``: the device's context is made
    data          in ``startup``: images are found, read and divided
    build         in ``startup``: the network is made
    batch         in ``startup``: images are put into batches, and their order noted
    idle_context  the device's context is held, nothing is computed
    compile       the first call of each function, which trace and compile: undone
    warmup        steps whose effect is undone
    train         all training steps and validation passes, of all loops
    epoch-3       the training steps of one epoch, in ``train``
    validate-3    the validation pass after them, in ``train``
    cut-loop      the loop in which a run was stopped, after those that ``train`` holds
    evaluate      one pass over TEST
    evaluate-loops  the same with the last weights of each loop
    write         predictions are scored and written
    infer-b64     inference in batches of 64
    exit          the trainer says that it is done, and ends
    idle_post     the trainer has ended
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

STARTUP = "startup"
WARMUP = "warmup"
TRAIN = "train"
EVALUATE = "evaluate"
EVALUATE_LOOPS = "evaluate-loops"

# There for the bill of a run alone; records of before it have none of them.
RUN = "whole_run"
IMPORT = "import"
CONTEXT = "context"
DATA = "data"
BUILD = "build"
BATCH = "batch"
COMPILE = "compile"
CUT_LOOP = "cut-loop"
COMPILE_INFERENCE = "compile-inference"  # the first calls of each batch size
WRITE = "write"
EXIT = "exit"
STARTUP_PARTS = (IMPORT, CONTEXT, DATA, BUILD, BATCH)

IDLE_COLD = "idle_cold"
IDLE_CONTEXT = "idle_context"
IDLE_POST = "idle_post"

# The idle power of a run: with the device's context held if that was measured, else without.
IDLE_BEFORE = (IDLE_CONTEXT, IDLE_COLD)
IDLE_AFTER = (IDLE_POST,)

# Windows outside a run.
FIT = "fit"  # one call of Keras' ``fit``, validation included
WHOLE = "whole"  # the block of a ``Meter``
COMMAND = "command"  # what ``monitor`` started
MACHINE = "machine"  # ``monitor`` without a command
IDLE = "idle"  # what ``doctor`` samples
_MAIN = (TRAIN, FIT, WHOLE, COMMAND, MACHINE)

# Phases of the live display that span several windows.
VALIDATION_PHASE = "validate"
INFERENCE_PHASE = "inference"

INFERENCE_BATCHES = (1, 64)  # sizes, each a window

_BETWEEN = (COMPILE, CUT_LOOP, COMPILE_INFERENCE, WRITE, EXIT)
_CONSECUTIVE = (STARTUP, WARMUP, TRAIN, EVALUATE, EVALUATE_LOOPS, *_BETWEEN)
# The phase of the live display that these are part of.
_PHASES = dict.fromkeys(STARTUP_PARTS, STARTUP) | {
    COMPILE: WARMUP,
    CUT_LOOP: TRAIN,
    EVALUATE_LOOPS: EVALUATE,
    EXIT: WRITE,
}

_EPOCH = "epoch-"
_VALIDATE = "validate-"
_INFER = "infer-"
_IDLE = "idle_"


def epoch(number: int) -> str:
    """The training steps of one epoch, counted from 1."""
    return f"{_EPOCH}{number}"


def validate(number: int) -> str:
    """The validation pass after one epoch, counted from 1."""
    return f"{_VALIDATE}{number}"


def infer(batch_size: int) -> str:
    """Inference in batches of one size."""
    return f"{_INFER}b{batch_size}"


def find_main(names: Collection[str]) -> str:
    """The window whose joules are quoted first: ``train``, or all of a measured program."""
    return next((name for name in _MAIN if name in names), TRAIN)


def is_epoch(name: str) -> bool:
    """Whether it holds the training steps of one epoch, which are in ``train``, too."""
    return name.startswith(_EPOCH)


def is_validation(name: str) -> bool:
    """Whether it is a validation pass: inside ``train``, and not counted in it."""
    return name.startswith(_VALIDATE)


def is_work(name: str) -> bool:
    """Whether it holds training, validation, evaluation or inference."""
    return name in (TRAIN, EVALUATE, EVALUATE_LOOPS) or name.startswith((_EPOCH, _VALIDATE, _INFER))


def is_idle(name: str) -> bool:
    """Whether nothing of the run is computed in it."""
    return name.startswith(_IDLE)


def is_consecutive(name: str) -> bool:
    """Whether it is one of the windows of a run that follow each other and never overlap."""
    return name in _CONSECUTIVE or name.startswith((_IDLE, _INFER))


def is_for_bill(name: str) -> bool:
    """Whether a run has it for its bill alone: what goes wrong in it spoils no measurement."""
    return name in (RUN, *STARTUP_PARTS, *_BETWEEN)


def phase(name: str) -> str:
    """The phase of the live display that a window belongs to: ``epoch-3`` is part of ``train``."""
    if name.startswith(_EPOCH):
        return TRAIN
    if name.startswith(_INFER) or name == COMPILE_INFERENCE:
        return INFERENCE_PHASE
    return VALIDATION_PHASE if is_validation(name) else _PHASES.get(name, name)


@dataclass(frozen=True, slots=True)
class Window:
    """A named span of the monotonic clock over which energy is stated."""

    name: str
    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class WindowEnergy:
    """The joules of one window on one channel; ``None`` is unknown, never zero.

    Attributes:
        window: Name of the window.
        channel: Name of the channel.
        energy_j: Joules, as measured; ``None`` where the trace does not tell.
        uncertainty_j: Half-width of the stated interval at about 95 %; ``None`` if not worked out.
        mean_power_w: ``energy_j`` over the window's duration.
        samples: Good readings inside the window.
        max_gap_s: Longest time without a good reading that touches the window.
        reason: Why ``energy_j`` is ``None``; empty otherwise.
    """

    window: str
    channel: str
    energy_j: float | None
    uncertainty_j: float | None
    mean_power_w: float | None
    samples: int
    max_gap_s: float | None
    reason: str = ""


# ``CLOCK_MONOTONIC`` is shared by all processes of a machine, so the recorder and the trainer stamp
# on one time axis. The wall clock is read once a run, for provenance; it never enters a duration.
class Clock(Protocol):
    """Where a part that measures or waits takes its time from."""

    def now_s(self) -> float:
        """Seconds on a clock that never steps."""

    def sleep_until(self, deadline_s: float) -> None:
        """Return when ``now_s() >= deadline_s``."""


class MonotonicClock:
    """The machine's own monotonic clock."""

    # Seconds since an arbitrary start, common to all processes of this machine.
    now_s = staticmethod(time.monotonic)

    def sleep_until(self, deadline_s: float) -> None:
        """Sleep to an absolute deadline; return at once when it has passed."""
        left_s = deadline_s - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)


def utc_now() -> str:
    """The wall clock as ISO-8601 in UTC, for provenance only."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def unix_s(utc: str) -> float:
    """Seconds since 1970 of a moment as ``utc_now`` writes it."""
    return datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp()
