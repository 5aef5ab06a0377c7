"""One thread a meter, absolute deadlines, every poll appended to its trace on disk.

A meter that hangs delays only its own channels. Deadlines do not drift: a late poll skips the
ticks it missed, which are counted, and the next one is on the grid again. Each deadline carries a
random jitter so that polling cannot beat with a periodic workload (aliasing).

It knows no windows and no trainer. A sampler that cannot write says so by ``error``: the run must
end, because nothing is measured any more.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO

from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.messages import append_line
from wbcbench.core.record import Sampling
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Channel
from wbcbench.core.window import Clock
from wbcbench.power.meter import EnergyMeter

# Share of the period, uniform to both sides: each poll lies anywhere in a stratum of its own, and
# the strata fill the time. Trapezoids on such polls are right on average for every load, one that
# switches in step with them included, and successive differences estimate their error. With less
# jitter part of each period would never be looked at, and no length of the run would cure that.
JITTER = 0.5
LEAST_STEP_S = 2e-6  # times are written in microseconds, and no two may be equal
# A call that takes longer, and longer than is usual here, does not say when the sensor was read.
SLOW_CALL_S, SLOWER = 0.01, 3.0
MOST_REPEATS = 2
HANDSHAKE_S = 10.0
JOIN_S = 2.0  # a driver that hangs longer is left behind: its thread is a daemon
RECENT = 64  # polls kept in memory for the live display


@dataclass
class _MeterReader:
    """One meter, its file, its thread and the counts of its polls."""

    meter: EnergyMeter
    stream: IO[str]
    interval_s: float
    clock: Clock
    stop: threading.Event
    recent: deque[tuple[float, tuple[float | None, ...]]] = field(
        default_factory=lambda: deque(maxlen=RECENT)
    )
    started: threading.Event = field(default_factory=threading.Event)
    error: OSError | None = None
    samples: int = 0
    missed: int = 0
    failed: int = 0
    quickest_s: float = 0.0
    first_s: float = 0.0
    last_s: float = 0.0
    max_gap_s: float | None = None

    def run(self) -> None:
        """Poll until ``stop`` is set; a failing disk ends it with ``error`` set."""
        rng = random.Random(self.meter.name)
        tick, start_s = 0, self.clock.now_s()
        while not self.stop.is_set():
            try:
                self._poll()
            except OSError as error:
                self.error = error
                return
            finally:
                self.started.set()
            # The next tick whose stratum is not over yet; those in between were missed.
            due = int((self.clock.now_s() - start_s) / self.interval_s + JITTER)
            self.missed += max(due - tick - 1, 0)
            tick = max(due, tick + 1)
            due_s = start_s + (tick + rng.uniform(-JITTER, JITTER)) * self.interval_s
            self.clock.sleep_until(max(due_s, self.last_s + LEAST_STEP_S))

    def _poll(self) -> None:
        length_s, t_s, values = self._read()
        for _ in range(MOST_REPEATS):
            if length_s <= max(SLOW_CALL_S, SLOWER * self.quickest_s):
                break
            # Somebody else had the processor; the next call is mostly quick again.
            length_s, t_s, values = min((length_s, t_s, values), self._read())
        self.quickest_s = min(self.quickest_s, length_s) if self.samples else length_s
        cells = ("" if value is None else repr(float(value)) for value in values)
        append_line(self.stream, f"{t_s:.6f}," + ",".join(cells))
        if self.samples:
            self.max_gap_s = max(self.max_gap_s or 0.0, t_s - self.last_s)
        else:
            self.first_s = t_s
        self.last_s = t_s
        self.samples += 1
        self.failed += None in values
        self.recent.append((t_s, values))

    def _read(self) -> tuple[float, float, tuple[float | None, ...]]:
        """How long the call took, when the driver read its sensor, and what it gave.

        The middle of the call is the best guess; in a long one it may be far off.
        """
        before_s = self.clock.now_s()
        values = tuple(self.meter.read())
        after_s = self.clock.now_s()
        return after_s - before_s, 0.5 * (before_s + after_s), values

    def summary(self) -> Sampling:
        """How well the meter was sampled."""
        span_s = self.last_s - self.first_s
        return Sampling(
            meter=self.meter.name,
            interval_s=self.interval_s,
            period_s=span_s / (self.samples - 1) if self.samples > 1 else None,
            max_gap_s=self.max_gap_s,
            samples=self.samples,
            missed=self.missed,
            failed=self.failed,
        )


class Sampler:
    """All meters of a run, sampled from ``start`` to ``stop``."""

    def __init__(
        self, meters: Sequence[EnergyMeter], run: RunDir, interval_s: float, clock: Clock
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            meters: Entered meters; at least one.
            run: Where the traces go.
            interval_s: Period in seconds for meters that have no own one.
            clock: Source of time.
        """
        self._stop = threading.Event()
        self._files = ExitStack()
        self._readers = [self._reader(meter, run, interval_s, clock) for meter in meters]
        self._threads: list[threading.Thread] = []

    def _reader(
        self, meter: EnergyMeter, run: RunDir, interval_s: float, clock: Clock
    ) -> _MeterReader:
        path = run.trace_path(meter.name)
        path.parent.mkdir(exist_ok=True)
        stream = self._files.enter_context(path.open("w", encoding="ascii"))
        append_line(stream, ",".join(["t_s", *(c.name for c in meter.channels)]))
        return _MeterReader(meter, stream, meter.interval_s or interval_s, clock, self._stop)

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
        for thread in self._threads:
            thread.join(JOIN_S)
        if not any(thread.is_alive() for thread in self._threads):
            self._files.close()

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

    def summaries(self) -> tuple[Sampling, ...]:
        """How well each meter was sampled."""
        return tuple(reader.summary() for reader in self._readers)
