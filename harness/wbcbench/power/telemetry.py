"""Samples of what boards do besides drawing power; and waiting until they are cool.

A thread a board, apart from the sampler's: these driver calls are slow on some machines and must
never delay a power reading. Losing telemetry never ends a run; joules do not depend on it.

Energy follows temperature: runs that are to be compared should begin in one temperature band. The
wait has an end, for a board in a warm room may never get there; what was reached is recorded.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import psutil

from wbcbench.core.board_state import COLUMNS, BoardSample, sample_to_line
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.messages import append_line
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Channel, Domain, Origin
from wbcbench.core.window import Clock

if TYPE_CHECKING:
    from wbcbench.power.nvml import TelemetrySample

INTERVAL_S = 1.0
JOIN_S = 2.0  # a driver that hangs longer is left behind: its thread is a daemon

LONGEST_COOLDOWN_S = 900.0
COOLDOWN_POLL_S = 1.0


class Board(Protocol):
    """A board that can be looked at; ``power.nvml.GpuTelemetry`` is one."""

    uuid: str

    def read(self) -> TelemetrySample:
        """Look once; may block as long as the driver does, never raises for a failing call."""
        ...


def open_boards(channels: Iterable[Channel], stack: ExitStack) -> list[Board]:
    """Every GPU that has a measured channel; ``stack`` lets them go.

    A board whose telemetry does not answer is left out: power may be read without it.
    """
    uuids = {
        channel.device: None
        for channel in channels
        if channel.domain is Domain.GPU and channel.origin is Origin.MEASURED and channel.device
    }
    boards = (_opened(uuid, stack) for uuid in uuids)
    return [board for board in boards if board is not None]


def _opened(uuid: str, stack: ExitStack) -> Board | None:
    from wbcbench.power.nvml import GpuTelemetry

    try:
        return stack.enter_context(GpuTelemetry(uuid))
    except CannotMeasureError:
        return None


@dataclass
class _Looker:
    """One board, its log and its thread."""

    board: Board
    run: RunDir
    clock: Clock
    stop: threading.Event
    families: dict[int, bool] = field(default_factory=dict)
    error: OSError | None = None

    def work(self) -> None:
        """Look once a second until told to stop; a failing disk ends it with ``error`` set."""
        path = self.run.telemetry_path(self.board.uuid)
        try:
            path.parent.mkdir(exist_ok=True)
            with path.open("w", encoding="ascii") as stream:
                append_line(stream, ",".join(COLUMNS))
                while not self.stop.is_set():
                    append_line(stream, sample_to_line(self._look()))
                    self.stop.wait(INTERVAL_S)
        except OSError as error:
            self.error = error

    def _look(self) -> BoardSample:
        from wbcbench.power.nvml import throttle_reasons

        t_s, seen = self.clock.now_s(), self.board.read()
        mask = seen.throttle_mask
        listed = None if seen.processes is None else {each.pid for each in seen.processes}
        return BoardSample(
            t_s=t_s,
            temperature_c=seen.temperature_c,
            clock_sm_hz=seen.clock_sm_hz,
            clock_memory_hz=seen.clock_memory_hz,
            utilization=seen.utilization,
            memory_used_bytes=seen.memory_used_bytes,
            power_limit_w=seen.power_limit_w,
            reasons=None if mask is None else throttle_reasons(mask),
            own=None if listed is None else self._of_family(listed, ours=True),
            foreign=None if listed is None else self._of_family(listed, ours=False),
        )

    def _of_family(self, pids: Iterable[int], *, ours: bool) -> tuple[int, ...]:
        return tuple(sorted(pid for pid in pids if self._is_ours(pid) is ours))

    def _is_ours(self, pid: int) -> bool:
        """Whether a process is this one or descends from it; asked of the system once each."""
        if pid not in self.families:
            self.families[pid] = _descends(pid)
        return self.families[pid]


def _descends(pid: int) -> bool:
    own = os.getpid()
    try:
        return pid == own or any(each.pid == own for each in psutil.Process(pid).parents())
    except psutil.Error:
        return False  # of another namespace, or gone already


class TelemetryRecorder:
    """All boards of a run, looked at from ``start`` to ``stop``."""

    def __init__(self, boards: Sequence[Board], run: RunDir, clock: Clock) -> None:
        """Prepare; nothing is read yet.

        Args:
            boards: Entered boards; may be none.
            run: Where the logs go.
            clock: Source of time, the sampler's.
        """
        self._stop = threading.Event()
        self._lookers = [_Looker(board, run, clock, self._stop) for board in boards]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start a thread for each board; nobody waits for the first look."""
        for looker in self._lookers:
            name = f"telemetry {looker.board.uuid}"
            thread = threading.Thread(target=looker.work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End all threads; a hanging one is left behind."""
        self._stop.set()
        for thread in self._threads:
            thread.join(JOIN_S)

    @property
    def error(self) -> OSError | None:
        """Why looking ended early; ``None`` while all is well."""
        return next((each.error for each in self._lookers if each.error is not None), None)


@dataclass(frozen=True, slots=True)
class Cooldown:
    """How a wait went.

    Attributes:
        asked_c: The temperature asked for, in degrees Celsius.
        reached_c: That of the warmest board at the end.
        waited_s: How long it took.
        is_reached: Whether it was reached within ``LONGEST_COOLDOWN_S``.
    """

    asked_c: float
    reached_c: float
    waited_s: float
    is_reached: bool


def cool_down(
    boards: Sequence[Board], asked_c: float, clock: Clock, may_wait: Callable[[], bool]
) -> Cooldown:
    """Wait until the warmest board is at most ``asked_c``.

    Args:
        boards: Entered boards.
        asked_c: Degrees Celsius.
        clock: Source of time.
        may_wait: Whether nobody has asked to stop.

    Raises:
        CannotMeasureError: No board tells its temperature.
    """
    start_s = clock.now_s()
    while True:
        warmest_c = _warmest_c(boards, asked_c)
        waited_s = clock.now_s() - start_s
        if warmest_c <= asked_c or waited_s >= LONGEST_COOLDOWN_S or not may_wait():
            return Cooldown(asked_c, warmest_c, waited_s, warmest_c <= asked_c)
        clock.sleep_until(clock.now_s() + COOLDOWN_POLL_S)


def _warmest_c(boards: Sequence[Board], asked_c: float) -> float:
    told = [degrees for board in boards if (degrees := board.read().temperature_c) is not None]
    if told:
        return max(told)
    raise CannotMeasureError(
        f"--cooldown {asked_c:g} needs a GPU that tells its temperature, and none is measured "
        "here. Leave --cooldown out, or measure a GPU with --meters nvml."
    )
