"""Two readings against each other, every sensor's card, where uncertainty comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Literal

from wbcbench.core.record import Agreement, SensorCard
from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import UNKNOWN, count_of, energy_scale, human_energy
from wbcbench.core.trace import Channel
from wbcbench.core.window import TRAIN, WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.cross_check import agreements, deepest_check
from wbcbench.energy.metrics import mean_known, ratio, sum_if_all_known
from wbcbench.energy.uncertainty import describe_limits
from wbcbench.report import Block, DataTable, Figure, Statement, drawing
from wbcbench.report.study import ReportStudy, mean_of_known
from wbcbench.report.summaries import ENERGY, build_summary_rows, format_cell
from wbcbench.table.view import Run

LIMITS_SD = 1.96
_FEWEST_FOR_LIMITS = 3
_LEAST_SPAN_PCT = 2.0
_PANEL_IN = 2.5

_CARD_HEADINGS = (
    "channel",
    "reading",
    "status",
    "updated every (s)",
    "counter step (J)",
    "resolution",
    "averaged over (s)",
    "gain error (±%)",
    "kind of sensor",
    "what could not be probed",
)

_SHARED = "yes, on one machine"

# Part of a budget, what it is, and how devices add up: 1 = as they are, for they work in step and
# are late alike; 2 = in squares, for each has its own.
_PARTS = (
    ("gain", "the sensor reads too high or too low throughout", 2, _SHARED),
    ("quantisation", "steps of the counter or of the reading", 2, "no"),
    ("edges", "when the window began and ended", 1, "no"),
    ("sampling", "changes between two readings", 1, "no"),
    ("baseline", "the idle power, in joules above idle only", 1, "no"),
)
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
        """The best estimate of the truth that prefers neither."""
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
        is_judged: Whether the two must agree, so that a difference is a warning.
        points: One a run.
    """

    a: str
    b: str
    is_judged: bool
    points: list[PairedReading]

    @property
    def differences_pct(self) -> list[float]:
        """Of the points."""
        return [point.difference_pct for point in self.points]

    @property
    def bias_pct(self) -> float:
        """Mean difference."""
        return math.fsum(self.differences_pct) / len(self.points)

    @property
    def limits_pct(self) -> tuple[float, float] | None:
        """Limits of agreement; ``None`` with fewer than three runs or where one read nothing."""
        ratios = [point.a_j / point.b_j for point in self.points]
        if len(ratios) < _FEWEST_FOR_LIMITS or min(ratios) <= 0:
            return None
        logs = [math.log(ratio) for ratio in ratios]
        mean, half = fmean(logs), LIMITS_SD * stdev(logs)
        return 100 * math.expm1(mean - half), 100 * math.expm1(mean + half)


def build_meters(study: ReportStudy) -> Block | None:
    """Two readings of one part against each other, after Bland and Altman; and every sensor's card.

    Readings that agree may both be wrong; readings that do not agree cannot both be right. Limits
    of agreement follow Bland and Altman (Lancet, 1986): mean ± 1.96 standard deviations, of
    logarithms because errors grow with the joules.
    """
    if not any(run.record.channels for run in study.runs):
        return None
    pairs = pair_readings(study.done)
    nothing = (
        "Nothing can be compared: in no finished run was one part of the machine read in two ways. "
        "The joules rest on one reading alone, and nothing here can show it to be wrong."
    )
    claims = tuple(
        Statement(
            f"meters-{place}",
            _describe_pair(pair),
            RUNS_TABLE,
            "",
            {"runs": len(pair.points), "difference_pct": pair.bias_pct},
        )
        for place, pair in enumerate(pairs, start=1)
    )
    return Block(
        "meters",
        "Do the meters agree?",
        (
            *(_describe_depths(study.done) if pairs else (nothing,)),
            *describe_limits(_list_channels(study).values()),
        ),
        (_build_cards(study),),
        (_build_figure(study, pairs),) if pairs else (),
        claims=claims,
    )


def _describe_depths(runs: tuple[Run, ...]) -> Iterator[str]:
    """How deep each counter was checked in training, over the runs."""
    checks: dict[str, list[Agreement]] = {}
    for run in runs:
        pairs = run.record.agreements
        for counter in dict.fromkeys(pair.a for pair in pairs if pair.status != "cross-check"):
            check = deepest_check(pairs, counter, TRAIN)
            checks.setdefault(counter, []).extend([check] if check else [])
    for counter, own in checks.items():
        depths_pct = [check.depth_pct for check in own if check.depth_pct is not None]
        if depths_pct:
            readings = count_of(sum(check.readings for check in own), "reading")
            yield (
                f"{counter} was checked to ±{_format_percent(median(depths_pct))} % in the median "
                f"run, by {readings} of its board's power in all; a smaller difference would not "
                "show."
            )


