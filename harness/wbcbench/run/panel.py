"""Views on a terminal by rich: the panel of a run, and the watts of a machine that is monitored."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wbcbench.core.text import (
    energy_scale,
    human_duration,
    human_energy,
    human_power,
    printable,
    time_scale,
)
from wbcbench.core.units import pct_from_share
from wbcbench.core.window import TRAIN, VALIDATION_PHASE
from wbcbench.run.display import REDRAW_S, View, add_up, describe_others, format_watts, name_phase
from wbcbench.run.live_state import LiveState

_BARS = "▁▂▃▄▅▆▇█"
_SPARK = 24


class LiveDrawing(View):
    """What is redrawn in place on a terminal."""

    redraw_s = REDRAW_S

    def __init__(self, console: Console) -> None:
        """Draw on ``console``, which must be a terminal."""
        # Redrawn by ``show`` alone: rich's own refresh thread would wake for nothing.
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def note(self, text: str) -> None:
        """Print one line above the drawing."""
        self._live.console.print(printable(text), markup=False, highlight=False)

    def close(self) -> None:
        """Remove the drawing."""
        self._live.stop()


class PanelView(LiveDrawing):
    """One panel, redrawn in place."""

    def show(self, state: LiveState) -> None:
        """Redraw."""
        self._live.update(_render_panel(state), refresh=True)


def _render_sparkline(values: tuple[float, ...]) -> str:
    """Bars from zero to the highest value: a flat line means constant power, high or low."""
    recent = values[-_SPARK:]
    top = max(recent, default=0.0)
    if top <= 0:
        return ""
    return "".join(_BARS[round(max(value, 0.0) / top * (len(_BARS) - 1))] for value in recent)


def _render_panel(state: LiveState) -> Panel:
    loss = "–" if state.loss is None else f"{state.loss:.4f}"
    accuracy, val = _format_share(state.accuracy), _format_share(state.val_accuracy)
    rows = {
        "phase": _render_progress(state),
        "quality": Text(f"loss {loss}  accuracy {accuracy}  validation {val}"),
        "power": _render_power(state),
        "time": Text(_describe_time(state)),
        "run energy": Text(_describe_energy(state)),
    }
    if busy := describe_others(state.others):
        rows["busy"] = Text(busy)
    if state.place:
        left = f"{human_duration(state.study_left_s)}, {human_energy(state.study_left_j)} left"
        rows["study"] = Text("after the first run" if state.study_left_s is None else left)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, cell in rows.items():
        table.add_row(name, cell)
    title = Text(f"{state.run_id}  {state.place}".strip(), overflow="ellipsis", no_wrap=True)
    return Panel(table, title=title, title_align="left")


def _format_share(share: float | None) -> str:
    return "–" if share is None else f"{pct_from_share(share):.1f} %"


def _describe_time(state: LiveState) -> str:
    """What is gone and what is left, which add up to the whole."""
    if state.left_s is None:
        return f"{human_duration(round(state.time_s))} so far; the rest is known after an epoch"
    return add_up(state.time_s, state.left_s, time_scale)


def _describe_energy(state: LiveState) -> str:
    """The same of the joules, with what reads them."""
    source = ", ".join(filter(None, (state.source, str(state.origin or ""))))
    if state.energy_j is None:
        return f"unknown  {source}".rstrip()
    if state.left_j is None:
        return f"{human_energy(state.energy_j)} so far  {source}"
    return f"{add_up(state.energy_j, state.left_j, energy_scale)}  {source}"


def _render_progress(state: LiveState) -> Group | Text:
    words = name_phase(state.phase)
    if state.phase not in (TRAIN, VALIDATION_PHASE) or not state.epochs or not state.epoch:
        return Text(words)
    steps = f", step {state.step} of {state.steps}" if state.steps else ""
    is_training = state.phase == TRAIN
    within = state.step / state.steps if state.steps and is_training else float(not is_training)
    bar = ProgressBar(total=state.epochs, completed=state.epoch - 1 + within, width=30)
    loop = f", loop {state.loop} of {state.loops}" if state.loops > 1 else ""
    return Group(Text(f"{words}{loop}, epoch {state.epoch} of {state.epochs}{steps}"), bar)


def _render_power(state: LiveState) -> Text:
    power = human_power(state.power_w[-1] if state.power_w else None)
    age = "" if state.age_s is None else f"  {state.age_s:.1f} s ago"
    return Text(f"{_render_sparkline(state.power_w)} {power}{age}")


class WattsLine(LiveDrawing):
    """The power of a machine in one line, redrawn in place."""

    def show(self, state: LiveState) -> None:
        """Redraw."""
        line = f"{_render_sparkline(state.power_w)} {format_watts(state)}  (Ctrl-C ends)"
        self._live.update(Text(line, no_wrap=True), refresh=True)
