"""Why the joules differ: power times time, and which part of the machine drew it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench.compare.metric import TIME, Metric
from wbcbench.compare.render import difference_words, status_words
from wbcbench.compare.result import Comparison, Effect, Split, contrast_key
from wbcbench.core.study_folder import CONTRASTS
from wbcbench.core.text import UNKNOWN, energy_scale, human_duration, human_energy, human_power
from wbcbench.core.trace import Domain, Origin
from wbcbench.core.window import TRAIN
from wbcbench.energy.metrics import mean_known, ratio
from wbcbench.report import Block, DataTable, Figure, Statement
from wbcbench.report.drawing import COLOURS, HATCHES, INK, WIDTH_IN, new_plot, short_labels
from wbcbench.report.study import ReportStudy, mean_of_known
from wbcbench.report.summaries import number_words
from wbcbench.report.words import contrast_name
from wbcbench.stats.intervals import Interval
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_WORDS = (
    "Energy is mean power times time. A network that needs fewer joules either draws less power or "
    "is done sooner, and the two call for different remedies."
)
_TIME = Metric(TIME, "ratio", lower_is_better=True)

PARTS = {Domain.GPU: "GPU", Domain.CPU: "CPU", Domain.DRAM: "DRAM", Domain.SYSTEM: "whole machine"}

NAME = "energy-parts"
TITLE = "Energy in training by part of the machine"
MOST_VARIANTS = 12

_IDLE, _UNDIVIDED, _ACTIVE = 0.4, 0.7, 1.0
_BAR_IN, _NAME_IN, _AROUND_IN = 0.56, 0.3, 1.0
_BAR_HEIGHT = 0.46

Segment = tuple[float, Domain, float]


def why_section(study: ReportStudy) -> Block | None:
    """Why the joules differ: energy is mean power times time; which part of the machine drew it."""
    tables = [_levels(study)] if study.comparable else []
    compared = study.comparison
    if compared is not None and compared.splits:
        tables.append(_splits(study, compared))
    found = part_shares(study)
    figures = (_parts_figure(study, found),) if found else ()
    if not tables and not figures:
        return None
    return Block(
        "why",
        "Why the joules differ",
        (_WORDS,),
        tuple(tables),
        figures,
        claims=tuple(_claims(study)),
    )


def _claims(study: ReportStudy) -> Iterator[Statement]:
    """The splits of which at least one part is sure."""
    compared = study.comparison
    if compared is None:
        return
    sure = [each for each in compared.splits if _is_sure(each)]
    for place, each in enumerate(sure, start=1):
        values = {"energy": each.energy, "time": each.time, "power": each.power}
        effect = next(e for e in compared.effects if _is_of(e, each, compared))
        text = _sentence(each, compared.energy.status)
        yield Statement(f"why-{place}", text, CONTRASTS, contrast_key(effect), values)


def _is_of(effect: Effect, split: Split, compared: Comparison) -> bool:
    same = (effect.contrast, effect.against) == (split.contrast, split.against)
    return same and effect.metric.name == compared.energy.metric


def _is_sure(each: Split) -> bool:
    return any(
        found is not None and found.excludes(0.0)
        for found in (each.time_interval, each.power_interval)
    )


def _sentence(each: Split, status: str) -> str:
    time = difference_words(each.time, each.time_interval, _TIME)
    power = difference_words(each.power, each.power_interval, _TIME)
    kind = status_words(status)
    return f"{contrast_name(each.contrast, each.against)}: time {time}, mean power {power}{kind}."


def _levels(study: ReportStudy) -> DataTable:
    metered = {each.label: study.metered(each) for each in study.configurations}
    rows = tuple(_level(label, runs) for label, runs in metered.items() if runs)
    headings = ("variant", "runs", "time, training", "mean power", "energy, training")
    caption = (
        "Means over the runs that the summary counts. Mean power is mean energy over mean time, so "
        f"that power times time is energy in every line. Energy: {study.energy_words}.{study.stamp}"
    )
    return DataTable(caption, headings, rows)


def _level(variant: str, runs: Sequence[Run]) -> tuple[str, ...]:
    timed = [run for run in runs if run.row["time_train_s"] is not None]
    energy_j = mean_of_known(timed, "primary_energy_train_j")
    time_s = mean_of_known(timed, "time_train_s")
    return (
        variant,
        str(len(timed)),
        human_duration(time_s),
        human_power(ratio(energy_j, time_s)),
        human_energy(energy_j),
    )


def _splits(study: ReportStudy, compared: Comparison) -> DataTable:
    intervals = {
        (each.contrast, each.against): each.interval
        for each in compared.effects
        if each.metric.name == compared.energy.metric and each.family == "primary"
    }
    rows = tuple(
        (
            contrast_name(each.contrast, each.against),
            _told(each.time, each.time_interval),
            _told(each.power, each.power_interval),
            _told(each.energy, intervals.get((each.contrast, each.against))),
        )
        for each in compared.splits
    )
    headings = ("contrast", "time", "mean power", "energy")
    caption = (
        "Differences within blocks with their 95 % intervals. As factors, time × mean power = "
        "energy exactly: +3 % time and -5 % power make 1.03 × 0.95 = -2.15 % energy. Energy: "
        f"{compared.energy.words}.{study.stamp}"
    )
    return DataTable(caption, headings, rows)


def _told(value: float, found: Interval | None) -> str:
    if not math.isfinite(value):
        return UNKNOWN
    return difference_words(value, found, _TIME)


# Idle is what the part would have drawn anyway: its idle power times the time of training; active
# is the rest. Joules of one status may be stacked; measured and estimated ones never stand in one
# sum, and those of the whole machine hold the parts and stand beside them.
@dataclass(frozen=True, slots=True)
class Share:
    """Mean joules of one part in training, over the runs of one arm that know them.

    Attributes:
        arm: Label.
        domain: The part.
        status: measured, estimated or synthetic.
        method: How it was read.
        runs: How many runs were averaged.
        energy_j: All of it, gross.
        idle_j: What it would have drawn idle; ``None`` where no idle power is known.
    """

    variant: str
    domain: Domain
    status: str
    method: str
    runs: int
    energy_j: float
    idle_j: float | None

    @property
    def active_j(self) -> float | None:
        """Above idle; negative where the idle power was higher than the load."""
        return None if self.idle_j is None else self.energy_j - self.idle_j

    @property
    def splits(self) -> bool:
        """Whether it can be drawn as idle and active."""
        active_j = self.active_j
        return active_j is not None and active_j >= 0 and (self.idle_j or 0.0) >= 0


def part_shares(study: ReportStudy) -> list[Share]:
    """By arm, then status with the most trusted first, then part; unknown parts are left out."""
    found: list[Share] = []
    for each in study.configurations:
        metered = study.metered(each)
        own = [share for domain in PARTS if (share := _share(each.label, metered, domain))]
        found += sorted(own, key=lambda s: (s.domain is Domain.SYSTEM, Origin(s.status).rank))
    return found


def stack_bars(found: Sequence[Share]) -> list[list[Share]]:
    """What may be stacked on each other: one arm, one status; the whole machine by itself."""
    groups: dict[tuple[str, str, bool], list[Share]] = {}
    for each in found:
        key = (each.variant, each.status, each.domain is Domain.SYSTEM)
        groups.setdefault(key, []).append(each)
    return list(groups.values())


def _share(variant: str, runs: Sequence[Run], domain: Domain) -> Share | None:
    """``None`` where no run knows the part's joules; the most frequent way of reading counts."""
    read = [(run, who) for run in runs if (who := run.source(domain))]
    known = [
        (run, (who.status.value, who.method))
        for run, who in read
        if _is_known(run.energy_j(domain))
    ]
    if not known:
        return None
    counts = Counter(way for _, way in known)
    (status, method) = max(counts, key=lambda way: (counts[way], way))
    own = [run for run, way in known if way == (status, method)]
    energy_j = mean_known([run.energy_j(domain) for run in own])
    idle_j = [_idle_j(run, domain) for run in own]
    complete = all(each is not None for each in idle_j)
    return Share(
        variant=variant,
        domain=domain,
        status=status,
        method=method,
        runs=len(own),
        energy_j=energy_j or 0.0,
        idle_j=mean_known(idle_j) if complete else None,
    )


