"""Checks of the sensors: faults, failed reads, gaps, a trace that ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from statistics import median

from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.trace import Kind, Trace
from wbcbench.core.window import Window
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence, list_some
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


def check_sensor_faults(evidence: Evidence) -> Iterator[QualityWarning]:
    """Counters that froze, fell or jumped; power readings that stuck, were zero or absurd."""
    found = sorted(evidence.faults, key=lambda fault: (fault.channel, fault.flaw, fault.start_s))
    for (channel, flaw), group in groupby(found, key=lambda fault: (fault.channel, fault.flaw)):
        faults = list(group)
        touched = [w.name for w in evidence.windows if any(_touches(f, w) for f in faults)]
        yield _DOUBTS[flaw].warning(
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
    where = list_some(touched) if touched else "no window"
    return f"{channel}: {longest.detail}{times}. Windows touched: {where}."


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


def check_failed_reads(evidence: Evidence) -> Iterator[QualityWarning]:
    """Reads that gave no value, and polls that came too late."""
    for trace in evidence.traces:
        yield from _failed(evidence, trace)
    for each in evidence.sampling:
        polls = each.samples + each.missed
        if polls and each.missed > thresholds.MISSED_SHARE * polls:
            detail = (
                f"{each.meter} missed {each.missed} of {polls} polls; asked for one in "
                f"{each.interval_s:g} s."
            )
            yield MISSED.warning(Severity.INFO, detail)


def _failed(evidence: Evidence, trace: Trace) -> Iterator[QualityWarning]:
    lost = [t for t, value in zip(trace.t_s, trace.value, strict=True) if value is None]
    if not lost:
        return
    touched = [window.name for window in evidence.windows if _holds(window, lost)]
    worked = [name for name in touched if evidence.is_work(name)]
    matters = bool(worked) and trace.channel.name in evidence.weighty
    yield FAILED.warning(
        Severity.SUSPECT if matters else Severity.INFO,
        f"{trace.channel.name}: {len(lost)} of {len(trace.t_s)} reads failed. "
        f"Windows touched: {list_some(touched) or 'none'}.",
        window=next(iter([*worked, *touched]), ""),
        channel=trace.channel.name,
    )


def _holds(window: Window, times: list[float]) -> bool:
    return any(window.start_s <= t <= window.end_s for t in times)


GAP = Doubt(
    "sampling-gap",
    "suspect where work was done, info elsewhere; invalid if gaps take more than half of `train` "
    "on a power reading; always info on a channel that does not carry the joules of a part",
    "The driver hung, the board was lost or the machine was overloaded. Joules across a gap are "
    "bridged by a straight line and their ± is widened. Repeat the run on a quiet machine.",
    ("gap_periods", "gap_least_s", "covered_share"),
)


def check_gaps(evidence: Evidence) -> Iterator[QualityWarning]:
    """Stretches without a good reading."""
    weighty = evidence.weighty
    for trace in evidence.traces:
        found = gaps(trace.good[0])
        lost_s = {w.name: _inside_s(found, w) for w in evidence.windows}
        torn = [window for window in evidence.windows if lost_s[window.name] > 0]
        if not torn:
            continue
        worst = max(torn, key=lambda w: (*_weight(evidence, w.name), lost_s[w.name]))
        share = lost_s[worst.name] / worst.duration_s
        longest_s = max(end - start for start, end in found)
        yield GAP.warning(
            _gap_severity(evidence, trace, worst, share)
            if trace.channel.name in weighty
            else Severity.INFO,
            f"{trace.channel.name} gave no good reading for up to {longest_s:.1f} s; of "
            f"{worst.name}, {100 * (1 - share):.0f} % are covered. "
            f"Windows with gaps: {list_some(w.name for w in torn)}.",
            window=worst.name,
            channel=trace.channel.name,
        )


def _weight(evidence: Evidence, window: str) -> tuple[bool, bool]:
    return window == evidence.judged, evidence.is_work(window)


def _gap_severity(evidence: Evidence, trace: Trace, worst: Window, share: float) -> Severity:
    is_judged, is_work = _weight(evidence, worst.name)
    is_sampled = trace.channel.kind is Kind.SAMPLED
    if is_judged and is_sampled and share > thresholds.COVERED_SHARE:
        return Severity.INVALID
    return Severity.SUSPECT if is_work else Severity.INFO


def gaps(times: Sequence[float]) -> list[tuple[float, float]]:
    """Where good readings, at ``[n]`` times, lie further apart than ``thresholds`` allow."""
    if len(times) < 2:
        return []
    usual_s = median([b - a for a, b in pairwise(times)])
    least_s = max(thresholds.GAP_PERIODS * usual_s, thresholds.GAP_LEAST_S)
    return [(a, b) for a, b in pairwise(times) if b - a > least_s]


def _inside_s(spans: list[tuple[float, float]], window: Window) -> float:
    """Seconds of a window inside gaps."""
    return sum(max(min(b, window.end_s) - max(a, window.start_s), 0.0) for a, b in spans)


LOST = Doubt(
    "heartbeat-lost",
    "invalid, or info on a channel that does not carry the joules of a part",
    "Nobody was measuring for the rest of the run, so its joules are not known. Look for a hanging "
    "driver or a full disk, and repeat the run.",
    ("heartbeat_s",),
)


def check_heartbeat(evidence: Evidence) -> Iterator[QualityWarning]:
    """Meters that stopped being sampled before the run ended."""
    end_s = max((window.end_s for window in evidence.windows), default=None)
    if end_s is None:
        return
    for trace in evidence.traces:
        last_s = trace.t_s[-1] if trace.t_s else None
        if last_s is not None and last_s >= end_s - _patience_s(trace):
            continue
        early = "was never polled" if last_s is None else f"was last polled {end_s - last_s:.1f} s"
        severity = Severity.INVALID if trace.channel.name in evidence.weighty else Severity.INFO
        yield LOST.warning(
            severity,
            f"{trace.channel.name} {early} before the last window ended.",
            channel=trace.channel.name,
        )


def _patience_s(trace: Trace) -> float:
    steps = [b - a for a, b in pairwise(trace.t_s)]
    return max(thresholds.HEARTBEAT_S, 3 * median(steps) if steps else 0.0)


DOUBTS = (*_DOUBTS.values(), FAILED, MISSED, GAP, LOST)
