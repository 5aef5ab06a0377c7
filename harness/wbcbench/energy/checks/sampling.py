"""Checks of the sampling: too few or too short, cut off, in step with the load, too unsure."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.trace import Kind, Origin, Trace
from wbcbench.core.units import ms_from_s
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence, list_some
from wbcbench.energy.source import source_samples
from wbcbench.energy.uncertainty import sensor_of

ALIAS = Doubt(
    "aliasing",
    "suspect where the headline rests on a power sensor known to look part of the time; info on "
    "other power readings; none on those known to look all the time",
    "The sensor may see the same part of every step: errors of 20–50 % have been measured. Use the "
    "energy counter, or change the batch size so that a step takes another time.",
    ("alias_share", "alias_order"),
)


def check_aliasing(evidence: Evidence) -> Iterator[QualityWarning]:
    """Training steps in step with the power sensor."""
    step_s = mean_step_s(evidence)
    who = evidence.primary
    if step_s is None:
        return
    for trace in evidence.weighty_traces:
        sensor = sensor_of(trace)
        kin = relation(step_s, sensor.update_s)
        if not _may_alias(trace) or not kin:
            continue
        rests_on_it = bool(who and trace.channel.name in who.channels)
        yield ALIAS.warning(
            Severity.SUSPECT if sensor.is_part_time and rests_on_it else Severity.INFO,
            f"A step takes {ms_from_s(step_s):.1f} ms, {kin} the "
            f"{ms_from_s(sensor.update_s):.0f} ms in which {trace.channel.name} is renewed.",
            window=evidence.judged,
            channel=trace.channel.name,
        )


def mean_step_s(evidence: Evidence) -> float | None:
    """Mean time of a training step over all epochs; ``None`` without an epoch."""
    if not evidence.epochs or not evidence.steps_per_epoch:
        return None
    total_s = sum(epoch.end_s - epoch.start_s for epoch in evidence.epochs)
    return total_s / (len(evidence.epochs) * evidence.steps_per_epoch)


def relation(step_s: float, period_s: float) -> str:
    """How a step relates to a sensor's period, in words; empty if they do not beat."""
    if period_s <= 0 or step_s <= 0:
        return ""
    for order in range(1, int(thresholds.ALIAS_ORDER) + 1):
        if _is_near(step_s, order * period_s):
            return f"nearly {order} times" if order > 1 else "nearly"
        if _is_near(step_s, period_s / order):
            return f"nearly 1/{order} of"
    return ""


def _is_near(value: float, other: float) -> bool:
    return abs(value - other) <= thresholds.ALIAS_SHARE * other


def _may_alias(trace: Trace) -> bool:
    channel = trace.channel
    if channel.kind is not Kind.SAMPLED or channel.origin is not Origin.MEASURED:
        return False
    return channel.averaging_s is None or channel.averaging_s < sensor_of(trace).update_s


FEW = Doubt(
    "few-samples",
    "suspect under 10 good readings in `train`, info under 60",
    "Train longer or sample faster (--interval).",
    ("fewest_samples", "primary_samples"),
)


def check_few_samples(evidence: Evidence) -> Iterator[QualityWarning]:
    """Training windows with too few good readings."""
    samples = source_samples(evidence, evidence.primary, evidence.judged)
    if samples is None or samples >= thresholds.PRIMARY_SAMPLES:
        return
    severity = Severity.SUSPECT if samples < thresholds.FEWEST_SAMPLES else Severity.INFO
    detail = (
        f"`{evidence.judged}` holds {samples} good readings; a headline wants "
        f"{thresholds.PRIMARY_SAMPLES:.0f}."
    )
    yield FEW.warning(severity, detail, window=evidence.judged)


SHORT = Doubt(
    "short-window",
    "suspect for a `train` under 10 s whose ± is unknown or wide; info for one under 60 s and for "
    "any other window under 10 s",
    "Train more epochs or on more data until `{judged}` lasts a minute; do not compare single "
    "short epochs, add them up.",
    ("short_window_s", "primary_window_s", "wide_share"),
)


def check_short_window(evidence: Evidence) -> Iterator[QualityWarning]:
    """Windows too short for the sensor's steps."""
    judged = evidence.window(evidence.judged)
    if judged is not None and judged.duration_s < thresholds.PRIMARY_WINDOW_S:
        is_short = judged.duration_s < thresholds.SHORT_WINDOW_S
        severity = Severity.SUSPECT if is_short and _is_vague(evidence) else Severity.INFO
        detail = (
            f"`{judged.name}` lasted {judged.duration_s:.1f} s; a headline wants "
            f"{thresholds.PRIMARY_WINDOW_S:.0f} s."
        )
        yield SHORT.warning(severity, detail, window=judged.name, judged=judged.name)
    others = [
        window.name
        for window in evidence.windows
        if window.name != evidence.judged and window.duration_s < thresholds.SHORT_WINDOW_S
    ]
    if others:
        detail = f"Shorter than {thresholds.SHORT_WINDOW_S:.0f} s: {list_some(others)}."
        yield SHORT.warning(Severity.INFO, detail, window=others[0] if len(others) == 1 else "")


def _is_vague(evidence: Evidence) -> bool:
    energy_j, width_j = evidence.primary_j
    return energy_j is None or width_j is None or width_j > thresholds.WIDE_SHARE * energy_j


WIDE = Doubt(
    "wide-interval",
    "info",
    "Train longer, or use a board with an energy counter. The stated ± is honest: differences "
    "smaller than it are not shown by a single run.",
    ("wide_share",),
)


def check_wide_interval(evidence: Evidence) -> Iterator[QualityWarning]:
    """Joules of training that the sensor can only tell roughly."""
    energy_j, width_j = evidence.primary_j
    if energy_j is None or width_j is None or width_j <= thresholds.WIDE_SHARE * energy_j:
        return
    share_pct = 100 * width_j / energy_j
    detail = f"`{evidence.judged}` took {energy_j:,.0f} J ± {width_j:,.0f} ({share_pct:.0f} %)."
    yield WIDE.warning(Severity.INFO, detail, window=evidence.judged)


CUT = Doubt(
    "window-cut",
    "invalid if `train` is among them, else suspect",
    "The trainer or the watcher died. The joules up to there are kept as wasted; they are not the "
    "cost of what was asked for. Repeat the run.",
)
UNFINISHED = Doubt(
    "not-finished",
    "invalid for every run that failed or was interrupted",
    "The joules are those of a part of what was asked for: they are kept as wasted and compare "
    "with nothing. See the reason in the record and the log, and repeat the run.",
)


def check_cut_window(evidence: Evidence) -> Iterator[QualityWarning]:
    """Runs that did not come to their end, and windows that they did not get to close."""
    if evidence.status != "done":
        detail = f"The run ended as {evidence.status} after {len(evidence.epochs)} of its epochs."
        yield UNFINISHED.warning(Severity.INVALID, detail)
    if evidence.cut:
        is_judged = evidence.judged in evidence.cut
        yield CUT.warning(
            Severity.INVALID if is_judged else Severity.SUSPECT,
            f"Still open when the trace ended, and cut there: {list_some(evidence.cut)}.",
            window=evidence.judged if is_judged else evidence.cut[0],
        )


DOUBTS = (ALIAS, FEW, SHORT, WIDE, UNFINISHED, CUT)
