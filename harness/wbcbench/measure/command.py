"""Energy of any command, or of the machine until Ctrl-C.

The same meters, sampler, arithmetic and checks as a run. A command's standard input, output and
error are ours, untouched. It stays in our process group, so that a Ctrl-C on the terminal and job
control reach it as they would without us; a signal that reached us alone is passed on.
"""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from wbcbench.core.child import heeded_signals
from wbcbench.core.environment import restore_settings
from wbcbench.core.errors import InterruptedRunError, MeasuredElsewhereError, UsageError
from wbcbench.core.trace import Kind
from wbcbench.core.window import COMMAND, MACHINE, Clock, MonotonicClock, Window
from wbcbench.energy.account import RunEvents
from wbcbench.energy.appraise import ReviewedTrace, review_traces
from wbcbench.energy.source import live_channel
from wbcbench.measure.program_run import MarkFile, ProgramRun, create_run, describe_exit
from wbcbench.measure.window_result import (
    Recording,
    WindowResult,
    read_recording,
    record_nothing,
)
from wbcbench.power.session import MeteringRequest, MeteringSession, sampling

if TYPE_CHECKING:
    from wbcbench.run.display import View

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
PATIENCE = 3  # the Ctrl-C that ends a command which would not end
CSV_COLUMNS = ("time_s", "channel", "domain", "origin", "power_w", "energy_j")
_BY_SIGNAL = 128  # exit status of signal 0, as shells count


class CommandNotFoundError(UsageError):
    """There is no such command; the exit status is the one a shell gives."""

    exit_code = 127


class CommandNotRunnableError(UsageError):
    """The command cannot be started; the exit status is the one a shell gives."""

    exit_code = 126


def check(command: Sequence[str]) -> None:
    """See that a command can be started, before anything is measured.

    Raises:
        CommandNotFoundError: No program of that name is on PATH.
        CommandNotRunnableError: It is a folder, or may not be executed.
    """
    name = command[0]
    if shutil.which(name):
        return
    if os.sep in name and os.path.lexists(name):
        raise CommandNotRunnableError(
            f"{name} is a folder or not executable. Nothing was measured. "
            f"Run `chmod +x {name}`, or put its interpreter before it."
        )
    raise CommandNotFoundError(
        f"There is no command {name!r}. Nothing was measured. Check its spelling and PATH; "
        "pipelines and shell built-ins need `wbcbench monitor -- sh -c '…'`."
    )


class ChildCommand:
    """A command that is running; once it ``ended``, its ``window`` and ``exit_status`` are known.

    The exit status is 128 + n where signal n ended it.
    """

    window: Window
    exit_status: int

    def __init__(self, command: Sequence[str], clock: Clock, stdout: int | None) -> None:
        """Start it.

        Args:
            command: Program and arguments.
            clock: Source of time.
            stdout: File descriptor for its standard output; ``None`` for ours.

        Raises:
            CommandNotRunnableError: The system cannot start it.
        """
        self._clock, self._interrupts = clock, 0
        self.ended = threading.Event()
        self.start_s = clock.now_s()
        try:
            env = restore_settings(os.environ)  # the command is the user's
            self._process = subprocess.Popen(command, stdout=stdout, env=env)
        except OSError as error:
            raise CommandNotRunnableError(f"{command[0]} cannot be run: {error}.") from error
        # A waiting thread stamps the end when it comes; polling would stamp it late.
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        status = self._process.wait()
        self.window = Window(COMMAND, self.start_s, self._clock.now_s())
        self.exit_status = _BY_SIGNAL - status if status < 0 else status
        self.ended.set()

    def send_signal(self, number: int) -> None:
        """Pass a signal on; the third Ctrl-C kills the command."""
        self._interrupts += number == signal.SIGINT
        if self._interrupts >= PATIENCE:
            number = signal.SIGKILL
        elif number in (signal.SIGINT, signal.SIGQUIT) and _is_foreground():
            return  # the terminal sent it to the command, too
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