def _idle_j(run: Run, domain: Domain) -> float | None:
    """Gross minus net, so that this is the idle energy of the results table."""
    gross_j = run.energy_j(domain, TRAIN)
    net_j = run.energy_above_idle_j(run.source(domain))
    return None if gross_j is None or net_j is None else gross_j - net_j


def _is_known(energy_j: float | None) -> bool:
    return energy_j is not None and math.isfinite(energy_j)


_COLOUR = dict(zip(PARTS, COLOURS, strict=False))

"""Joules, part, and how solid its colour is."""


def _parts_figure(study: ReportStudy, found: Sequence[Share]) -> Figure:
    """The figure of these shares, of which there is at least one."""
    description = "; ".join(
        f"{each.variant}, {PARTS[each.domain]}: {each.energy_j:.4g} J, {each.status}"
        for each in found
    )
    caption = "".join(_caption(study, found))
    return Figure(NAME, lambda: _picture(found), TITLE, description, caption, _data(study, found))


def _caption(study: ReportStudy, found: Sequence[Share]) -> Iterator[str]:
    statuses = sorted({each.status for each in found}, key=lambda status: Origin(status).rank)
    yield "Mean joules of the runs that the summary counts, gross. "
    yield f"One bar for each status ({_and(statuses)}): "
    yield "joules that are known in different ways are not added up. "
    hatched = [status for status in statuses if HATCHES[status]]
    if hatched:
        yield f"Hatched: {_and(hatched)}, not measured. "
    if any(each.splits for each in found):
        yield "Faint: what the part would have drawn idle in the same time; strong: above that. "
    if not all(each.splits for each in found):
        yield (
            "Undivided: no idle power is known, or it was higher than the load (see the table). "
        )
    if any(each.domain is Domain.SYSTEM for each in found):
        yield "The whole machine holds the parts and is no part itself. "
    absent = [PARTS[d] for d in PARTS if not any(each.domain is d for each in found)]
    if absent:
        yield f"Not known, and so not drawn: {_and(absent)}. "
    configurations = len({each.variant for each in found})
    if configurations > MOST_VARIANTS:
        yield f"The first {MOST_VARIANTS} of {configurations} variants are drawn. "
    yield study.stamp.strip()


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _picture(found: Sequence[Share]) -> Canvas:
    configurations = list(dict.fromkeys(each.variant for each in found))[:MOST_VARIANTS]
    drawn = [each for each in found if each.variant in configurations]
    stacked = stack_bars(drawn)
    height_in = len(stacked) * _BAR_IN + len(configurations) * _NAME_IN + _AROUND_IN
    canvas, plot = new_plot((WIDTH_IN, height_in))
    longest_j = max(sum(max(each.energy_j, 0.0) for each in bar) for bar in stacked)
    divisor, unit = energy_scale(longest_j)
    plot.set_xlim(0.0, 1.02 * longest_j / divisor or 1.0)
    bottom = _draw(plot, configurations, stacked, divisor)
    plot.set_ylim(bottom, -_NAME_IN)
    plot.set_yticks([])
    plot.grid(visible=False, axis="y")
    plot.set_xlabel(f"energy in training ({unit})")
    return canvas


