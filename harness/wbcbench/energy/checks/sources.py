"""Checks of the energy sources: unknown, not measured, or at odds with a second reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.trace import Origin
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Evidence, list_some
from wbcbench.energy.cross_check import deepest_check
from wbcbench.energy.source import (
    PRIMARY_DOMAINS,
    EnergySource,
    choose_source,
    describe_model,
    device_label,
    explain_unknown,
    has_energy,
    is_codecarbon,
    list_passed_over,
)
from wbcbench.energy.warnings import make_warning

MOST_REASONS = 2  # in one message, which fits three lines of a terminal


def check_agreement(evidence: Evidence) -> Iterator[QualityWarning]:
    """Counter against integral, in every window where both are known, and in all that was read."""
    name = evidence.window_name
    wrong = [
        pair
        for pair in evidence.agreements
        if pair.status in {"suspect", "invalid"}
        # What was read outside of the window matters where it sees more than the window alone.
        and (pair.window or pair == deepest_check(evidence.agreements, pair.a, name))
    ]
    for channels in dict.fromkeys((pair.a, pair.b) for pair in wrong):
        pairs = [pair for pair in wrong if (pair.a, pair.b) == channels]
        worst = max(pairs, key=lambda p: (p.window == name, not p.window, abs(p.difference_pct)))
        is_invalid = worst.window in {name, ""} and worst.status == "invalid"
        where = f"In `{worst.window}`" if worst.window else "Over all that was read"
        yield make_warning(
            "readings-disagree",
            f"{where}, {worst.a} is {worst.difference_pct:+.1f} % off {worst.b}; up to "
            f"{thresholds.AGREE_PCT:.0f} % is normal. "
            f"Windows: {list_some(pair.window or 'all' for pair in pairs)}.",
            Severity.INVALID if is_invalid else Severity.SUSPECT,
            window=worst.window or name,
        )


def check_codecarbon(evidence: Evidence) -> Iterator[QualityWarning]:
    """CodeCarbon's joules beside ours."""
    window = evidence.window_name
    measured = {c.name for c in evidence.channels if c.origin is Origin.MEASURED}
    for pair in evidence.agreements:
        is_sensor = is_codecarbon(pair.b) and set(pair.b.split("+")) <= measured
        if pair.window != window or pair.status != "cross-check" or not is_sensor:
            continue
        if abs(pair.difference_pct) > thresholds.CROSS_CHECK_PCT:
            detail = f"{pair.a} is {pair.difference_pct:+.0f} % off {pair.b} in `{window}`."
            yield make_warning("codecarbon-differs", detail, window=window, channel=pair.b)


def check_unknown_energy(evidence: Evidence) -> Iterator[QualityWarning]:
    """Measured windows without joules, or with those of a fallback reading."""
    if not evidence.trained:
        return
    window, primary = evidence.window_name, evidence.primary
    if primary is None:
        detail = f"No meter reads GPU, CPU or the whole machine, so `{window}` has no joules."
        yield make_warning("energy-unknown", detail, window=window)
        return
    after = PRIMARY_DOMAINS[PRIMARY_DOMAINS.index(primary.domain) + 1 :]
    others = filter(None, (choose_source(evidence, domain, window) for domain in after))
    sensors = (each for each in others if each.status is Origin.MEASURED or each.unread)
    severity = Severity.INVALID
    for source in (primary, *sensors):
        reasons = explain_unknown(evidence, source, window)
        if reasons:
            detail = f"The {source.domain} has no joules for `{window}`. {_list_reasons(reasons)}"
            yield make_warning("energy-unknown", detail, severity, window=window)
        else:
            yield from _list_fallbacks(evidence, source)
        severity = Severity.SUSPECT


def _list_reasons(reasons: Mapping[str, str]) -> str:
    """``nvml/gpu1: GPU 1 does not answer. rapl/package-0: …``, the first sentence of each."""
    shown = MOST_REASONS if len(reasons) <= MOST_REASONS else 1
    sentences = [
        f"{name}: {reason.partition('. ')[0].rstrip('.')}"
        for name, reason in islice(reasons.items(), shown)
    ]
    rest = list_some([*reasons][shown:])
    return ". ".join(sentences) + (f". Nor have {rest}." if rest else ".")


def _list_fallbacks(evidence: Evidence, source: EnergySource) -> Iterator[QualityWarning]:
    """A warning for each device whose most trusted reading could not be used."""
    window = evidence.window_name
    for first, taken in list_passed_over(evidence, source):
        if has_energy(evidence, first.name, window):  # only coarser than the other: no fault
            continue
        energy = evidence.energy(window, first.name)
        yield make_warning(
            "fallback-source",
            f"The joules of {device_label(first.name)} in `{window}` are those of {taken.name}, "
            f"not of {first.name}: {(energy.reason if energy else '') or 'it has a warning'}.",
            window=window,
            channel=first.name,
        )


def check_status(evidence: Evidence) -> Iterator[QualityWarning]:
    """Primary energy that no sensor measured, and meters that are absent."""
    source, window = evidence.primary, evidence.window_name
    if source is not None and evidence.is_estimated:
        model = describe_model(evidence.meters, source.method)
        how = f"{source.method} ({model})" if model else source.method
        detail = f"Primary energy is {source.status} (no sensor on this machine): {how}."
        yield make_warning("energy-estimated", detail, window=window, channel=source.channels[0])
    simulated = [c.name for c in evidence.channels if c.origin is Origin.SIMULATED]
    if simulated:
        detail = f"Simulated instead of measured: {', '.join(simulated)}."
        yield make_warning("sensor-simulated", detail, channel=simulated[0])
    for meter in evidence.absent:
        yield make_warning("meter-absent", f"{meter.meter}: {meter.reason}")


def check_validated_on_test(evidence: Evidence) -> Iterator[QualityWarning]:
    """Validation on TEST, the images of the final scores."""
    spec = evidence.spec
    if evidence.trained and spec and spec.validation == "published":
        yield make_warning("validated-on-test", "The validation scores of each epoch are of TEST.")
