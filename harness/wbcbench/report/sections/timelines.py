"""Power over time with the phases of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from wbcbench.core.quality import Quality, Severity
from wbcbench.core.text import count_of, human_duration
from wbcbench.core.trace import Channel, Kind, Trace
from wbcbench.core.units import s_from_ms
from wbcbench.core.window import Window, is_validation
from wbcbench.energy.checks.sensors import gaps
from wbcbench.energy.faults import witness
from wbcbench.energy.integrate import energy_curve, window_energy
from wbcbench.report import Block, DataTable, Figure
from wbcbench.report.drawing import COLOURS, INK, WIDTH_IN, new_plots, spread_out
from wbcbench.report.marks import draw_boxes, draw_strokes
from wbcbench.report.study import ReportStudy
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_GRAVITY = (Quality.VALID, Quality.SUSPECT, Quality.INVALID)

MOST = 200
"""Strokes or steps in one picture; more would not be seen on a page and weigh on it."""

Span = tuple[float, float]
Stroke = tuple[float, float, float]

_LABELS_IN, _PANEL_IN = 1.9, 2.5
_GREY = "#808080"
_LABEL_SHARE = 0.055  # of the width: an upright label with a little air
_MINUTES_FROM_S = 600.0
_STROKE = 1.8  # points
_FOOT = 0.02  # height of the ticks at the foot, as a share of the plot


@dataclass(frozen=True, slots=True)
class Chosen:
    """A run to draw, under which name, and why this one."""

    name: str
    run: Run
    why: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """What one picture shows.

    Attributes:
        chosen: The run and why.
        traces: The channel the headline rests on, then its witness if there is one.
        phases: Windows that lie in no other, in order.
        passes: Validation passes inside ``train``.
        start_s: Monotonic time that the picture calls zero.
        devices: How many devices the headline sums over; the first is drawn.
    """

    chosen: Chosen
    traces: tuple[Trace, ...]
    phases: tuple[Window, ...]
    passes: tuple[Window, ...]
    start_s: float
    devices: int


def timelines_section(study: ReportStudy) -> Block | None:
    """Power over time with a run's phases: one run that stands for the study, and the worst."""
    if not study.runs:
        return None
    kept = [run for run in study.runs if _has_traces(study, run)]
    lines = [line for each in _choose_runs(study, kept) if (line := _read_timeline(study, each))]
    if not lines:
        words = (
            "No power is drawn over time: no run of this study kept the polls of a channel that "
            "its joules rest on."
        )
        return Block("timelines", "Power over time", (words,))
    words = (
        "Two runs at most are drawn: the one of median energy, and the one in the gravest doubt."
    )
    figures = tuple(_figure(study, line) for line in lines)
    return Block("timelines", "Power over time", (words,), figures=figures)


def _has_traces(study: ReportStudy, run: Run) -> bool:
    folder = run.folder
    return bool(folder and folder.has_traces and run.primary)


def _choose_runs(study: ReportStudy, kept: list[Run]) -> list[Chosen]:
    """The run of median energy and, of the others, the one in the gravest doubt."""
    usual = _usual(study, kept)
    others = [run for run in kept if run is not usual]
    chosen: list[Chosen] = []
    if usual is not None:
        n = len([run for run in kept if run in study.comparable])
        why = "the run of median energy" if n > 1 else "the only run with comparable joules"
        chosen.append(Chosen("timeline-usual", usual, why))
    if others:
        worst = max(others, key=lambda run: (*_gravity(run), run.run_id))
        chosen.append(Chosen("timeline-worst", worst, _why(worst)))
    return chosen


