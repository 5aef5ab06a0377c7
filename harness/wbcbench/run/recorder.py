"""One run from preflight to record; the recorder owns the meters and never loads TensorFlow."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import threading
from contextlib import ExitStack
from dataclasses import asdict, replace
from types import FrameType

from pydantic import JsonValue

from wbcbench.core.errors import UsageError, WbcbenchError
from wbcbench.core.lock import HOST, Hold, inherited_lock, machine_lock
from wbcbench.core.provenance import provenance
from wbcbench.core.record import Circumstances, Failure, RunRecord, Status
from wbcbench.core.run_condition import require_submitted
from wbcbench.core.run_folder import LOOK_OVER_S, Edge, Messenger, RunDir, append_line, parse_lines
from wbcbench.core.units import mb_from_bytes
from wbcbench.core.window import (
    IDLE_COLD,
    IDLE_POST,
    STARTUP,
    Clock,
    MonotonicClock,
    phase,
    utc_now,
)
from wbcbench.energy import source
from wbcbench.energy.account import RunEvents, account
from wbcbench.power.meter import MeterRequest
from wbcbench.power.power_limit import hold_power_limit
from wbcbench.power.session import EDGE_S, MeteringSession
from wbcbench.power.telemetry import cool_down
from wbcbench.run import trainer_process
from wbcbench.run.display import REDRAW_S, View
from wbcbench.run.live_state import LiveProgress
from wbcbench.run.trainer_process import Exit, TrainerProcess

# One run: preflight → idle → start trainer → sample → collect marks → record.
#
# The recorder owns the meters, the run folder and the record; it never imports TensorFlow and stays
# small. Whatever happens to the trainer, the record tells it with the joules used so far.


SLICE_S = 0.1  # how soon an interrupt or a failing sampler is noticed


class Recorder:
    """The state of one run while it goes on."""

    def __init__(
        self,
        run: RunDir,
        view: View,
        interrupts: Interrupts,
        clock: Clock,
        host_lock: int | None = None,
    ) -> None:
        """Read what is asked; nothing is started."""
        self._run, self._view, self._interrupts, self._clock = run, view, interrupts, clock
        self._host_lock = host_lock
        self._spec, self._local = run.read_spec(), run.read_local()
        self._story = RunEvents()
        self._phase = "preflight"
        self._drawn_s = 0.0

    def record(self) -> RunRecord:
        """Do the run from idle to its account."""
        with ExitStack() as stack:
            self._holds = [self._lock_host(stack)]
            limits = stack.enter_context(hold_power_limit(self._spec))
            self._session = MeteringSession(self._run, self._clock, stack)
            self._session.open(self._spec.meters, self._request())
            self._holds += [self._lock(device.gpu.uuid, stack) for device in self._session.devices]
            cooldown = self._cool_down()
            self._session.probe()
            facts = provenance(self._local.command) | self._local.facts | limits | cooldown
            self._marks = stack.enter_context(self._run.marks_path.open("a", encoding="utf-8"))
            stack.callback(self._view.close)
            self._session.start(self._spec.interval_s, facts)
            trainer_exit = self._measure()
            seen = self._with_costs(self._session.stop(), trainer_exit)
        return account(self._run, seen, *self._outcome(trainer_exit))

    def _measure(self) -> Exit | None:
        """Everything that happens while the meters are sampled; ``None`` without a trainer."""
        channel, sampler = source.live_channel(self._session.channels), self._session.sampler
        self._teller = LiveProgress(self._run.run_id, self._spec, channel, sampler, self._clock)
        self._idle(IDLE_COLD)
        trainer_exit = None if self._should_end else self._train()
        if not self._should_end:
            self._idle(IDLE_POST)
        self._rest(EDGE_S)
        return trainer_exit

    def _train(self) -> Exit:
        """Start the trainer, follow it to its end, reap it."""
        self._mark("open", STARTUP)
        trainer = TrainerProcess(self._run, self._environment())
        try:
            self._follow_trainer(trainer)
        finally:
            trainer.kill()
            trainer_exit = trainer.reap()
        return trainer_exit

    def _follow_trainer(self, trainer: TrainerProcess) -> None:
        is_stop_sent = False
        while not trainer.is_silent and not self._should_end:
            for line in trainer.lines(SLICE_S):
                self._handle_message(line, trainer)
            if self._interrupts.wants_stop and not is_stop_sent:
                is_stop_sent = True
                trainer.say("stop")
                self._view.note("stopping after this epoch; press Ctrl-C again to stop now")
            self._draw()

    def _handle_message(self, line: str, trainer: TrainerProcess) -> None:
        """Keep one message on disk, then act on it."""
        for message in parse_lines(iter([line])):
            if "progress" not in message:
                append_line(self._marks, line, sync="mark" in message)
            self._story.hear(message)
            if message.get("mark") == "open":
                self._phase = phase(message["window"])
            if self._story.progress.get("phase") == "ready" and "progress" in message:
                trainer.say("go")
            if "epoch" in message:
                self._view.epoch(self._story.epochs[-1], self._teller.now(self._story, self._phase))

    @property
    def _should_end(self) -> bool:
        """Whether nothing more may be started: stopped by the user, or nothing is measured."""
        return self._interrupts.wants_stop_now or self._session.error is not None

    def _idle(self, window: str) -> None:
        """An idle window of ``spec.idle_s`` seconds; left out when that is zero."""
        if self._spec.idle_s <= 0 or self._interrupts.wants_stop:
            return
        self._phase = window
        self._mark("open", window)
        self._rest(self._spec.idle_s)
        self._mark("close", window)

    def _rest(self, length_s: float) -> None:
        end_s = self._clock.now_s() + length_s
        while self._clock.now_s() < end_s and not self._should_end:
            self._draw()
            self._clock.sleep_until(min(end_s, self._clock.now_s() + SLICE_S))

    def _mark(self, edge: Edge, window: str) -> None:
        message = {"mark": edge, "window": window, "t_s": self._clock.now_s()}
        Messenger(self._marks).send(message)
        os.fsync(self._marks.fileno())
        self._story.hear(message)

    def _draw(self) -> None:
        if self._clock.now_s() - self._drawn_s >= REDRAW_S:
            self._drawn_s = self._clock.now_s()
            self._view.show(self._teller.now(self._story, self._phase))

    def _outcome(self, trainer_exit: Exit | None) -> tuple[Status, Failure | None]:
        """How the run ended, and why not well."""
        if (error := self._session.error) is not None:
            message = f"The trace could not be written: {error}. The run is not complete."
            return "failed", Failure("trace-not-written", message)
        is_stopped = self._interrupts.wants_stop_now or self._story.end == "interrupted"
        if trainer_exit is None or is_stopped:
            return "interrupted", Failure("interrupted", "Stopped by the user.")
        if self._story.failure is not None:
            return "failed", self._story.failure
        if trainer_exit.status != 0 or self._story.end != "done":
            return "failed", _crash(trainer_exit.status)
        return "done", None

    def _with_costs(self, seen: Circumstances, trainer_exit: Exit | None) -> Circumstances:
        """The circumstances with the cost of recording and of training."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return replace(
            seen,
            shared=any(hold.is_shared for hold in self._holds),
            recorder_cpu_s=usage.ru_utime + usage.ru_stime,
            trainer_cpu_s=trainer_exit.cpu_s if trainer_exit else None,
            trainer_rss_peak_bytes=trainer_exit.rss_peak_bytes if trainer_exit else None,
        )

    def _request(self) -> MeterRequest:
        return MeterRequest(
            gpus=self._spec.gpus,
            one_gpu=True,
            for_training=True,
            country=self._spec.country,
            output_dir=self._run.path,
            seed=self._spec.seed,
        )

    def _environment(self) -> dict[str, str]:
        """The trainer sees the GPU that is measured and no other."""
        visible: dict[str, str] = {}
        for device in self._session.devices:
            name, entry = device.visible_as
            visible[name] = f"{visible[name]},{entry}" if name in visible else entry
        return trainer_process.trainer_environment(self._spec, os.environ, visible)

    def _lock_host(self, stack: ExitStack) -> Hold:
        """This machine, which the command that started us may hold already."""
        if self._host_lock is None:
            return self._lock(HOST, stack)
        return stack.enter_context(inherited_lock(HOST, self._host_lock))

    def _lock(self, device: str, stack: ExitStack) -> Hold:
        """One harness at a time on a device, unless both are to be marked."""
        return stack.enter_context(machine_lock(device, share=self._local.share))

    def _cool_down(self) -> dict[str, JsonValue]:
        """Wait for the temperature that was asked for, if one was; facts for the provenance."""
        if self._spec.cooldown_c is None:
            return {}
        self._view.note(f"waiting until the GPU is no warmer than {self._spec.cooldown_c:g} °C")
        boards, limit_c = self._session.devices, self._spec.cooldown_c
        wait = cool_down(boards, limit_c, self._clock, lambda: not self._interrupts.wants_stop)
        return {"cooldown": asdict(wait)}


