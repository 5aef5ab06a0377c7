"""Clocks that the board or its driver held down."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.board_state import Telemetry
from wbcbench.core.quality import Caution, Severity
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence

# Names as in NVML's clock-event reasons. A power cap is how a board keeps to its limit: reported.
SLOWED = ("hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown", "hw_power_brake")
CAPPED = "sw_power_cap"

THROTTLED = Doubt(
    "throttled",
    "suspect for any throttling while work was done; invalid for more than a fifth of `train`",
    "Time and joules are those of a slowed-down board. Cool it, check power supply and fans, wait "
    "between runs, and repeat.",
    ("throttled_share",),
)
POWER_CAPPED = Doubt(
    "power-capped",
    "info",
    "The board ran at its power limit, as boards under full load do. Compare only runs with the "
    "same limit.",
)
DOUBTS = (THROTTLED, POWER_CAPPED)


def check(evidence: Evidence) -> Iterator[Caution]:
    """One caution for each board that was slowed down, one for each that was capped."""
    for device in dict.fromkeys(each.device for each in evidence.telemetry):
        seen = [t for t in evidence.telemetry if t.device == device and evidence.is_work(t.window)]
        yield from _slowed(evidence, seen)
        yield from _capped(evidence, seen)


def slowed_s(state: Telemetry) -> float:
    """Seconds in which a board was slowed down; reasons overlap, so the longest counts."""
    return max((state.throttled_s.get(reason, 0.0) for reason in SLOWED), default=0.0)


def _slowed(evidence: Evidence, seen: list[Telemetry]) -> Iterator[Caution]:
    slowed = [state for state in seen if slowed_s(state) > 0]
    if not slowed:
        return
    worst = max(slowed, key=lambda state: (state.window == evidence.judged, slowed_s(state)))
    share = _share(evidence, worst, slowed_s(worst))
    is_most = worst.window == evidence.judged and share > thresholds.THROTTLED_SHARE
    reasons = ", ".join(reason for reason in worst.throttled_s if reason in SLOWED)
    yield THROTTLED.caution(
        Severity.INVALID if is_most else Severity.SUSPECT,
        f"{worst.device} was slowed down for {slowed_s(worst):.0f} s ({100 * share:.0f} %) of "
        f"{worst.window}: {reasons}.",
        window=worst.window,
    )


def _capped(evidence: Evidence, seen: list[Telemetry]) -> Iterator[Caution]:
    for state in seen:
        capped_s = state.throttled_s.get(CAPPED, 0.0)
        if state.window == evidence.judged and capped_s > 0:
            share = 100 * _share(evidence, state, capped_s)
            detail = f"{state.device} was at its power limit for {share:.0f} % of `{state.window}`."
            yield POWER_CAPPED.caution(Severity.INFO, detail, window=state.window)


def _share(evidence: Evidence, state: Telemetry, held_s: float) -> float:
    window = evidence.window(state.window)
    return held_s / window.duration_s if window and window.duration_s > 0 else 0.0
