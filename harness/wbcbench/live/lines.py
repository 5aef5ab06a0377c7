"""Plain lines for pipes and logs: one an epoch, no control codes."""

from __future__ import annotations

import time
from typing import TextIO

from wbcbench.live import Now
from wbcbench.records import Epoch
from wbcbench.show_units import human_duration, human_energy, human_power, human_share


class LinesView:
    """One line an epoch and one a note; between them silence."""

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        self._stream = stream
        self._phase = ""

    def show(self, now: Now) -> None:
        """Say when a phase begins."""
        if now.phase != self._phase:
            self._phase = now.phase
            self._say(f"{now.run_id} {now.phase}")

    def epoch(self, epoch: Epoch, now: Now) -> None:
        """``epoch 8/30 loss=… acc=… val_acc=… power=… energy=… left=…``."""
        origin = f" ({now.origin})" if now.origin else ""
        power = now.power_w[-1] if now.power_w else None
        self._say(
            f"{now.run_id} epoch {epoch.index}/{now.epochs} loss={epoch.loss:.4f} "
            f"acc={human_share(epoch.accuracy)} val_acc={human_share(epoch.val_accuracy)} "
            f"power={_joined(human_power(power))}{origin} "
            f"energy={_joined(human_energy(now.energy_j))} "
            f"left={_joined(human_duration(now.left_s))}"
        )

    def note(self, text: str) -> None:
        """Say one sentence."""
        self._say(text)

    def close(self) -> None:
        """Nothing to put back."""

    def _say(self, text: str) -> None:
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


def _joined(quantity: str) -> str:
    """A quantity without its space, so that a line splits at spaces."""
    return quantity.replace(" ", "")
