"""How a run is shown while it goes on: the base of every view, and plain lines.

Views draw what they are given, at most twice a second, on standard error; standard output belongs
to results.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TextIO

from wbcbench.core.record import Epoch
from wbcbench.core.text import human_duration, human_energy, human_power, human_share
from wbcbench.core.units import pct_from_share
from wbcbench.core.window import (
    EVALUATE,
    IDLE_COLD,
    IDLE_CONTEXT,
    IDLE_POST,
    INFERENCE_PHASE,
    STARTUP,
    TRAIN,
    VALIDATION_PHASE,
    WARMUP,
    WRITE,
)
from wbcbench.energy.thresholds import OTHERS_CPU_SHARE
from wbcbench.power.telemetry import OtherLoad
from wbcbench.run.live_state import LiveState

REDRAW_S = 0.5  # drawing more often would cost joules
LOOK_S = 1.0  # where nothing is drawn between two lines

LINE_EVERY_S = 30.0

_PHASES = {
    "preflight": "preparing",
    IDLE_COLD: "idle before",
    STARTUP: "starting",
    "loading": "loading images",
    IDLE_CONTEXT: "idle, network loaded",
    WARMUP: "warm-up",
    TRAIN: "training",
    VALIDATION_PHASE: "validation",
    EVALUATE: "test",
    WRITE: "writing results",
    INFERENCE_PHASE: "inference",
    IDLE_POST: "idle after",
}


def name_phase(phase: str) -> str:
    """A phase in words."""
    return _PHASES.get(phase, phase)


def add_up(so_far: float, left: float, scale: Callable[[float], tuple[float, str]]) -> str:
    """``11.2 so far + 30.1 left = 41.3 kJ``: rounded before they are added, so that they add up."""
    divisor, unit = scale(so_far + left)
    decimals = max(3 - len(f"{int((so_far + left) / divisor)}"), 0)
    parts = [round(value / divisor, decimals) for value in (so_far, left)]
    first, second, total = (f"{value:.{decimals}f}" for value in (*parts, sum(parts)))
    return f"{first} so far + {second} left = {total} {unit}"


def describe_others(others: OtherLoad) -> str:
    """What other programs take of the machine, where it is enough to matter; else empty."""
    parts = []
    if others.cpu_share is not None and others.cpu_share > OTHERS_CPU_SHARE:
        share = pct_from_share(others.cpu_share)
        parts.append(f"other programs take {share:.0f} % of the processors")
    if others.gpu_processes:
        processes = "process" if others.gpu_processes == 1 else "processes"
        parts.append(f"{others.gpu_processes} other {processes} on the GPU")
    return ", ".join(parts)


class View:
    """Shows what is measured; by itself notes alone, for ``--quiet``.

    Attributes:
        redraw_s: How often it wants to be drawn at most, in seconds.
    """

    redraw_s = LOOK_S

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        self._stream = stream

    def show(self, state: LiveState) -> None:
        """Draw the state; called at most every ``redraw_s`` seconds."""

    def show_epoch(self, epoch: Epoch, state: LiveState) -> None:
        """Show an epoch that ended; a view without a history redraws."""
        self.show(state)

    def note(self, text: str) -> None:
        """Print one sentence."""
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the terminal as it was."""


