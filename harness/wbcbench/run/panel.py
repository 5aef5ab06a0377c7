"""Views on a terminal by rich: the panel of a run, and the watts of a machine that is monitored."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wbcbench.core.text import human_duration, human_energy, human_power, human_share, printable
from wbcbench.core.window import TRAIN
from wbcbench.run.display import REDRAW_S, View, format_watts
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
    accuracy, val = human_share(state.accuracy), human_share(state.val_accuracy)
    origin = f", {state.origin}" if state.origin else ""
    left = f"{human_duration(state.left_s)}, {human_energy(state.left_j)}"
    rows = {
        state.phase: _render_progress(state),
        "quality": Text(f"loss {loss}  accuracy {accuracy}  val {val}"),
        "power": _render_power(state),
        "energy": Text(f"{human_energy(state.energy_j)} so far{origin}"),
        "left": Text("after the first epoch" if state.left_s is None else left),
    }
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


def _render_progress(state: LiveState) -> Group | Text:
    if not state.epochs or not state.epoch:
        return Text("…")
    steps = f", step {state.step} of {state.steps}" if state.steps else ""
    is_training = state.phase == TRAIN
    within = state.step / state.steps if state.steps and is_training else float(not is_training)
    bar = ProgressBar(total=state.epochs, completed=state.epoch - 1 + within, width=30)
    return Group(Text(f"epoch {state.epoch} of {state.epochs}{steps}"), bar)


def _render_power(state: LiveState) -> Text:
    power = human_power(state.power_w[-1] if state.power_w else None)
    age = "" if state.age_s is None else f", {state.age_s:.1f} s ago"
    return Text(f"{_render_sparkline(state.power_w)} {power}  {state.channel}{age}")


class WattsLine(LiveDrawing):
    """The power of a machine in one line, redrawn in place."""

    def show(self, state: LiveState) -> None:
        """Redraw."""
        line = f"{_render_sparkline(state.power_w)} {format_watts(state)}  (Ctrl-C ends)"
        self._live.update(Text(line, no_wrap=True), refresh=True)
