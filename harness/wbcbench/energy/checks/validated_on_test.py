"""Scores that were watched on the very images they are stated for."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import Caution, Severity
from wbcbench.energy.checks import Doubt, Evidence

ON_TEST = Doubt(
    "validated-on-test",
    "info",
    "As in the published report, TEST was watched during training: state its score of the last "
    "epoch, and do not choose an epoch, a setting or a target by it. `--validation by-photograph` "
    "watches photographs of TRAIN that are held out.",
)
DOUBTS = (ON_TEST,)


def check(evidence: Evidence) -> Iterator[Caution]:
    """Say it when the validation images are the test images."""
    spec = evidence.spec
    if evidence.trained and spec and spec.validation == "published":
        yield ON_TEST.caution(Severity.INFO, "The validation scores of each epoch are of TEST.")
