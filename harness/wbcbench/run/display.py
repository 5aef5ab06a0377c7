"""What a person sees while a run goes on: plain lines, and what every display shows.

Views draw what they are given, at most twice a second, on standard error; standard output belongs
to results.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Protocol, TextIO

from wbcbench.core.record import Epoch
from wbcbench.core.text import human_duration, human_energy, human_power, human_share
from wbcbench.core.trace import Origin

REDRAW_S = 0.5

LINE_EVERY_S = 30.0


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


class LinesView:
    """One line an epoch, a phase and a note, and one every half minute between them."""

    def __init__(self, stream: TextIO, heartbeat_s: float = LINE_EVERY_S) -> None:
        """Write to ``stream``; silence lasts ``heartbeat_s`` seconds at most."""
        self._stream, self._heartbeat_s = stream, heartbeat_s
        self._phases: set[str] = set()
        self._said_s = time.monotonic()

    def show(self, now: Now) -> None:
        """Say when a phase begins for the first time, and that it still goes on."""
        if now.phase not in self._phases:
            self._phases.add(now.phase)
            self._say(f"{_who(now)} {now.phase}")
        elif time.monotonic() - self._said_s >= self._heartbeat_s:
            self._say(f"{_who(now)} {now.phase} {_epoch_progress(now)}{_now_spent(now)}")

    def epoch(self, epoch: Epoch, now: Now) -> None:
        """``epoch 8/30 loss=… acc=… val_acc=… power=… energy=… left=…``."""
        loss = "unknown" if epoch.loss is None else f"{epoch.loss:.4f}"
        self._say(
            f"{_who(now)} epoch {epoch.index}/{now.epochs} loss={loss} "
            f"acc={human_share(epoch.accuracy)} val_acc={human_share(epoch.val_accuracy)} "
            f"{_now_spent(now)}"
        )

    def note(self, text: str) -> None:
        """Say one sentence."""
        self._say(text)

    def close(self) -> None:
        """Nothing to put back."""

    def _say(self, text: str) -> None:
        self._said_s = time.monotonic()
        print(f"{time.strftime('%H:%M:%S')} {text}", file=self._stream, flush=True)


class SilentView:
    """``--quiet``: notes alone."""

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        self._stream = stream

    def show(self, now: Now) -> None:
        """Say nothing."""

    def epoch(self, epoch: Epoch, now: Now) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say one sentence."""
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing to put back."""


def _who(now: Now) -> str:
    return f"{now.place}: {now.run_id}" if now.place else now.run_id


def _epoch_progress(now: Now) -> str:
    return f"epoch {now.epoch}/{now.epochs} step {now.step}/{now.steps} " if now.epoch else ""


def _now_spent(now: Now) -> str:
    """Power, joules so far and what is left, of the run and of its study."""
    origin = f" ({now.origin})" if now.origin else ""
    words = [
        f"power={_joined(human_power(now.power_w[-1] if now.power_w else None))}{origin}",
        f"energy={_joined(human_energy(now.energy_j))}",
        f"left={_joined(human_duration(now.left_s))}",
    ]
    if now.place:
        words.append(f"study_left={_joined(human_duration(now.study_left_s))}")
    return " ".join(words)


def _joined(quantity: str) -> str:
    """A quantity without its space, so that a line splits at spaces."""
    return quantity.replace(" ", "")


class StudyView:
    """Any other view, told where the run stands."""

    def __init__(
        self, view: View, place: str, after_s: float | None, after_j: float | None
    ) -> None:
        """Wrap ``view``; ``after_s`` and ``after_j`` are left of the study once this run ended."""
        self._view, self._place = view, place
        self._after_s, self._after_j = after_s, after_j

    def show(self, now: Now) -> None:
        """Draw this moment."""
        self._view.show(self._placed(now))

    def epoch(self, epoch: Epoch, now: Now) -> None:
        """An epoch ended."""
        self._view.epoch(epoch, self._placed(now))

    def note(self, text: str) -> None:
        """Say one sentence."""
        self._view.note(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._view.close()

    def _placed(self, now: Now) -> Now:
        return replace(
            now,
            place=self._place,
            study_left_s=_added(now.left_s, self._after_s),
            study_left_j=_added(now.left_j, self._after_j),
        )


def _added(run: float | None, after: float | None) -> float | None:
    """What is left of the study: at least what comes after this run."""
    return None if after is None else (run or 0.0) + after
