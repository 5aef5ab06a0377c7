"""Two readings against each other, every sensor's card, where uncertainty comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median, stdev
from typing import TYPE_CHECKING

from wbcbench.core.record import Budget, SensorCard
from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import UNKNOWN, count_of, energy_scale, human_energy
from wbcbench.core.trace import Channel
from wbcbench.core.window import TRAIN, WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.cross_check import agreements
from wbcbench.energy.metrics import mean_known, sum_if_all_known
from wbcbench.report import Block, DataTable, Figure, Statement
from wbcbench.report.drawing import COLOURS, INK, WIDTH_IN, new_plots, shorten_label
from wbcbench.report.marks import draw_runs
from wbcbench.report.study import ReportStudy, mean_of_known
from wbcbench.report.summaries import summary_rows
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NAME = "meter-agreement"
TITLE = "How far two readings of one part lie apart"
LIMITS_SD = 1.96
_FEWEST_FOR_LIMITS = 3
_LEAST_SPAN_PCT = 2.0
_PANEL_IN = 2.5

_SHARED = "yes, on one machine"

_CANCELS = (
    "What cancels: a constant gain error of the sensor cancels in percentage differences between "
    "runs on one machine. What does not cancel: an offset, a gain that changes with the load, "
    "bursts that the sensor missed, and anything that differs between machines. No more is claimed."
)


@dataclass(frozen=True, slots=True)
class PairedReading:
    """Two readings of one part in ``train`` of one run."""

    run: Run
    a_j: float
    b_j: float

    @property
    def mean_j(self) -> float:
        """The best guess at the truth that takes no side."""
        return (self.a_j + self.b_j) / 2

    @property
    def difference_pct(self) -> float:
        """How far ``a`` lies above ``b``, in per cent of ``b``."""
        return 100 * (self.a_j - self.b_j) / self.b_j


@dataclass(frozen=True, slots=True)
class Pair:
    """Two ways of reading one part, over the runs that have both.

    Attributes:
        a, b: Names of the channels.
        judged: Whether the two are witnesses of each other, so that a difference is a doubt.
        points: One a run.
    """

    a: str
    b: str
    judged: bool
    points: list[PairedReading]

    @property
    def bias_pct(self) -> float:
        """Mean difference."""
        return math.fsum(p.difference_pct for p in self.points) / len(self.points)

    @property
    def limits_pct(self) -> tuple[float, float] | None:
        """Limits of agreement; ``None`` with fewer than three runs."""
        if len(self.points) < _FEWEST_FOR_LIMITS:
            return None
        half = LIMITS_SD * stdev(p.difference_pct for p in self.points)
        return self.bias_pct - half, self.bias_pct + half


def meters_section(study: ReportStudy) -> Block | None:
    """Two readings of one part against each other, after Bland and Altman; and every sensor's card.

    Readings that agree may both be wrong; readings that do not agree cannot both be right. Limits
    of agreement follow Bland and Altman (Lancet, 1986): mean difference ± 1.96 standard
    deviations.
    """
    if not any(run.record.channels for run in study.runs):
        return None
    found = paired_readings(study.done)
    words = () if found else (_nothing(study),)
    figures = (_figure(study, found),) if found else ()
    return Block(
        "meters",
        "Do the meters agree?",
        words,
        (_sensor_table(study),),
        figures,
        claims=_claims(found),
    )


def _claims(found: list[Pair]) -> tuple[Statement, ...]:
    return tuple(
        Statement(
            f"meters-{place}",
            _describe_pair(pair),
            RUNS_TABLE,
            "",
            {"runs": len(pair.points), "difference_pct": pair.bias_pct},
        )
        for place, pair in enumerate(found, start=1)
    )


def _nothing(study: ReportStudy) -> str:
    return (
        "Nothing can be compared: in no finished run was one part of the machine read in two ways. "
        "The joules rest on one reading alone, and nothing here can show it to be wrong."
    )


def paired_readings(runs: tuple[Run, ...]) -> list[Pair]:
    """Every two ways in which one part was read in ``train``, over all runs."""
    found: dict[tuple[str, str, bool], list[PairedReading]] = {}
    for run in runs:
        in_train = [each for each in run.record.energies if each.window == TRAIN]
        for each in agreements(run.record.channels, in_train):
            a_j, b_j = (_joules(in_train, side) for side in (each.a, each.b))
            if a_j is not None and b_j:
                key = (each.a, each.b, each.status != "cross-check")
                found.setdefault(key, []).append(PairedReading(run, a_j, b_j))
    return [Pair(*key, points) for key, points in sorted(found.items(), key=_judged_first)]


def _judged_first(item: tuple[tuple[str, str, bool], list[PairedReading]]) -> tuple[bool, str, str]:
    a, b, judged = item[0]
    return not judged, a, b


def _joules(energies: list[WindowEnergy], side: str) -> float | None:
    known = {each.channel: each.energy_j for each in energies}
    return sum_if_all_known([known.get(name) for name in side.split("+")])


def _describe_pair(pair: Pair) -> str:
    """How far two readings lie apart, as a sentence."""
    n = len(pair.points)
    where = "above" if pair.bias_pct >= 0 else "below"
    start = (
        f"{pair.a} read {abs(pair.bias_pct):.2g} % {where} {pair.b} in training, on average of "
        f"{count_of(n, 'run')}"
    )
    limits = pair.limits_pct
    spread = f"; 95 % of runs between {limits[0]:+.2g} and {limits[1]:+.2g} %" if limits else ""
    return f"{start}{spread}. {_meaning(pair)}"


def _meaning(pair: Pair) -> str:
    if not pair.judged:
        return "A cross-check: the second is no witness of the first, and nothing is judged by it."
    worst = max(abs(p.difference_pct) for p in pair.points)
    if worst <= thresholds.AGREE_PCT:
        return f"All within the {thresholds.AGREE_PCT:g} % that count as agreement."
    return (
        f"The widest difference, {worst:.2g} %, is beyond the {thresholds.AGREE_PCT:g} % that "
        "count as agreement."
    )


def _figure(study: ReportStudy, found: list[Pair]) -> Figure:
    description = " ".join(_describe_pair(pair) for pair in found)
    caption = (
        "One mark a run, training alone. Across: the mean of the two readings; up: how far the "
        "first lies above the second. Solid line: mean; dashed: mean ± 1.96 standard deviations "
        f"(from {_FEWEST_FOR_LIMITS} runs on). Dotted: ±{thresholds.AGREE_PCT:g} %, within which "
        f"counter and integral agree. {_statuses(found)}.{study.stamp}"
    )
    data = _data(study, found)
    return Figure(NAME, lambda: _picture(study, found), TITLE, description, caption, data)


def _statuses(found: list[Pair]) -> str:
    origin = {c.name: c.origin for p in found for x in p.points for c in x.run.record.channels}
    names = dict.fromkeys(n for pair in found for s in (pair.a, pair.b) for n in s.split("+"))
    return "Status: " + ", ".join(f"{name} {origin[name]}" for name in names)


def _picture(study: ReportStudy, found: list[Pair]) -> Canvas:
    canvas, grid = new_plots(len(found), 1, (WIDTH_IN, 0.6 + _PANEL_IN * len(found)))
    for pair, (plot,) in zip(found, grid, strict=True):
        _draw(plot, study, pair)
    handles = grid[0][0].get_legend_handles_labels()
    canvas.legend(*handles, loc="outside upper left", ncols=2, frameon=False)
    return canvas


def _draw(plot: Axes, study: ReportStudy, pair: Pair) -> None:
    divisor, unit = energy_scale(max(point.mean_j for point in pair.points))
    draw_runs(plot, study, [(p.run, p.mean_j / divisor, p.difference_pct) for p in pair.points])
    plot.axhline(pair.bias_pct, color=INK, linewidth=1.1)
    for limit in pair.limits_pct or ():
        plot.axhline(limit, color=INK, linewidth=1.0, linestyle="--")
    plot.axhline(0.0, color=INK, linewidth=0.6, alpha=0.5)
    if pair.judged:
        for limit in (-thresholds.AGREE_PCT, thresholds.AGREE_PCT):
            plot.axhline(limit, color=COLOURS[1], linewidth=1.2, linestyle=":")
    _frame(plot, pair, [p.mean_j / divisor for p in pair.points])
    plot.set_title(
        f"{shorten_label(pair.a)} above {shorten_label(pair.b)}", fontsize="small", loc="left"
    )
    plot.set_xlabel(f"mean of the two ({unit})")
    plot.set_ylabel("difference (%)")


def _frame(plot: Axes, pair: Pair, means: list[float]) -> None:
    agreed = thresholds.AGREE_PCT if pair.judged else 0.0
    every = [0.0, -agreed, agreed, *(pair.limits_pct or ())]
    every += [point.difference_pct for point in pair.points]
    low, high = min(every), max(every)
    room = 0.1 * max(high - low, _LEAST_SPAN_PCT)
    plot.set_ylim(low - room, high + room)
    middle, span = (min(means) + max(means)) / 2, max(means) - min(means)
    half = 0.6 * max(span, 0.1 * middle)
    plot.set_xlim(middle - half, middle + half)


def _data(study: ReportStudy, found: list[Pair]) -> DataTable:
    """One line a run: both readings and their difference, for each pair."""
    known = [{point.run.run_id: point for point in pair.points} for pair in found]
    run_ids = sorted({run_id for points in known for run_id in points})
    rows = tuple(
        (run_id, *(cell for points in known for cell in _reading_cells(points.get(run_id))))
        for run_id in run_ids
    )
    sides = [(f"{p.a} (J)", f"{p.b} (J)", "difference (%)") for p in found]
    headings = ("run", *(heading for side in sides for heading in side))
    caption = (
        "Both readings in training, gross, and how far the first lies above the second. "
        f"{_statuses(found)}.{study.stamp}"
    )
    return DataTable(caption, headings, rows)


def _reading_cells(point: PairedReading | None) -> tuple[str, str, str]:
    if point is None:
        return ("–", "–", "–")
    return (f"{point.a_j:.1f}", f"{point.b_j:.1f}", f"{point.difference_pct:+.2f}")


def _sensor_table(study: ReportStudy) -> DataTable:
    """One line a channel: its pace as probed or known, its step, its averaging, its error."""
    channels: dict[str, list[Channel]] = {}
    cards: dict[str, list[SensorCard]] = {}
    for run in study.runs:
        for channel in run.record.channels:
            channels.setdefault(channel.name, []).append(channel)
        for card in run.record.sensor_cards:
            cards.setdefault(card.channel, []).append(card)
    rows = tuple(_sensor(found[-1], cards.get(name, [])) for name, found in channels.items())
    headings = (
        "channel",
        "reading",
        "status",
        "renewed every (s)",
        "counter step (J)",
        "finest move",
        "averaged over (s)",
        "gain error (±%)",
        "behaves like",
        "what could not be seen",
    )
    caption = (
        "Sensor cards. Pace, step and finest move (J of a counter, W of a power reading): medians "
        "of what was seen in a probe before each run, else what is known of the sensor. Averaging "
        f"and gain error: what its maker or the literature says.{study.stamp}"
    )
    return DataTable(caption, headings, rows, frozenset({0, 1, 2, 8, 9}))


def _sensor(channel: Channel, cards: list[SensorCard]) -> tuple[str, ...]:
    pace_s = _median_known([card.update_s for card in cards])
    gain = channel.gain_error
    return (
        channel.name,
        f"{channel.kind}: {channel.reading}" if channel.reading else channel.kind.value,
        channel.origin.value,
        _rounded(pace_s if pace_s is not None else channel.update_s),
        _rounded(_median_known([card.step_j for card in cards])),
        _rounded(_median_known([card.resolution for card in cards])),
        _rounded(channel.averaging_s),
        _rounded(None if gain is None else 100 * gain),
        ", ".join(sorted({card.kind_guess.replace("_", " ") for card in cards})) or "not probed",
        "; ".join(sorted({card.reason for card in cards if card.reason})),
    )


def _median_known(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _rounded(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


_PARTS: tuple[tuple[str, str, Callable[[Budget], float | None], str], ...] = (
    ("gain", "the sensor reads too high or too low throughout", lambda b: b.gain_j, _SHARED),
    ("quantisation", "steps of the counter or of the reading", lambda b: b.quantisation_j, "no"),
    ("edges", "when the window began and ended", lambda b: b.edges_j, "no"),
    ("sampling", "what went on between two readings", lambda b: b.sampling_j, "no"),
    ("baseline", "the idle power, in net joules only", lambda b: b.baseline_j, "no"),
)


def uncertainty_section(study: ReportStudy) -> Block:
    """Where the uncertainty of the joules comes from, and what of it a difference is free of."""
    runs = study.comparable
    tables = (_table(study),) if runs else ()
    return Block("uncertainty", "How uncertain the joules are", tuple(_words(study)), tables)


def _words(study: ReportStudy) -> Iterator[str]:
    if not study.comparable:
        yield "No joules, so no uncertainty of joules."
        return
    if study.comparable[0].row["primary_status"] == "estimated":
        yield (
            f"The joules are {study.comparable[0].row['primary_status']}: nothing here knows how "
            "far such a model is from the truth, so no ± is stated for it. Published comparisons "
            "found such models up to 40 % off."
        )
    yield _CANCELS


def _table(study: ReportStudy) -> DataTable:
    energy_j = mean_of_known(study.comparable, "primary_energy_train_j")
    rows = [
        (name, what, *_cells(_mean_part_j(study.comparable, read), energy_j), cancels)
        for name, what, read, cancels in _PARTS
    ]
    runs_j = mean_known([_number(row["energy_runs_j"]) for row in summary_rows(study)])
    rows.append(
        ("runs", "run-to-run, half of the 95 % t interval", *_cells(runs_j, energy_j), "no")
    )
    headings = ("part", "what it is", "±", "of the joules", "cancels in differences")
    caption = (
        "Half-widths at about 95 %, mean over runs (for run-to-run: over variants). Energy: "
        f"{study.energy_words}.{study.stamp}"
    )
    return DataTable(caption, headings, tuple(rows), frozenset({0, 1, 4}))


def _cells(part_j: float | None, energy_j: float | None) -> tuple[str, str]:
    if part_j is None or not energy_j:
        return human_energy(part_j), UNKNOWN
    percent = 100 * part_j / energy_j
    return human_energy(part_j), f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _mean_part_j(runs: Sequence[Run], read: Callable[[Budget], float | None]) -> float | None:
    return mean_known([_part_j(run, read) for run in runs])


def _part_j(run: Run, read: Callable[[Budget], float | None]) -> float | None:
    """A part of the training window's uncertainty, the headline's devices added."""
    if run.row["primary_status"] == "estimated" or run.primary is None:
        return None
    channels = run.primary.channels
    budgets = [b for b in run.record.budgets if b.window == TRAIN and b.channel in channels]
    return sum_if_all_known([read(budget) for budget in budgets]) if budgets else None
