"""Checks of what the joules rest on: unknown, not measured, or at odds with a second reading."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.record import Agreement
from wbcbench.core.trace import Origin
from wbcbench.energy import thresholds
from wbcbench.energy.checks import Doubt, Evidence, list_some
from wbcbench.energy.source import (
    PRIMARY_DOMAINS,
    EnergySource,
    choose_source,
    is_codecarbon,
    rank_sources,
    source_energy_j,
)

DISAGREE = Doubt(
    "witnesses-disagree",
    "suspect between 3 and 10 %; beyond, invalid for `train` and suspect for other windows; only "
    "where the uncertainties do not explain the difference",
    "One of the two readings is wrong and nothing here says which. Repeat the run with a longer "
    "`{judged}`; if it stays, calibrate with `wbcbench doctor --calibrate` or a wall meter.",
    ("agree_pct", "disagree_pct"),
)


def check_agreement(evidence: Evidence) -> Iterator[QualityWarning]:
    """Counter against integral, in every window where both are known."""
    bad = [each for each in evidence.agreements if each.status in {"suspect", "invalid"}]
    for pair in dict.fromkeys((each.a, each.b) for each in bad):
        yield _caution(evidence.judged, [each for each in bad if (each.a, each.b) == pair])


def _caution(judged: str, bad: list[Agreement]) -> QualityWarning:
    worst = max(bad, key=lambda each: (each.window == judged, abs(each.difference_pct)))
    spoils = worst.window == judged and worst.status == "invalid"
    return DISAGREE.warning(
        Severity.INVALID if spoils else Severity.SUSPECT,
        f"In {worst.window}, {worst.a} is {worst.difference_pct:+.1f} % off {worst.b}; up to "
        f"{thresholds.AGREE_PCT:.0f} % is agreement. Windows: {list_some(e.window for e in bad)}.",
        window=worst.window,
        judged=judged,
    )


DIFFERS = Doubt(
    "codecarbon-differs",
    "info, where CodeCarbon read a sensor too; its models are shown and not judged",
    "CodeCarbon is a cross-check: published comparisons with meters find it up to 40 % off. Trust "
    "the channel that reads the sensor itself.",
    ("cross_check_pct",),
)


def check_codecarbon(evidence: Evidence) -> Iterator[QualityWarning]:
    """CodeCarbon's joules beside ours."""
    measured = {c.name for c in evidence.channels if c.origin is Origin.MEASURED}
    for each in evidence.agreements:
        is_sensor = is_codecarbon(each.b) and set(each.b.split("+")) <= measured
        if each.window != evidence.judged or each.status != "cross-check" or not is_sensor:
            continue
        if abs(each.difference_pct) > thresholds.CROSS_CHECK_PCT:
            detail = (
                f"{each.a} is {each.difference_pct:+.0f} % off {each.b} in `{evidence.judged}`."
            )
            yield DIFFERS.warning(Severity.INFO, detail, window=evidence.judged, channel=each.b)


UNKNOWN = Doubt(
    "energy-unknown",
    "training was done and has no joules: invalid if no part has any, or the first of GPU, CPU and "
    "whole machine that has a sensor; suspect for a further part with a sensor",
    "A run without joules says nothing about energy. See the other cautions for the cause, and "
    "repeat the run.",
)
FALLBACK = Doubt(
    "second-choice",
    "suspect: the most trusted reading of a part could not be used for `train`, another is",
    "The joules are those of the reading named here. See the other cautions for what was wrong "
    "with the first, and repeat the run.",
)


