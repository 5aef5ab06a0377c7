"""Idle power that is not the same after the run as before."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import Caution, Severity
from wbcbench.core.window import IDLE_AFTER, IDLE_BEFORE
from wbcbench.energy import thresholds
from wbcbench.energy.baseline import idle
from wbcbench.energy.checks import Doubt, Evidence

DRIFT = Doubt(
    "idle-drift",
    "info: gross joules do not depend on it, net joules do",
    "Use gross joules, or rest longer before the run. The drift is part of the stated ± of net "
    "joules.",
    ("idle_drift_pct",),
)
DOUBTS = (DRIFT,)


def check(evidence: Evidence) -> Iterator[Caution]:
    """Compare idle power before and after on each channel that carries joules."""
    for trace in evidence.weighty_traces:
        name = trace.channel.name
        before = idle(evidence.energies, evidence.windows, name, IDLE_BEFORE)
        after = idle(evidence.energies, evidence.windows, name, IDLE_AFTER)
        if before is None or after is None or before.power_w <= 0:
            continue
        apart_w = abs(after.power_w - before.power_w)
        noise_w = before.uncertainty_w + after.uncertainty_w
        if apart_w - noise_w > thresholds.IDLE_DRIFT_PCT / 100 * before.power_w:
            detail = (
                f"{name} read {before.power_w:.1f} W idle before and {after.power_w:.1f} W after."
            )
            yield DRIFT.caution(Severity.INFO, detail, window=IDLE_AFTER[0], channel=name)
