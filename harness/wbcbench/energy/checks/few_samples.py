"""Training windows with too few good readings."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import Caution, Severity
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence
from wbcbench.energy.headline import spoken_samples

FEW = Doubt(
    "few-samples",
    "suspect under 10 good readings in `train`, info under 60",
    "Train longer or sample faster (--interval).",
    ("fewest_samples", "headline_samples"),
)
DOUBTS = (FEW,)


def check(evidence: Evidence) -> Iterator[Caution]:
    """Count the readings of the channel that carries the headline."""
    samples = spoken_samples(evidence, evidence.headline, evidence.judged)
    if samples is None or samples >= thresholds.HEADLINE_SAMPLES:
        return
    severity = Severity.SUSPECT if samples < thresholds.FEWEST_SAMPLES else Severity.INFO
    detail = (
        f"`{evidence.judged}` holds {samples} good readings; a headline wants "
        f"{thresholds.HEADLINE_SAMPLES:.0f}."
    )
    yield FEW.caution(severity, detail, window=evidence.judged)