def check_unknown_energy(evidence: Evidence) -> Iterator[QualityWarning]:
    """Training whose joules are not known, or known only from the second choice."""
    if not evidence.trained:
        return
    spoken = [
        (domain, choose_source(evidence, domain, evidence.judged)) for domain in PRIMARY_DOMAINS
    ]
    if not any(_knows(evidence, who) for _, who in spoken):
        yield UNKNOWN.warning(
            Severity.INVALID,
            f"No meter knows the joules of `{evidence.judged}`. {_why(evidence)}",
            window=evidence.judged,
        )
        return
    severity = Severity.INVALID
    for domain, who in spoken:
        first = next(iter(rank_sources(evidence.channels, domain)), None)
        if first is None or first.status is not Origin.MEASURED:
            continue
        if not _knows(evidence, who) or (who and who.status is not Origin.MEASURED):
            what = f"The sensor of the {domain} has no joules for `{evidence.judged}`."
            detail = f"{what} {_why(evidence)}"
            yield UNKNOWN.warning(severity, detail, window=evidence.judged)
        elif who is not None and who != first:
            yield _second(evidence, first, who)
        severity = Severity.SUSPECT


def _second(evidence: Evidence, first: EnergySource, who: EnergySource) -> QualityWarning:
    reasons = {_reason(evidence, name) for name in first.channels} - {""}
    why = "; ".join(sorted(reasons)) or "it is in doubt"
    return FALLBACK.warning(
        Severity.SUSPECT,
        f"The joules of `{evidence.judged}` come from {', '.join(who.channels)} ({who.method}) "
        f"and not from {', '.join(first.channels)}: {why}.",
        window=evidence.judged,
        channel=first.channels[0],
    )


def _knows(evidence: Evidence, who: EnergySource | None) -> bool:
    return source_energy_j(evidence, who, evidence.judged) is not None


def _why(evidence: Evidence) -> str:
    told = (f"{c.name}: {_reason(evidence, c.name)}." for c in evidence.channels)
    return " ".join(text for text in told if not text.endswith(": ."))


def _reason(evidence: Evidence, channel: str) -> str:
    energy = evidence.energy(evidence.judged, channel)
    return energy.reason if energy else "it has no such window"


ESTIMATED = Doubt(
    "headline-estimated",
    "info",
    "Nothing here may be called a measured saving. For measured joules use a machine with an "
    "NVIDIA GPU or readable RAPL; `wbcbench doctor` says what this one lacks.",
)
SIMULATED = Doubt(
    "signal-synthetic",
    "info",
    "The joules are those of a made-up signal, for demonstrations and tests. They say nothing "
    "about training.",
)
ABSENT = Doubt(
    "meter-absent",
    "info",
    "`wbcbench doctor` says what would make it work.",
)


def check_status(evidence: Evidence) -> Iterator[QualityWarning]:
    """Headlines that no sensor stands behind, and meters that are not there."""
    who = evidence.primary
    if who is not None and who.status.is_estimated:
        detail = f"The headline is {who.status} (no sensor on this machine): {who.method}."
        yield ESTIMATED.warning(
            Severity.INFO, detail, window=evidence.judged, channel=who.channels[0]
        )
    made_up = [c.name for c in evidence.channels if c.origin is Origin.SIMULATED]
    if made_up:
        detail = f"A known signal was read instead of a sensor: {', '.join(made_up)}."
        yield SIMULATED.warning(Severity.INFO, detail, channel=made_up[0])
    for each in evidence.absent:
        yield ABSENT.warning(Severity.INFO, f"{each.meter}: {each.reason}")


ON_TEST = Doubt(
    "validated-on-test",
    "info",
    "As in the published report, TEST was watched during training: state its score of the last "
    "epoch, and do not choose an epoch, a setting or a target by it. `--validation by-photograph` "
    "watches photographs of TRAIN that are held out.",
)


def check_validated_on_test(evidence: Evidence) -> Iterator[QualityWarning]:
    """Scores that were watched on the very images they are stated for."""
    spec = evidence.spec
    if evidence.trained and spec and spec.validation == "published":
        yield ON_TEST.warning(Severity.INFO, "The validation scores of each epoch are of TEST.")


DOUBTS = (DISAGREE, DIFFERS, UNKNOWN, FALLBACK, ESTIMATED, SIMULATED, ABSENT, ON_TEST)
