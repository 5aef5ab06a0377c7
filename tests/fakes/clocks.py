"""Clocks for tests: scaled real time, and time that only moves when it is slept."""

import mmap
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


class SharedClock(FileClock):
    """A file's time that threads share: it moves to the next deadline once all of them sleep.

    The thread that made the clock counts always, but for the time that it is ``away``; any other
    from its first sleep to its end. So nothing depends on how the machine schedules them.
    """

    def __init__(self, path: Path, start_s: float = 0.0) -> None:
        super().__init__(path, start_s)
        self._lock = threading.Lock()
        self._owner = threading.current_thread()
        self._threads = {self._owner: threading.Condition(self._lock)}
        self._deadlines_s: dict[threading.Thread, float] = {}
        self._expected = 1

    def expect(self, threads: int) -> None:
        """Let no time pass before that many other threads have slept once."""
        self._expected = threads + 1

    @contextmanager
    def away(self, threads: int) -> Iterator[None]:
        """Let time pass without this thread, as soon as that many others have slept once."""
        condition = self._threads.pop(self._owner)
        self._expected = threads
        yield
        with self._lock:
            self._threads, self._expected = {self._owner: condition}, 1

    def sleep_until(self, deadline_s: float) -> None:
        me = threading.current_thread()
        with self._lock:
            waiting = self._threads.setdefault(me, threading.Condition(self._lock))
            self._deadlines_s[me] = deadline_s
            self._move()
            while me in self._deadlines_s:
                if not waiting.wait(0.5 if me is self._owner else 0.005):
                    self._move()  # a thread ends without a word

    def _move(self) -> None:
        for thread in [t for t in self._threads if not t.is_alive()]:
            del self._threads[thread]
            self._expected -= 1
        if len(self._threads) < self._expected or len(self._deadlines_s) < len(self._threads):
            return
        self.set_s(max(min(self._deadlines_s.values()), self.now_s()))
        for thread in [t for t, s in self._deadlines_s.items() if s <= self.now_s()]:
            del self._deadlines_s[thread]
            self._threads[thread].notify()