def _crash(status: int) -> Failure:
    if status < 0:
        text = f"The trainer was ended by signal {-status}; see log.txt in the run's folder."
        return Failure("trainer-killed", text, status)
    text = f"The trainer ended with status {status}; see log.txt in the run's folder."
    return Failure("trainer-crashed", text, status)


# Record one run: claim its folder, measure, write its record, whatever happens on the way.


LEAST_FREE_BYTES = 100_000_000  # trace, predictions and log of a run take a few megabytes


def record_run(
    run: RunDir, view: View, interrupts: Interrupts, host_lock: int | None = None
) -> RunRecord:
    """Carry out one run and write its record.

    What keeps a run from beginning (no meter, no space, another harness) becomes a failed record.

    Args:
        run: Its folder.
        view: Shows how it goes on.
        interrupts: Whether the user asked to stop.
        host_lock: The open file by which the command that started us holds this machine;
            ``None`` to take the machine here.

    Raises:
        UsageError: Somebody else carries out this run, or did.
        RunsFailedError: Not even the record could be written; the next command accounts for it.
    """
    with run.watched(LOOK_OVER_S) as is_free:
        if not is_free:
            raise UsageError(f"The run {run.run_id} is being carried out by another process.")
        state = require_submitted(run)
        try:
            run.write_state(state.running())
            _require_space(run)
            record = Recorder(run, view, interrupts, MonotonicClock(), host_lock).record()
        except (WbcbenchError, OSError) as error:
            began = run.read_began() or Circumstances(started_utc=utc_now(), provenance={})
            record = account(run, began, "failed", Failure(type(error).__name__, str(error)))
        run.write_record(record)
        return record


