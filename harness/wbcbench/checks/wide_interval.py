"""Joules of training that the sensor can only tell roughly."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench import thresholds
from wbcbench.checks import Doubt, Evidence
from wbcbench.joules.headline import headline_channel, spoken_energy_j, spoken_uncertainty_j
from wbcbench.verdict import Caution, Severity
from wbcbench.windows import TRAIN

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
    who = headline_channel(evidence)
    energy_j = spoken_energy_j(evidence, who, TRAIN)
    width_j = spoken_uncertainty_j(evidence, who, TRAIN)
    if energy_j is None or width_j is None or width_j <= thresholds.WIDE_SHARE * energy_j:
        return
    detail = f"`train` took {energy_j:,.0f} J ± {width_j:,.0f} ({100 * width_j / energy_j:.0f} %)."
    yield WIDE.caution(Severity.INFO, detail, window=TRAIN)
