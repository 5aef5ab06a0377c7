"""One thread a meter, absolute deadlines, every poll appended to its trace on disk.

A meter that hangs delays only its own channels. When to poll, ``power.pacer`` says: in step with
the sensor, or at random. Deadlines do not drift: a late poll skips what it missed, which is
counted. Where no poll decides when the next one is due, those of half a second are planned, entered
and written together: in between a poll is only read. A kill loses the last of them, and the windows
end where the trace does.

It knows no windows and no trainer. A sampler that cannot write says so by ``error``: the run must
end, because nothing is measured any more.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.record import Sampling
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Channel
from wbcbench.core.trace_file import Poll, TraceWriter
from wbcbench.core.window import Clock
from wbcbench.power.device import Device
from wbcbench.power.meter import EnergyMeter
from wbcbench.power.pacer import Pacer

LEAST_STEP_S = 2e-6  # times are written in microseconds, and no two may be equal
# A call that takes longer, and longer than is usual here, does not say when the sensor was read.
SLOW_CALL_S, SLOWER = 0.01, 3.0
MOST_REPEATS = 2
HANDSHAKE_S = 10.0
NAP_S = 0.5  # the longest sleep without a look at whether to stop
JOIN_S = 2.0  # a driver that hangs longer is left behind: its thread is a daemon
RECENT_S = 6.4  # of polls is kept in memory, for the live display and the end of a load
FLUSH_S = 0.25  # and whenever several polls were planned together


@dataclass
class _MeterReader:
    """One meter, its file, its thread and the counts of its polls."""

    meter: EnergyMeter
    trace: TraceWriter
    pacer: Pacer
    clock: Clock
    stop: threading.Event
    recent: deque[Poll] = field(init=False)
    device: Device | None = field(init=False)
    started: threading.Event = field(default_factory=threading.Event)
    error: OSError | None = None
    samples: int = 0
    failed: int = 0
    quickest_s: float = math.inf
    first_s: float = math.nan
    last_s: float = math.nan
    ended_s: float = -math.inf  # of the last call
    max_gap_s: float = 0.0
    unwritten: list[Poll] = field(default_factory=list)
    flushed_s: float = -math.inf

    def __post_init__(self) -> None:
        """Prepare to remember the last polls; time stamps are asked of a device that has them."""
        device = self.meter.device
        self.device = device if device and device.stamp_s is not None else None
        self.recent = deque(maxlen=round(RECENT_S / self.pacer.interval_s) + 1)

    def run(self) -> None:
        """Poll until ``stop`` is set; a failing disk ends it with ``error`` set."""
        try:
            self._poll_until_stop()
        except OSError as error:
            self.error = error
        finally:
            self.started.set()

    def _poll_until_stop(self) -> None:
        polls = [self._poll()]
        self.first_s = self.last_s = polls[0][0]
        while True:
            self._enter(polls)
            if self.last_s >= self.flushed_s + FLUSH_S or len(polls) > 1:
                self._flush(self.last_s)
                self.started.set()
            if self.stop.is_set():
                break
            polls = self._poll_at(self.pacer.plan(self.clock.now_s()))
        self._flush(self.last_s)

    def _poll_at(self, times_s: Sequence[float]) -> list[Poll]:
        """Poll at these times, or until ``stop`` is set."""
        polls = list[Poll]()
        t_s = self.last_s
        for due_s in times_s:
            if due_s < self.ended_s:  # a call took so long
                self.pacer.missed += 1
                continue
            self._sleep_until(max(due_s, t_s + LEAST_STEP_S))
            polls.append(self._poll())
            t_s = polls[-1][0]
            if self.stop.is_set():
                break
        return polls

    def _sleep_until(self, due_s: float) -> None:
        """Sleep, but not for long once ``stop`` is set: the trace must reach past all windows."""
        nap_s = self.ended_s + NAP_S
        while nap_s < due_s and not self.stop.is_set():
            self.clock.sleep_until(nap_s)
            nap_s += NAP_S
        if nap_s >= due_s:
            self.clock.sleep_until(due_s)

    def _poll(self) -> Poll:
        """Read once; what was read is written even if the next call hangs."""
        length_s, t_s, values = self._read()
        if length_s > SLOW_CALL_S:
            length_s, t_s, values = self._read_again(length_s, t_s, values)
        self.quickest_s = min(self.quickest_s, length_s)
        poll = (t_s, values)
        self.unwritten.append(poll)
        self.recent.append(poll)
        return poll

    def _enter(self, polls: Sequence[Poll]) -> None:
        """Count polls and learn from them."""
        for t_s, values in polls:
            self.max_gap_s = max(self.max_gap_s, t_s - self.last_s)
            self.last_s = t_s
            self.failed += None in values
            self.pacer.learn(t_s, values)
        if len(polls) == 1 and self.device and self.pacer.wants_stamp and self.device.stamp_s:
            self.pacer.learn_stamp(self.last_s, self.device.stamp_s, time.time())
        self.samples += len(polls)

    def _read(self) -> tuple[float, float, Sequence[float | None]]:
        """How long the call took, when the driver read its sensor, and what it gave.

        The middle of the call is the best guess; in a long one it may be far off.
        """
        before_s = self.clock.now_s()
        values = self.meter.read()
        self.ended_s = after_s = self.clock.now_s()
        return after_s - before_s, 0.5 * (before_s + after_s), values

    def _read_again(
        self, length_s: float, t_s: float, values: Sequence[float | None]
    ) -> tuple[float, float, Sequence[float | None]]:
        """The quickest of some calls: somebody else had the processor in a slow one."""
        best = (length_s, t_s, values)
        for _ in range(MOST_REPEATS):
            if best[0] <= max(SLOW_CALL_S, SLOWER * self.quickest_s):
                break
            best = min(best, self._read(), key=lambda call: call[0])
        return best

    def _flush(self, t_s: float) -> None:
        """Hand the polls so far to the system."""
        polls, self.unwritten, self.flushed_s = self.unwritten, [], t_s
        self.trace.write(polls)

    def finish(self) -> None:
        """Write what is left and close the trace, though a call may hang: it is kept no more."""
        try:
            with self.trace:
                self._flush(self.last_s)
        except OSError as error:
            self.error = self.error or error

    def summary(self) -> Sampling:
        """How well the meter was sampled."""
        span_s = self.last_s - self.first_s
        return Sampling(
            meter=self.meter.name,
            interval_s=round(self.pacer.interval_s, 4),
            period_s=span_s / (self.samples - 1) if self.samples > 1 else None,
            max_gap_s=self.max_gap_s or None,
            samples=self.samples,
            missed=self.pacer.missed,
            failed=self.failed,
        )


class Sampler:
    """All meters of a run, sampled from ``start`` to ``stop``."""

    def __init__(
        self,
        meters: Sequence[EnergyMeter],
        run: RunDir,
        interval_s: float,
        clock: Clock,
        channels: Sequence[Channel] = (),
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            meters: Entered meters; at least one.
            run: Where the traces go.
            interval_s: Period in seconds for meters that have no own one.
            clock: Source of time.
            channels: The meters' channels with the pace of their sensors, where it is known.
        """
        self._stop = threading.Event()
        self._paced = {channel.name: channel for channel in channels}
        self._readers = [self._reader(meter, run, interval_s, clock) for meter in meters]
        self._threads: list[threading.Thread] = []

    def _reader(
        self, meter: EnergyMeter, run: RunDir, interval_s: float, clock: Clock
    ) -> _MeterReader:
        trace = TraceWriter(run.trace_path(meter.name), (c.name for c in meter.channels))
        channels = [self._paced.get(channel.name, channel) for channel in meter.channels]
        pacer = Pacer(channels, meter.interval_s or interval_s, clock.now_s())
        return _MeterReader(meter, trace, pacer, clock, self._stop)

    def start(self) -> None:
        """Start every thread and wait for each meter's first poll.

        Raises:
            CannotMeasureError: A meter gave no first sample in time.
        """
        for reader in self._readers:
            thread = threading.Thread(target=reader.run, name=reader.meter.name, daemon=True)
            self._threads.append(thread)
            thread.start()
        for reader in self._readers:
            if not reader.started.wait(HANDSHAKE_S):
                raise CannotMeasureError(
                    f"The meter {reader.meter.name} gave no first sample within "
                    f"{HANDSHAKE_S:.0f} s. Nothing was started because nothing would be measured. "
                    "Check the driver, or leave the meter out with --meters."
                )

    def stop(self) -> None:
        """End all threads and close the traces; a hanging one is left behind."""
        self._stop.set()
        threads, self._threads = self._threads, []
        for thread in threads:
            thread.join(JOIN_S)
        for reader in self._readers:
            reader.finish()

    @property
    def error(self) -> OSError | None:
        """Why sampling ended early; ``None`` while all is well."""
        return next(filter(None, (reader.error for reader in self._readers)), None)

    def recent(self, channel: Channel) -> list[tuple[float, float | None]]:
        """The last polls of the channel of that name, for the live display."""
        return [
            (t_s, values[place])
            for reader in self._readers
            for place, known in enumerate(reader.meter.channels)
            if known.name == channel.name
            for t_s, values in list(reader.recent)
        ]

    def find_paces_s(self) -> dict[str, float]:
        """How often channels are renewed, by name, where no probe but the sampling showed it."""
        pacers = (reader.pacer for reader in self._readers)
        return {pacer.channel: pacer.pace_s for pacer in pacers if pacer.pace_s}

    def summaries(self) -> tuple[Sampling, ...]:
        """How well each meter was sampled."""
        return tuple(reader.summary() for reader in self._readers)
