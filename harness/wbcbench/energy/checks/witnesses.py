"""Counter against integral, in every window where both are known."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import Caution, Severity
from wbcbench.core.record import Agreement
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence, listed

DISAGREE = Doubt(
    "witnesses-disagree",
    "suspect between 3 and 10 %; beyond, invalid for `train` and suspect for other windows; only "
    "where the uncertainties do not explain the difference",
    "One of the two readings is wrong and nothing here says which. Repeat the run with a longer "
    "`{judged}`; if it stays, calibrate with `wbcbench doctor --calibrate` or a wall meter.",
    ("agree_pct", "disagree_pct"),
)
DOUBTS = (DISAGREE,)


def check(evidence: Evidence) -> Iterator[Caution]:
    """One caution for each pair of channels that disagrees anywhere."""
    bad = [each for each in evidence.agreements if each.status in {"suspect", "invalid"}]
    for pair in dict.fromkeys((each.a, each.b) for each in bad):
        yield _caution(evidence.judged, [each for each in bad if (each.a, each.b) == pair])


def _caution(judged: str, bad: list[Agreement]) -> Caution:
    worst = max(bad, key=lambda each: (each.window == judged, abs(each.difference_pct)))
    spoils = worst.window == judged and worst.status == "invalid"
    return DISAGREE.caution(
        Severity.INVALID if spoils else Severity.SUSPECT,
        f"In {worst.window}, {worst.a} is {worst.difference_pct:+.1f} % off {worst.b}; up to "
        f"{thresholds.AGREE_PCT:.0f} % is agreement. Windows: {listed(e.window for e in bad)}.",
        window=worst.window,
        judged=judged,
    )
