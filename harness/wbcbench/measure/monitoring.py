"""Joules of any command, or of the machine until Ctrl-C.

The same meters, sampler, arithmetic and checks as a run; what is measured is not ours.
"""

from __future__ import annotations

import contextlib
import csv
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from wbcbench.core.errors import InterruptedRunError
from wbcbench.core.run_folder import RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Kind, Trace
from wbcbench.core.window import COMMAND, MACHINE, Clock, MonotonicClock, Window
from wbcbench.energy.account import Story
from wbcbench.energy.integrate import EnergyCurve, energy_curve
from wbcbench.energy.source import followed
from wbcbench.measure.child_command import ChildCommand, signals_to
from wbcbench.measure.spans import Recorded, Span, recorded, with_write_error
from wbcbench.power.session import Asked, Recording
from wbcbench.run.display import REDRAW_S
from wbcbench.run.live_state import Teller
from wbcbench.run.panel import WattsView

CSV_COLUMNS = ("time_s", "channel", "domain", "origin", "power_w", "energy_j")


@dataclass(frozen=True, slots=True)
class Monitored:
    """What was seen.

    Attributes:
        span: The joules, doubts and verdict.
        exit_status: The command's, 128 + n after signal n; ``None`` without a command.
        recorded: Every poll, for ``write_polls``.
    """

    span: Span
    exit_status: int | None
    recorded: Recorded


def monitor_command(
    asked: Asked, command: Sequence[str], *, stdout: int | None = None, clock: Clock | None = None
) -> Monitored:
    """Measure ``command`` from its start to its end.

    Args:
        asked: The meters.
        command: Program and arguments; see ``child_command.check``.
        stdout: File descriptor for its standard output; ``None`` for ours.
        clock: Source of time; the machine's own unless another is handed in.

    Raises:
        CannotMeasureError: No meter works, or one asked for by name does not.
        CommandNotRunnableError: The command cannot be started.
        InterruptedRunError: Ctrl-C before the command began.
    """
    clock = clock or MonotonicClock()
    with tempfile.TemporaryDirectory(prefix="wbcbench-") as folder:
        run = RunDir(Path(folder))
        with _until_interrupted(), Recording(run, asked, clock) as recording:
            recording.rest()
            child = _carried_out(recording, command, clock, stdout)
        kept = recorded(run)
    span = with_write_error(kept.span(child.window), _reason(recording))
    return Monitored(span, child.exit_status, kept)


def monitor_machine(asked: Asked, view: WattsView, clock: Clock | None = None) -> Monitored:
    """Measure until the first Ctrl-C or SIGTERM.

    Args:
        asked: The meters.
        view: What shows the power meanwhile.
        clock: Source of time; the machine's own unless another is handed in.

    Raises:
        CannotMeasureError: No meter works, or one asked for by name does not.
        InterruptedRunError: Ctrl-C before measuring began.
    """
    clock = clock or MonotonicClock()
    with tempfile.TemporaryDirectory(prefix="wbcbench-") as folder:
        run = RunDir(Path(folder))
        with _until_interrupted(), Recording(run, asked, clock) as recording:
            recording.rest()
            window = _watched(recording, view, clock)
        kept = recorded(run)
    return Monitored(with_write_error(kept.span(window), _reason(recording)), None, kept)


@contextlib.contextmanager
def _until_interrupted() -> Iterator[None]:
    """Turn a Ctrl-C that nobody else takes into its error."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRunError("Interrupted before anything was measured.") from None


def _carried_out(
    recording: Recording, command: Sequence[str], clock: Clock, stdout: int | None
) -> ChildCommand:
    """Run the command to its end and past it; signals are its own to answer."""
    early: list[int] = []
    with signals_to(early.append):
        child = ChildCommand(command, COMMAND, clock, stdout)
        with signals_to(child.hear):
            for number in early:
                child.hear(number)
            child.ended.wait()
        recording.rest()
    return child


def _watched(recording: Recording, view: WattsView, clock: Clock) -> Window:
    """Show the power until a signal comes, and sample past it."""
    asked_to_stop = threading.Event()
    with signals_to(lambda _: asked_to_stop.set()), contextlib.closing(view):
        start_s = clock.now_s()
        _show(recording, view, clock, asked_to_stop)
        window = Window(MACHINE, start_s, clock.now_s())
        recording.rest()
    return window


def _show(
    recording: Recording, view: WattsView, clock: Clock, asked_to_stop: threading.Event
) -> None:
    channel, start_s = followed(recording.channels), clock.now_s()
    teller = Teller(MACHINE, RunSpec(variant=""), channel, recording.sampler, clock)
    while not asked_to_stop.wait(REDRAW_S) and recording.error is None:
        view.show(clock.now_s() - start_s, teller.now(Story(), MACHINE))


def _reason(recording: Recording) -> str | None:
    return recording.error.strerror if recording.error else None


def write_polls(stream: TextIO, done: Monitored) -> None:
    """Write every good reading inside the span as CSV, joules and seconds from its start.

    ``power_w`` is the reading of a sampled channel; of a counter, the mean since the reading
    before, empty at its first. ``energy_j`` is empty where the joules of the span are unknown.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for trace in done.recorded.traces:
        writer.writerows(_polls(trace, done.span.window))


def _polls(trace: Trace, window: Window) -> Iterator[tuple[object, ...]]:
    channel, curve = trace.channel, energy_curve(trace)
    before: tuple[float, float] | None = None
    for t_s, value in zip(*trace.good, strict=True):
        if window.start_s <= t_s <= window.end_s:
            power_w = value if channel.kind is Kind.SAMPLED else _slope_w(before, t_s, curve)
            energy_j = curve.at(t_s) - curve.at(window.start_s)
            place_s = t_s - window.start_s
            yield place_s, channel.name, channel.domain, channel.origin, power_w, energy_j
            before = (t_s, curve.at(t_s))


def _slope_w(before: tuple[float, float] | None, t_s: float, curve: EnergyCurve) -> float | None:
    if before is None or t_s <= before[0]:
        return None
    return (curve.at(t_s) - before[1]) / (t_s - before[0])
