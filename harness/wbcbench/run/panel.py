"""The live panel on a terminal, and the watts of a machine that is monitored."""

from __future__ import annotations

from typing import Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wbcbench.core.record import Epoch
from wbcbench.core.text import human_duration, human_energy, human_power, human_share
from wbcbench.core.window import TRAIN
from wbcbench.run.display import REDRAW_S, Now

_BARS = "▁▂▃▄▅▆▇█"
_SPARK = 24

_WATTS_LINE_EVERY_S = 30.0  # between two lines in a log


class PanelView:
    """One panel, redrawn in place."""

    def __init__(self, console: Console) -> None:
        """Draw on ``console``, which must be a terminal."""
        # Redrawn only when told: rich's own refresh thread would wake for nothing.
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def show(self, now: Now) -> None:
        """Redraw."""
        self._live.update(_panel(now), refresh=True)

    def epoch(self, epoch: Epoch, now: Now) -> None:
        """Redraw; the panel has no history."""
        self.show(now)

    def note(self, text: str) -> None:
        """Write one line above the panel."""
        self._live.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Take the panel away."""
        self._live.stop()


def _sparkline(values: tuple[float, ...]) -> str:
    """Bars from zero to the highest value: a flat line means constant power, high or low."""
    recent = values[-_SPARK:]
    top = max(recent, default=0.0)
    if top <= 0:
        return ""
    return "".join(_BARS[round(max(value, 0.0) / top * (len(_BARS) - 1))] for value in recent)


def _panel(now: Now) -> Panel:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bold", no_wrap=True)
    rows.add_column()
    rows.add_row(now.phase, _progress(now))
    rows.add_row("quality", _quality(now))
    rows.add_row("power", _power(now))
    rows.add_row("energy", Text(f"{human_energy(now.energy_j)} so far{_worth(now)}"))
    rows.add_row("left", Text(_left(now)))
    if now.place:
        rows.add_row("study", Text(_study_left(now)))
    title = Text(f"{now.run_id}  {now.place}".strip(), overflow="ellipsis", no_wrap=True)
    return Panel(rows, title=title, title_align="left")


def _progress(now: Now) -> Group:
    if not now.epochs or not now.epoch:
        return Group(Text("…"))
    steps = f", step {now.step} of {now.steps}" if now.steps else ""
    is_under_way = now.phase == TRAIN
    within = now.step / now.steps if now.steps and is_under_way else float(not is_under_way)
    bar = ProgressBar(total=now.epochs, completed=now.epoch - 1 + within, width=30)
    return Group(Text(f"epoch {now.epoch} of {now.epochs}{steps}"), bar)


def _quality(now: Now) -> Text:
    loss = "–" if now.loss is None else f"{now.loss:.4f}"
    return Text(
        f"loss {loss}  accuracy {human_share(now.accuracy)}  val {human_share(now.val_accuracy)}"
    )


def _power(now: Now) -> Text:
    power = human_power(now.power_w[-1] if now.power_w else None)
    age = "" if now.age_s is None else f", {now.age_s:.1f} s ago"
    return Text(f"{_sparkline(now.power_w)} {power}  {now.channel}{age}")


def _worth(now: Now) -> str:
    return f", {now.origin}" if now.origin else ""


def _left(now: Now) -> str:
    if now.left_s is None:
        return "after the first epoch"
    return f"{human_duration(now.left_s)}, {human_energy(now.left_j)}"


def _study_left(now: Now) -> str:
    if now.study_left_s is None:
        return "after the first run"
    return f"{human_duration(now.study_left_s)}, {human_energy(now.study_left_j)} left"


assert REDRAW_S >= 0.5, "drawing more often than twice a second would cost joules"


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
        bars = _sparkline(now.power_w)
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
            self._due_s += _WATTS_LINE_EVERY_S
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