def _require_space(run: RunDir) -> None:
    free = shutil.disk_usage(run.path).free
    if free < LEAST_FREE_BYTES:
        raise UsageError(
            f"The disk of {run.path} has {mb_from_bytes(free):.0f} MB left; a run wants "
            f"{mb_from_bytes(LEAST_FREE_BYTES):.0f} MB. Training was not started. Free space or "
            "choose another folder with --results."
        )


# Ctrl-C, once and twice, and the leash that ends an orphaned recorder.
#
# The first interrupt asks the run to end after its epoch, the second ends it at once, and so do
# SIGTERM and the loss of the process that started the recorder.


class Interrupts:
    """How often the user asked to stop; install before the run starts."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self._asked = 0
        self._now = threading.Event()

    @property
    def wants_stop(self) -> bool:
        """Whether the run should end after the epoch."""
        return self._asked > 0 or self._now.is_set()

    @property
    def wants_stop_now(self) -> bool:
        """Whether the run should end at once."""
        return self._asked > 1 or self._now.is_set()

    def install(self, *, leash: bool) -> None:
        """Take over SIGINT and SIGTERM; with ``leash``, end of file on stdin ends the run."""
        signal.signal(signal.SIGINT, self._on_interrupt)
        signal.signal(signal.SIGTERM, self._on_terminate)
        if leash:
            threading.Thread(target=self._hold_leash, name="leash", daemon=True).start()

    def _on_interrupt(self, _: int, __: FrameType | None) -> None:
        self._asked += 1

    def _on_terminate(self, _: int, __: FrameType | None) -> None:
        self._now.set()

    def _hold_leash(self) -> None:
        # Not sys.stdin: its lock, held by a daemon thread, aborts the interpreter at its end.
        while os.read(0, 1024):
            pass
        self._now.set()
