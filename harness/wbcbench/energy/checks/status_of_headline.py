"""Headlines that no sensor stands behind, and meters that are not there."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import Caution, Severity
from wbcbench.core.trace import Origin
from wbcbench.energy.checks import Doubt, Evidence

MODELLED = Doubt(
    "headline-modelled",
    "info",
    "Nothing here may be called a measured saving. For measured joules use a machine with an "
    "NVIDIA GPU or readable RAPL; `wbcbench doctor` says what this one lacks.",
)
SYNTHETIC = Doubt(
    "signal-synthetic",
    "info",
    "The joules are those of a made-up signal, for demonstrations and tests. They say nothing "
    "about training.",
)
ABSENT = Doubt(
    "meter-absent",
    "info",
    "`wbcbench doctor` says what would make it work.",
)
DOUBTS = (MODELLED, SYNTHETIC, ABSENT)


def check(evidence: Evidence) -> Iterator[Caution]:
    """Say what kind of number the headline is, and what could not be asked."""
    who = evidence.headline
    if who is not None and who.status.is_model:
        detail = f"The headline is {who.status} (no sensor on this machine): {who.method}."
        yield MODELLED.caution(
            Severity.INFO, detail, window=evidence.judged, channel=who.channels[0]
        )
    made_up = [c.name for c in evidence.channels if c.origin is Origin.SYNTHETIC]
    if made_up:
        detail = f"A known signal was read instead of a sensor: {', '.join(made_up)}."
        yield SYNTHETIC.caution(Severity.INFO, detail, channel=made_up[0])
    for each in evidence.absent:
        yield ABSENT.caution(Severity.INFO, f"{each.meter}: {each.reason}")
