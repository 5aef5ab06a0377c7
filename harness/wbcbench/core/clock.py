"""The monotonic clock, handed in where time matters so that tests can hand in their own.

``CLOCK_MONOTONIC`` is shared by all processes of a machine, so the watcher and the trainer stamp
on one time axis. The wall clock is read once a run, for provenance; it never enters a duration.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a part that measures or waits takes its time from."""

    def now_s(self) -> float:
        """Seconds on a clock that never steps."""
        ...

    def sleep_until(self, deadline_s: float) -> None:
        """Return when ``now_s() >= deadline_s``."""
        ...


class MonotonicClock:
    """The machine's own monotonic clock."""

    def now_s(self) -> float:
        """Seconds since an arbitrary start, common to all processes of this machine."""
        return time.monotonic()

    def sleep_until(self, deadline_s: float) -> None:
        """Sleep to an absolute deadline; return at once when it has passed."""
        left_s = deadline_s - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)


def utc_now() -> str:
    """The wall clock as ISO-8601 in UTC, for provenance only."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
