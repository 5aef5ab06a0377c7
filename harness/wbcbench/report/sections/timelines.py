"""Power over time with the phases of a run: one run that stands for the study, and the worst."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench.core.quality import Severity, Verdict
from wbcbench.core.text import count_of, human_duration
from wbcbench.core.trace import Channel, Kind, Trace
from wbcbench.core.window import Window, is_validation
from wbcbench.energy.checks.sensors import gaps
from wbcbench.energy.faults import witness
from wbcbench.energy.integrate import window_energy
from wbcbench.report import Block, DataTable, Figure
from wbcbench.report.evidence import ReportStudy
from wbcbench.report.sections.phases import Scene, phase_name
from wbcbench.report.sections.power import Readings, Steps, readings, steps
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

_GRAVITY = (Verdict.VALID, Verdict.SUSPECT, Verdict.INVALID)


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


def section(study: ReportStudy) -> Block | None:
    """Power with phases of two runs; a sentence where no polls were kept."""
    if not study.runs:
        return None
    kept = [run for run in study.runs if _has_traces(study, run)]
    lines = [line for each in choose(study, kept) if (line := timeline(study, each))]
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
    return bool(folder and folder.has_traces and run.headline)


def choose(study: ReportStudy, kept: list[Run]) -> list[Chosen]:
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
    return _GRAVITY.index(run.record.verdict), not run.is_done, len(_doubts(run)), gap_ms


def _doubts(run: Run) -> list[str]:
    weighty = [c for c in run.record.cautions if c.severity is not Severity.INFO]
    return sorted({caution.code for caution in weighty})


def _why(run: Run) -> str:
    doubts = ", ".join(_doubts(run))
    if doubts:
        return f"of the others the one in the gravest doubt ({run.record.verdict}: {doubts})"
    if not run.is_done:
        return f"of the others the one that went worst ({run.record.status})"
    gap_ms = run.row["sample_gap_max_ms"]
    if gap_ms is None:
        return "another run; none is in doubt"
    return (
        f"none is in doubt; this one has the longest time without a reading in training, "
        f"{human_duration(gap_ms / 1000)}"
    )


def timeline(study: ReportStudy, chosen: Chosen) -> Timeline | None:
    """Read the polls of one run; ``None`` where none of the headline's channel can be read."""
    folder, who = chosen.run.folder, chosen.run.headline
    if folder is None or who is None:
        return None
    found = [trace for trace in folder.read_traces() if trace.good[0]]
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


def drawn(line: Timeline) -> tuple[Readings | None, Steps | None]:
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
            *_shown(line),
            "Grey bands: phases; white: between them, when nothing is counted.",
            *(["Ticks at the foot: validation passes."] if line.passes else []),
            _torn(line),
            f"{_status(line)}.{study.stamp}",
        )
    )
    return Figure(
        line.chosen.name, lambda: _picture(line), title, description, caption, _data(line, rows)
    )


def _shown(line: Timeline) -> Iterator[str]:
    """What dots and steps are, and what was left out to draw them."""
    names = {is_counter(trace.channel): trace.channel.name for trace in line.traces}
    dots, counts = drawn(line)
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


def _torn(line: Timeline) -> str:
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
    dots, counts = drawn(line)
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
        phase_name(window.name),
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