def _usual(study: ReportStudy, kept: list[Run]) -> Run | None:
    """The run of median energy, the lower of two; ``None`` if none has comparable joules."""
    folders = {run.run_id for run in kept}
    known = [run for run in study.comparable if run.run_id in folders]
    known.sort(key=lambda run: (run.train_energy_j, run.run_id))
    return known[(len(known) - 1) // 2] if known else None


def _gravity(run: Run) -> tuple[int, bool, int, float]:
    gap_ms = run.row["sample_gap_max_ms"] or 0.0
    return _GRAVITY.index(run.record.quality), not run.is_done, len(_doubts(run)), gap_ms


def _doubts(run: Run) -> list[str]:
    weighty = [c for c in run.record.warnings if c.severity is not Severity.INFO]
    return sorted({warning.code for warning in weighty})


def _why(run: Run) -> str:
    doubts = ", ".join(_doubts(run))
    if doubts:
        return f"of the others the one in the gravest doubt ({run.record.quality}: {doubts})"
    if not run.is_done:
        return f"of the others the one that went worst ({run.record.status})"
    gap_ms = run.row["sample_gap_max_ms"]
    if gap_ms is None:
        return "another run; none is in doubt"
    return (
        f"none is in doubt; this one has the longest time without a reading in training, "
        f"{human_duration(s_from_ms(gap_ms))}"
    )


def _read_timeline(study: ReportStudy, chosen: Chosen) -> Timeline | None:
    """Read the polls of one run; ``None`` where none of the headline's channel can be read."""
    folder, who = chosen.run.folder, chosen.run.primary
    if folder is None or who is None:
        return None
    part = who.channels[0].rpartition("/")[0]
    names = [c.name for c in chosen.run.record.channels if c.name.rpartition("/")[0] == part]
    found = [trace for trace in folder.read_traces(names) if trace.good[0]]
    own = next((trace for trace in found if trace.channel.name == who.channels[0]), None)
    if own is None:
        return None
    other = witness(own, found)
    phases = chosen.run.phases
    return Timeline(
        chosen,
        (own, other) if other else (own,),
        tuple(w for w in phases if not is_validation(w.name)),
        tuple(w for w in phases if is_validation(w.name)),
        min([w.start_s for w in phases], default=own.good[0][0]),
        len(who.channels),
    )


def _drawn_readings(line: Timeline) -> tuple[Readings | None, Steps | None]:
    """What of the channels is drawn: dots of a power reading, steps of a counter."""
    dots = next((t for t in line.traces if not is_counter(t.channel)), None)
    counts = next((t for t in line.traces if is_counter(t.channel)), None)
    return (readings(dots) if dots else None), (steps(counts) if counts else None)


def is_counter(channel: Channel) -> bool:
    """Whether its readings are cumulative joules."""
    return channel.kind is Kind.COUNTER


def _figure(study: ReportStudy, line: Timeline) -> Figure:
    run_id = line.chosen.run.run_id
    title = f"Power over time of {run_id}"
    rows = _rows(line)
    description = "; ".join(f"{row[0]}: {row[4]} W on average over {row[2]} s" for row in rows)
    caption = " ".join(
        (
            f"{run_id}, {line.chosen.why}.",
            *_legend_words(line),
            "Grey bands: phases; white: between them, when nothing is counted.",
            *(["Ticks at the foot: validation passes."] if line.passes else []),
            _gap_words(line),
            f"{_status(line)}.{study.stamp}",
        )
    )
    return Figure(
        line.chosen.name, lambda: _picture(line), title, description, caption, _data(line, rows)
    )


def _legend_words(line: Timeline) -> Iterator[str]:
    """What dots and steps are, and what was left out to draw them."""
    names = {is_counter(trace.channel): trace.channel.name for trace in line.traces}
    dots, counts = _drawn_readings(line)
    if dots:
        what = (
            f"Dots: every reading of {names[False]}"
            if dots.each == 1
            else f"Strokes: {names[False]}, each from lowest to highest of {dots.each} readings"
        )
        yield f"{what} ({dots.total:,} in all)."
    if counts:
        over = "between moves" if counts.each == 1 else f"over {counts.each} moves each"
        yield f"Steps: mean power {over}, of the counter {names[True]}."


def _gap_words(line: Timeline) -> str:
    """How many gaps there are, of the channel the joules rest on."""
    found = gaps(line.traces[0].good[0])
    if not found:
        return "No gap between readings."
    longest_s = max(b - a for a, b in found)
    return (
        f"{count_of(len(found), 'gap')} without a reading, the longest "
        f"{human_duration(longest_s)}; in pink; nothing is drawn across them."
    )


def _status(line: Timeline) -> str:
    channel = line.traces[0].channel
    more = f", the first of {line.devices} devices" if line.devices > 1 else ""
    return f"{channel.domain.upper()} power, {channel.origin}{more}"


def _picture(line: Timeline) -> Canvas:
    dots, counts = _drawn_readings(line)
    scene = Scene(
        dots=dots.strokes if dots else [],
        steps=(counts.t_s, counts.power_w) if counts else ([], []),
        phases=[(w.name, w.start_s, w.end_s) for w in line.phases],
        passes=[(w.start_s, w.end_s) for w in line.passes],
        gaps=gaps(line.traces[0].good[0]),
        start_s=line.start_s,
    )
    return scene.draw()


def _rows(line: Timeline) -> list[tuple[str, ...]]:
    trace = line.traces[0]
    return [_row(trace, window, line.start_s) for window in line.phases]


def _row(trace: Trace, window: Window, start_s: float) -> tuple[str, ...]:
    found = window_energy(trace, window)
    gap_s = found.max_gap_s
    return (
        _phase_name(window.name),
        f"{window.start_s - start_s:.1f}",
        f"{window.duration_s:.1f}",
        str(found.samples),
        "–" if found.mean_power_w is None else f"{found.mean_power_w:.1f}",
        "–" if gap_s is None else f"{gap_s:.2f}",
    )


def _data(line: Timeline, rows: list[tuple[str, ...]]) -> DataTable:
    channel = line.traces[0].channel
    caption = (
        f"The phases of the figure on {channel.name} ({channel.origin}); train with its "
        "validation passes. Every reading is in the trace folder of the run."
    )
    headings = (
        "phase", "begins after (s)", "lasts (s)", "readings", "mean power (W)", "longest gap (s)"
    )  # fmt: skip
    return DataTable(caption, headings, tuple(rows))


# A picture holds a few hundred points, a run thousands of polls. What is drawn for several of them
# is said to be: lowest and highest for readings, the mean for steps of a counter. Nothing is drawn
# across a gap, for nobody knows what happened there.
@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of power.

    Attributes:
        strokes: Time, lowest and highest of each group of readings; equal for a single one.
        each: How many readings one stroke stands for; 1 = every reading is drawn.
        total: How many readings there were.
    """

    strokes: list[Stroke]
    each: int
    total: int


@dataclass(frozen=True, slots=True)
class Steps:
    """Mean power between moves of a counter.

    Attributes:
        t_s: Edges, ``[n]``.
        power_w: Mean power from an edge to the next, ``[n]``; not a number where a gap begins and
            at the end.
        each: How many moves one step stands for.
        total: How many moves there were.
    """

    t_s: list[float]
    power_w: list[float]
    each: int
    total: int


def readings(trace: Trace, most: int = MOST) -> Readings:
    """What to draw of a sampled channel: every reading, or lowest and highest of a few."""
    times, power_w = trace.good
    each = -(-len(times) // most) or 1
    strokes = [
        _stroke(times[i:j], power_w[i:j])
        for start, end in _stretches(times)
        for i, j in _groups(start, end, each)
    ]
    return Readings(strokes, each, len(times))


def steps(trace: Trace, most: int = MOST) -> Steps:
    """What to draw of a counter: joules over seconds between moves, or over a few of them."""
    curve = energy_curve(trace)
    moves = max(len(curve.t_s) - 1, 0)
    each = -(-moves // most) or 1
    torn = [*gaps(trace.good[0]), *((b.before_s, b.after_s) for b in curve.breaks)]
    edges, power_w = list[float](), list[float]()
    for start, end in _whole(curve.t_s, torn):
        knots = [*range(start, end - 1, each), end - 1]
        for i, j in pairwise(knots):
            edges.append(curve.t_s[i])
            power_w.append((curve.energy_j[j] - curve.energy_j[i]) / (curve.t_s[j] - curve.t_s[i]))
        edges.append(curve.t_s[end - 1])
        power_w.append(float("nan"))
    return Steps(edges, power_w, each, moves)


def _stroke(times: Sequence[float], power_w: Sequence[float]) -> Stroke:
    return (times[0] + times[-1]) / 2, min(power_w), max(power_w)


def _groups(start: int, end: int, each: int) -> Iterator[tuple[int, int]]:
    return ((i, min(i + each, end)) for i in range(start, end, each))


def _stretches(times: Sequence[float]) -> Iterator[tuple[int, int]]:
    """First and one past the last reading of each stretch without a gap."""
    return _whole(times, gaps(times))


def _whole(times: Sequence[float], torn: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """The times in stretches that no torn span reaches into, as first and one past the last."""
    spans = sorted(torn)
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
class Scene:
    """What is drawn; all times on one clock, powers in watts.

    Attributes:
        dots: Time, lowest and highest reading.
        steps: Edges, and mean power from each edge on.
        phases: Name, start and end.
        passes: Spans marked at the foot.
        gaps: Spans without a reading.
        start_s: What the picture calls zero.
    """

    dots: Sequence[tuple[float, float, float]]
    steps: tuple[Sequence[float], Sequence[float]]
    phases: Sequence[tuple[str, float, float]]
    passes: Sequence[Span]
    gaps: Sequence[Span]
    start_s: float

    def draw(self) -> Canvas:
        """The picture: one plot for dots and one for steps, of what there is."""
        shown = [
            draw for draw, known in ((self._dots, self.dots), (self._steps, self.steps[0])) if known
        ]
        size_in = (WIDTH_IN, _LABELS_IN + _PANEL_IN * len(shown))
        canvas, grid = new_plots(len(shown), 1, size_in, share_x=True)
        scale, unit = self._scale()
        for draw, (plot,) in zip(shown, grid, strict=True):
            self._bands(plot, scale)
            draw(plot, scale)
            plot.set_ylim(0.0, 1.06 * self._most_w())
            plot.set_xlim(*(self._at(t, scale) for t in self._reach()))
        self._label(grid[0][0], scale)
        passes = [(self._at(a, scale), self._at(b, scale)) for a, b in self.passes]
        draw_boxes(grid[-1][0], passes, (0.0, _FOOT), INK, 0.9)
        grid[-1][0].set_xlabel(f"time since the run began ({unit})")
        return canvas

    def _dots(self, plot: Axes, scale: float) -> None:
        draw_strokes(
            plot, [(self._at(t, scale), a, b) for t, a, b in self.dots], COLOURS[0], _STROKE
        )
        plot.set_ylabel("power, as read (W)")

    def _steps(self, plot: Axes, scale: float) -> None:
        edges, power_w = self.steps
        x = [self._at(t, scale) for t in edges]
        plot.step(x, power_w, where="post", color=COLOURS[1], linewidth=1.3)
        plot.set_ylabel("from counter (W)")

    def _bands(self, plot: Axes, scale: float) -> None:
        every = [(self._at(a, scale), self._at(b, scale)) for _, a, b in self.phases]
        draw_boxes(plot, every[::2], (0.0, 1.0), _GREY, 0.16)
        draw_boxes(plot, every[1::2], (0.0, 1.0), _GREY, 0.06)
        torn = [(self._at(a, scale), self._at(b, scale)) for a, b in self.gaps]
        draw_boxes(plot, torn, (0.0, 1.0), COLOURS[3], 0.5)

    def _label(self, plot: Axes, scale: float) -> None:
        """Names stand upright above the plot, joined to the middle of their bands."""
        left, right = plot.get_xlim()
        middles = [(self._at(a, scale) + self._at(b, scale)) / 2 for _, a, b in self.phases]
        places = spread_out(middles, _LABEL_SHARE * (right - left))
        top = plot.get_ylim()[1]
        for (name, _, _), middle, place in zip(self.phases, middles, places, strict=True):
            plot.annotate(
                _phase_name(name),
                (middle, top),
                xytext=(place, 1.06 * top),
                rotation=90,
                ha="center",
                va="bottom",
                fontsize="small",
                annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.6, "alpha": 0.6},
            )

    def _at(self, t_s: float, scale: float) -> float:
        return (t_s - self.start_s) / scale

    def _scale(self) -> tuple[float, str]:
        first_s, last_s = self._reach()
        return (60.0, "min") if last_s - first_s >= _MINUTES_FROM_S else (1.0, "s")

    def _reach(self) -> Span:
        seen = [t for t, _, _ in self.dots] + list(self.steps[0])
        every = seen + [t for _, a, b in self.phases for t in (a, b)]
        return min(every), max(every)

    def _most_w(self) -> float:
        every = [high for _, _, high in self.dots] + [w for w in self.steps[1] if not math.isnan(w)]
        return max(every, default=1.0) or 1.0


def _phase_name(name: str) -> str:
    """The name of a window as a label."""
    return name.replace("_", " ").replace("-", " ")
