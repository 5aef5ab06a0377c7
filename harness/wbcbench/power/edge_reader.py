"""A meter that is read at the edges of what is measured, with a trace of its own."""

from __future__ import annotations

from contextlib import suppress

from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace_file import TraceWriter
from wbcbench.core.window import Clock
from wbcbench.power.meter import EnergyMeter


class EdgeReader:
    """The trace of one meter: a reading whenever it is told."""

    def __init__(self, meter: EnergyMeter, run: RunDir, clock: Clock) -> None:
        """Begin the trace; nothing is read yet.

        Args:
            meter: An entered meter.
            run: Where the trace goes.
            clock: Source of time, the sampler's.
        """
        self.meter, self._clock = meter, clock
        self._trace = TraceWriter(run.trace_path(meter.name), (c.name for c in meter.channels))

    def read(self) -> None:
        """Read once; a disk that cannot be written ends the run by the sampler."""
        before_s = self._clock.now_s()
        values = self.meter.read()
        t_s = 0.5 * (before_s + self._clock.now_s())
        with suppress(OSError):
            self._trace.write([(t_s, values)])

    def close(self) -> None:
        """End the trace."""
        with suppress(OSError):
            self._trace.close()
