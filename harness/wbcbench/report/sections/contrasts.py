"""The planned contrasts, as a table and as a forest plot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench.compare.metric import TIME, Metric
from wbcbench.compare.render import comparison_tables, difference_words, p_words, status_words
from wbcbench.compare.result import Comparison, Effect, contrast_key
from wbcbench.core.study_folder import CONTRASTS
from wbcbench.core.text import UNKNOWN, count_of
from wbcbench.report import Block, DataTable, Figure
from wbcbench.report.drawing import COLOURS, INK, WIDTH_IN, new_plots, shorten_label
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import number_words, signed_words
from wbcbench.report.words import contrast_name, metric_words
from wbcbench.stats.intervals import Interval
from wbcbench.study.plan import checked_contrasts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_BY_PHOTOGRAPH = "On the same images"
HEADINGS = (
    "contrast",
    "of",
    "difference [95 %]",
    "finding",
    "p",
    "Holm p",
    "d_z",
    "blocks won",
    "p equivalent",
)
_WORDS = frozenset({0, 1, 3})

NAME = "contrasts"
TITLE = "Paired differences within blocks"
MOST_ROWS = 24
MOST_COLUMNS = 4

_ROW_IN = 0.46
_AROUND_IN = 1.0
_LIFT = 0.42  # of a row: the name stands above its marks
_NAME_LENGTH = 56

_UNITS = {"%": "%", "pp": "percentage points", "": "own unit"}


def contrasts_section(study: ReportStudy) -> Block | None:
    """The planned contrasts: differences within blocks, with interval, test and what they show."""
    found = study.comparison
    if found is None or not found.effects:
        return None
    tables = tuple(_tables(study, found))
    drawn = forest_figure(study)
    figures = (drawn,) if drawn else ()
    return Block("contrasts", "What differs", tuple(_words(found)), tables, figures)


def _words(found: Comparison) -> Iterator[str]:
    settings = found.settings
    primary = [effect for effect in found.effects if effect.family == "primary"]
    yield (
        "A block is one seed with every variant once. Differences are taken inside blocks, so "
        "that what a block shares cancels: joules and seconds as ratios, told in per cent of the "
        "side named last; accuracies in percentage points (pp)."
    )
    yield (
        "p is from the exact sign-flip test: how often chance alone would give a difference as "
        f"large.{_floor(primary)} Holm p is corrected for the {len(primary)} primary tests. d_z "
        "is the mean difference over its standard deviation. "
        f"Equivalent: shown to lie within ±{settings.region_pct:g} % (joules, seconds) or "
        f"±{settings.region_pp:g} pp (accuracies) by two one-sided tests at 5 %. What is neither "
        "different nor equivalent is 'cannot tell', never 'the same'."
    )
    yield from found.notes


def _floor(primary: list[Effect]) -> str:
    """The least p there can be; nothing is tested with a single block."""
    if not primary or primary[0].p_floor is None:
        return ""
    return f" With {primary[0].n} blocks it cannot fall below {p_words(primary[0].p_floor)}."


def _tables(study: ReportStudy, found: Comparison) -> Iterator[DataTable]:
    told = {
        "primary": f"Primary contrasts{_fixed(study, found)}",
        "secondary": "Secondary pairs: estimates, on whose account nothing is called different",
    }
    for family, words in told.items():
        effects = [effect for effect in found.effects if effect.family == family]
        if effects:
            caption = f"{words}. {_joules(found)}{study.stamp}"
            rows = tuple(_line(effect) for effect in effects)
            keys = tuple(contrast_key(effect) for effect in effects)
            folded = family == "secondary"
            yield DataTable(caption, HEADINGS, rows, _WORDS, CONTRASTS, keys, folded)
    yield from _photographs(study, found)


def _fixed(study: ReportStudy, found: Comparison) -> str:
    if study.plan is None:
        return "; there is no plan to show that they were chosen beforehand"
    planned = {each.name for each in checked_contrasts(study.plan)}
    made = {effect.contrast for effect in found.effects if effect.family == "primary"}
    if planned == made:
        return ", fixed before the first run"
    return "; not those of the plan, for not all of its variants have run"


def _photographs(study: ReportStudy, found: Comparison) -> Iterator[DataTable]:
    """What the few photographs behind the test set leave open; nothing where they are unknown."""
    for each in comparison_tables(found):
        if each.title == _BY_PHOTOGRAPH:
            caption = f"{'. '.join(each.below)}.{study.stamp}"
            yield DataTable(caption, each.headings, each.rows, frozenset({0, 1}))


def _joules(found: Comparison) -> str:
    words = found.energy.words
    return f"{words[:1].upper()}{words[1:]}."


def _line(effect: Effect) -> tuple[str, ...]:
    return (
        contrast_name(effect.contrast, effect.against),
        metric_words(effect.metric.name) + status_words(effect.status),
        difference_words(effect.estimate, effect.interval, effect.metric),
        effect.finding.value,
        p_words(effect.p),
        p_words(effect.p_holm),
        UNKNOWN if effect.d_z is None else f"{effect.d_z:+.2f}",
        _won(effect),
        p_words(effect.p_equivalence),
    )


def _won(effect: Effect) -> str:
    """Blocks in which the contrast goes the better way; nobody wins an interaction."""
    if effect.share_won is None:
        return "–"
    return f"{effect.share_won * effect.n:g} of {effect.n}"


_TIME = Metric(TIME, "ratio", lower_is_better=True)


@dataclass(frozen=True, slots=True)
class Difference:
    """One contrast of one metric, as it is drawn.

    Attributes:
        contrast: What is compared, with what.
        family: ``primary`` or ``secondary``.
        metric: Of what.
        status: Of joules: measured, estimated, …; else empty.
        n: Blocks.
        estimate: In the metric's unit.
        interval: 95 %; ``None`` with too few blocks.
        region: Of practical equivalence.
        finding: What it shows; empty where it was not tested by itself.
    """

    contrast: str
    family: str
    metric: Metric
    status: str
    n: int
    estimate: float
    interval: Interval | None
    region: tuple[float, float] | None
    finding: str


def forest_figure(study: ReportStudy) -> Figure | None:
    """The figure; ``None`` where nothing was compared."""
    compared = study.comparison
    if compared is None:
        return None
    found = differences(compared)
    if not found:
        return None
    description = "; ".join(
        f"{each.contrast}, {_short_metric_name(each.metric)}: {_told(each)}"
        for each in found[:MOST_ROWS]
    )
    caption = "".join(_caption(study, compared, found))
    return Figure(
        NAME, lambda: _picture(found), TITLE, description, caption, _data(study, compared, found)
    )


def differences(compared: Comparison) -> list[Difference]:
    """Every contrast of every metric with a finite estimate; seconds of the primary ones, too."""
    made = [*_effects(compared), *_seconds(compared)]
    return [each for each in made if math.isfinite(each.estimate)]


def _short_metric_name(metric: Metric) -> str:
    """The metric's name for people."""
    if metric.name == TIME:
        return "time"
    if metric.name.endswith("_train_j"):
        return "energy"
    return metric.name.replace("_", " ")


