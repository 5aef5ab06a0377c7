"""Figure 8: two readings of one part of the machine against each other, after Bland and Altman.

Readings that agree may both be wrong; readings that do not agree cannot both be right. Limits of
agreement follow Bland and Altman (Lancet, 1986): mean ± 1.96 standard deviations, of logarithms
because errors grow with the joules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import count_of, energy_scale
from wbcbench.energy import thresholds
from wbcbench.report import Cells, DataTable, Figure, Statement
from wbcbench.report.figures import style
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import build_data_table

if TYPE_CHECKING:
    from wbcbench.report.figures.style import Axes, Canvas, Styles

HEADINGS = ("pair", "variant", "run", "first (J)", "second (J)", "difference (%)", "judged")
LIMITS_SD = 1.96
_FEWEST_FOR_LIMITS = 3
_LEAST_SPAN_PCT = 2.0
_PANEL_IN = 1.75


@dataclass(frozen=True, slots=True)
class ReadingPair:
    """Two ways of reading one part, over the runs that have both.

    Attributes:
        a, b: Names of the channels.
        is_judged: Whether the two must agree, so that a difference is a warning.
        joules: Joules in training by each, one pair a run.
    """

    a: str
    b: str
    is_judged: bool
    joules: tuple[tuple[float, float], ...]

    @property
    def name(self) -> str:
        """For axes and tables."""
        return f"{self.a} above {self.b}"

    @property
    def differences_pct(self) -> list[float]:
        """How far ``a`` lies above ``b``, in per cent of ``b``."""
        return [100 * (a_j - b_j) / b_j for a_j, b_j in self.joules]

    @property
    def limits_pct(self) -> tuple[float, float] | None:
        """Limits of agreement; ``None`` with fewer than three runs or where one read nothing."""
        return compute_limits_pct(self.joules)


def compute_limits_pct(joules: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Where 95 % of the differences of two readings lie; as in ``ReadingPair``."""
    ratios = [a_j / b_j for a_j, b_j in joules]
    if len(ratios) < _FEWEST_FOR_LIMITS or min(ratios) <= 0:
        return None
    logs = [math.log(ratio) for ratio in ratios]
    mean, half = fmean(logs), LIMITS_SD * stdev(logs)
    return 100 * math.expm1(mean - half), 100 * math.expm1(mean + half)


def pair_readings(study: ReportStudy) -> list[ReadingPair]:
    """Every two ways in which one part was read in ``train``; judged ones first."""
    pairs: dict[tuple[bool, str, str], list[tuple[float, float]]] = {}
    for run in study.done:
        for each in study.evidence[run].readings:
            pairs.setdefault((not each.is_judged, each.a, each.b), []).append((each.a_j, each.b_j))
    return [
        ReadingPair(a, b, not is_only_check, tuple(pairs[is_only_check, a, b]))
        for is_only_check, a, b in sorted(pairs)
    ]


def build_agreement_statements(pairs: Sequence[ReadingPair]) -> list[Statement]:
    """The difference of each pair as a sentence."""
    return [
        Statement(
            f"meters-{place}",
            describe_pair(pair),
            RUNS_TABLE,
            "",
            {"runs": len(pair.joules), "difference_pct": fmean(pair.differences_pct)},
        )
        for place, pair in enumerate(pairs, start=1)
    ]


def describe_pair(pair: ReadingPair) -> str:
    """How far two readings of one part differ, and whether that is agreement."""
    agree_pct, bias_pct = thresholds.AGREE_PCT, fmean(pair.differences_pct)
    worst = max(map(abs, pair.differences_pct))
    ends = [format_percent(limit, "+") for limit in pair.limits_pct or ()]
    spread = f", 95 % of runs {ends[0]} to {ends[1]} %" if ends else ""
    if not pair.is_judged:
        meaning = "a cross-check that judges no run"
    elif worst <= agree_pct:
        meaning = f"all within the ±{agree_pct:g} % of agreement"
    else:
        meaning = f"the widest, {worst:.2g} %, is beyond the ±{agree_pct:g} % of agreement"
    return (
        f"{pair.a} read {format_percent(abs(bias_pct))} % {'above' if bias_pct >= 0 else 'below'} "
        f"{pair.b} in training ({count_of(len(pair.joules), 'run')}{spread}): {meaning}."
    )


