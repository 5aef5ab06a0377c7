"""Training whose joules are not known, or known only from the second choice."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.quality import Caution, Severity
from wbcbench.core.trace import Origin
from wbcbench.energy.checks import Doubt, Evidence
from wbcbench.energy.headline import HEADLINE_DOMAINS, Speaker, speaker, speakers, spoken_energy_j

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
DOUBTS = (UNKNOWN, FALLBACK)


def check(evidence: Evidence) -> Iterator[Caution]:
    """Look at who speaks for each part of the machine in the judged window."""
    if not evidence.trained:
        return
    spoken = [(domain, speaker(evidence, domain, evidence.judged)) for domain in HEADLINE_DOMAINS]
    if not any(_knows(evidence, who) for _, who in spoken):
        yield UNKNOWN.caution(
            Severity.INVALID,
            f"No meter knows the joules of `{evidence.judged}`. {_why(evidence)}",
            window=evidence.judged,
        )
        return
    severity = Severity.INVALID
    for domain, who in spoken:
        first = next(iter(speakers(evidence.channels, domain)), None)
        if first is None or first.status is not Origin.MEASURED:
            continue
        if not _knows(evidence, who) or (who and who.status is not Origin.MEASURED):
            what = f"The sensor of the {domain} has no joules for `{evidence.judged}`."
            detail = f"{what} {_why(evidence)}"
            yield UNKNOWN.caution(severity, detail, window=evidence.judged)
        elif who is not None and who != first:
            yield _second(evidence, first, who)
        severity = Severity.SUSPECT


def _second(evidence: Evidence, first: Speaker, who: Speaker) -> Caution:
    reasons = {_reason(evidence, name) for name in first.channels} - {""}
    why = "; ".join(sorted(reasons)) or "it is in doubt"
    return FALLBACK.caution(
        Severity.SUSPECT,
        f"The joules of `{evidence.judged}` come from {', '.join(who.channels)} ({who.method}) "
        f"and not from {', '.join(first.channels)}: {why}.",
        window=evidence.judged,
        channel=first.channels[0],
    )


def _knows(evidence: Evidence, who: Speaker | None) -> bool:
    return spoken_energy_j(evidence, who, evidence.judged) is not None


def _why(evidence: Evidence) -> str:
    told = (f"{c.name}: {_reason(evidence, c.name)}." for c in evidence.channels)
    return " ".join(text for text in told if not text.endswith(": ."))


def _reason(evidence: Evidence, channel: str) -> str:
    energy = evidence.energy(evidence.judged, channel)
    return energy.reason if energy else "it has no such window"
