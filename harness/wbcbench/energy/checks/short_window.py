"""Windows too short for the sensor's steps."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import Caution, Severity
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence, listed

SHORT = Doubt(
    "short-window",
    "suspect for a `train` under 10 s whose ± is unknown or wide; info for one under 60 s and for "
    "any other window under 10 s",
    "Train more epochs or on more data until `{judged}` lasts a minute; do not compare single "
    "short epochs, add them up.",
    ("short_window_s", "headline_window_s", "wide_share"),
)
DOUBTS = (SHORT,)


def check(evidence: Evidence) -> Iterator[Caution]:
    """One caution for the judged window, one for all other short windows together."""
    judged = evidence.window(evidence.judged)
    if judged is not None and judged.duration_s < thresholds.HEADLINE_WINDOW_S:
        is_short = judged.duration_s < thresholds.SHORT_WINDOW_S
        severity = Severity.SUSPECT if is_short and _is_vague(evidence) else Severity.INFO
        detail = (
            f"`{judged.name}` lasted {judged.duration_s:.1f} s; a headline wants "
            f"{thresholds.HEADLINE_WINDOW_S:.0f} s."
        )
        yield SHORT.caution(severity, detail, window=judged.name, judged=judged.name)
    others = [
        window.name
        for window in evidence.windows
        if window.name != evidence.judged and window.duration_s < thresholds.SHORT_WINDOW_S
    ]
    if others:
        detail = f"Shorter than {thresholds.SHORT_WINDOW_S:.0f} s: {listed(others)}."
        yield SHORT.caution(Severity.INFO, detail, window=others[0] if len(others) == 1 else "")


def _is_vague(evidence: Evidence) -> bool:
    energy_j, width_j = evidence.headline_j
    return energy_j is None or width_j is None or width_j > thresholds.WIDE_SHARE * energy_j
