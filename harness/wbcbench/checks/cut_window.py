"""Windows that the run did not get to close."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.checks import Doubt, Evidence, listed
from wbcbench.headline import TRAIN
from wbcbench.verdict import Caution, Severity

CUT = Doubt(
    "window-cut",
    "invalid if `train` is among them, else suspect",
    "The trainer or the watcher died. The joules up to there are kept as wasted; they are not the "
    "cost of what was asked for. Repeat the run.",
)
DOUBTS = (CUT,)


def check(evidence: Evidence) -> Iterator[Caution]:
    """One caution that names them all."""
    if evidence.cut:
        is_train = TRAIN in evidence.cut
        yield CUT.caution(
            Severity.INVALID if is_train else Severity.SUSPECT,
            f"Still open when the trace ended, and cut there: {listed(evidence.cut)}.",
            window=TRAIN if is_train else evidence.cut[0],
        )