def _effects(compared: Comparison) -> Iterator[Difference]:
    for each in compared.effects:
        if each.estimate is not None:
            yield Difference(
                contrast_name(each.contrast, each.against),
                each.family,
                each.metric,
                each.status,
                each.n,
                each.estimate,
                each.interval,
                each.region,
                each.finding.value,
            )


def _seconds(compared: Comparison) -> Iterator[Difference]:
    """From the split of joules into seconds and watts, unless seconds were compared anyway."""
    if any(each.metric.name == TIME for each in compared.effects):
        return
    for each in compared.splits:
        yield Difference(
            contrast_name(each.contrast, each.against),
            "primary",
            _TIME,
            "",
            len(compared.blocks.runs),
            each.time,
            each.time_interval,
            compared.settings.region(_TIME),
            "",
        )


def _told(each: Difference) -> str:
    unit = f" {each.metric.unit}" if each.metric.unit else ""
    if each.interval is None:
        return f"{signed_words(each.estimate)}{unit}, interval unknown"
    low, high = signed_words(each.interval.low), signed_words(each.interval.high)
    return f"{signed_words(each.estimate)}{unit} [{low}, {high}]"


def _caption(
    study: ReportStudy, compared: Comparison, found: Sequence[Difference]
) -> Iterator[str]:
    n = len(compared.blocks.runs)
    if any(each.interval for each in found):
        yield f"Differences within {count_of(n, 'complete block')} and their 95 % intervals. "
    else:
        yield (
            f"Differences within {count_of(n, 'complete block')}: too few for an interval, which "
            "takes three. "
        )
    yield "Left of the line: less than what it is held against. "
    if any(each.region for each in found):
        yield "Shaded: differences that the plan calls too small to matter. "
    yield "Filled: primary contrasts, tested together. "
    if any(each.family == "secondary" for each in found):
        yield "Hollow: secondary, estimates only. "
    yield from _left_out(found)
    words = study.energy_words if compared.energy.metric else compared.energy.words
    yield f"Energy: {words}.{study.stamp}"


