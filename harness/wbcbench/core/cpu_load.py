"""Processor time of the machine: samples, and who took it in one window.

Times are running totals, like a counter's joules, so that a window's share follows from their
values at its edges. How much of it is too much is for ``energy.checks`` to judge.
"""

from __future__ import annotations

from bisect import bisect_right
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
    cores: int


@dataclass(frozen=True, slots=True)
class CpuLoad:
    """Who took the machine's processor time in one window.

    Attributes:
        window: Name of the window.
        cores: Processors that were in use; ``None`` if unknown.
        own_share, others_share: Shares of the time of all cores, in [0, 1], of the measured
            program with what measures it, and of everything else; ``None`` if unknown.
        reason: Why they are unknown; empty otherwise.
    """

    window: str
    cores: int | None = None
    own_share: float | None = None
    others_share: float | None = None
    reason: str = ""


def sample_to_line(sample: CpuSample) -> str:
    """One line of the log."""
    return f"{sample.t_s!r},{sample.busy_s:.2f},{sample.own_s:.2f},{sample.cores}"


def sample_from_line(line: str) -> CpuSample | None:
    """The sample of one line; ``None`` for a header, a torn or a damaged line."""
    try:
        t_s, busy_s, own_s, cores = line.split(",")
        return CpuSample(float(t_s), float(busy_s), float(own_s), int(cores))
    except ValueError:
        return None


def summarise_load(samples: Sequence[CpuSample], window: Window) -> CpuLoad:
    """Who took the processor time of one window.

    Args:
        samples: In order of time.
        window: The span; totals are interpolated at its edges.
    """
    if not samples:
        return CpuLoad(window.name, reason="this machine does not tell its processor time")
    if samples[0].t_s > window.start_s or samples[-1].t_s < window.end_s:
        return CpuLoad(window.name, reason="the readings do not reach over the window")
    (busy_s, own_s), (busy_end_s, own_end_s) = (
        _interpolate(samples, t_s) for t_s in (window.start_s, window.end_s)
    )
    cores = max(sample.cores for sample in samples)
    if window.duration_s <= 0 or not cores:
        return CpuLoad(window.name, reason="the window has no length")
    all_s = cores * window.duration_s
    own_share = min((own_end_s - own_s) / all_s, 1.0)
    # Both are counted in ticks, so that their difference may be slightly below zero.
    others_share = min(max((busy_end_s - busy_s) / all_s - own_share, 0.0), 1.0)
    return CpuLoad(window.name, cores, own_share, others_share)


def _interpolate(samples: Sequence[CpuSample], t_s: float) -> tuple[float, float]:
    """Busy and own seconds at a moment between the first sample and the last."""
    after = min(bisect_right([sample.t_s for sample in samples], t_s), len(samples) - 1)
    a, b = samples[max(after - 1, 0)], samples[after]
    part = (t_s - a.t_s) / (b.t_s - a.t_s) if b.t_s > a.t_s else 0.0
    return a.busy_s + part * (b.busy_s - a.busy_s), a.own_s + part * (b.own_s - a.own_s)
