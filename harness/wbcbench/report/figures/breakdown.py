"""Figure 4: energy of a whole run by what it did and by part of the machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from wbcbench.core.text import energy_scale
from wbcbench.core.trace import Domain, Origin
from wbcbench.core.window import TRAIN
from wbcbench.energy.bill import PARTS as PHASES
from wbcbench.energy.metrics import mean_known
from wbcbench.report import Cells, DataTable, Figure, style
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import build_data_table
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from wbcbench.report.style import Axes, Canvas, Styles

HEADINGS = ("variant", "part", "status", "read by", "runs", "phase", "energy (J)", "time (s)")
PARTS = {Domain.GPU: "GPU", Domain.CPU: "CPU", Domain.DRAM: "DRAM", Domain.SYSTEM: "machine"}
MOST_VARIANTS = 12
_BAR_IN, _NAME_IN, _AROUND_IN = 0.23, 0.24, 1.15
_BAR_HEIGHT = 0.74


def collect_phases(study: ReportStudy) -> list[Cells]:
    """Mean joules of each variant by part and phase, where all of its runs that know the part do.

    Runs that read a part in another way than most are left out of its mean.
    """
    rows: list[Cells] = []
    for configuration in study.configurations:
        for domain, name in PARTS.items():
            rows += _average_part(
                study, configuration.label, study.used(configuration), domain, name
            )
    return rows


def _average_part(
    study: ReportStudy, label: str, runs: Sequence[Run], domain: Domain, name: str
) -> Iterator[Cells]:
    ways = {
        run: (run.origins[domain], str(source.method))
        for run in runs
        if (source := run.source(domain)) and run.energy_j(domain) is not None
    }
    if not ways:
        return
    counts = Counter(ways.values())
    way = max(counts, key=lambda way: (counts[way], way))
    own = [study.evidence[run].bill for run in runs if ways.get(run) == way]
    for phase in PHASES:
        items = [item for bill in own for item in bill.lines if item.name == phase]
        if items:
            known = [item.energy_j.get(domain) for item in items]
            mean_j = mean_known(known) if None not in known else None
            yield (
                label,
                name,
                *way,
                len(own),
                phase,
                mean_j,
                mean_known([i.time_s for i in items]),
            )


def build_breakdown_figure(study: ReportStudy, rows: Sequence[Cells]) -> Figure:
    """The figure of these rows of ``collect_phases``."""
    words = list(_iterate_legend(rows))
    train = [row for row in rows if row[5] == TRAIN and row[6] is not None]
    return Figure(
        "energy-parts",
        "Where the joules go",
        "; ".join(f"{row[0]}, {row[1]}, training: {row[6]:.4g} J, {row[2]}" for row in train[:40]),
        " ".join(words) + study.stamp,
        build_data_table(f"Means over runs.{study.stamp}", HEADINGS, rows, (0, 1, 2, 3, 5)),
        partial(draw_breakdown, study.styles),
    )


def _iterate_legend(rows: Sequence[Cells]) -> Iterator[str]:
    yield "A whole run; coloured: training."
    statuses = sorted({str(row[2]) for row in rows}, key=lambda status: Origin(status).rank)
    for status in statuses:
        parts = dict.fromkeys(str(row[1]) for row in rows if row[2] == status)
        hatched = " (hatched, in no sum of measured ones)" if status != "measured" else ""
        yield f"{', '.join(parts)}: {status}{hatched}."
    if any(row[1] == PARTS[Domain.SYSTEM] for row in rows):
        yield "The machine includes the other parts."
    variants = len({row[0] for row in rows})
    if variants > MOST_VARIANTS:
        yield f"{MOST_VARIANTS} of {variants} variants."


def draw_breakdown(styles: Styles, data: DataTable) -> Canvas:
    """Draw the rows of ``collect_phases``: variant by variant, a bar for each part."""
    rows = list(data.select("variant", "part", "status", "phase", "energy (J)"))
    bars: dict[str, dict[str, list[tuple[str, str, float]]]] = {}
    for variant, part, status, phase, energy_j in rows:
        pieces = bars.setdefault(variant, {}).setdefault(part, [])
        pieces.append((status, phase, max(energy_j or 0.0, 0.0)))
    shown = dict(list(bars.items())[:MOST_VARIANTS])
    count = sum(map(len, shown.values()))
    height_in = max(style.SIZE_IN[1], count * _BAR_IN + len(shown) * _NAME_IN + _AROUND_IN)
    canvas, plot = style.create_plot((style.WIDTH_IN, height_in))
    longest = max(sum(j for *_, j in own) for parts in shown.values() for own in parts.values())
    divisor, unit = energy_scale(longest)
    names, y, ticks, used = style.make_short_labels(shown), 0.0, {}, dict[str, None]()
    for variant, parts in shown.items():
        _write_name(plot, y, names[variant])
        y += _NAME_IN
        for part, pieces in parts.items():
            ticks[y] = part
            used |= dict.fromkeys(phase for _, phase, energy_j in pieces if energy_j)
            _draw_bar(plot, y, pieces, divisor, styles[variant].colour)
            y += _BAR_IN
    plot.set_ylim(y - _BAR_IN / 4, -_NAME_IN * 0.7)
    plot.set_xlim(0.0, 1.02 * longest / divisor or 1.0)
    plot.set_yticks(list(ticks), list(ticks.values()), fontsize=9)
    plot.tick_params(axis="y", length=0)
    plot.grid(visible=False, axis="y")
    plot.set_xlabel(f"energy of a run ({unit})")
    _add_legend(canvas, [phase for phase in PHASES if phase in used])
    return canvas


def _write_name(plot: Axes, y: float, text: str) -> None:
    plot.annotate(
        text, (0.0, y), (2, 0), textcoords="offset points",
        fontsize=10, va="center", annotation_clip=False,
    )  # fmt: skip


def _draw_bar(
    plot: Axes, y: float, pieces: Sequence[tuple[str, str, float]], divisor: float, colour: str
) -> None:
    left = 0.0
    for status, phase, energy_j in pieces:
        plot.barh(
            y, energy_j / divisor, left=left, height=_BAR_HEIGHT * _BAR_IN,
            color=colour if phase == TRAIN else style.GREYS[PHASES.index(phase)],
            hatch=style.HATCHES[status], edgecolor=style.INK, linewidth=0.4,
        )  # fmt: skip
        left += energy_j / divisor


def _add_legend(canvas: Canvas, phases: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(
            facecolor="none" if phase == TRAIN else style.GREYS[PHASES.index(phase)],
            edgecolor=style.INK, linewidth=0.4,
            label=f"{phase} (coloured)" if phase == TRAIN else phase,
        )
        for phase in phases
    ]  # fmt: skip
    canvas.legend(
        handles=handles, loc="outside upper left", ncols=4, frameon=False, fontsize=9,
        handlelength=1.2, columnspacing=1.0,
    )  # fmt: skip