def _left_out(found: Sequence[Difference]) -> Iterator[str]:
    rows, columns = len(_rows(found)), len(_columns(found))
    if rows > MOST_ROWS:
        yield f"The first {MOST_ROWS} of {rows} contrasts are drawn. "
    if columns > MOST_COLUMNS:
        yield f"The first {MOST_COLUMNS} of {columns} metrics are drawn. "


def _rows(found: Sequence[Difference]) -> list[tuple[str, str]]:
    """Family and contrast, primary first."""
    return list(dict.fromkeys((each.family, each.contrast) for each in found))


def _columns(found: Sequence[Difference]) -> list[Metric]:
    """Energy, then time, then the others in their order."""
    metrics = dict.fromkeys(each.metric for each in found)
    return sorted(metrics, key=lambda metric: (metric.part is None, metric.name != TIME))


def _picture(found: Sequence[Difference]) -> Canvas:
    # The secondary family was appended before the seconds of the primary one.
    rows = sorted(_rows(found), key=lambda row: row[0] != "primary")[:MOST_ROWS]
    columns = _columns(found)[:MOST_COLUMNS]
    height_in = len(rows) * _ROW_IN + _AROUND_IN
    canvas, (plots,) = new_plots(1, len(columns), (WIDTH_IN, height_in), share_y=True)
    for plot, metric in zip(plots, columns, strict=True):
        _draw(plot, rows, [each for each in found if each.metric == metric])
    _name_rows(plots[0], rows)
    plots[0].set_ylim(len(rows) - 0.55, -0.75)
    plots[0].set_yticks([])
    return canvas


def _draw(plot: Axes, rows: Sequence[tuple[str, str]], found: Sequence[Difference]) -> None:
    from matplotlib.ticker import MaxNLocator

    metric, region = found[0].metric, found[0].region
    if region is not None:
        plot.axvspan(*region, color="#808080", alpha=0.25, linewidth=0)
    # In pieces, so that no line runs through a name.
    plot.vlines([0.0] * len(rows), *_pieces(len(rows)), color=INK, linewidth=1.0)
    for each in found:
        if (each.family, each.contrast) in rows:
            _draw_one(plot, rows.index((each.family, each.contrast)), each)
    plot.margins(x=0.08)
    plot.xaxis.set_major_locator(MaxNLocator(nbins=3))
    plot.tick_params(axis="x", labelsize="small")
    status = f",\n{found[0].status}" if found[0].status else ""
    plot.set_xlabel(
        f"{_short_metric_name(metric)}{status}\n({_UNITS[metric.unit]})", fontsize="small"
    )
    plot.set_facecolor("none")
    plot.spines["left"].set_visible(False)
    plot.grid(visible=False, axis="y")


def _pieces(rows: int) -> tuple[list[float], list[float]]:
    return [row - 0.2 for row in range(rows)], [row + 0.3 for row in range(rows)]


def _draw_one(plot: Axes, row: int, each: Difference) -> None:
    primary = each.family == "primary"
    colour = COLOURS[0] if primary else INK
    if each.interval is not None:
        ends = [each.interval.low, each.interval.high]
        plot.plot(ends, [row, row], color=colour, linewidth=2.4 if primary else 1.1, marker="|")
    plot.plot(
        [each.estimate],
        [row],
        "o" if primary else "s",
        color=colour,
        markersize=7 if primary else 5,
        markerfacecolor=colour if primary else "#ffffff",
    )


def _name_rows(plot: Axes, rows: Sequence[tuple[str, str]]) -> None:
    """Names stand above their marks and run over all columns, for they are long."""
    plot.set_zorder(2)  # in front of the columns that names run over
    left = plot.get_xlim()[0]
    for row, (_, name) in enumerate(rows):
        text = plot.annotate(
            shorten_label(name, _NAME_LENGTH),
            (left, row - _LIFT),
            fontsize="small",
            va="center",
            annotation_clip=False,
            zorder=4,
        )
        text.set_in_layout(False)


def _data(study: ReportStudy, compared: Comparison, found: Sequence[Difference]) -> DataTable:
    rows = tuple(
        (
            each.contrast,
            each.family,
            each.metric.name,
            str(each.n),
            signed_words(each.estimate),
            signed_words(each.interval.low if each.interval else None),
            signed_words(each.interval.high if each.interval else None),
            each.metric.unit,
            number_words(each.region[1], 2) if each.region else "none",
            each.finding or "not tested",
            each.status or "–",
        )
        for each in found
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
        "finding",
        "joules are",
    )
    caption = (
        "The intervals of the figure, 95 %. Seconds belong to the split of the joules and are not "
        f"tested by themselves. Energy: {compared.energy.words}.{study.stamp}"
    )
    return DataTable(caption, headings, rows, frozenset({0, 1, 2, 7, 9, 10}))
