"""Power over time with the phases of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from wbcbench.core.quality import Quality, Severity
from wbcbench.core.text import count_of, human_duration
from wbcbench.core.trace import Kind, Trace
from wbcbench.core.units import s_from_ms
from wbcbench.core.window import Window, is_validation
from wbcbench.energy.appraise import ReviewedTrace, review_traces
from wbcbench.energy.faults import is_pair
from wbcbench.energy.integrate import find_gaps, window_energy
from wbcbench.report import Block, DataTable, Figure, drawing
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import format_cell
from wbcbench.table.view import Run

_SEVERITY = (Quality.VALID, Quality.SUSPECT, Quality.INVALID)

MOST = 200
"""Strokes or steps in one picture; more cannot be distinguished on a page and make it large."""

Span = tuple[float, float]
Stroke = tuple[float, float, float]
"""Time, lowest and highest of a group of readings; equal for a single one."""

_LABELS_IN, _PANEL_IN = 1.9, 2.5
_GREY = "#808080"
_LABEL_SHARE = 0.055  # of the width: an upright label with a little air
_MINUTES_FROM_S = 600.0
_STROKE = 1.8  # points
_FOOT = 0.02  # height of the ticks at the foot, as a share of the plot


# A picture holds a few hundred points, a run thousands of polls. The caption names what is drawn
# for several of them: lowest and highest of readings, the mean of steps of a counter. Nothing is
# drawn across a gap, because the power there is unknown.
@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of power.

    Attributes:
        strokes: One for each group of readings.
        size: How many readings one stroke stands for; 1 = every reading is drawn.
        total: How many readings there were.
    """

    strokes: list[Stroke]
    size: int
    total: int


@dataclass(frozen=True, slots=True)
class Steps:
    """Mean power between moves of a counter.

    Attributes:
        t_s: Edges, ``[n]``.
        power_w: Mean power from an edge to the next, ``[n]``; not a number where a gap begins and
            at the end.
        size: How many moves one step stands for.
    """

    t_s: list[float]
    power_w: list[float]
    size: int


