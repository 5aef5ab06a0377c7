"""Figure 8: two readings of one part of the machine against each other, after Bland and Altman.

Readings that agree may both be wrong; readings that do not agree cannot both be right. Limits of
agreement follow Bland and Altman (Lancet, 1986): mean ± 1.96 standard deviations, of logarithms
because errors grow with the joules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import count_of, energy_scale
from wbcbench.energy import thresholds
from wbcbench.report import Cells, DataTable, Figure, Statement, style
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import build_data_table

if TYPE_CHECKING:
    from wbcbench.report.style import Axes, Canvas, Styles

HEADINGS = ("pair", "variant", "run", "first (J)", "second (J)", "difference (%)", "judged")
LIMITS_SD = 1.96
_FEWEST_FOR_LIMITS = 3
_LEAST_SPAN_PCT = 0.2
_PANEL_IN = 1.75


Pairs = Mapping[tuple[str, str], Sequence[Cells]]
"""Names of two channels that read one part → a row of ``HEADINGS`` for each run with both."""


def pair_readings(study: ReportStudy) -> Pairs:
    """Every two ways in which one part was read in ``train``; judged ones first."""
    pairs: dict[tuple[bool, str, str], list[Cells]] = {}
    for run in study.done:
        for each in study.evidence[run].readings:
            pct = 100 * (each.a_j - each.b_j) / each.b_j
            judged = "yes" if each.is_judged else "no"
            row = (f"{each.a} above {each.b}", study.label_of(run), run.run_id)
            pairs.setdefault((not each.is_judged, each.a, each.b), []).append(
                (*row, each.a_j, each.b_j, pct, judged)
            )
    return {(a, b): pairs[place, a, b] for place, a, b in sorted(pairs)}


def compute_limits_pct(rows: Sequence[Cells]) -> tuple[float, float] | None:
    """Limits of agreement; ``None`` with fewer than three runs or where one read nothing."""
    ratios = [row[3] / row[4] for row in rows]
    if len(ratios) < _FEWEST_FOR_LIMITS or min(ratios) <= 0:
        return None
    logs = [math.log(ratio) for ratio in ratios]
    mean, half = fmean(logs), LIMITS_SD * stdev(logs)
    return 100 * math.expm1(mean - half), 100 * math.expm1(mean + half)


def build_agreement_statements(pairs: Pairs) -> list[Statement]:
    """The difference of each pair as a sentence."""
    return [
        Statement(
            f"meters-{place}",
            describe_pair(*names, rows),
            RUNS_TABLE,
            "",
            {"runs": len(rows), "difference_pct": fmean(row[5] for row in rows)},
        )
        for place, (names, rows) in enumerate(pairs.items(), start=1)
    ]


def describe_pair(a: str, b: str, rows: Sequence[Cells]) -> str:
    """How far two readings of one part differ, and whether that is agreement."""
    agree_pct, differences_pct = thresholds.AGREE_PCT, [row[5] for row in rows]
    bias_pct, worst = fmean(differences_pct), max(map(abs, differences_pct))
    ends = [format_percent(limit, "+") for limit in compute_limits_pct(rows) or ()]
    spread = f", 95 % of runs {ends[0]} to {ends[1]} %" if ends else ""
    if rows[0][6] == "no":
        meaning = "a cross-check that judges no run"
    elif worst <= agree_pct:
        meaning = f"all within the ±{agree_pct:g} % of agreement"
    else:
        meaning = f"the widest, {worst:.2g} %, is beyond the ±{agree_pct:g} % of agreement"
    return (
        f"{a} read {format_percent(abs(bias_pct))} % {'above' if bias_pct >= 0 else 'below'} {b} "
        f"in training ({count_of(len(rows), 'run')}{spread}): {meaning}."
    )


def format_percent(percent: float, sign: str = "") -> str:
    """Two digits, or whole per cents from 10 on."""
    return f"{percent:{sign}.0f}" if abs(percent) >= 10 else f"{percent:{sign}.2g}"


def build_agreement(study: ReportStudy, pairs: Pairs) -> Figure | None:
    """The figure of these pairs; ``None`` without any."""
    if not pairs:
        return None
    rows = [row for own in pairs.values() for row in own]
    return Figure(
        "meter-agreement",
        "Two readings of one part",
        " ".join(describe_pair(*names, own) for names, own in pairs.items()),
        f"One mark a run. Solid: mean; dashed: limits of agreement; dotted: "
        f"±{thresholds.AGREE_PCT:g} %.{study.stamp}",
        build_data_table(f"Joules in training.{study.stamp}", HEADINGS, rows, (0, 1, 2, 6)),
        partial(draw_agreement, study.styles),
    )


def draw_agreement(styles: Styles, data: DataTable) -> Canvas:
    """Draw the rows of ``build_agreement``: a plot for each pair."""
    pairs: dict[str, list[Cells]] = {}
    for row in data.values:
        pairs.setdefault(str(row[0]), []).append(row)
    size_in = (style.WIDTH_IN, 0.9 + _PANEL_IN * len(pairs))
    canvas, grid = style.create_plots(len(pairs), 1, size_in)
    for (name, rows), (plot,) in zip(pairs.items(), grid, strict=True):
        _draw_pair(plot, styles, rows)
        plot.set_title(style.trim_label(name, 60), fontsize=9, loc="left")
    style.add_legend(canvas, styles, dict.fromkeys(row[1] for row in data.values))
    return canvas


def _draw_pair(plot: Axes, styles: Styles, rows: list[Cells]) -> None:
    divisor, unit = energy_scale(max((row[3] + row[4]) / 2 for row in rows))
    points = [(row[1], (row[3] + row[4]) / 2 / divisor, row[5]) for row in rows]
    style.draw_runs(plot, styles, points, alpha=0.9)
    differences = [row[5] for row in rows]
    limits = compute_limits_pct(rows) or ()
    agreed = [-thresholds.AGREE_PCT, thresholds.AGREE_PCT] if rows[0][6] == "yes" else []
    plot.axhline(fmean(differences), color=style.INK, linewidth=1.1)
    for limit in limits:
        plot.axhline(limit, color=style.INK, linewidth=1.0, linestyle="--")
    for limit in agreed:
        plot.axhline(limit, color=style.COLOURS[1], linewidth=1.2, linestyle=":")
    plot.axhline(0.0, color=style.INK, linewidth=0.6, alpha=0.5)
    shown = [0.0, *limits, *differences]
    near = [limit for limit in agreed if abs(limit) < 3 * max(map(abs, shown))]
    plot.set_ylim(style.pad_limits([*shown, *near], 0.6, _LEAST_SPAN_PCT))
    means = [x for _, x, _ in points]
    plot.set_xlim(style.pad_limits(means, 0.6, 0.1 * max(means)))
    plot.set_xlabel(f"mean of the two ({unit})")
    plot.set_ylabel("difference (%)")
