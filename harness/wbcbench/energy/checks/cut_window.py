"""Runs that did not come to their end, and windows that they did not get to close."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import Caution, Severity
from wbcbench.energy.checks import Doubt, Evidence, listed

CUT = Doubt(
    "window-cut",
    "invalid if `train` is among them, else suspect",
    "The trainer or the watcher died. The joules up to there are kept as wasted; they are not the "
    "cost of what was asked for. Repeat the run.",
)
UNFINISHED = Doubt(
    "not-finished",
    "invalid for every run that failed or was interrupted",
    "The joules are those of a part of what was asked for: they are kept as wasted and compare "
    "with nothing. See the reason in the record and the log, and repeat the run.",
)
DOUBTS = (UNFINISHED, CUT)


def check(evidence: Evidence) -> Iterator[Caution]:
    """One caution for the run, one that names its open windows."""
    if evidence.status != "done":
        detail = f"The run ended as {evidence.status} after {len(evidence.epochs)} of its epochs."
        yield UNFINISHED.caution(Severity.INVALID, detail)
    if evidence.cut:
        is_judged = evidence.judged in evidence.cut
        yield CUT.caution(
            Severity.INVALID if is_judged else Severity.SUSPECT,
            f"Still open when the trace ended, and cut there: {listed(evidence.cut)}.",
            window=evidence.judged if is_judged else evidence.cut[0],
        )
