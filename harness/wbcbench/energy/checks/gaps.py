"""Stretches without a good reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from wbcbench.core.quality import Caution, Severity
from wbcbench.core.trace import Kind, Trace
from wbcbench.core.window import Window
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence, listed

GAP = Doubt(
    "sampling-gap",
    "suspect where work was done, info elsewhere; invalid if gaps take more than half of `train` "
    "on a power reading; always info on a channel that does not carry the joules of a part",
    "The driver hung, the board was lost or the machine was overloaded. Joules across a gap are "
    "bridged by a straight line and their ± is widened. Repeat the run on a quiet machine.",
    ("gap_periods", "gap_least_s", "covered_share"),
)
DOUBTS = (GAP,)


def check(evidence: Evidence) -> Iterator[Caution]:
    """One caution for each channel with gaps in any window."""
    weighty = evidence.weighty
    for trace in evidence.traces:
        found = gaps(trace.good[0])
        lost_s = {w.name: _inside_s(found, w) for w in evidence.windows}
        torn = [window for window in evidence.windows if lost_s[window.name] > 0]
        if not torn:
            continue
        worst = max(torn, key=lambda w: (*_weight(evidence, w.name), lost_s[w.name]))
        share = lost_s[worst.name] / worst.duration_s
        longest_s = max(end - start for start, end in found)
        yield GAP.caution(
            _severity(evidence, trace, worst, share)
            if trace.channel.name in weighty
            else Severity.INFO,
            f"{trace.channel.name} gave no good reading for up to {longest_s:.1f} s; of "
            f"{worst.name}, {100 * (1 - share):.0f} % are covered. "
            f"Windows with gaps: {listed(w.name for w in torn)}.",
            window=worst.name,
            channel=trace.channel.name,
        )


def _weight(evidence: Evidence, window: str) -> tuple[bool, bool]:
    return window == evidence.judged, evidence.is_work(window)


def _severity(evidence: Evidence, trace: Trace, worst: Window, share: float) -> Severity:
    is_judged, is_work = _weight(evidence, worst.name)
    is_sampled = trace.channel.kind is Kind.SAMPLED
    if is_judged and is_sampled and share > thresholds.COVERED_SHARE:
        return Severity.INVALID
    return Severity.SUSPECT if is_work else Severity.INFO


def gaps(times: Sequence[float]) -> list[tuple[float, float]]:
    """Where good readings, at ``[n]`` times, lie further apart than ``thresholds`` allow."""
    if len(times) < 2:
        return []
    usual_s = median([b - a for a, b in pairwise(times)])
    least_s = max(thresholds.GAP_PERIODS * usual_s, thresholds.GAP_LEAST_S)
    return [(a, b) for a, b in pairwise(times) if b - a > least_s]


def _inside_s(spans: list[tuple[float, float]], window: Window) -> float:
    """Seconds of a window inside gaps."""
    return sum(max(min(b, window.end_s) - max(a, window.start_s), 0.0) for a, b in spans)
