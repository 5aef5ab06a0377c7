"""Energy of any command, or of the machine until Ctrl-C."""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

from wbcbench.core.errors import InterruptedRunError, UsageError
from wbcbench.core.run_folder import RunDir
from wbcbench.core.spec import RunSpec
from wbcbench.core.trace import Kind, Trace
from wbcbench.core.window import COMMAND, MACHINE, Clock, MonotonicClock, Window
from wbcbench.energy.account import RunEvents
from wbcbench.energy.integrate import EnergyCurve, energy_curve
from wbcbench.energy.source import live_channel
from wbcbench.measure.spans import Recorded, Span, recorded, with_write_error
from wbcbench.power.session import MeteringRequest, MeteringSession, sampling
from wbcbench.run.display import REDRAW_S
from wbcbench.run.live_state import LiveProgress
from wbcbench.run.panel import WattsView

# A user's command as a child: found, started, told of signals, waited for.
#
# Its standard input, output and error are ours, untouched. It stays in our process group, so that a
# Ctrl-C on the terminal and job control reach it as they would without us; a signal that reached us
# alone is passed on.


PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
PATIENCE = 3  # the Ctrl-C that ends a command which would not end
_BY_SIGNAL = 128  # as a shell states it


class CommandNotFoundError(UsageError):
    """There is no such command; the exit status is the one a shell gives."""

    exit_code = 127


class CommandNotRunnableError(UsageError):
    """The command is there and cannot be started; the exit status is the one a shell gives."""

    exit_code = 126


def check(command: Sequence[str]) -> None:
    """See that a command can be started, before anything is measured.

    Raises:
        CommandNotFoundError: Nothing of that name is on PATH.
        CommandNotRunnableError: It is a folder, or may not be executed.
    """
    name = command[0]
    if shutil.which(name):
        return
    if os.sep in name and os.path.lexists(name):
        raise CommandNotRunnableError(
            f"{name} cannot be run: it is a folder or not executable. Nothing was measured. "
            f"Put its interpreter before it, or allow it with `chmod +x {name}`."
        )
    raise CommandNotFoundError(
        f"There is no command {name!r}. Nothing was measured. Check its spelling and PATH; "
        "a shell's own word or a pipeline needs a shell: `wbcbench monitor -- sh -c '…'`."
    )


class ChildCommand:
    """A command that goes on; ``window`` and ``exit_status`` are known once ``ended`` is set."""

    def __init__(self, command: Sequence[str], name: str, clock: Clock, stdout: int | None) -> None:
        """Start it.

        Args:
            command: Program and arguments.
            name: Name of its window.
            clock: Source of time.
            stdout: File descriptor for its standard output; ``None`` for ours.

        Raises:
            CommandNotRunnableError: The system cannot start it.
        """
        self._name, self._clock = name, clock
        self._interrupts = 0
        self.ended = threading.Event()
        self.window = Window(name, 0.0, 0.0)
        start_s = clock.now_s()
        try:
            self._process = subprocess.Popen(command, stdout=stdout)
        except OSError as error:
            raise CommandNotRunnableError(f"{command[0]} cannot be run: {error}.") from error
        # A waiting thread stamps the end when it comes; polling would stamp it late.
        threading.Thread(target=self._wait, args=(start_s,), daemon=True).start()

    def _wait(self, start_s: float) -> None:
        self._process.wait()
        self.window = Window(self._name, start_s, self._clock.now_s())
        self.ended.set()

    @property
    def exit_status(self) -> int:
        """Its exit status, or 128 + n where signal n ended it."""
        status = self._process.returncode
        return _BY_SIGNAL - status if status < 0 else status

    def hear(self, number: int) -> None:
        """Pass a signal on; the third Ctrl-C ends the command whatever it thinks of it."""
        self._interrupts += number == signal.SIGINT
        if self._interrupts >= PATIENCE:
            number = signal.SIGKILL
        elif number in (signal.SIGINT, signal.SIGQUIT) and _from_terminal():
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


def _from_terminal() -> bool:
    """Whether the terminal's keys reach our group: then the command has heard them, too."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


@contextlib.contextmanager
def signals_to(hear: Callable[[int], None]) -> Iterator[None]:
    """Give every signal that would end us to ``hear`` for a while."""

    def handler(number: int, _: FrameType | None) -> None:
        hear(number)

    before = {number: signal.signal(number, handler) for number in PASSED_ON}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


# Joules of any command, or of the machine until Ctrl-C.
#
# The same meters, sampler, arithmetic and checks as a run; what is measured is not ours.


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
    asked: MeteringRequest,
    command: Sequence[str],
    *,
    stdout: int | None = None,
    clock: Clock | None = None,
) -> Monitored:
    """Measure ``command`` from its start to its end.

    Args:
        asked: The meters.
        command: Program and arguments; see ``check``.
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
        with _until_interrupted(), sampling(run, asked, clock) as session:
            session.rest()
            child = _carried_out(session, command, clock, stdout)
        kept = recorded(run)
    span = with_write_error(kept.span(child.window), session.error)
    return Monitored(span, child.exit_status, kept)


def monitor_machine(
    asked: MeteringRequest, view: WattsView, clock: Clock | None = None
) -> Monitored:
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
        with _until_interrupted(), sampling(run, asked, clock) as session:
            session.rest()
            window = _watched(session, view, clock)
        kept = recorded(run)
    return Monitored(with_write_error(kept.span(window), session.error), None, kept)


@contextlib.contextmanager
def _until_interrupted() -> Iterator[None]:
    """Turn a Ctrl-C that nobody else takes into its error."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRunError("Interrupted before anything was measured.") from None


def _carried_out(
    session: MeteringSession, command: Sequence[str], clock: Clock, stdout: int | None
) -> ChildCommand:
    """Run the command to its end and past it; signals are its own to answer."""
    early: list[int] = []
    with signals_to(early.append):
        child = ChildCommand(command, COMMAND, clock, stdout)
        with signals_to(child.hear):
            for number in early:
                child.hear(number)
            child.ended.wait()
        session.rest()
    return child


def _watched(session: MeteringSession, view: WattsView, clock: Clock) -> Window:
    """Show the power until a signal comes, and sample past it."""
    stop_requested = threading.Event()
    with signals_to(lambda _: stop_requested.set()), contextlib.closing(view):
        start_s = clock.now_s()
        _show(session, view, clock, stop_requested)
        window = Window(MACHINE, start_s, clock.now_s())
        session.rest()
    return window


def _show(
    session: MeteringSession, view: WattsView, clock: Clock, stop_requested: threading.Event
) -> None:
    channel, start_s = live_channel(session.channels), clock.now_s()
    live_progress = LiveProgress(MACHINE, RunSpec(variant=""), channel, session.sampler, clock)
    while not stop_requested.wait(REDRAW_S) and session.error is None:
        view.show(clock.now_s() - start_s, live_progress.now(RunEvents(), MACHINE))


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
