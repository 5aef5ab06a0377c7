"""Figure 6: power over time with the phases of a run, of one typical and of the worst run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from wbcbench.core.quality import Quality
from wbcbench.core.text import count_of, human_duration
from wbcbench.core.trace import Kind, Trace
from wbcbench.core.window import Window, is_validation
from wbcbench.energy.appraise import ReviewedTrace, review_traces
from wbcbench.energy.faults import is_pair
from wbcbench.energy.integrate import find_gaps, window_energy
from wbcbench.report import Cells, DataTable, Figure, style
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import build_data_table
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from wbcbench.report.style import Axes, Canvas

HEADINGS = (
    "kind", "name", "start (s)", "end (s)", "lowest (W)", "highest (W)", "mean (W)", "readings",
)  # fmt: skip
PHASE, VALIDATION, GAP, READING, STEP = "phase", "validation", "gap", "reading", "counter step"

_SEVERITY = (Quality.VALID, Quality.SUSPECT, Quality.INVALID)

MOST = 200
"""Strokes or steps in one picture; more cannot be distinguished on a page and make it large."""

Span = tuple[float, float]
Stroke = tuple[float, float, float]
"""Time, lowest and highest of a group of readings; equal for a single one."""

_LABELS_IN, _PANEL_IN = 1.5, 1.7
_GREY = "#808080"
_LABEL_SHARE = 0.055  # of the width: an upright label with a little air
_MINUTES_FROM_S = 600.0
_STROKE = 1.8  # points
_FOOT = 0.02  # height of the ticks at the foot, as a share of the plot


# A picture holds a few hundred points, a run thousands of polls. The caption names what is drawn
# for several of them: lowest and highest of readings, the mean of steps of a counter. Nothing is
# drawn across a gap, because the power there is unknown.
def collect_readings(trace: Trace, most: int = MOST) -> list[Stroke]:
    """A stroke for every reading of a sampled channel, or for lowest and highest of a few."""
    times, power_w = trace.good
    size, strokes = group_size(len(times), most), []
    for start, end in _split_at_gaps(times, find_gaps(times)):
        for i in range(start, end, size):
            j = min(i + size, end)
            middle_s = (times[i] + times[j - 1]) / 2
            strokes.append((middle_s, min(power_w[i:j]), max(power_w[i:j])))
    return strokes


def compute_steps(counter: ReviewedTrace, most: int = MOST) -> list[tuple[float, float, float]]:
    """Start, end and mean power between moves of a counter, or over a few of them."""
    curve = counter.curve
    torn = (*curve.breaks, *curve.bridges)
    size = group_size(len(curve.t_s) - 1, most)
    breaks = [*find_gaps(counter.trace.good[0]), *((b.before_s, b.after_s) for b in torn)]
    return [
        (
            curve.t_s[i],
            curve.t_s[j],
            (curve.energy_j[j] - curve.energy_j[i]) / (curve.t_s[j] - curve.t_s[i]),
        )
        for start, end in _split_at_gaps(curve.t_s, breaks)
        for i, j in pairwise([*range(start, end - 1, size), end - 1])
    ]


def group_size(count: int, most: int = MOST) -> int:
    """How many readings or moves one stroke or step stands for; 1: each is drawn."""
    return -(-max(count, 0) // most) or 1


def _split_at_gaps(times: Sequence[float], breaks: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """The times in stretches that no break reaches into, as first and one past the last."""
    spans = sorted(breaks)
    start, at = 0, 0
    for i in range(1, len(times)):
        while at < len(spans) and spans[at][1] <= times[i - 1]:
            at += 1
        if at < len(spans) and spans[at][0] < times[i]:
            yield start, i
            start = i
    if times:
        yield start, len(times)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The content of one picture.

    Attributes:
        name: Of the figure.
        run: The run.
        reason: Why this one.
        source: The channel that the primary energy rests on, the first of several devices.
        sampled, counter: This channel and its cross-check, by kind; ``None`` without such a one.
        phases: Windows that lie in no other, in order.
        passes: Validation passes inside ``train``.
        gaps: Spans without a reading.
        devices: How many devices the primary energy sums over.
    """

    name: str
    run: Run
    reason: str
    source: ReviewedTrace
    sampled: Trace | None
    counter: ReviewedTrace | None
    phases: tuple[Window, ...]
    passes: tuple[Window, ...]
    gaps: list[Span]
    devices: int

    @property
    def start_s(self) -> float:
        """Monotonic time that the picture calls zero."""
        starts = [window.start_s for window in (*self.phases, *self.passes)]
        return min(starts, default=self.source.trace.good[0][0])