def pair_readings(runs: tuple[Run, ...]) -> list[Pair]:
    """Every two ways in which one part was read in ``train``, over all runs; judged ones first."""
    points: dict[tuple[bool, str, str], list[PairedReading]] = {}
    for run in runs:
        energies = [energy for energy in run.record.energies if energy.window == TRAIN]
        for agreement in agreements(run.record.channels, energies):
            a, b = agreement.a, agreement.b
            a_j, b_j = _sum_channels(energies, a), _sum_channels(energies, b)
            if a_j is not None and b_j:
                key = (agreement.status == "cross-check", a, b)
                points.setdefault(key, []).append(PairedReading(run, a_j, b_j))
    return [
        Pair(a, b, not is_only_check, points[is_only_check, a, b])
        for is_only_check, a, b in sorted(points)
    ]


def _sum_channels(energies: list[WindowEnergy], names: str) -> float | None:
    known = {energy.channel: energy.energy_j for energy in energies}
    return sum_if_all_known([known.get(name) for name in names.split("+")])


def _describe_pair(pair: Pair) -> str:
    """The difference of two readings as a sentence."""
    limits, agree_pct = pair.limits_pct, thresholds.AGREE_PCT
    worst = max(map(abs, pair.differences_pct))
    if not pair.is_judged:
        meaning = "A cross-check with CodeCarbon: no run is judged by the difference."
    elif worst <= agree_pct:
        meaning = f"All within the {agree_pct:g} % that count as agreement."
    else:
        meaning = (
            f"The widest difference, {worst:.2g} %, is beyond the {agree_pct:g} % that count as "
            "agreement."
        )
    ends = [_format_percent(limit, "+") for limit in limits or ()]
    spread = f"; 95 % of runs between {' and '.join(ends)} %" if ends else ""
    return (
        f"{pair.a} read {_format_percent(abs(pair.bias_pct))} % "
        f"{'above' if pair.bias_pct >= 0 else 'below'} "
        f"{pair.b} in training, on average of {count_of(len(pair.points), 'run')}{spread}. "
        f"{meaning}"
    )


def _build_figure(study: ReportStudy, pairs: list[Pair]) -> Figure:
    origin = {c.name: c.origin for p in pairs for x in p.points for c in x.run.record.channels}
    names = dict.fromkeys(n for pair in pairs for s in (pair.a, pair.b) for n in s.split("+"))
    statuses = f"Status: {', '.join(f'{name} {origin[name]}' for name in names)}"
    caption = (
        "One mark a run, training alone. Across: the mean of the two readings; up: how far the "
        "first lies above the second. Solid line: mean; dashed: 1.96 standard deviations of "
        f"the logarithms (from {_FEWEST_FOR_LIMITS} runs on). Dotted: ±{thresholds.AGREE_PCT:g} %, "
        f"within which counter and integral agree. {statuses}.{study.stamp}"
    )
    by_run = [{point.run.run_id: point for point in pair.points} for pair in pairs]
    rows = tuple(
        (run_id, *(cell for points in by_run for cell in _format_reading(points.get(run_id))))
        for run_id in sorted({run_id for points in by_run for run_id in points})
    )
    sides = [(f"{pair.a} (J)", f"{pair.b} (J)", "difference (%)") for pair in pairs]
    data = DataTable(
        "Both readings in training, idle included, and how far the first lies above the second. "
        f"{statuses}.{study.stamp}",
        ("run", *(heading for side in sides for heading in side)),
        rows,
    )
    description = " ".join(map(_describe_pair, pairs))
    return Figure(
        "meter-agreement",
        lambda: _draw(study, pairs),
        "Differences between two readings of one part",
        description,
        caption,
        data,
    )


def _format_reading(point: PairedReading | None) -> tuple[str, str, str]:
    if point is None:
        return ("–", "–", "–")
    return (f"{point.a_j:.1f}", f"{point.b_j:.1f}", f"{point.difference_pct:+.2f}")


def _draw(study: ReportStudy, pairs: list[Pair]) -> drawing.Canvas:
    canvas, grid = drawing.create_plots(
        len(pairs), 1, (drawing.WIDTH_IN, 0.6 + _PANEL_IN * len(pairs))
    )
    for pair, (plot,) in zip(pairs, grid, strict=True):
        _draw_pair(plot, study, pair)
    drawing.add_legend(canvas, grid[0][0])
    return canvas


def _draw_pair(plot: drawing.Axes, study: ReportStudy, pair: Pair) -> None:
    divisor, unit = energy_scale(max(point.mean_j for point in pair.points))
    means = [point.mean_j / divisor for point in pair.points]
    runs = [point.run for point in pair.points]
    drawing.draw_runs(plot, study, list(zip(runs, means, pair.differences_pct, strict=True)))
    limits = pair.limits_pct or ()
    agreed = [-thresholds.AGREE_PCT, thresholds.AGREE_PCT] if pair.is_judged else []
    plot.axhline(pair.bias_pct, color=drawing.INK, linewidth=1.1)
    for limit in limits:
        plot.axhline(limit, color=drawing.INK, linewidth=1.0, linestyle="--")
    plot.axhline(0.0, color=drawing.INK, linewidth=0.6, alpha=0.5)
    for limit in agreed:
        plot.axhline(limit, color=drawing.COLOURS[1], linewidth=1.2, linestyle=":")
    shown = [0.0, *agreed, *limits, *pair.differences_pct]
    plot.set_ylim(drawing.pad_limits(shown, 0.6, _LEAST_SPAN_PCT))
    plot.set_xlim(drawing.pad_limits(means, 0.6, 0.1 * max(means)))
    title = f"{drawing.trim_label(pair.a)} above {drawing.trim_label(pair.b)}"
    plot.set_title(title, fontsize="small", loc="left")
    plot.set_xlabel(f"mean of the two ({unit})")
    plot.set_ylabel("difference (%)")


