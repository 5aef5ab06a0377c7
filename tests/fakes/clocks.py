"""Clocks for tests: scaled real time, and time that only moves when it is slept."""

import mmap
import struct
import time
from pathlib import Path


class ScaledClock:
    """Scenario time of a scripted GPU that runs ``scale`` times faster than the world."""

    def __init__(self, epoch_s: float, scale: float) -> None:
        self.epoch_s, self.scale = epoch_s, scale

    def now_s(self) -> float:
        return (time.monotonic() - self.epoch_s) * self.scale

    def sleep_until(self, deadline_s: float) -> None:
        left_s = (deadline_s - self.now_s()) / self.scale
        if left_s > 0:
            time.sleep(left_s)


class FileClock:
    """Time in a file that the scripted GPU maps: exact, instant, moved by sleeping only."""

    def __init__(self, path: Path, start_s: float = 0.0) -> None:
        path.write_bytes(struct.pack("d", start_s))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)
        self.path = path

    def now_s(self) -> float:
        now_s: float = struct.unpack("d", self._page[:8])[0]
        return now_s

    def sleep_until(self, deadline_s: float) -> None:
        if deadline_s > self.now_s():
            self.set_s(deadline_s)

    def set_s(self, now_s: float) -> None:
        self._page[:8] = struct.pack("d", now_s)