def build_power_figures(study: ReportStudy) -> list[Figure]:
    """The run of median energy, and the one with the most severe warnings, where polls are kept."""
    runs = [run for run in study.runs if run.folder and run.folder.has_traces]
    lines = (_read_timeline(*choice) for choice in _choose_runs(study, runs))
    return [_build_figure(study, line) for line in lines if line]


def _choose_runs(study: ReportStudy, runs: list[Run]) -> Iterator[tuple[str, Run, str]]:
    """The run of median energy and, of the others, the one with the most severe warnings."""
    known = sorted(
        (run for run in study.comparable if run in runs),
        key=lambda run: (run.row["primary_energy_train_j"], run.run_id),
    )
    usual = known[(len(known) - 1) // 2] if known else None  # the lower of two
    if usual is not None:
        reason = "the run of median energy"
        yield (
            "timeline-usual",
            usual,
            reason if known[1:] else "the only run with comparable joules",
        )
    others = [run for run in runs if run is not usual]
    if others:
        worst = max(others, key=lambda run: (*_rank(run), run.run_id))
        yield "timeline-worst", worst, _explain_choice(worst)


def _rank(run: Run) -> tuple[int, bool, int, float]:
    gap_ms = run.row["sample_gap_max_ms"] or 0.0
    quality = _SEVERITY.index(Quality(run.row["quality"]))
    return quality, not run.is_done, run.warning_codes.count(";") + bool(run.warning_codes), gap_ms


def _explain_choice(run: Run) -> str:
    if codes := ", ".join(filter(None, run.warning_codes.split(";"))):
        return f"the most severe warnings of the others ({run.row['quality']}: {codes})"
    if not run.is_done:
        return f"of the others the one that went worst ({run.row['status']})"
    return "another run; none has a warning, and this one the longest time without a reading"


def _read_timeline(name: str, run: Run, reason: str) -> Timeline | None:
    """Read the polls of one run; ``None`` where none of the primary channel can be read."""
    if run.folder is None or run.primary is None or not run.primary.channels:
        return None
    primary = run.primary.channels[0]
    part = primary.rpartition("/")[0]
    names = [c.name for c in run.record.channels if c.name.rpartition("/")[0] == part]
    review = review_traces(run.folder.read_traces(names), run.record.windows)
    traces = [each for each in review.traces if each.trace.good[0]]
    source = next((each for each in traces if each.trace.channel.name == primary), None)
    if source is None:
        return None
    own = source.trace.channel
    used = {t.trace.channel.kind: t for t in traces if t is source or is_pair(t.trace.channel, own)}
    sampled = used.get(Kind.SAMPLED)
    return Timeline(
        name,
        run,
        reason,
        source,
        sampled=sampled.trace if sampled else None,
        counter=used.get(Kind.COUNTER),
        phases=tuple(w for w in run.phases if not is_validation(w.name)),
        passes=tuple(w for w in run.phases if is_validation(w.name)),
        gaps=find_gaps(source.trace.good[0]),
        devices=len(run.primary.channels),
    )


def _build_figure(study: ReportStudy, line: Timeline) -> Figure:
    channel = line.source.trace.channel
    devices = f", the first of {line.devices} devices" if line.devices > 1 else ""
    phases = [_build_phase(line, window) for window in line.phases]
    rows = [*phases, *_iterate_marks(line)]
    return Figure(
        line.name,
        f"Power over time of {line.run.run_id}",
        "; ".join(f"{row[1]}: {row[6]:.4g} W on average" for row in phases if row[6] is not None),
        f"{line.reason[:1].upper()}{line.reason[1:]}. {' '.join(_iterate_legend(line))} "
        f"{channel.name}, {channel.origin}{devices}.{study.stamp}",
        build_data_table(
            f"Seconds since the run began, on {channel.name} ({channel.origin}).",
            HEADINGS,
            rows,
            (0, 1),
        ),
        draw_power,
    )


def _build_phase(line: Timeline, window: Window) -> Cells:
    energy = window_energy(line.source.trace, window, line.source.pair)
    span = (window.start_s - line.start_s, window.end_s - line.start_s)
    name = window.name.replace("_", " ").replace("-", " ")
    return (PHASE, name, *span, None, None, energy.mean_power_w, energy.samples)


def _iterate_marks(line: Timeline) -> Iterator[Cells]:
    zero_s = line.start_s
    for window in line.passes:
        yield (
            VALIDATION,
            window.name,
            window.start_s - zero_s,
            window.end_s - zero_s,
            *(None,) * 4,
        )
    for start_s, end_s in line.gaps:
        yield (GAP, "", start_s - zero_s, end_s - zero_s, *(None,) * 4)
    if line.sampled:
        size = group_size(len(line.sampled.good[0]))
        for t_s, low_w, high_w in collect_readings(line.sampled):
            yield (READING, "", t_s - zero_s, t_s - zero_s, low_w, high_w, None, size)
    if line.counter:
        size = group_size(len(line.counter.curve.t_s) - 1)
        for start_s, end_s, power_w in compute_steps(line.counter):
            yield (STEP, "", start_s - zero_s, end_s - zero_s, None, None, power_w, size)


def _iterate_legend(line: Timeline) -> Iterator[str]:
    """The meaning of every mark, and what was left out to draw them."""
    if line.sampled:
        total = len(line.sampled.good[0])
        size = group_size(total)
        spans = "" if size == 1 else f", each from lowest to highest of {size}"
        yield f"Dots: {total:,} readings{spans}."
    if line.counter:
        size = group_size(len(line.counter.curve.t_s) - 1)
        yield f"Steps: mean between moves of the counter{'' if size == 1 else f', {size} each'}."
    yield "Bands: phases; ticks: validation." if line.passes else "Bands: phases."
    if line.gaps:
        longest_s = max(b - a for a, b in line.gaps)
        gaps = count_of(len(line.gaps), "gap")
        yield f"Pink: {gaps} without a reading, up to {human_duration(longest_s)}."


def draw_power(data: DataTable) -> Canvas:
    """Draw the rows of ``build_power_figures``: a plot for readings and one for counter steps."""
    kinds: dict[str, list[tuple[Any, ...]]] = {}
    for kind, *row in data.select(*HEADINGS[:7]):
        kinds.setdefault(str(kind), []).append(tuple(row))
    ends = [row[2] for rows in kinds.values() for row in rows]
    unit_s, unit = (60.0, "min") if max(ends) >= _MINUTES_FROM_S else (1.0, "s")
    readings, steps = kinds.get(READING, []), kinds.get(STEP, [])
    count = max(bool(readings) + bool(steps), 1)
    size_in = (style.WIDTH_IN, _LABELS_IN + _PANEL_IN * count)
    canvas, grid = style.create_plots(count, 1, size_in, share_x=True)
    plots = [plot for (plot,) in grid]
    if readings:
        x = [start / unit_s for _, start, *_ in readings]
        lows, highs = [row[3] for row in readings], [row[4] for row in readings]
        plots[0].vlines(x, lows, highs, style.COLOURS[0], linewidth=_STROKE, capstyle="round")
        plots[0].set_ylabel("as read (W)")
    if steps:
        edges, power_w = list[float](), list[float]()
        for _, start, end, _, _, mean_w in steps:  # of each its ends; nothing across a gap
            if edges and edges[-1] != start / unit_s:
                edges.append(math.nan)
                power_w.append(math.nan)
            edges += [start / unit_s, end / unit_s]
            power_w += [mean_w, mean_w]
        plots[-1].plot(edges, power_w, color=style.COLOURS[1], linewidth=1.3)
        plots[-1].set_ylabel("counter (W)")
    highest_w = max([*(row[4] for row in readings), *(row[5] or 0.0 for row in steps)], default=1.0)
    phases = [(name, a / unit_s, b / unit_s) for name, a, b, *_ in kinds.get(PHASE, [])]
    for plot in plots:
        for i, (_, left, right) in enumerate(phases):
            plot.axvspan(left, right, color=_GREY, alpha=(0.16, 0.06)[i % 2], linewidth=0)
        for _, left, right, *_ in kinds.get(GAP, []):
            span = (left / unit_s, right / unit_s)
            plot.axvspan(*span, color=style.COLOURS[3], alpha=0.4, linewidth=0)
        plot.set_ylim(0.0, 1.06 * highest_w or 1.0)
        plot.set_xlim(
            min(row[1] for rows in kinds.values() for row in rows) / unit_s, max(ends) / unit_s
        )
    for _, left, right, *_ in kinds.get(VALIDATION, []):
        span = (left / unit_s, right / unit_s)
        plots[-1].axvspan(*span, 0.0, _FOOT, color=style.INK, alpha=0.9, linewidth=0)
    _draw_names(plots[0], [(name, (left + right) / 2) for name, left, right in phases])
    plots[-1].set_xlabel(f"time since the run began ({unit})")
    return canvas


def _draw_names(plot: Axes, names: list[tuple[str, float]]) -> None:
    """Names stand upright above the plot, joined to the middle of their bands."""
    left, right = plot.get_xlim()
    places = style.spread_places([middle for _, middle in names], _LABEL_SHARE * (right - left))
    top = plot.get_ylim()[1]
    words = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": 9}
    for (name, middle), place in zip(names, places, strict=True):
        style.draw_label(plot, name, (middle, top), (place, 1.06 * top), **words)
