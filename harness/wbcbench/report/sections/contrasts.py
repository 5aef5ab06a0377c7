"""The planned contrasts, as a table and as a forest plot."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from wbcbench.compare.metric import TIME, Metric, Settings
from wbcbench.compare.render import (
    NONE,
    build_comparison_tables,
    format_difference,
    format_p,
    format_status,
    name_contrast,
)
from wbcbench.compare.result import (
    Comparison,
    ContrastResult,
    Effect,
    count_tests,
    format_contrast_key,
)
from wbcbench.core.study_folder import CONTRASTS
from wbcbench.core.text import UNKNOWN, count_of
from wbcbench.report import Block, DataTable, Figure, drawing
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import format_number, format_signed
from wbcbench.report.words import format_metric
from wbcbench.study.plan import check_contrasts

MOST_ROWS = 24
MOST_COLUMNS = 4

_PHOTOGRAPHS = "On the same images"
_HEADINGS = (
    "contrast",
    "of",
    "difference [95 %]",
    "result",
    "p",
    "Holm p",
    "d_z",
    "win rate",
    "Holm p equivalent",
)
_FAMILIES = {
    "primary": "Primary contrasts",
    "secondary": "Secondary contrasts: estimates, from which no difference is concluded",
}

_ROW_IN = 0.46
_AROUND_IN = 1.0
_LIFT = 0.42  # of a row: the name stands above its marks
_NAME_LENGTH = 56

_UNITS = {"%": "%", "pp": "percentage points", "": "own unit"}
_TIME = Metric(TIME, "ratio", lower_is_better=True)


def build_contrasts(study: ReportStudy) -> Block | None:
    """The planned contrasts: differences within blocks, with interval, test and result."""
    comparison = study.comparison
    if comparison is None or not comparison.effects:
        return None
    tables = tuple(_iterate_tables(study, comparison))
    figure = build_forest(study)
    figures = (figure,) if figure else ()
    words = tuple(_iterate_words(comparison))
    return Block("contrasts", "What differs", words, tables, figures)


def _iterate_words(comparison: Comparison) -> Iterator[str]:
    settings = comparison.settings
    primary = [effect for effect in comparison.effects if effect.family == "primary"]
    yield (
        "A block is one seed with every variant once. Differences are taken inside blocks, so "
        "that what a block shares cancels: joules and seconds as ratios, in per cent of the side "
        "named last; accuracies in percentage points (pp)."
    )
    if not settings.untested:
        yield _describe_tests(settings, primary)
    yield from comparison.notes


def _describe_tests(settings: Settings, primary: list[Effect]) -> str:
    # Nothing is tested with a single block.
    p_floor = primary[0].p_floor if primary else None
    floor = (
        f" The smallest attainable p with {primary[0].n} blocks is {format_p(p_floor)}."
        if p_floor is not None
        else ""
    )
    return (
        "p is from the exact sign-flip test: how often chance alone would give a difference as "
        f"large.{floor} Holm p is corrected for "
        f"{count_of(count_tests(primary, settings), 'test')}. d_z is the mean difference over its "
        "standard deviation. Win rate: the blocks in which the first side is "
        f"better. Equivalent: shown to lie within ±{settings.region_pct:g} % (joules, seconds) or "
        f"±{settings.region_pp:g} pp (accuracies) by two one-sided tests at 5 % after Holm's "
        "correction. A result that is neither different nor equivalent is inconclusive, never "
        "'the same'."
    )


def _iterate_tables(study: ReportStudy, comparison: Comparison) -> Iterator[DataTable]:
    joules = comparison.energy.words
    for family, title in _FAMILIES.items():
        effects = [effect for effect in comparison.effects if effect.family == family]
        if effects:
            planned = _describe_plan(study, effects) if family == "primary" else ""
            yield DataTable(
                f"{title}{planned}. {joules[:1].upper()}{joules[1:]}.{study.stamp}",
                _HEADINGS,
                tuple(_build_row(effect) for effect in effects),
                (0, 1, 3),
                CONTRASTS,
                tuple(format_contrast_key(effect) for effect in effects),
                folded=family == "secondary",
            )
    # What the few photographs behind the test set leave open; none where they are unknown.
    for table in build_comparison_tables(comparison):
        if table.title == _PHOTOGRAPHS:
            caption = f"{'. '.join(table.below)}.{study.stamp}"
            yield DataTable(caption, table.headings, table.rows, (0, 1))


def _describe_plan(study: ReportStudy, primary: list[Effect]) -> str:
    untested = study.comparison.settings.untested if study.comparison else ""
    if untested:
        return f": estimates, from which no difference is concluded ({untested})"
    if study.plan is None:
        return "; there is no plan to show that they were chosen beforehand"
    planned = {contrast.name for contrast in check_contrasts(study.plan)}
    if planned == {effect.contrast for effect in primary}:
        return ", fixed before the first run"
    return "; not those of the plan, because not all of its variants have run"


def _build_row(effect: Effect) -> tuple[str, ...]:
    wins = effect.win_rate  # an interaction has none
    is_untested = effect.result is ContrastResult.NOT_TESTED
    return (
        name_contrast(effect),
        format_metric(effect.metric.name) + format_status(effect.status),
        format_difference(effect.estimate, effect.interval, effect.metric),
        effect.result.value,
        NONE if is_untested else format_p(effect.p),
        NONE if is_untested else format_p(effect.p_holm),
        UNKNOWN if effect.d_z is None else f"{effect.d_z:+.2f}",
        NONE if wins is None else f"{wins * effect.n:g} of {effect.n}",
        NONE if is_untested else format_p(effect.p_equivalence_holm),
    )


def build_forest(study: ReportStudy) -> Figure | None:
    """The forest plot; ``None`` where nothing was compared."""
    comparison = study.comparison
    effects = collect_differences(comparison) if comparison else []
    if comparison is None or not effects:
        return None
    description = "; ".join(
        f"{name_contrast(e)}, {_format_axis(e.metric)}: {_format_difference(e)}"
        for e in effects[:MOST_ROWS]
    )
    return Figure(
        "contrasts",
        lambda: _draw(effects),
        "Paired differences within blocks",
        description,
        "".join(_iterate_caption(study, comparison, effects)),
        _build_data(study, comparison, effects),
    )


def collect_differences(comparison: Comparison) -> list[Effect]:
    """Every effect with a finite estimate; of the primary ones the seconds, too.

    Seconds are from the split of joules into seconds and watts, unless they were compared anyway.
    """
    effects = list(comparison.effects)
    has_time = any(effect.metric.name == TIME for effect in effects)
    for split in () if has_time else comparison.splits:
        same = next(
            e for e in effects if (e.contrast, e.against) == (split.contrast, split.against)
        )
        seconds = replace(
            same,
            family="primary",
            metric=_TIME,
            status="",
            estimate=split.time,
            interval=split.time_interval,
            region=comparison.settings.region(_TIME),
        )
        effects.append(seconds)
    return [e for e in effects if e.estimate is not None and math.isfinite(e.estimate)]


def _format_axis(metric: Metric) -> str:
    if metric.name == TIME:
        return "time"
    return "energy" if metric.name.endswith("_train_j") else metric.name.replace("_", " ")


def _format_difference(effect: Effect) -> str:
    estimate, interval = format_signed(effect.estimate), effect.interval
    unit = f" {effect.metric.unit}" if effect.metric.unit else ""
    if interval is None:
        return f"{estimate}{unit}, interval unknown"
    return f"{estimate}{unit} [{format_signed(interval.low)}, {format_signed(interval.high)}]"


def _iterate_caption(
    study: ReportStudy, comparison: Comparison, effects: list[Effect]
) -> Iterator[str]:
    blocks = count_of(len(comparison.blocks.runs), "complete block")
    if any(effect.interval for effect in effects):
        yield f"Differences within {blocks} and their 95 % intervals. "
    else:
        yield f"Differences within {blocks}: too few for an interval, which takes three. "
    yield "Left of the line: less than the side named last. "
    if any(effect.region for effect in effects):
        yield "Shaded: differences that the plan calls too small to matter. "
    tested = any(effect.result is not ContrastResult.NOT_TESTED for effect in effects)
    yield f"Filled: primary contrasts{', tested together' if tested else ', not tested'}. "
    if any(effect.family == "secondary" for effect in effects):
        yield "Hollow: secondary, estimates only. "
    rows, columns = len(_list_rows(effects)), len(_list_columns(effects))
    if rows > MOST_ROWS:
        yield f"The first {MOST_ROWS} of {rows} contrasts are drawn. "
    if columns > MOST_COLUMNS:
        yield f"The first {MOST_COLUMNS} of {columns} metrics are drawn. "
    words = study.energy_words if comparison.energy.metric else comparison.energy.words
    yield f"Energy: {words}.{study.stamp}"


def _list_rows(effects: list[Effect]) -> list[tuple[str, str]]:
    """Family and contrast, primary first."""
    rows = dict.fromkeys((e.family, name_contrast(e)) for e in effects)
    return sorted(rows, key=lambda row: row[0] != "primary")


def _list_columns(effects: list[Effect]) -> list[Metric]:
    """Energy, then time, then the others in their order."""
    metrics = dict.fromkeys(effect.metric for effect in effects)
    return sorted(metrics, key=lambda metric: (metric.part is None, metric.name != TIME))


def _draw(effects: list[Effect]) -> drawing.Canvas:
    rows = _list_rows(effects)[:MOST_ROWS]
    columns = _list_columns(effects)[:MOST_COLUMNS]
    size_in = (drawing.WIDTH_IN, len(rows) * _ROW_IN + _AROUND_IN)
    canvas, (plots,) = drawing.create_plots(1, len(columns), size_in, share_y=True)
    for plot, metric in zip(plots, columns, strict=True):
        _draw_metric(plot, rows, [effect for effect in effects if effect.metric == metric])
    # Names stand above their marks and run over all columns, because they are long.
    first = plots[0]
    first.set_zorder(2)  # in front of the columns that names run over
    left = first.get_xlim()[0]
    for i, (_, name) in enumerate(rows):
        label, place = drawing.trim_label(name, _NAME_LENGTH), (left, i - _LIFT)
        text = first.annotate(
            label, place, fontsize="small", va="center", annotation_clip=False, zorder=4
        )
        text.set_in_layout(False)
    first.set_ylim(len(rows) - 0.55, -0.75)
    first.set_yticks([])
    return canvas


def _draw_metric(plot: drawing.Axes, rows: list[tuple[str, str]], effects: list[Effect]) -> None:
    from matplotlib.ticker import MaxNLocator

    metric, region, status = effects[0].metric, effects[0].region, effects[0].status
    if region is not None:
        plot.axvspan(*region, color="#808080", alpha=0.25, linewidth=0)
    # In pieces, so that no line runs through a name.
    places = range(len(rows))
    ends = [i - 0.2 for i in places], [i + 0.3 for i in places]
    plot.vlines([0.0] * len(rows), *ends, color=drawing.INK, linewidth=1.0)
    for effect in effects:
        row = (effect.family, name_contrast(effect))
        if row in rows:
            _draw_effect(plot, rows.index(row), effect)
    plot.margins(x=0.08)
    plot.xaxis.set_major_locator(MaxNLocator(nbins=3))
    plot.tick_params(axis="x", labelsize="small")
    status = f",\n{status}" if status else ""
    plot.set_xlabel(f"{_format_axis(metric)}{status}\n({_UNITS[metric.unit]})", fontsize="small")
    plot.set_facecolor("none")
    plot.spines["left"].set_visible(False)
    plot.grid(visible=False, axis="y")


def _draw_effect(plot: drawing.Axes, row: int, effect: Effect) -> None:
    is_primary = effect.family == "primary"
    colour = drawing.COLOURS[0] if is_primary else drawing.INK
    if effect.interval is not None:
        ends, width = [effect.interval.low, effect.interval.high], 2.4 if is_primary else 1.1
        plot.plot(ends, [row, row], color=colour, linewidth=width, marker="|")
    plot.plot(
        [effect.estimate or 0.0],
        [row],
        "o" if is_primary else "s",
        color=colour,
        markersize=7 if is_primary else 5,
        markerfacecolor=colour if is_primary else "#ffffff",
    )


def _build_data(study: ReportStudy, comparison: Comparison, effects: list[Effect]) -> DataTable:
    rows = tuple(
        (
            name_contrast(e),
            e.family,
            e.metric.name,
            str(e.n),
            format_signed(e.estimate),
            format_signed(e.interval.low if e.interval else None),
            format_signed(e.interval.high if e.interval else None),
            e.metric.unit,
            format_number(e.region[1], 2) if e.region else "none",
            e.result.value if e.metric in comparison.metrics else "not tested",
            e.status or "–",
        )
        for e in effects
    )
    headings = (
        "contrast",
        "family",
        "metric",
        "blocks",
        "difference",
        "from",
        "to",
        "unit",
        "too small to matter: ±",
        "result",
        "joules are",
    )
    caption = (
        "The intervals of the figure, 95 %. Seconds belong to the split of the joules and are not "
        f"tested by themselves. Energy: {comparison.energy.words}.{study.stamp}"
    )
    return DataTable(caption, headings, rows, (0, 1, 2, 7, 9, 10))
