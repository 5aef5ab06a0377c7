"""One run: preflight → idle → start trainer → sample → collect marks → record.

The recorder owns the meters, the run folder and the record; it never imports TensorFlow and stays
small. Whatever happens to the trainer, the record states it with the joules used so far.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from types import FrameType

from pydantic import JsonValue

from wbcbench.core.child import heeded_signals, take_on_signals, withhold_from_children
from wbcbench.core.errors import CannotMeasureError, UsageError, WbcbenchError
from wbcbench.core.lock import HOST, Hold, inherited_lock, machine_lock
from wbcbench.core.messages import Edge, append_line, parse_lines
from wbcbench.core.provenance import provenance
from wbcbench.core.record import (
    AFTER_RUN,
    AT_END,
    COMPUTING_VARIABLES,
    PROCESS_START_S,
    Failure,
    RunRecord,
    Status,
)
from wbcbench.core.run_condition import require_submitted
from wbcbench.core.run_folder import LOCK_WAIT_S, RunDir
from wbcbench.core.run_state import find_start_s
from wbcbench.core.text import encodable
from wbcbench.core.units import mb_from_bytes
from wbcbench.core.window import (
    EXIT,
    IDLE_COLD,
    IDLE_POST,
    IMPORT,
    RUN,
    STARTUP,
    MonotonicClock,
    phase,
)
from wbcbench.energy import source
from wbcbench.energy.account import RunEvents, account
from wbcbench.power.allotment import state_allotment
from wbcbench.power.meter import MeterRequest, list_boards
from wbcbench.power.power_limit import hold_power_limit
from wbcbench.power.session import EDGE_S, MeteringSession
from wbcbench.power.telemetry import cool_down
from wbcbench.run.display import View
from wbcbench.run.finalise import account_from_disk
from wbcbench.run.live_state import FINISHING, LiveProgress
from wbcbench.run.publish import publish
from wbcbench.run.trainer_process import (
    Exit,
    TrainerProcess,
    list_computing_variables,
    trainer_environment,
)

SLICE_S = 0.5  # how soon an interrupt or a failing sampler is noticed
TERM_GRACE_S = 15.0
QUEUE_LOCK_S = 60.0
READY = "ready"  # what the trainer reports before it waits for the word to go
LEAST_FREE_BYTES = 100_000_000  # trace, predictions and log of a run take a few megabytes


def record_run(
    run: RunDir, view: View, interrupts: Interrupts, host_lock: int | None = None
) -> RunRecord:
    """Claim a run's folder, carry the run out and write its record.

    What keeps a run from beginning (no meter, no space, another harness) becomes a failed record.

    Args:
        run: Its folder.
        view: Shows how it goes on.
        interrupts: Whether the user asked to stop.
        host_lock: The open file by which the command that started us holds this machine;
            ``None`` to take the machine here.

    Raises:
        UsageError: Another process carries out this run, or did.
        RunsFailedError: Not even the record could be written; the next command accounts for it.
    """
    with run.hold_lock(LOCK_WAIT_S) as is_free:
        if not is_free:
            raise UsageError(f"The run {run.run_id} is being carried out by another process.")
        state = require_submitted(run)
        run.claim()
        try:
            run.write_state(state.running())
            _require_free_disk(run)
            record = publish(run, Recorder(run, view, interrupts, host_lock).record_run())
        except (WbcbenchError, OSError) as error:
            failure = Failure(type(error).__name__, encodable(str(error)))
            record = account_from_disk(run, "failed", failure)
        run.write_record(record)
        return record


def _require_free_disk(run: RunDir) -> None:
    free_bytes = shutil.disk_usage(run.path).free
    if free_bytes < LEAST_FREE_BYTES:
        raise UsageError(
            f"The disk of {run.path} has {mb_from_bytes(free_bytes):.0f} MB left; a run needs "
            f"{mb_from_bytes(LEAST_FREE_BYTES):.0f} MB. Training was not started. Free space or "
            "choose another folder with --results."
        )


class Recorder:
    """The state of one run while it goes on."""

    def __init__(
        self, run: RunDir, view: View, interrupts: Interrupts, host_lock: int | None
    ) -> None:
        """Read what is asked; nothing is started."""
        self._run, self._view, self._interrupts = run, view, interrupts
        self._clock, self._host_lock = MonotonicClock(), host_lock
        self._spec, self._local = run.read_spec(), run.read_local()
        self._events = RunEvents()
        self._phase = "preflight"
        self._drawn_s = 0.0

    def record_run(self) -> RunRecord:
        """Carry out the run from idle to its account."""
        with ExitStack() as stack:
            request = MeterRequest(
                gpus=self._spec.gpus,
                one_gpu=True,
                for_training=True,
                country=self._spec.country,
                seed=self._spec.seed,
            )
            boards = list_boards(self._spec.meters, request)
            host = self._lock_host(stack, alone=not boards)
            share = self._local.share
            holds = [self._lock(stack, board, share=share) for board in boards]
            limits = stack.enter_context(hold_power_limit(self._spec))
            self._session = MeteringSession(self._run, self._clock, stack, os.getpid())
            self._session.open(self._spec.meters, request)
            cooldown = self._cool_down()
            self._session.probe(uses_known=True)
            facts = provenance(self._local.command) | self._local.facts | limits | cooldown
            facts |= state_allotment(facts, self._session.devices)
            facts[AFTER_RUN] = self._run.find_run_before(str(facts["host_id"]))
            facts[PROCESS_START_S] = find_start_s()
            facts[COMPUTING_VARIABLES] = dict(list_computing_variables(self._spec, os.environ))
            self._marks = stack.enter_context(self._run.marks_path.open("a", encoding="utf-8"))
            stack.callback(self._view.close)
            self._session.start(self._spec.interval_s, facts)
            self._session.add_started()
            trainer_exit = self.measure()
            circumstances = replace(
                self._session.stop(),
                shared=any(hold.is_shared for hold in holds or [host]),
                cpu_shared=bool(boards) and host.is_shared,
                trainer_cpu_s=trainer_exit.cpu_s if trainer_exit else None,
                trainer_rss_peak_bytes=trainer_exit.rss_peak_bytes if trainer_exit else None,
            )
            at_end = {name: getattr(circumstances, name) for name in AT_END}
            with suppress(OSError):  # on a full disk, which ``error`` tells
                append_line(
                    self._marks, json.dumps({"recorder": at_end}, default=asdict), sync=True
                )
        return account(self._run, circumstances, *self._outcome(trainer_exit))

    def _lock_host(self, stack: ExitStack, *, alone: bool) -> Hold:
        """Hold this machine; the command that started us may do so already."""
        if self._host_lock is not None:
            return stack.enter_context(inherited_lock(HOST, self._host_lock))
        return self._lock(stack, HOST, share=self._local.share, alone=alone)

    def _lock(self, stack: ExitStack, device: str, *, share: bool, alone: bool = True) -> Hold:
        """Hold a device; a queue gives it to us while what had it before may still be ending."""
        end_s = self._clock.now_s() + (QUEUE_LOCK_S if self._run.read_state().launcher else 0.0)
        while True:
            try:
                return stack.enter_context(machine_lock(device, share=share, alone=alone))
            except CannotMeasureError:
                if self._clock.now_s() >= end_s or self._interrupts.wants_stop:
                    raise
            self._clock.sleep_until(self._clock.now_s() + SLICE_S)

    def _cool_down(self) -> dict[str, JsonValue]:
        """Wait for the temperature that was asked for, if one was; facts for the provenance."""
        limit_c = self._spec.cooldown_c
        if limit_c is None:
            return {}
        self._view.note(f"waiting until the GPU is no warmer than {limit_c:g} °C")
        wait = cool_down(
            self._session.devices, limit_c, self._clock, lambda: not self._interrupts.wants_stop
        )
        return {"cooldown": asdict(wait)}

    def measure(self) -> Exit | None:
        """Everything that happens while the meters are sampled; ``None`` without a trainer."""
        channel, sampler = source.live_channel(self._session.channels), self._session.sampler
        telemetry = self._session.telemetry
        self._progress = LiveProgress(
            self._run.run_id, channel, sampler, self._clock, self._spec, telemetry
        )
        self._write_marks("open", RUN)
        self._measure_idle(IDLE_COLD)
        trainer_exit = None if self._should_end else self.train()
        if not self._should_end:
            self._measure_idle(IDLE_POST)
        self._phase = FINISHING
        # With what was left open, or where no poll may follow, it ends with the trace.
        if [*self._events.opened] == [RUN] and not self._should_end:
            self._write_marks("close", RUN)
        self._rest(EDGE_S)
        return trainer_exit

    def train(self) -> Exit:
        """Start the trainer, follow it to its end, reap it."""
        self._phase = STARTUP
        self._write_marks("open", STARTUP, IMPORT)
        visible: dict[str, str] = {}  # the trainer sees the GPUs that are measured and no other
        for device in self._session.devices:
            name, entry = device.visible_as
            visible[name] = f"{visible[name]},{entry}" if name in visible else entry
        trainer = TrainerProcess(self._run, trainer_environment(self._spec, os.environ, visible))
        try:
            self.follow_trainer(trainer)
        finally:
            trainer.kill()
            trainer_exit = trainer.reap()
        if EXIT in self._events.opened:
            self._write_marks("close", EXIT)
        return trainer_exit

    def follow_trainer(self, trainer: TrainerProcess) -> None:
        """Handle its messages until it ends, and pass on the user's wish to stop."""
        is_stop_sent = False
        while not trainer.is_silent and not self._should_end:
            for line in trainer.read_lines(SLICE_S):
                self.handle_message(line, trainer)
            if self._interrupts.wants_stop and not (is_stop_sent or self._should_end):
                is_stop_sent = True
                trainer.send("stop")
                self._view.note("stopping after this epoch; press Ctrl-C again to stop now")
            self._draw()

    def handle_message(self, line: str, trainer: TrainerProcess) -> None:
        """Write one message to disk, then act on it."""
        for message in parse_lines(iter([line])):
            if "progress" not in message:
                append_line(self._marks, line)  # before the edge is read: that may take a while
            if "mark" in message:
                self._session.read_edge(message["t_s"])
                os.fsync(self._marks.fileno())
            self._events.apply(message)
            if message.get("mark") == "open":
                self._phase = phase(message["window"])
            elif message.get("progress", {}).get("phase", READY) != READY:
                self._phase = phase(message["progress"]["phase"])
            if self._events.progress.get("phase") == READY and "progress" in message:
                trainer.send("go")
            if "epoch" in message:
                state = self._progress.now(self._events, self._phase)
                self._view.show_epoch(self._events.epochs[-1], state)

    @property
    def _should_end(self) -> bool:
        """Whether nothing more may be started: stopped by the user, or nothing is measured."""
        return self._interrupts.wants_stop_now or self._session.error is not None

    def _measure_idle(self, window: str) -> None:
        """An idle window of ``spec.idle_s`` seconds; left out when that is zero."""
        if self._spec.idle_s <= 0 or self._interrupts.wants_stop:
            return
        self._phase = window
        self._write_marks("open", window)
        self._rest(self._spec.idle_s)
        self._write_marks("close", window)

    def _rest(self, length_s: float) -> None:
        end_s = self._clock.now_s() + length_s
        while self._clock.now_s() < end_s and not self._should_end:
            self._draw()
            self._clock.sleep_until(min(end_s, self._clock.now_s() + SLICE_S))

    def _write_marks(self, edge: Edge, *windows: str) -> None:
        """Windows that begin or end at this moment."""
        self._session.read_edge()
        t_s = self._clock.now_s()
        for window in windows:
            message = {"mark": edge, "window": window, "t_s": t_s}
            append_line(self._marks, json.dumps(message), sync=window == windows[-1])
            self._events.apply(message)

    def _draw(self) -> None:
        if self._clock.now_s() - self._drawn_s >= self._view.redraw_s:
            self._drawn_s = self._clock.now_s()
            self._view.show(self._progress.now(self._events, self._phase))

    def _outcome(self, trainer_exit: Exit | None) -> tuple[Status, Failure | None]:
        """How the run ended, and why not well."""
        if (error := self._session.error) is not None:
            message = f"The trace could not be written: {error}. The run is not complete."
            return "failed", Failure("trace-not-written", message)
        is_stopped = self._interrupts.wants_stop_now or self._events.end == "interrupted"
        if trainer_exit is None or is_stopped:
            return "interrupted", self._interrupts.cause or INTERRUPTED
        if self._events.failure is not None:
            return "failed", self._events.failure
        status = trainer_exit.status
        if status == 0 and self._events.end == "done":
            return "done", None
        code = "trainer-killed" if status < 0 else "trainer-crashed"
        message = f"The trainer {trainer_exit.describe()}; see log.txt in the run's folder."
        return "failed", Failure(code, message, status)