def collect_readings(trace: Trace, most: int = MOST) -> Readings:
    """The strokes of a sampled channel: every reading, or lowest and highest of a few."""
    times, power_w = trace.good
    size = -(-len(times) // most) or 1
    strokes = []
    for start, end in _split_at_gaps(times, find_gaps(times)):
        for i in range(start, end, size):
            j = min(i + size, end)
            middle_s = (times[i] + times[j - 1]) / 2
            strokes.append((middle_s, min(power_w[i:j]), max(power_w[i:j])))
    return Readings(strokes, size, len(times))


def compute_steps(counter: ReviewedTrace, most: int = MOST) -> Steps:
    """The steps of a counter: joules over seconds between moves, or over a few of them."""
    curve = counter.curve
    torn = (*curve.breaks, *curve.bridges)
    size = -(-max(len(curve.t_s) - 1, 0) // most) or 1
    breaks = [*find_gaps(counter.trace.good[0]), *((b.before_s, b.after_s) for b in torn)]
    edges, power_w = list[float](), list[float]()
    for start, end in _split_at_gaps(curve.t_s, breaks):
        for i, j in pairwise([*range(start, end - 1, size), end - 1]):
            edges.append(curve.t_s[i])
            power_w.append((curve.energy_j[j] - curve.energy_j[i]) / (curve.t_s[j] - curve.t_s[i]))
        edges.append(curve.t_s[end - 1])
        power_w.append(math.nan)
    return Steps(edges, power_w, size)


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
        readings, steps: What is drawn of the two.
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
    counter: Trace | None
    readings: Readings
    steps: Steps
    phases: tuple[Window, ...]
    passes: tuple[Window, ...]
    gaps: list[Span]
    devices: int

    @property
    def start_s(self) -> float:
        """Monotonic time that the picture calls zero."""
        starts = [window.start_s for window in (*self.phases, *self.passes)]
        return min(starts, default=self.source.trace.good[0][0])

    @property
    def reach_s(self) -> Span:
        """The first and the last moment that is drawn."""
        times = [time_s for time_s, _, _ in self.readings.strokes] + self.steps.t_s
        times += [time_s for w in self.phases for time_s in (w.start_s, w.end_s)]
        return min(times), max(times)

    @property
    def highest_w(self) -> float:
        """The highest power that is drawn."""
        powers_w = [high_w for _, _, high_w in self.readings.strokes]
        powers_w += [power_w for power_w in self.steps.power_w if not math.isnan(power_w)]
        return max(powers_w, default=1.0) or 1.0


def build_timelines(study: ReportStudy) -> Block | None:
    """Power over time with a run's phases: one typical run of the study, and the worst."""
    if not study.runs:
        return None
    runs = [run for run in study.runs if run.folder and run.folder.has_traces and run.primary]
    lines = [line for choice in _choose_runs(study, runs) if (line := _read_timeline(*choice))]
    words = (
        "Two runs at most are drawn: the one of median energy, and the one with the most "
        "severe warnings."
        if lines
        else "No power is drawn over time: no run of this study has the polls of a channel that "
        "its joules rest on."
    )
    figures = tuple(_build_figure(study, line) for line in lines)
    return Block("timelines", "Power over time", (words,), figures=figures)


def _choose_runs(study: ReportStudy, runs: list[Run]) -> Iterator[tuple[str, Run, str]]:
    """The run of median energy and, of the others, the one with the most severe warnings."""
    known = sorted(
        (run for run in study.comparable if run in runs),
        key=lambda run: (run.train_energy_j, run.run_id),
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
    return _SEVERITY.index(run.record.quality), not run.is_done, len(_list_warnings(run)), gap_ms


def _list_warnings(run: Run) -> list[str]:
    return sorted({w.code for w in run.record.warnings if w.severity is not Severity.INFO})


def _explain_choice(run: Run) -> str:
    codes, gap_ms = ", ".join(_list_warnings(run)), run.row["sample_gap_max_ms"]
    if codes:
        return (
            f"of the others the one with the most severe warnings ({run.record.quality}: {codes})"
        )
    if not run.is_done:
        return f"of the others the one that went worst ({run.record.status})"
    if gap_ms is None:
        return "another run; none has a warning"
    return (
        "none has a warning; this one has the longest time without a reading in training, "
        f"{human_duration(s_from_ms(gap_ms))}"
    )


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
    sampled, counter = used.get(Kind.SAMPLED), used.get(Kind.COUNTER)
    return Timeline(
        name,
        run,
        reason,
        source,
        sampled=sampled.trace if sampled else None,
        counter=counter.trace if counter else None,
        readings=collect_readings(sampled.trace) if sampled else Readings([], 1, 0),
        steps=compute_steps(counter) if counter else Steps([], [], 1),
        phases=tuple(w for w in run.phases if not is_validation(w.name)),
        passes=tuple(w for w in run.phases if is_validation(w.name)),
        gaps=find_gaps(source.trace.good[0]),
        devices=len(run.primary.channels),
    )


def _build_figure(study: ReportStudy, line: Timeline) -> Figure:
    rows = tuple(_build_row(line, window) for window in line.phases)
    channel = line.source.trace.channel
    devices = f", the first of {line.devices} devices" if line.devices > 1 else ""
    caption = " ".join(
        (
            f"{line.run.run_id}, {line.reason}.",
            *_iterate_legend(line),
            f"{channel.domain.upper()} power, {channel.origin}{devices}.{study.stamp}",
        )
    )
    data = DataTable(
        f"The phases of the figure on {channel.name} ({channel.origin}); train with its "
        "validation passes. Every reading is in the trace folder of the run.",
        ("phase", "start (s)", "length (s)", "readings", "mean power (W)", "longest gap (s)"),
        rows,
    )
    description = "; ".join(f"{row[0]}: {row[4]} W on average over {row[2]} s" for row in rows)
    title = f"Power over time of {line.run.run_id}"
    return Figure(line.name, lambda: _draw(line), title, description, caption, data)


def _iterate_legend(line: Timeline) -> Iterator[str]:
    """The meaning of every mark, and what was left out to draw them."""
    if line.sampled:
        name, size = line.sampled.channel.name, line.readings.size
        marks = (
            f"Dots: every good reading of {name}"
            if size == 1
            else f"Strokes: {name}, each from lowest to highest of {size} good readings"
        )
        yield f"{marks} ({line.readings.total:,} in all)."
    if line.counter:
        size = line.steps.size
        over = "between moves" if size == 1 else f"over {size} moves each"
        yield f"Steps: mean power {over}, of the counter {line.counter.channel.name}."
    yield "Grey bands: phases; white: between them, when nothing is counted."
    if line.passes:
        yield "Ticks at the foot: validation passes."
    if line.gaps:
        longest_s = max(b - a for a, b in line.gaps)
        yield (
            f"{count_of(len(line.gaps), 'gap')} without a reading, the longest "
            f"{human_duration(longest_s)}; in pink; nothing is drawn across them."
        )
    else:
        yield "No gap between readings."


def _build_row(line: Timeline, window: Window) -> tuple[str, ...]:
    energy = window_energy(line.source.trace, window, line.source.pair)
    return (
        _format_phase(window.name),
        f"{window.start_s - line.start_s:.1f}",
        f"{window.duration_s:.1f}",
        str(energy.samples),
        format_cell(energy.mean_power_w, ".1f"),
        format_cell(energy.max_gap_s, ".2f"),
    )


def _format_phase(name: str) -> str:
    """The name of a window as a label."""
    return name.replace("_", " ").replace("-", " ")


def _draw(line: Timeline) -> drawing.Canvas:
    """One plot for readings and one for steps, of what there is."""
    first_s, last_s = line.reach_s
    unit_s, unit = (60.0, "min") if last_s - first_s >= _MINUTES_FROM_S else (1.0, "s")

    def scale(t_s: float) -> float:
        return (t_s - line.start_s) / unit_s

    strokes, steps = line.readings.strokes, line.steps
    count = bool(strokes) + bool(steps.t_s)
    size_in = (drawing.WIDTH_IN, _LABELS_IN + _PANEL_IN * count)
    canvas, grid = drawing.create_plots(count, 1, size_in, share_x=True)
    plots = [plot for (plot,) in grid]
    if strokes:
        x = [scale(t_s) for t_s, _, _ in strokes]
        ends = [low for _, low, _ in strokes], [high for _, _, high in strokes]
        plots[0].vlines(x, *ends, drawing.COLOURS[0], linewidth=_STROKE, capstyle="round")
        plots[0].set_ylabel("power, as read (W)")
    if steps.t_s:
        x = list(map(scale, steps.t_s))
        plots[-1].step(x, steps.power_w, where="post", color=drawing.COLOURS[1], linewidth=1.3)
        plots[-1].set_ylabel("from counter (W)")
    for plot in plots:
        for i, window in enumerate(line.phases):
            left, right = scale(window.start_s), scale(window.end_s)
            plot.axvspan(left, right, color=_GREY, alpha=(0.16, 0.06)[i % 2], linewidth=0)
        for a, b in line.gaps:
            plot.axvspan(scale(a), scale(b), color=drawing.COLOURS[3], alpha=0.5, linewidth=0)
        plot.set_ylim(0.0, 1.06 * line.highest_w)
        plot.set_xlim(scale(first_s), scale(last_s))
    for window in line.passes:
        left, right = scale(window.start_s), scale(window.end_s)
        plots[-1].axvspan(left, right, 0.0, _FOOT, color=drawing.INK, alpha=0.9, linewidth=0)
    _draw_names(
        plots[0], [(_format_phase(w.name), scale((w.start_s + w.end_s) / 2)) for w in line.phases]
    )
    plots[-1].set_xlabel(f"time since the run began ({unit})")
    return canvas


def _draw_names(plot: drawing.Axes, names: list[tuple[str, float]]) -> None:
    """Names stand upright above the plot, joined to the middle of their bands."""
    left, right = plot.get_xlim()
    places = drawing.spread_places([middle for _, middle in names], _LABEL_SHARE * (right - left))
    top = plot.get_ylim()[1]
    style = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": "small"}
    for (name, middle), place in zip(names, places, strict=True):
        drawing.draw_label(plot, name, (middle, top), (place, 1.06 * top), **style)
