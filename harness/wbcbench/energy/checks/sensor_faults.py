"""Counters that froze, fell or jumped; power readings that stuck, were zero or absurd."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from wbcbench.core.quality import Caution, Severity
from wbcbench.core.window import Window
from wbcbench.energy.checks import Doubt, Evidence, listed
from wbcbench.energy.faults import Fault, Flaw

_WEIGHS = "suspect, or info on a channel that does not carry the joules of a part"
_WITNESS = (
    "The other reading of the same part is used instead where there is one. Repeat the run; if it "
    "happens again, reload the driver or restart the machine, and do not trust this counter."
)
_READING = (
    "Look at the trace in the run's folder. The counter carries the joules where there is one; "
    "without it, repeat the run, and report the driver and board if it stays."
)

_DOUBTS = {
    Flaw.FROZEN: Doubt(
        Flaw.FROZEN,
        f"{_WEIGHS}; windows it touches have unknown joules on that channel",
        _WITNESS,
        ("frozen_s", "frozen_alone_s", "caught_up_share"),
    ),
    Flaw.RESET: Doubt(
        Flaw.RESET, f"{_WEIGHS}; windows across it have unknown joules on that channel", _WITNESS
    ),
    Flaw.JUMP: Doubt(
        Flaw.JUMP,
        f"{_WEIGHS}; windows across it have unknown joules on that channel",
        _WITNESS,
        ("gpu_ceiling_over_limit", "cpu_ceiling_over_limit", "ceiling_w", "counter_update_s"),
    ),
    Flaw.STRAY: Doubt(Flaw.STRAY, f"{_WEIGHS}; the reading is left out as a failed one", _READING),
    Flaw.ZERO: Doubt(
        Flaw.ZERO,
        f"{_WEIGHS}; windows with many of them have unknown joules on that channel",
        _READING,
        ("zero_share",),
    ),
    Flaw.STUCK: Doubt(
        Flaw.STUCK,
        f"{_WEIGHS}; info where no work was done and there is no witness",
        _READING,
        ("stuck_s", "stuck_samples", "disagree_pct"),
    ),
    Flaw.SPIKE: Doubt(
        Flaw.SPIKE,
        f"{_WEIGHS}; nothing is clipped, the ± grows instead",
        _READING,
        ("instant_over_limit", "average_over_limit", "ceiling_w"),
    ),
}
DOUBTS = tuple(_DOUBTS.values())


def check(evidence: Evidence) -> Iterator[Caution]:
    """One caution for each flaw of each channel, naming the windows it touches."""
    found = sorted(evidence.faults, key=lambda fault: (fault.channel, fault.flaw, fault.start_s))
    for (channel, flaw), group in groupby(found, key=lambda fault: (fault.channel, fault.flaw)):
        faults = list(group)
        touched = [w.name for w in evidence.windows if any(_touches(f, w) for f in faults)]
        yield _DOUBTS[flaw].caution(
            _severity(evidence, channel, flaw, touched),
            _detail(channel, faults, touched),
            window=evidence.judged if evidence.judged in touched else next(iter(touched), ""),
            channel=channel,
        )


def _touches(fault: Fault, window: Window) -> bool:
    return fault.overlap_s(window) >= 0


def _severity(evidence: Evidence, channel: str, flaw: Flaw, touched: list[str]) -> Severity:
    if channel not in evidence.weighty:
        return Severity.INFO
    has_witness = (
        sum(c.name.rpartition("/")[0] == channel.rpartition("/")[0] for c in evidence.channels) > 1
    )
    if flaw is Flaw.STUCK and not has_witness and not any(map(evidence.is_work, touched)):
        return Severity.INFO
    return Severity.SUSPECT


def _detail(channel: str, faults: list[Fault], touched: list[str]) -> str:
    longest = max(faults, key=lambda fault: fault.end_s - fault.start_s)
    times = f" ({len(faults)} times; the longest is told)" if len(faults) > 1 else ""
    where = listed(touched) if touched else "no window"
    return f"{channel}: {longest.detail}{times}. Windows touched: {where}."
