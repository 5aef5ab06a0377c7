"""Telemetry of GPUs and of the processor's time, beside power; and waiting until GPUs are cool.

One thread per device and one for the machine, apart from the sampler's: these driver calls are slow
on some machines and must never delay a power reading. Losing telemetry never ends a run; joules do
not depend on it.

Energy follows temperature: runs that are to be compared should begin in one temperature band. The
wait has an end, for a board in a warm room may never get there; the final temperature is recorded.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import psutil

from wbcbench.core import board_state, cpu_load
from wbcbench.core.board_state import BoardSample
from wbcbench.core.cpu_load import CpuSample
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.messages import append_line
from wbcbench.core.run_folder import RunDir
from wbcbench.core.window import Clock, Window
from wbcbench.power.cpu_time import CpuTimes
from wbcbench.power.device import Device

INTERVAL_S = 1.0
RECENT_SAMPLES = 6
JOIN_S = 2.0  # a driver that hangs longer is left behind: its thread is a daemon

LONGEST_COOLDOWN_S = 900.0
COOLDOWN_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class OtherLoad:
    """What programs that are not measured take at the moment.

    Attributes:
        cpu_share: Share of all processors' time in the last seconds; ``None`` if unknown.
        gpu_processes: Their processes on the measured boards.
    """

    cpu_share: float | None = None
    gpu_processes: int = 0


class TelemetryRecorder:
    """The telemetry of a run's devices and of its machine, from ``start`` to ``stop``."""

    def __init__(
        self, devices: Sequence[Device], run: RunDir, clock: Clock, root_pid: int | None = None
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            devices: Entered devices; may be none.
            run: Where the logs go.
            clock: Source of time, the sampler's.
            root_pid: The process that, with all it starts, is measured: the processor time of
                others is logged. ``None`` where everything on the machine is.
        """
        self._clock, self._should_stop = clock, threading.Event()
        self._root_pid = os.getpid() if root_pid is None else root_pid
        self._cpu = deque[CpuSample](maxlen=RECENT_SAMPLES)
        self._foreign: dict[str, int] = {}
        logs = [
            (run.telemetry_path(device.gpu.uuid), board_state.COLUMNS, self._iterate_lines(device))
            for device in devices
        ]
        if root_pid is not None:
            logs.append((run.cpu_time_path, cpu_load.COLUMNS, self._iterate_cpu_lines(root_pid)))
        self._threads = [threading.Thread(target=_record, args=log, daemon=True) for log in logs]

    def start(self) -> None:
        """Start a thread for each log, without waiting for the first sample."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all threads after one last sample; a hanging one is left behind."""
        self._should_stop.set()
        for thread in self._threads:
            thread.join(JOIN_S)

    def read_others(self) -> OtherLoad:
        """What others take, by the last samples."""
        samples, share = list(self._cpu), None
        if len(samples) > 1:
            span = Window("", samples[0].t_s, samples[-1].t_s)
            share = cpu_load.summarise_load(samples, span).others_share
        return OtherLoad(share, sum(self._foreign.values()))

    def _iterate_ticks(self) -> Iterator[None]:
        """One a second until ``stop``, and one then."""
        yield
        while not self._should_stop.wait(INTERVAL_S):
            yield
        yield

    def _iterate_lines(self, device: Device) -> Iterator[str]:
        for _ in self._iterate_ticks():
            yield board_state.sample_to_line(self._read(device))

    def _iterate_cpu_lines(self, root_pid: int) -> Iterator[str]:
        """Ends where the system does not tell its processor time."""
        times = CpuTimes(root_pid)
        for _ in self._iterate_ticks():
            sample = times.read(self._clock.now_s())
            if sample is None:
                return
            self._cpu.append(sample)
            yield sample.line

    def _read(self, device: Device) -> BoardSample:
        t_s, state = self._clock.now_s(), asdict(device.read_telemetry())
        if (pids := state.pop("pids")) is not None:
            own = {pid for pid in pids if _descends_from(pid, self._root_pid)}
            state |= {"own": tuple(sorted(own)), "foreign": tuple(sorted({*pids} - own))}
            self._foreign[device.gpu.uuid] = len({*pids} - own)
        return BoardSample(t_s, **state)


def _record(path: Path, columns: Sequence[str], lines: Iterator[str]) -> None:
    with suppress(OSError):  # a disk that cannot be written ends telemetry and nothing else
        path.parent.mkdir(exist_ok=True)
        with path.open("w", encoding="ascii") as stream:
            append_line(stream, ",".join(columns))
            for line in lines:
                append_line(stream, line)


@cache
def _descends_from(pid: int, own_pid: int) -> bool:
    """Whether a process is this one or was started by it, itself or through others."""
    try:
        parents = psutil.Process(pid).parents()
    except psutil.Error:
        return pid == own_pid  # of another namespace, or gone already
    return pid == own_pid or any(parent.pid == own_pid for parent in parents)


@dataclass(frozen=True, slots=True)
class Cooldown:
    """How the wait for a cool GPU ended.

    Attributes:
        target_c: The temperature asked for, in degrees Celsius.
        reached_c: That of the warmest device at the end.
        waited_s: How long it took.
        is_reached: Whether it was reached within ``LONGEST_COOLDOWN_S``.
    """

    target_c: float
    reached_c: float
    waited_s: float
    is_reached: bool


def cool_down(
    devices: Sequence[Device], target_c: float, clock: Clock, may_wait: Callable[[], bool]
) -> Cooldown:
    """Wait until the warmest device is at most ``target_c``.

    Args:
        devices: Entered devices.
        target_c: Degrees Celsius.
        clock: Source of time.
        may_wait: Whether the user has not asked to stop.

    Raises:
        CannotMeasureError: No device reports its temperature.
    """
    start_s = clock.now_s()
    while True:
        temperatures_c = [device.read_telemetry().temperature_c for device in devices]
        warmest_c = max((t_c for t_c in temperatures_c if t_c is not None), default=None)
        if warmest_c is None:
            raise CannotMeasureError(
                f"--cooldown {target_c:g} needs a GPU that reports its temperature; none is "
                "measured here. Leave --cooldown out, or measure a GPU."
            )
        waited_s = clock.now_s() - start_s
        if warmest_c <= target_c or waited_s >= LONGEST_COOLDOWN_S or not may_wait():
            return Cooldown(target_c, warmest_c, waited_s, warmest_c <= target_c)
        clock.sleep_until(clock.now_s() + COOLDOWN_POLL_S)