def _list_channels(study: ReportStudy) -> dict[str, Channel]:
    return {c.name: c for run in study.runs for c in run.record.channels}


def _build_cards(study: ReportStudy) -> DataTable:
    """One line a channel: its period as probed or known, its step, its averaging, its error."""
    channels = _list_channels(study)
    cards: dict[str, list[SensorCard]] = {}
    for run in study.runs:
        for card in run.record.sensor_cards:
            cards.setdefault(card.channel, []).append(card)
    rows = tuple(_build_card(channel, cards.get(name, [])) for name, channel in channels.items())
    caption = (
        "Sensor cards. Period, step and resolution (J of a counter, W of a power reading): "
        "medians of a probe before each run, else what is known of the sensor. Averaging and gain "
        f"error: from its maker or the literature.{study.stamp}"
    )
    return DataTable(caption, _CARD_HEADINGS, rows, (0, 1, 2, 8, 9))


def _build_card(channel: Channel, cards: list[SensorCard]) -> tuple[str, ...]:
    update_s = _find_median([card.update_s for card in cards])
    gain = channel.gain_error
    numbers = (
        channel.update_s if update_s is None else update_s,
        _find_median([card.step_j for card in cards]),
        _find_median([card.resolution for card in cards]),
        channel.averaging_s,
        None if gain is None else 100 * gain,
    )
    return (
        channel.name,
        f"{channel.kind}: {channel.reading}" if channel.reading else channel.kind.value,
        channel.origin.value,
        *(format_cell(number, ".3g") for number in numbers),
        ", ".join(sorted({card.kind_guess.replace("_", " ") for card in cards})) or "not probed",
        "; ".join(sorted({card.reason for card in cards if card.reason})),
    )


def _find_median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def build_uncertainty(study: ReportStudy) -> Block:
    """Where the uncertainty of the joules comes from, and what of it cancels in a difference."""
    key, title, runs = "uncertainty", "How uncertain the joules are", study.comparable
    if not runs:
        return Block(key, title, ("No joules, so no uncertainty of joules.",))
    words = [_CANCELS]
    if runs[0].row["primary_status"] == "estimated":
        unknown = (
            "The joules are estimated: how far such a model is from the truth is not known here, "
            "so no ± is stated for it. Published comparisons found such models up to 40 % off."
        )
        words.insert(0, unknown)
    return Block(key, title, tuple(words), (_build_budget(study, runs),))


def _build_budget(study: ReportStudy, runs: Sequence[Run]) -> DataTable:
    runs_j = mean_known([row["energy_runs_j"] for row in build_summary_rows(study)])
    parts = [
        (name, words, mean_known([_read_part_j(run, f"{name}_j", order) for run in runs]), cancels)
        for name, words, order, cancels in _PARTS
    ]
    parts.append(("runs", "run-to-run, half of the 95 % t interval", runs_j, "no"))
    energy_j = mean_of_known(runs, ENERGY)
    rows = []
    for name, words, part_j, cancels in parts:
        share = ratio(part_j, energy_j)
        percent = UNKNOWN if share is None else f"{_format_percent(100 * share)} %"
        rows.append((name, words, human_energy(part_j), percent, cancels))
    headings = ("part", "what it is", "±", "of the joules", "cancels in differences")
    caption = (
        "Half-widths at about 95 %, mean over runs (for run-to-run: over variants). Energy: "
        f"{study.energy_words}.{study.stamp}"
    )
    return DataTable(caption, headings, tuple(rows), (0, 1, 4))


def _format_percent(percent: float, sign: Literal["", "+"] = "") -> str:
    return f"{percent:{sign}.0f}" if abs(percent) >= 10 else f"{percent:{sign}.2g}"


def _read_part_j(run: Run, part: str, order: int) -> float | None:
    """A part of the training window's uncertainty, over the devices of the primary energy."""
    if run.row["primary_status"] == "estimated" or run.primary is None:
        return None
    channels = run.primary.channels
    budgets = [b for b in run.record.budgets if b.window == TRAIN and b.channel in channels]
    known: list[float | None] = [getattr(budget, part) for budget in budgets]
    parts = [None if part_j is None else part_j**order for part_j in known]
    total = sum_if_all_known(parts)
    return None if total is None else total ** (1 / order)
