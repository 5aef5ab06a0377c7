"""Joules of training that the sensor can only tell roughly."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import Caution, Severity
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence

WIDE = Doubt(
    "wide-interval",
    "info",
    "Train longer, or use a board with an energy counter. The stated ± is honest: differences "
    "smaller than it are not shown by a single run.",
    ("wide_share",),
)
DOUBTS = (WIDE,)


def check(evidence: Evidence) -> Iterator[Caution]:
    """Look at the headline's ± relative to its joules."""
    energy_j, width_j = evidence.headline_j
    if energy_j is None or width_j is None or width_j <= thresholds.WIDE_SHARE * energy_j:
        return
    share_pct = 100 * width_j / energy_j
    detail = f"`{evidence.judged}` took {energy_j:,.0f} J ± {width_j:,.0f} ({share_pct:.0f} %)."
    yield WIDE.caution(Severity.INFO, detail, window=evidence.judged)