INTERRUPTED = Failure("interrupted", "Stopped by the user.")
TERMINATED = Failure("terminated", "Stopped by SIGTERM, from the user, a queue or the system.")
TERMINAL_CLOSED = Failure("terminal-closed", "Stopped because its terminal was closed (SIGHUP).")
JOB_ENDS = Failure(
    "job-ends", "Stopped because its job had to end: its time limit, or another job's priority."
)
LAUNCHER_DIED = Failure(
    "launcher-died", "Stopped because the process that had started it was killed or ended."
)


class Interrupts:
    """Whether a run is asked to stop, and by what; install before the run starts.

    The first Ctrl-C asks the run to end after its epoch, the second ends it at once, and so do
    SIGTERM, SIGHUP and the loss of the process that started the recorder. In a job of a queue,
    SIGTERM and SIGUSR2 ask for the end after the epoch, too, and end the run once there is no
    time left for that.

    Attributes:
        cause: What came first; ``None`` while nothing did.
    """

    def __init__(self) -> None:
        """No interrupt so far."""
        self.cause: Failure | None = None
        self._count = 0
        self._terminated = threading.Event()

    @property
    def wants_stop(self) -> bool:
        """Whether the run should end after the epoch."""
        return self._count > 0 or self._terminated.is_set()

    @property
    def wants_stop_now(self) -> bool:
        """Whether the run should end at once."""
        return self._count > 1 or self._terminated.is_set()

    def install(self, *, leash: bool, grace_s: float | None = None) -> None:
        """Take over the signals. One that is ignored, as SIGHUP under ``nohup``, stays ignored.

        Args:
            leash: Whether end of file on stdin ends the run.
            grace_s: In a job: how long after SIGUSR2 its epoch may last; after SIGTERM, with which
                Slurm gives 30 seconds by default, it is ``TERM_GRACE_S`` at most.
        """
        handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {
            signal.SIGINT: self._on_interrupt,
            signal.SIGTERM: lambda *_: self._end_now(TERMINATED),
            signal.SIGHUP: lambda *_: self._end_now(TERMINAL_CLOSED),
        }
        if grace_s is not None:
            on_term = min(grace_s, TERM_GRACE_S)
            handlers[signal.SIGTERM] = lambda *_: self._end_within(on_term, TERMINATED)
            handlers[signal.SIGUSR2] = lambda *_: self._end_within(grace_s, JOB_ENDS)
        for number in heeded_signals(handlers):
            signal.signal(number, handlers[number])
        if grace_s is not None:
            withhold_from_children(handlers)
            take_on_signals(handlers)
        if leash:
            threading.Thread(target=self._hold_leash, name="leash", daemon=True).start()

    def _on_interrupt(self, _: int, __: FrameType | None) -> None:
        self.cause = self.cause or INTERRUPTED
        self._count += 1

    def _end_within(self, grace_s: float, cause: Failure) -> None:
        self.cause = self.cause or cause
        self._count = max(self._count, 1)
        timer = threading.Timer(grace_s, self._terminated.set)
        timer.daemon = True
        timer.start()

    def _end_now(self, cause: Failure) -> None:
        self.cause = self.cause or cause
        self._terminated.set()

    def _hold_leash(self) -> None:
        # Not sys.stdin: its lock, held by a daemon thread, aborts the interpreter at its end.
        while os.read(0, 1024):
            pass
        self._end_now(LAUNCHER_DIED)
