"""What a person sees while a run goes on: a panel on a terminal, plain lines elsewhere.

Views draw what they are given, at most twice a second, on standard error; standard output belongs
to results. They know nothing of meters, files or the trainer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wbcbench.core.record import Epoch
from wbcbench.core.trace import Origin

REDRAW_S = 0.5


@dataclass(frozen=True, slots=True)
class Now:
    """One moment of a run.

    Attributes:
        run_id, variant: Which run.
        phase: ``idle``, ``startup``, ``warmup``, ``train``, ``evaluate``, ``inference`` …
        epoch, epochs: One-based place in training; 0 before it.
        step, steps: Place in the epoch; 0 if unknown.
        loss, accuracy, val_accuracy: Last known; ``None`` before.
        power_w: Last power readings of the headline channel, oldest first.
        energy_j: Joules since the run began on that channel; ``None`` if unknown.
        channel, origin: Which channel that is, and what its numbers are worth.
        age_s: Age of the last reading.
        left_s, left_j: What is left of the training; ``None`` before the first epoch ended.
        place: Place in a study, ``run 3/12, block 1/3``; empty for a single run.
        study_left_s, study_left_j: What is left of the study, this run included.
    """

    run_id: str
    variant: str
    phase: str
    epoch: int
    epochs: int
    step: int = 0
    steps: int = 0
    loss: float | None = None
    accuracy: float | None = None
    val_accuracy: float | None = None
    power_w: tuple[float, ...] = ()
    energy_j: float | None = None
    channel: str = ""
    origin: Origin | None = None
    age_s: float | None = None
    left_s: float | None = None
    left_j: float | None = None
    place: str = ""
    study_left_s: float | None = None
    study_left_j: float | None = None


class View(Protocol):
    """Something that shows a run."""

    def show(self, now: Now) -> None:
        """Draw this moment; called at most every ``REDRAW_S`` seconds."""
        ...

    def epoch(self, epoch: Epoch, now: Now) -> None:
        """An epoch ended."""
        ...

    def note(self, text: str) -> None:
        """Say one sentence."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...
