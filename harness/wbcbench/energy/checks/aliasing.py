"""Training steps in step with the power sensor."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import Caution, Severity
from wbcbench.core.trace import Kind, Origin, Trace
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence
from wbcbench.energy.uncertainty import sensor_of

ALIAS = Doubt(
    "aliasing",
    "suspect where the headline rests on a power sensor known to look part of the time; info on "
    "other power readings; none on those known to look all the time",
    "The sensor may see the same part of every step: errors of 20–50 % have been measured. Use the "
    "energy counter, or change the batch size so that a step takes another time.",
    ("alias_share", "alias_order"),
)
DOUBTS = (ALIAS,)


def check(evidence: Evidence) -> Iterator[Caution]:
    """Compare the mean step time with the update period of each power reading."""
    step_s = mean_step_s(evidence)
    who = evidence.headline
    if step_s is None:
        return
    for trace in evidence.weighty_traces:
        sensor = sensor_of(trace)
        kin = relation(step_s, sensor.update_s)
        if not _may_alias(trace) or not kin:
            continue
        rests_on_it = bool(who and trace.channel.name in who.channels)
        yield ALIAS.caution(
            Severity.SUSPECT if sensor.is_part_time and rests_on_it else Severity.INFO,
            f"A step takes {1000 * step_s:.1f} ms, {kin} the {1000 * sensor.update_s:.0f} ms in "
            f"which {trace.channel.name} is renewed.",
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
