"""Reads that gave no value, and polls that came too late."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import Caution, Severity
from wbcbench.core.trace import Trace
from wbcbench.core.window import Window
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence, listed

FAILED = Doubt(
    "reads-failed",
    "suspect for any failed read where work was done; info elsewhere and on a channel that does "
    "not carry the joules of a part",
    "Failed reads are gaps, never zeros. A few cost nothing but certainty; if they come back, look "
    "at the driver's log (dmesg, nvidia-smi -q).",
)
MISSED = Doubt(
    "polls-missed",
    "info",
    "The machine was too busy or the driver too slow for the sampling period. Choose a longer one "
    "with --interval, or leave a core free with --threads.",
    ("missed_share",),
)
DOUBTS = (FAILED, MISSED)


def check(evidence: Evidence) -> Iterator[Caution]:
    """One caution for each channel with failed reads, one for each meter that was late."""
    for trace in evidence.traces:
        yield from _failed(evidence, trace)
    for each in evidence.sampling:
        polls = each.samples + each.missed
        if polls and each.missed > thresholds.MISSED_SHARE * polls:
            detail = (
                f"{each.meter} missed {each.missed} of {polls} polls; asked for one in "
                f"{each.interval_s:g} s."
            )
            yield MISSED.caution(Severity.INFO, detail)


def _failed(evidence: Evidence, trace: Trace) -> Iterator[Caution]:
    lost = [t for t, value in zip(trace.t_s, trace.value, strict=True) if value is None]
    if not lost:
        return
    touched = [window.name for window in evidence.windows if _holds(window, lost)]
    worked = [name for name in touched if evidence.is_work(name)]
    matters = bool(worked) and trace.channel.name in evidence.weighty
    yield FAILED.caution(
        Severity.SUSPECT if matters else Severity.INFO,
        f"{trace.channel.name}: {len(lost)} of {len(trace.t_s)} reads failed. "
        f"Windows touched: {listed(touched) or 'none'}.",
        window=next(iter([*worked, *touched]), ""),
        channel=trace.channel.name,
    )


def _holds(window: Window, times: list[float]) -> bool:
    return any(window.start_s <= t <= window.end_s for t in times)
