"""Checks of the energy sources: unknown, not measured, or at odds with a second reading."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.trace import Origin
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Evidence, list_some
from wbcbench.energy.cross_check import deepest_check
from wbcbench.energy.source import (
    PRIMARY_DOMAINS,
    EnergySource,
    choose_source,
    is_codecarbon,
    rank_sources,
    source_energy_j,
)
from wbcbench.energy.warnings import make_warning


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
    """Measured windows without joules, or with those of a fallback source."""
    if not evidence.trained:
        return
    window = evidence.window_name
    chosen = {domain: choose_source(evidence, domain, window) for domain in PRIMARY_DOMAINS}
    known = {
        domain
        for domain, source in chosen.items()
        if source_energy_j(evidence, source, window) is not None
    }
    names = (channel.name for channel in evidence.channels)
    why = " ".join(f"{n}: {reason}." for n in names if (reason := _find_reason(evidence, n)))
    if not known:
        detail = f"No meter has joules for `{window}`. {why}"
        yield make_warning("energy-unknown", detail, window=window)
        return
    severity = Severity.INVALID
    for domain, source in chosen.items():
        first = next(iter(rank_sources(evidence.channels, domain)), None)
        if first is None or source is None or first.status is not Origin.MEASURED:
            continue
        if domain not in known or source.status is not Origin.MEASURED:
            detail = f"The sensor of the {domain} has no joules for `{window}`. {why}"
            yield make_warning("energy-unknown", detail, severity, window=window)
        elif source != first:
            yield _describe_fallback(evidence, first, source)
        severity = Severity.SUSPECT


def _describe_fallback(
    evidence: Evidence, first: EnergySource, source: EnergySource
) -> QualityWarning:
    reasons = {_find_reason(evidence, name) for name in first.channels} - {""}
    return make_warning(
        "fallback-source",
        f"The joules of `{evidence.window_name}` are those of {', '.join(source.channels)} "
        f"({source.method}), not of {', '.join(first.channels)}: "
        f"{'; '.join(sorted(reasons)) or 'it has a warning'}.",
        window=evidence.window_name,
        channel=first.channels[0],
    )


def _find_reason(evidence: Evidence, channel: str) -> str:
    """Why a channel has no joules in the checked window; empty if it has."""
    energy = evidence.energy(evidence.window_name, channel)
    return energy.reason if energy else "it has no such window"


def check_status(evidence: Evidence) -> Iterator[QualityWarning]:
    """Primary energy that no sensor measured, and meters that are absent."""
    source, window = evidence.primary, evidence.window_name
    if source is not None and source.status.is_estimated:
        detail = f"Primary energy is {source.status} (no sensor on this machine): {source.method}."
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