class LinesView(View):
    """One line an epoch, a phase and a note, and one every half minute between them."""

    redraw_s = 0.0  # so that no phase goes unseen

    def __init__(self, stream: TextIO, heartbeat_s: float = LINE_EVERY_S) -> None:
        """Write to ``stream``, at least every ``heartbeat_s`` seconds."""
        super().__init__(stream)
        self._heartbeat_s = heartbeat_s
        self._phases: set[str] = set()
        self._printed_s = time.monotonic()

    def show(self, state: LiveState) -> None:
        """Print a phase when it begins for the first time, and that it still goes on."""
        if state.phase not in self._phases:
            self._phases.add(state.phase)
            others = describe_others(state.others)
            self.note(f"{_format_run(state)} {name_phase(state.phase)}{others and f' ({others})'}")
        elif time.monotonic() - self._printed_s >= self._heartbeat_s:
            loop = f"loop {state.loop}/{state.loops} " if state.loops > 1 else ""
            place = f"{loop}epoch {state.epoch}/{state.epochs} step {state.step}/{state.steps} "
            step = place if state.epoch else ""
            self.note(
                f"{_format_run(state)} {name_phase(state.phase)} {step}{_format_energy(state)}"
            )

    def show_epoch(self, epoch: Epoch, state: LiveState) -> None:
        """``epoch 8/30 loss=… acc=… val_acc=… power=… energy=… left=…``."""
        loss = "unknown" if epoch.loss is None else f"{epoch.loss:.4f}"
        self.note(
            f"{_format_run(state)} epoch {epoch.index}/{state.epochs} loss={loss} "
            f"acc={human_share(epoch.accuracy)} val_acc={human_share(epoch.val_accuracy)} "
            f"{_format_energy(state)}"
        )

    def note(self, text: str) -> None:
        """Print one sentence with the time of day."""
        self._printed_s = time.monotonic()
        super().note(f"{time.strftime('%H:%M:%S')} {text}")


def _format_run(state: LiveState) -> str:
    return f"{state.place}: {state.run_id}" if state.place else state.run_id


def _format_energy(state: LiveState) -> str:
    """Power, joules so far and what is left, of the run and of its study."""
    quantities = {
        "power": human_power(state.power_w[-1] if state.power_w else None),
        "energy": human_energy(state.energy_j),
        "left": human_duration(state.left_s),
        **({"study_left": human_duration(state.study_left_s)} if state.place else {}),
    }
    # Without the space before its unit, so that a line splits at spaces.
    parts = [f"{name}={quantity.replace(' ', '')}" for name, quantity in quantities.items()]
    if state.origin:
        parts.insert(1, f"({state.origin})")
    return " ".join(parts)


class WattsLog(View):
    """Plain lines for the power of a machine, one every half minute."""

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        super().__init__(stream)
        self._due_s = 0.0

    def show(self, state: LiveState) -> None:
        """Print the first state, then one every half minute."""
        if state.time_s >= self._due_s:
            self._due_s += LINE_EVERY_S
            self.note(format_watts(state))


def format_watts(state: LiveState) -> str:
    """``2 min 31 s  274 W  41.3 kJ so far  GPU counter, measured``."""
    power = human_power(state.power_w[-1] if state.power_w else None)
    origin = f", {state.origin}" if state.origin else ""
    return (
        f"{human_duration(state.time_s)}  {power}  {human_energy(state.energy_j)} so far  "
        f"{state.source}{origin}"
    )


class StudyView(View):
    """Any other view, for a run of a study."""

    def __init__(
        self, view: View, place: str, after_s: float | None, after_j: float | None
    ) -> None:
        """Wrap ``view``; ``after_s`` and ``after_j`` are left of the study once this run ended."""
        self._view, self._place, self.redraw_s = view, place, view.redraw_s
        self._after_s, self._after_j = after_s, after_j

    def show(self, state: LiveState) -> None:
        """Draw the state."""
        self._view.show(self._add_study(state))

    def show_epoch(self, epoch: Epoch, state: LiveState) -> None:
        """Show an epoch that ended."""
        self._view.show_epoch(epoch, self._add_study(state))

    def note(self, text: str) -> None:
        """Print one sentence."""
        self._view.note(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._view.close()

    def _add_study(self, state: LiveState) -> LiveState:
        """What is left of the study is at least what comes after this run."""
        after_s, after_j = self._after_s, self._after_j
        return replace(
            state,
            place=self._place,
            study_left_s=None if after_s is None else (state.left_s or 0.0) + after_s,
            study_left_j=None if after_j is None else (state.left_j or 0.0) + after_j,
        )
