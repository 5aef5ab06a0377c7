"""Processor time of the machine and of the measured program, read from ``/proc`` once a second.

Other processes slow a program down, and their energy is in the processor's joules. What is read is
a running total, so that a process is missed only if it starts and ends between two readings without
a parent of ours that waits for it. A program that leaves its parent (a daemon, a container) before
it was seen counts as another.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from wbcbench.core.cpu_load import CpuSample

ROOT_VARIABLE = "WBCBENCH_PROC_ROOT"  # what stands for /proc, e.g. the host's in a container

# The words of a line of /proc/stat after its name; guest time is in user and nice already.
_USER, _NICE, _SYSTEM, _IDLE, _WAIT, _IRQ, _SOFTIRQ, _STEAL = range(8)
_BUSY = (_USER, _NICE, _SYSTEM, _IRQ, _SOFTIRQ, _STEAL)

# Of /proc/PID/stat, after the name in parentheses: parent, own time, and that of waited children.
_PARENT, _FIRST_TIME, _LAST_TIME = 1, 11, 15


class CpuTimes:
    """Reads the totals; keeps which processes are ours, so that each is asked only once."""

    def __init__(self, root_pid: int, root: Path | None = None) -> None:
        """Prepare; nothing is read yet.

        Args:
            root_pid: The process that, with everything it starts, is the measured program.
            root: What stands for ``/proc``.
        """
        self._root = str(root or os.environ.get(ROOT_VARIABLE, "/proc"))
        self._root_pid = str(root_pid)
        self._tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
        self._is_own: dict[str, bool] = {}
        self._last_ticks: int | None = None
        self._own_ticks = 0

    def read(self, t_s: float) -> CpuSample | None:
        """The totals at ``t_s``; ``None`` where the system does not tell them."""
        with suppress(OSError, ValueError, IndexError):
            text = self._read_bytes("stat")
            ticks = [int(word) for word in text.partition(b"\n")[0].split()[1:]]
            cores = text.count(b"\ncpu")
            if cores > 0 and any(ticks):
                self._count_own()
                busy_s = sum(ticks[place] for place in _BUSY) * self._tick_s
                return CpuSample(t_s, busy_s, self._own_ticks * self._tick_s, cores)
        return None

    def _count_own(self) -> None:
        """Add what our processes took since the last time.

        A child that ended is in its parent's total from then on. One whose parent did not wait for
        it takes its own away; that is no time given back.
        """
        ticks = sum(sum(words[_FIRST_TIME:_LAST_TIME]) for words in self._iterate_own())
        if self._last_ticks is not None:
            self._own_ticks += max(ticks - self._last_ticks, 0)
        self._last_ticks = ticks

    def _iterate_own(self) -> Iterator[list[int]]:
        """What ``/proc`` says of each of our processes."""
        with os.scandir(self._root) as entries:
            pids = {entry.name for entry in entries if entry.name.isdigit()}
        found = {pid: words for pid in pids - self._is_own.keys() if (words := self._ask(pid))}
        self._is_own = {pid: own for pid, own in self._is_own.items() if pid in pids}
        for pid in found:
            self._is_own[pid] = self._descends(pid, found)
        for pid in [pid for pid, own in self._is_own.items() if own]:
            words = found.get(pid) or self._ask(pid)
            if words:
                yield words

    def _descends(self, pid: str, found: dict[str, list[int]]) -> bool:
        """Whether a new process is ours: by its parents, up to one that is known."""
        for _ in range(len(found) + 1):  # ids are used again: what was read may form a circle
            if pid == self._root_pid or pid not in found:
                break
            pid = str(found[pid][_PARENT])
        return pid == self._root_pid or self._is_own.get(pid, False)

    def _ask(self, pid: str) -> list[int] | None:
        """The numbers after its name, its state as 0; ``None`` if it has ended."""
        try:
            text = self._read_bytes(f"{pid}/stat")
            return [0, *map(int, text.rpartition(b")")[2].split()[1:])]
        except (OSError, ValueError):
            return None

    def _read_bytes(self, name: str) -> bytes:
        """A file of the system; without a buffer and text layers, that cost more than its call."""
        with io.FileIO(f"{self._root}/{name}") as file:
            return file.readall()