def _draw(
    plot: Axes, configurations: Sequence[str], stacked: Sequence[list[Share]], divisor: float
) -> float:
    """Arm by arm, its name above its bars; heights are inches. Returns where it ends."""
    names = short_labels(configurations)
    y = 0.0
    for variant in configurations:
        _write(plot, 0.0, y, names[variant])
        y += _NAME_IN
        for bar in stacked:
            if bar[0].variant == variant:
                _draw_bar(plot, y, bar, divisor)
                y += _BAR_IN
    return y


def _write(plot: Axes, x: float, y: float, words: str, size: str = "medium") -> None:
    plot.annotate(
        words,
        (x, y),
        (3, 0),
        textcoords="offset points",
        va="center",
        fontsize=size,
        annotation_clip=False,
    )


def _draw_bar(plot: Axes, y: float, bar: Sequence[Share], divisor: float) -> None:
    """The bar with its segments, and below it what they are, in order."""
    from matplotlib.colors import to_rgba

    left = 0.0
    for energy_j, domain, alpha in _segments(bar):
        plot.barh(
            y,
            energy_j / divisor,
            left=left,
            height=_BAR_HEIGHT * _BAR_IN,
            color=to_rgba(_COLOUR[domain], alpha),
            hatch=HATCHES[bar[0].status],
            edgecolor=INK,
            linewidth=0.7,
        )
        left += energy_j / divisor
    parts = [PARTS[each.domain] + ("" if each.splits else " (undivided)") for each in bar]
    _write(plot, 0.0, y + 0.46 * _BAR_IN, f"{bar[0].status}: {' | '.join(parts)}", "small")


def _segments(bar: Sequence[Share]) -> Iterator[Segment]:
    for each in bar:
        if each.splits and each.idle_j is not None and each.active_j is not None:
            yield each.idle_j, each.domain, _IDLE
            yield each.active_j, each.domain, _ACTIVE
        else:
            yield max(each.energy_j, 0.0), each.domain, _UNDIVIDED


def _data(study: ReportStudy, found: Sequence[Share]) -> DataTable:
    rows = tuple(
        (
            each.variant,
            PARTS[each.domain],
            each.status,
            each.method,
            str(each.runs),
            number_words(each.energy_j),
            number_words(each.idle_j),
            number_words(each.active_j),
        )
        for each in found
    )
    headings = (
        "variant",
        "part",
        "status",
        "read by",
        "runs",
        "energy in training (J)",
        "of that idle (J)",
        "above idle (J)",
    )
    caption = (
        "The joules of the figure, means over runs, gross. A negative number above idle says that "
        f"the idle power was read higher than the load.{study.stamp}"
    )
    return DataTable(caption, headings, rows, frozenset({0, 1, 2, 3}))
