"""Meters that stopped being sampled before the run ended."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from statistics import median

from wbcbench.core.quality import Caution, Severity
from wbcbench.core.trace import Trace
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence

LOST = Doubt(
    "heartbeat-lost",
    "invalid, or info on a channel that does not carry the joules of a part",
    "Nobody was measuring for the rest of the run, so its joules are not known. Look for a hanging "
    "driver or a full disk, and repeat the run.",
    ("heartbeat_s",),
)
DOUBTS = (LOST,)


def check(evidence: Evidence) -> Iterator[Caution]:
    """Compare the last poll of each channel, failed or not, with the end of the last window."""
    end_s = max((window.end_s for window in evidence.windows), default=None)
    if end_s is None:
        return
    for trace in evidence.traces:
        last_s = trace.t_s[-1] if trace.t_s else None
        if last_s is not None and last_s >= end_s - _patience_s(trace):
            continue
        early = "was never polled" if last_s is None else f"was last polled {end_s - last_s:.1f} s"
        severity = Severity.INVALID if trace.channel.name in evidence.weighty else Severity.INFO
        yield LOST.caution(
            severity,
            f"{trace.channel.name} {early} before the last window ended.",
            channel=trace.channel.name,
        )


def _patience_s(trace: Trace) -> float:
    steps = [b - a for a, b in pairwise(trace.t_s)]
    return max(thresholds.HEARTBEAT_S, 3 * median(steps) if steps else 0.0)
