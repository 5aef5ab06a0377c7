"""Plain lines for pipes and logs: one an epoch, no control codes."""

from __future__ import annotations

import time
from typing import TextIO

from wbcbench.core.record import Epoch
from wbcbench.core.text import human_duration, human_energy, human_power, human_share
from wbcbench.run.live import Now

HEARTBEAT_S = 30.0


class LinesView:
    """One line an epoch, a phase and a note, and one every half minute between them."""

    def __init__(self, stream: TextIO, heartbeat_s: float = HEARTBEAT_S) -> None:
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
            self._say(f"{_who(now)} {now.phase} {_progress(now)}{_now_spent(now)}")

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


def _progress(now: Now) -> str:
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
