"""Training windows with too few good readings."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench import thresholds
from wbcbench.checks import Doubt, Evidence
from wbcbench.joules.headline import headline_channel, spoken_samples
from wbcbench.verdict import Caution, Severity
from wbcbench.windows import TRAIN

FEW = Doubt(
    "few-samples",
    "suspect under 10 good readings in `train`, info under 60",
    "Train longer or sample faster (--interval).",
    ("fewest_samples", "headline_samples"),
)
DOUBTS = (FEW,)


def check(evidence: Evidence) -> Iterator[Caution]:
    """Count the readings of the channel that carries the headline."""
    samples = spoken_samples(evidence, headline_channel(evidence), TRAIN)
    if samples is None or samples >= thresholds.HEADLINE_SAMPLES:
        return
    severity = Severity.SUSPECT if samples < thresholds.FEWEST_SAMPLES else Severity.INFO
    detail = (
        f"`train` holds {samples} good readings; a headline wants "
        f"{thresholds.HEADLINE_SAMPLES:.0f}."
    )
    yield FEW.caution(severity, detail, window=TRAIN)
