"""The comparison: every contrast with interval, test and result; time times power; same images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from wbcbench.compare.metric import TIME, Metric, Settings
from wbcbench.compare.render import (
    NONE,
    build_comparison_tables,
    format_difference,
    format_p,
    name_contrast,
)
from wbcbench.compare.result import (
    Comparison,
    ContrastResult,
    Effect,
    Split,
    count_tests,
    format_contrast_key,
)
from wbcbench.compare.sentences import name_metric
from wbcbench.core.study_folder import CONTRASTS
from wbcbench.core.text import UNKNOWN, count_of
from wbcbench.report import DataTable, Part, Section
from wbcbench.report.study import ReportStudy
from wbcbench.stats.tests import describe_sign_flips
from wbcbench.study.plan import check_contrasts

_PHOTOGRAPHS = "On the same images"
_HEADINGS = ("of", "Difference", "p", "p (Holm)", "p (equivalence)", "Result")
_RATIO = Metric(TIME, "ratio", lower_is_better=True)


def build_comparison(study: ReportStudy) -> Section | None:
    """The planned contrasts: differences within seeds, with interval, test and result."""
    comparison = study.comparison
    if comparison is None or not comparison.effects:
        return None
    return Section("comparison", "Comparison", tuple(_iterate_parts(study, comparison)))


def _iterate_parts(study: ReportStudy, comparison: Comparison) -> Iterator[Part]:
    primary = [e for e in comparison.effects if e.family == "primary"]
    secondary = [e for e in comparison.effects if e.family == "secondary"]
    settings = comparison.settings
    if comparison.blocks.boards.is_spread:
        yield "Differences are taken within a seed; what its boards differ in does not cancel."
    else:
        yield " ".join(_describe_method(study, settings, primary))
    yield from comparison.limits
    if primary:
        caption = f"Primary contrasts{_describe_plan(study, primary)}. 95 % CI over seeds."
        yield _build_table(study, caption, primary)
    if comparison.splits:
        yield _build_splits(study, comparison)
    if secondary:
        caption = "Secondary contrasts: estimates, from which no difference is concluded."
        yield _build_table(study, caption, secondary, is_folded=True)
    # What the few photographs behind the test set leave open; none where they are unknown.
    for table in build_comparison_tables(comparison):
        if table.title == _PHOTOGRAPHS:
            caption = f"On the same test images. {'. '.join(table.below)}.{study.stamp}"
            yield DataTable(caption, table.headings, table.rows, (0, 1), is_folded=True)


def _describe_method(
    study: ReportStudy, settings: Settings, primary: list[Effect]
) -> Iterator[str]:
    yield (
        "Differences are taken within a seed, so that what its runs share cancels; energy and time "
        "as ratios."
    )
    if settings.untested or not primary:
        return
    floor, kind = primary[0].p_floor, describe_sign_flips(primary[0].n)
    yield (
        f"{kind}, Holm over {count_of(count_tests(primary, settings), 'test')}"
        f"{f'; p cannot fall below {format_p(floor)}' if floor is not None else ''}. Equivalent: "
        f"within ±{settings.region_pct:g} % or ±{settings.region_pp:g} pp."
    )


def _describe_plan(study: ReportStudy, primary: list[Effect]) -> str:
    untested = study.comparison.settings.untested if study.comparison else ""
    if untested:
        return f": estimates, from which no difference is concluded ({untested})"
    if study.plan is None:
        return "; no plan shows that they were chosen beforehand"
    planned = {contrast.name for contrast in check_contrasts(study.plan)}
    if planned == {effect.contrast for effect in primary}:
        return ", fixed before the first run" if study.is_fixed_beforehand else ""
    return "; not those of the plan, because not all of its variants have run"


def _build_table(
    study: ReportStudy, caption: str, effects: list[Effect], *, is_folded: bool = False
) -> DataTable:
    heading, names = _name_contrasts(effects)
    return DataTable(
        f"{caption}{study.stamp_of(e.metric.name for e in effects)}",
        (heading, *_HEADINGS),
        tuple((name, *_build_row(e)) for name, e in zip(names, effects, strict=True)),
        (0, 1, 6),
        CONTRASTS,
        tuple(map(format_contrast_key, effects)),
        is_folded=is_folded,
    )


def _name_contrasts(contrasts: Sequence[Effect | Split]) -> tuple[str, list[str]]:
    """Heading and cells of the first column; what all are compared with stands in the heading."""
    against = {each.against for each in contrasts}
    if len(against) == 1:
        return f"Against {against.pop()}", [each.contrast for each in contrasts]
    return "Contrast", [name_contrast(each) for each in contrasts]


def _build_row(effect: Effect) -> tuple[str, ...]:
    is_untested = effect.result is ContrastResult.NOT_TESTED
    tests = (effect.p, effect.p_holm, effect.p_equivalence_holm)
    return (
        name_metric(effect),
        format_difference(effect.estimate, effect.interval, effect.metric),
        *(NONE if is_untested else format_p(p) for p in tests),
        effect.result.value,
    )


def _build_splits(study: ReportStudy, comparison: Comparison) -> DataTable:
    """Whether a difference in joules is one of time or of power."""
    intervals = {
        (e.contrast, e.against): e.interval
        for e in comparison.effects
        if e.metric.name == comparison.energy.metric
    }
    rows = []
    heading, names = _name_contrasts(comparison.splits)
    for name, split in zip(names, comparison.splits, strict=True):
        parts = (
            (split.energy, intervals[split.contrast, split.against]),
            (split.time, split.time_interval),
            (split.power, split.power_interval),
        )
        cells = (
            format_difference(value, interval, _RATIO) if math.isfinite(value) else UNKNOWN
            for value, interval in parts
        )
        rows.append((name, *cells))
    caption = "Energy = time × mean power, exactly. 95 % CI over seeds."
    headings = (heading, "Energy", "Time", "Mean power")
    return DataTable(f"{caption}{study.stamp}", headings, tuple(rows))
