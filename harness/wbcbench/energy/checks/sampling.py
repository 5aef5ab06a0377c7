"""Checks of the sampling: too few or too short, truncated, in step with the load, too uncertain."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.trace import Kind, Origin
from wbcbench.core.units import ms_from_s
from wbcbench.core.window import Window
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Evidence, list_some
from wbcbench.energy.source import source_samples
from wbcbench.energy.warnings import make_warning


def check_aliasing(evidence: Evidence) -> Iterator[QualityWarning]:
    """Training steps whose period aliases with that of the power sensor."""
    step_s, source = mean_step_s(evidence) or 0.0, evidence.primary
    for trace in evidence.counted_traces if step_s else ():
        channel, sensor = trace.channel, trace.sensor
        ratio = describe_ratio(step_s, sensor.update_s)
        if channel.kind is not Kind.SAMPLED or channel.origin is not Origin.MEASURED or not ratio:
            continue
        if channel.averaging_s is not None and channel.averaging_s >= sensor.update_s:
            continue  # it reads all the time
        is_primary = source is not None and channel.name in source.channels
        yield make_warning(
            "aliasing",
            f"A step takes {ms_from_s(step_s):.1f} ms, {ratio} the "
            f"{ms_from_s(sensor.update_s):.0f} ms in which {channel.name} is renewed.",
            Severity.SUSPECT if sensor.is_part_time and is_primary else Severity.INFO,
            window=evidence.window_name,
            channel=channel.name,
        )


def mean_step_s(evidence: Evidence) -> float | None:
    """Mean time of a training step over all epochs; ``None`` without an epoch."""
    if not evidence.epochs or not evidence.steps_per_epoch:
        return None
    total_s = sum(epoch.end_s - epoch.start_s for epoch in evidence.epochs)
    return total_s / (len(evidence.epochs) * evidence.steps_per_epoch)


def describe_ratio(step_s: float, period_s: float) -> str:
    """A step as a multiple or part of a sensor's period, in words; empty if they do not alias."""
    for order in range(1, int(thresholds.ALIAS_ORDER) + 1) if period_s > 0 else ():
        times, part = order * period_s, period_s / order
        if abs(step_s - times) <= thresholds.ALIAS_SHARE * times:
            return f"nearly {order} times" if order > 1 else "nearly"
        if abs(step_s - part) <= thresholds.ALIAS_SHARE * part:
            return f"nearly 1/{order} of"
    return ""


def check_few_samples(evidence: Evidence) -> Iterator[QualityWarning]:
    """Measured windows with too few good readings of a sensor."""
    if evidence.is_estimated:
        return
    samples = source_samples(evidence, evidence.primary, evidence.window_name)
    if samples is not None and samples < thresholds.PRIMARY_SAMPLES:
        severity = Severity.SUSPECT if samples < thresholds.FEWEST_SAMPLES else Severity.INFO
        detail = (
            f"`{evidence.window_name}` contains {samples} good readings; at least "
            f"{thresholds.PRIMARY_SAMPLES:.0f} are recommended."
        )
        yield make_warning("few-samples", detail, severity, window=evidence.window_name)


def check_short_window(evidence: Evidence) -> Iterator[QualityWarning]:
    """Windows too short for the sensor's steps; of a model, shorter than its own."""
    window = evidence.window(evidence.window_name)
    if evidence.is_estimated:
        yield from _judge_short_estimate(evidence, window)
        return
    if window is not None and window.duration_s < thresholds.PRIMARY_WINDOW_S:
        is_short = window.duration_s < thresholds.SHORT_WINDOW_S
        severity = Severity.SUSPECT if is_short and not _is_precise(evidence) else Severity.INFO
        detail = (
            f"`{window.name}` lasted {window.duration_s:.1f} s; at least "
            f"{thresholds.PRIMARY_WINDOW_S:.0f} s are recommended."
        )
        yield make_warning("short-window", detail, severity, window=window.name)
    others = [
        window.name
        for window in evidence.windows
        if window.name != evidence.window_name and window.duration_s < thresholds.SHORT_WINDOW_S
    ]
    if others:
        detail = f"Shorter than {thresholds.SHORT_WINDOW_S:.0f} s: {list_some(others)}."
        yield make_warning("short-window", detail, window=others[0] if len(others) == 1 else "")


def _judge_short_estimate(evidence: Evidence, window: Window | None) -> Iterator[QualityWarning]:
    """A model has no steps and no ±; but within one of its updates it knows no other power."""
    names = evidence.primary.channels if evidence.primary else ()
    update_s = max((c.update_s or 0.0 for c in evidence.channels if c.name in names), default=0.0)
    if window is not None and window.duration_s < update_s:
        detail = (
            f"`{window.name}` lasted {window.duration_s:.1f} s, less than the {update_s:.1f} s "
            "after which the estimate is renewed: it is of the time around the window."
        )
        yield make_warning("short-window", detail, Severity.INFO, window=window.name)


def _is_precise(evidence: Evidence) -> bool:
    energy_j, width_j = evidence.primary_j
    if energy_j is None or width_j is None:
        return False
    return width_j <= thresholds.WIDE_SHARE * energy_j


def check_wide_interval(evidence: Evidence) -> Iterator[QualityWarning]:
    """Joules with a wide ±."""
    energy_j, width_j = evidence.primary_j
    if energy_j is None or width_j is None or _is_precise(evidence):
        return
    share_pct = 100 * width_j / energy_j
    detail = (
        f"`{evidence.window_name}` took {energy_j:,.0f} J ± {width_j:,.0f} J ({share_pct:.0f} %)."
    )
    yield make_warning("wide-interval", detail, window=evidence.window_name)


def check_cut_window(evidence: Evidence) -> Iterator[QualityWarning]:
    """Runs that did not finish, and windows that they did not close."""
    if evidence.status != "done":
        detail = f"The run ended after {len(evidence.epochs)} epochs: {evidence.status}."
        yield make_warning("not-finished", detail)
    if evidence.cut:
        is_measured = evidence.window_name in evidence.cut
        yield make_warning(
            "window-truncated",
            f"Still open when the trace ended, and closed there: {list_some(evidence.cut)}.",
            Severity.INVALID if is_measured else Severity.SUSPECT,
            window=evidence.window_name if is_measured else evidence.cut[0],
        )
