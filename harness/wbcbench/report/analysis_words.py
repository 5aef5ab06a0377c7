"""How the runs were compared, in words: intervals, tests, family, equivalence, carbon."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.compare.result import Comparison
from wbcbench.core.text import count_of
from wbcbench.report.evidence import ReportStudy
from wbcbench.report.sentences import metric_words


def analysis(study: ReportStudy) -> Iterator[tuple[str, str]]:
    """Question and answer; nothing but the reason where nothing was compared."""
    found = study.comparison
    if found is None:
        yield "comparison", study.why_not_compared or "Nothing was compared."
        return
    yield (
        "unit of comparison",
        (
            "The block: one seed with every variant once. Differences are taken inside blocks; "
            "joules and seconds as logarithms of ratios, accuracies as they are."
        ),
    )
    yield "primary family", _family(found)
    yield "intervals", _intervals(found)
    yield (
        "tests",
        (
            "Exact paired sign-flip test over all patterns of signs; p is corrected within the "
            f"family by Holm's method at {100 * found.settings.alpha:g} %."
        ),
    )
    yield (
        "equivalence",
        (
            f"Two one-sided tests at 5 % against ±{found.settings.region_pct:g} % (joules, "
            f"seconds) and ±{found.settings.region_pp:g} percentage points (accuracies)."
        ),
    )
    yield (
        "cost of the target",
        (
            "Kaplan and Meier's median over runs; a run that never reached the target counts as "
            "one that cost more than it used. Nothing is filled in."
        ),
    )


def _family(found: Comparison) -> str:
    primary = [effect for effect in found.effects if effect.family == "primary"]
    if not primary:
        return "No contrast: there is nothing to compare."
    contrasts = dict.fromkeys(f"{e.contrast} ({e.against})" for e in primary)
    metrics = dict.fromkeys(metric_words(e.metric.name) for e in primary)
    return (
        f"{', '.join(contrasts)}; each on {' and '.join(metrics)}: "
        f"{count_of(len(primary), 'test')}. Pairs of variants are secondary: estimates only."
    )


def _intervals(found: Comparison) -> str:
    how = {
        "t": "Student's t on the differences within blocks, from three blocks on",
        "bootstrap": "BCa bootstrap of the differences within blocks, from fifteen blocks on",
    }
    return (
        f"{how[found.settings.method]}; 95 %. Intervals of accuracy by photograph draw whole "
        "photographs within each class."
    )
