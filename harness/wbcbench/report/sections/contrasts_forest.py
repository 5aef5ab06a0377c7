"""Forest plot of the paired contrasts: how large each difference is, and how sure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench.compare.metric import TIME, Metric
from wbcbench.compare.result import Comparison
from wbcbench.core.text import count_of
from wbcbench.report import DataTable, Figure
from wbcbench.report.drawing import WIDTH_IN, panels
from wbcbench.report.evidence import ReportStudy
from wbcbench.report.labels import short
from wbcbench.report.numbers import number, signed
from wbcbench.report.palette import COLOURS, INK
from wbcbench.report.sentences import contrast_name
from wbcbench.stats.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NAME = "contrasts"
TITLE = "Paired differences within blocks"
MOST_ROWS = 24
MOST_COLUMNS = 4

_ROW_IN = 0.46
_AROUND_IN = 1.0
_LIFT = 0.42  # of a row: the name stands above its marks
_NAME_LENGTH = 56
_TIME = Metric(TIME, "ratio", lower_is_better=True)
_UNITS = {"%": "%", "pp": "percentage points", "": "own unit"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One contrast of one metric, as it is drawn.

    Attributes:
        contrast: What is compared, with what.
        family: ``primary`` or ``secondary``.
        metric: Of what.
        status: Of joules: measured, modelled, …; else empty.
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


def forest(study: ReportStudy) -> Figure | None:
    """The figure; ``None`` where nothing was compared."""
    compared = study.comparison
    if compared is None:
        return None
    found = differences(compared)
    if not found:
        return None
    description = "; ".join(
        f"{each.contrast}, {words(each.metric)}: {_told(each)}" for each in found[:MOST_ROWS]
    )
    caption = "".join(_caption(study, compared, found))
    return Figure(
        NAME, lambda: _picture(found), TITLE, description, caption, _data(study, compared, found)
    )


def differences(compared: Comparison) -> list[Difference]:
    """Every contrast of every metric with a finite estimate; seconds of the primary ones, too."""
    made = [*_effects(compared), *_seconds(compared)]
    return [each for each in made if math.isfinite(each.estimate)]


def words(metric: Metric) -> str:
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
        return f"{signed(each.estimate)}{unit}, interval unknown"
    low, high = signed(each.interval.low), signed(each.interval.high)
    return f"{signed(each.estimate)}{unit} [{low}, {high}]"


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
    canvas, (plots,) = panels(1, len(columns), (WIDTH_IN, height_in), share_y=True)
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
    plot.set_xlabel(f"{words(metric)}{status}\n({_UNITS[metric.unit]})", fontsize="small")
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
            short(name, _NAME_LENGTH),
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
            signed(each.estimate),
            signed(each.interval.low if each.interval else None),
            signed(each.interval.high if each.interval else None),
            each.metric.unit,
            number(each.region[1], 2) if each.region else "none",
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