def _is_foreground() -> bool:
    """Whether the terminal's keys reach our process group."""
    try:
        with Path("/dev/tty").open("rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


@contextlib.contextmanager
def signals_to(
    receive: Callable[[int], None], always: Collection[signal.Signals] = ()
) -> Iterator[None]:
    """Give every signal that would end us to ``receive`` for a while.

    An ignored one stays ignored, here and in a command that is started, unless it is in ``always``.
    """
    before = {
        number: signal.signal(number, lambda number, _: receive(number))
        for number in {*heeded_signals(PASSED_ON), *always}
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class Monitored:
    """What was measured.

    Attributes:
        result: The joules, warnings and quality.
        exit_status: The command's, 128 + n after signal n; ``None`` without a command.
        recording: Every reading, for ``write_polls``.
        program: The folder it is kept in, if it is.
    """

    result: WindowResult
    exit_status: int | None
    recording: Recording
    program: ProgramRun


Wait = Callable[[MeteringSession, Clock, MarkFile], tuple[Window, int | None]]


def monitor_command(
    request: MeteringRequest,
    command: Sequence[str],
    *,
    stdout: int | None = None,
    program: ProgramRun | None = None,
) -> Monitored:
    """Measure ``command`` from its start to its end.

    Of several ranks of a program each device is read by one; the command of a rank that reads none
    runs as it would, and its result says why it has no joules.

    Args:
        request: The meters.
        command: Program and arguments; see ``check``.
        stdout: File descriptor for its standard output; ``None`` for ours.
        program: The folder; ``None`` keeps nothing.

    Raises:
        CannotMeasureError: No meter works, or one asked for by name does not.
        CommandNotRunnableError: The command cannot be started.
        InterruptedRunError: Ctrl-C before the command began.
    """

    def run_child(session: MeteringSession, clock: Clock, marks: MarkFile) -> tuple[Window, int]:
        early: list[int] = []  # signals that came before the command could take them
        with signals_to(early.append):
            marks.write("open", COMMAND, clock.now_s(), sync=True)
            child = ChildCommand(command, clock, stdout)
            marks.write("open", COMMAND, child.start_s)  # without the wait for the disk
            with signals_to(child.send_signal):
                for number in early:
                    child.send_signal(number)
                child.ended.wait()
        return child.window, child.exit_status

    program = program or create_run(None, command, request)
    try:
        return _monitor(request, program, run_child, os.getpid())
    except MeasuredElsewhereError as error:
        recording = record_nothing(str(error))
    child = ChildCommand(command, MonotonicClock(), stdout)
    with signals_to(child.send_signal):
        child.ended.wait()
    program = replace(program, is_kept=False)
    result = recording.measure_window(child.window)
    return Monitored(result, child.exit_status, recording, program)


def monitor_machine(request: MeteringRequest, view: View, program: ProgramRun) -> Monitored:
    """Measure until the first Ctrl-C or SIGTERM.

    Args:
        request: The meters.
        view: What shows the power meanwhile.
        program: The folder.

    Raises:
        CannotMeasureError: No meter works, or one asked for by name does not.
        InterruptedRunError: Ctrl-C before measuring began.
    """
    from wbcbench.run.display import REDRAW_S
    from wbcbench.run.live_state import LiveProgress

    def wait_for_signal(
        session: MeteringSession, clock: Clock, marks: MarkFile
    ) -> tuple[Window, None]:
        should_stop = threading.Event()
        # A shell's `&` ignores Ctrl-C, which is what ends this.
        with signals_to(lambda _: should_stop.set(), always=(signal.SIGINT,)):
            start_s = clock.now_s()
            marks.write("open", MACHINE, start_s, sync=True)
            channel = live_channel(session.channels)
            progress = LiveProgress(MACHINE, channel, session.sampler, clock)
            while not should_stop.wait(REDRAW_S) and session.error is None:
                view.show(progress.now(RunEvents(), MACHINE))
            return Window(MACHINE, start_s, clock.now_s()), None

    with contextlib.closing(view):
        return _monitor(request, program, wait_for_signal)


def _monitor(
    request: MeteringRequest, program: ProgramRun, wait: Wait, root_pid: int | None = None
) -> Monitored:
    """Sample while ``wait`` waits; it returns the window and the command's exit status.

    Without ``root_pid`` everything on the machine is what is measured.
    """
    clock = MonotonicClock()
    with ExitStack() as stack:
        stack.enter_context(program.hold())
        marks = stack.enter_context(contextlib.closing(MarkFile(program.run)))
        sampled = stack.enter_context(ExitStack())
        try:
            with program.begin():
                metering = sampling(program.run, request, clock, root_pid, program.facts)
                session = sampled.enter_context(metering)
                session.rest()
        except KeyboardInterrupt:
            raise InterruptedRunError("Interrupted before anything was measured.") from None
        with signals_to(lambda _: None):  # what was measured is kept, however impatient one is
            window, exit_status = wait(session, clock, marks)
            marks.write("close", window.name, window.end_s)
            session.rest()
            sampled.close()
            recording = read_recording(program.run, session.error)
            program.finish(*describe_exit(exit_status), session.error)
    return Monitored(recording.measure_window(window), exit_status, recording, program)


def write_polls(stream: TextIO, monitored: Monitored) -> None:
    """Write every good reading inside the window as CSV, joules and seconds from its start.

    ``power_w`` is the reading of a sampled channel; of a counter, the mean since the reading
    before, empty at its first and across a break. ``energy_j`` is empty where the joules of the
    window are unknown.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    window, readings = monitored.result.window, monitored.result.readings
    review = review_traces(monitored.recording.traces, [window])
    for reviewed, reading in zip(review.traces, readings, strict=True):
        writer.writerows(_list_polls(reviewed, window, reading.energy.energy_j))


def _list_polls(
    reviewed: ReviewedTrace, window: Window, stated_j: float | None
) -> Iterator[tuple[object, ...]]:
    channel, curve, last_s = reviewed.trace.channel, reviewed.curve, None
    for t_s, value in zip(*reviewed.trace.good, strict=True):
        if window.start_s <= t_s <= window.end_s:
            power_w = value if channel.kind is Kind.SAMPLED else None
            if power_w is None and last_s is not None:
                is_torn = any(g.before_s < t_s and last_s < g.after_s for g in curve.breaks)
                moved_j = curve.at(t_s) - curve.at(last_s)
                power_w = None if is_torn else moved_j / (t_s - last_s)
            energy_j = None if stated_j is None else curve.at(t_s) - curve.at(window.start_s)
            time_s = t_s - window.start_s
            yield time_s, channel.name, channel.domain, channel.origin, power_w, energy_j
            last_s = t_s
