"""CodeCarbon's joules beside ours."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import Caution, Severity
from wbcbench.core.trace import Origin
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence
from wbcbench.energy.headline import is_codecarbon

DIFFERS = Doubt(
    "codecarbon-differs",
    "info, where CodeCarbon read a sensor too; its models are shown and not judged",
    "CodeCarbon is a cross-check: published comparisons with meters find it up to 40 % off. Trust "
    "the channel that reads the sensor itself.",
    ("cross_check_pct",),
)
DOUBTS = (DIFFERS,)


def check(evidence: Evidence) -> Iterator[Caution]:
    """Look at the judged window alone: it is the longest window, and CodeCarbon samples slowly."""
    measured = {c.name for c in evidence.channels if c.origin is Origin.MEASURED}
    for each in evidence.agreements:
        is_sensor = is_codecarbon(each.b) and set(each.b.split("+")) <= measured
        if each.window != evidence.judged or each.status != "cross-check" or not is_sensor:
            continue
        if abs(each.difference_pct) > thresholds.CROSS_CHECK_PCT:
            detail = (
                f"{each.a} is {each.difference_pct:+.0f} % off {each.b} in `{evidence.judged}`."
            )
            yield DIFFERS.caution(Severity.INFO, detail, window=evidence.judged, channel=each.b)
