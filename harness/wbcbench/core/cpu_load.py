"""Processor time of the machine: samples, and how much of it others took in one window.

Times are running totals, like a counter's joules, so that a window's share follows from their
values at its edges. How much of it is too much is for ``energy.checks`` to judge.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from wbcbench.core.window import Window

COLUMNS = ("t_s", "busy_s", "own_s", "cores")


@dataclass(frozen=True, slots=True)
class CpuSample:
    """Running totals at ``t_s``, in processor seconds, and how many cores are in use.

    ``busy_s`` is that of everything, time that a hypervisor gave to other machines included;
    ``own_s`` that of the measured program and of what measures it.
    """

    t_s: float
    busy_s: float
    own_s: float
    cores: float

    @property
    def line(self) -> str:
        """Itself as a line of the log."""
        return f"{self.t_s!r},{self.busy_s:.2f},{self.own_s:.2f},{self.cores:g}"


@dataclass(frozen=True, slots=True)
class CpuLoad:
    """Who else took the machine's processor time in one window.

    Attributes:
        window: Name of the window.
        cores: Processors that were in use; ``None`` if unknown.
        others_share: Share of the time of all cores, in [0, 1], of everything but the measured
            program and what measures it; ``None`` if unknown.
        reason: Why it is unknown; empty otherwise.
    """

    window: str
    cores: int | None = None
    others_share: float | None = None
    reason: str = ""


def summarise_load(
    samples: Sequence[CpuSample], window: Window, most_cores: float | None = None
) -> CpuLoad:
    """Who else took the processor time of one window.

    Args:
        samples: In order of time.
        window: The span; totals are interpolated at its edges.
        most_cores: Most that any sample has; ``None`` to find out.
    """
    if not samples:
        return CpuLoad(window.name, reason="this machine does not tell its processor time")
    is_covered = samples[0].t_s <= window.start_s < window.end_s <= samples[-1].t_s
    if not is_covered:
        return CpuLoad(window.name, reason="the readings do not reach over the window")
    cores = int(most_cores or max(sample.cores for sample in samples))
    others_s = _interpolate_s(samples, window.end_s) - _interpolate_s(samples, window.start_s)
    # Both totals are counted in ticks, so that their difference may be slightly below zero.
    share = min(max(others_s / (cores * window.duration_s), 0.0), 1.0)
    return CpuLoad(window.name, cores, share)


def _interpolate_s(samples: Sequence[CpuSample], t_s: float) -> float:
    """The total of others at a moment between the first sample and the last."""
    after = max(bisect_left(samples, t_s, key=lambda sample: sample.t_s), 1)
    a, b = samples[after - 1], samples[after]
    start_s, end_s = a.busy_s - a.own_s, b.busy_s - b.own_s
    return start_s + (t_s - a.t_s) / (b.t_s - a.t_s) * (end_s - start_s)