def format_percent(percent: float, sign: str = "") -> str:
    """Two digits, or whole per cents from 10 on."""
    return f"{percent:{sign}.0f}" if abs(percent) >= 10 else f"{percent:{sign}.2g}"


def build_agreement(study: ReportStudy, pairs: Sequence[ReadingPair]) -> Figure | None:
    """The figure of these pairs; ``None`` without any."""
    names = {(pair.a, pair.b): pair.name for pair in pairs}
    rows: list[Cells] = [
        (
            names[each.a, each.b],
            study.label_of(run),
            run.run_id,
            each.a_j,
            each.b_j,
            100 * (each.a_j - each.b_j) / each.b_j,
            "yes" if each.is_judged else "no",
        )
        for run in study.done
        for each in study.evidence[run].readings
    ]
    if not rows:
        return None
    return Figure(
        "meter-agreement",
        "Two readings of one part",
        " ".join(map(describe_pair, pairs)),
        f"One mark a run. Solid: mean; dashed: limits of agreement; dotted: "
        f"±{thresholds.AGREE_PCT:g} %.{study.stamp}",
        build_data_table(f"Joules in training.{study.stamp}", HEADINGS, rows, (0, 1, 2, 6)),
        partial(draw_agreement, study.styles),
    )


def draw_agreement(styles: Styles, data: DataTable) -> Canvas:
    """Draw the rows of ``build_agreement``: a plot for each pair."""
    pairs: dict[str, list[Cells]] = {}
    for name, *row in data.select(*HEADINGS):
        pairs.setdefault(str(name), []).append(tuple(row))
    size_in = (style.WIDTH_IN, 0.9 + _PANEL_IN * len(pairs))
    canvas, grid = style.create_plots(len(pairs), 1, size_in)
    for (name, rows), (plot,) in zip(pairs.items(), grid, strict=True):
        _draw_pair(plot, styles, rows)
        plot.set_title(style.trim_label(name, 60), fontsize=9, loc="left")
    style.add_legend(canvas, styles, dict.fromkeys(row[1] for row in data.values))
    return canvas


def _draw_pair(plot: Axes, styles: Styles, rows: list[Cells]) -> None:
    divisor, unit = energy_scale(max((row[2] + row[3]) / 2 for row in rows))
    points = [(row[0], (row[2] + row[3]) / 2 / divisor, row[4]) for row in rows]
    style.draw_runs(plot, styles, points, alpha=0.9)
    differences = [row[4] for row in rows]
    limits = compute_limits_pct([(row[2], row[3]) for row in rows]) or ()
    agreed = [-thresholds.AGREE_PCT, thresholds.AGREE_PCT] if rows[0][5] == "yes" else []
    plot.axhline(fmean(differences), color=style.INK, linewidth=1.1)
    for limit in limits:
        plot.axhline(limit, color=style.INK, linewidth=1.0, linestyle="--")
    for limit in agreed:
        plot.axhline(limit, color=style.COLOURS[1], linewidth=1.2, linestyle=":")
    plot.axhline(0.0, color=style.INK, linewidth=0.6, alpha=0.5)
    plot.set_ylim(style.pad_limits([0.0, *agreed, *limits, *differences], 0.6, _LEAST_SPAN_PCT))
    means = [x for _, x, _ in points]
    plot.set_xlim(style.pad_limits(means, 0.6, 0.1 * max(means)))
    plot.set_xlabel(f"mean of the two ({unit})")
    plot.set_ylabel("difference (%)")
