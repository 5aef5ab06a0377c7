"""What a person sees while the machine is monitored: watts, and joules so far, of one channel."""

from __future__ import annotations

from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from wbcbench.core.text import human_duration, human_energy, human_power
from wbcbench.run.live import Now
from wbcbench.run.panel import sparkline

HEARTBEAT_S = 30.0  # between two lines in a log


class WattsView(Protocol):
    """Something that shows power while it is measured."""

    def show(self, time_s: float, now: Now) -> None:
        """Draw this moment, ``time_s`` seconds after the start."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


class WattsLine:
    """One line on a terminal, redrawn in place."""

    def __init__(self, console: Console) -> None:
        """Draw on ``console``, which must be a terminal."""
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def show(self, time_s: float, now: Now) -> None:
        """Redraw."""
        bars = sparkline(now.power_w)
        text = Text(f"{bars} {_said(time_s, now)}  (Ctrl-C ends)", no_wrap=True)
        self._live.update(text, refresh=True)

    def close(self) -> None:
        """Take the line away."""
        self._live.stop()


class WattsLog:
    """Plain lines for pipes and logs, one every half minute."""

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        self._stream = stream
        self._due_s = 0.0

    def show(self, time_s: float, now: Now) -> None:
        """Say the first moment, then one every ``HEARTBEAT_S`` seconds."""
        if time_s >= self._due_s:
            self._due_s += HEARTBEAT_S
            print(_said(time_s, now), file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing to put back."""


class WattsSilent:
    """``--quiet`` and ``--json``."""

    def show(self, time_s: float, now: Now) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Nothing to put back."""


def _said(time_s: float, now: Now) -> str:
    power = human_power(now.power_w[-1] if now.power_w else None)
    worth = f", {now.origin}" if now.origin else ""
    return (
        f"{human_duration(time_s)}  {power}  {human_energy(now.energy_j)} so far  "
        f"{now.channel}{worth}"
    )
