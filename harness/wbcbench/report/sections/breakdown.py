"""Why the joules differ: power times time, and which part of the machine drew it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wbcbench.compare.metric import TIME, Metric
from wbcbench.compare.render import format_difference, format_status, name_contrast
from wbcbench.compare.result import Comparison, Effect, format_contrast_key
from wbcbench.core.study_folder import CONTRASTS
from wbcbench.core.text import UNKNOWN, energy_scale, human_duration, human_energy, human_power
from wbcbench.core.trace import Domain, Origin
from wbcbench.energy.metrics import mean_known, ratio
from wbcbench.report import Block, DataTable, Figure, Statement, drawing
from wbcbench.report.study import ReportStudy, mean_of_known
from wbcbench.report.summaries import ENERGY, format_number
from wbcbench.stats.intervals import Interval
from wbcbench.table.view import Run

_WORDS = (
    "Energy is mean power times time. A network that needs fewer joules either draws less power or "
    "finishes sooner, and the two call for different remedies."
)
_TIME = Metric(TIME, "ratio", lower_is_better=True)

PARTS = {Domain.GPU: "GPU", Domain.CPU: "CPU", Domain.DRAM: "DRAM", Domain.SYSTEM: "whole machine"}
_COLOUR = dict(zip(PARTS, drawing.COLOURS, strict=False))

MOST_VARIANTS = 12

_IDLE, _UNDIVIDED, _ACTIVE = 0.4, 0.7, 1.0
_BAR_IN, _NAME_IN, _AROUND_IN = 0.56, 0.3, 1.0
_BAR_HEIGHT = 0.46


# Idle is what the part would have drawn anyway: its idle power times the time of training; active
# is the rest. Joules of one status may be stacked; measured and estimated ones never stand in one
# sum, and those of the whole machine hold the parts and stand beside them.
@dataclass(frozen=True, slots=True)
class Share:
    """Mean joules of one part in training, over the runs of one configuration that know them.

    Attributes:
        variant: Label.
        domain: The part.
        status: measured, estimated or simulated.
        method: How it was read.
        runs: How many runs were averaged.
        energy_j: All of it, idle included.
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
    def is_divided(self) -> bool:
        """Whether it can be drawn as idle and active."""
        return (self.active_j or 0.0) >= 0 and self.idle_j is not None and self.idle_j >= 0

    def segments(self) -> Iterator[tuple[float, Domain, float]]:
        """The pieces of its bar: joules, part, and how solid its colour is."""
        if self.is_divided and self.idle_j is not None:
            yield self.idle_j, self.domain, _IDLE
            yield self.energy_j - self.idle_j, self.domain, _ACTIVE
        else:
            yield max(self.energy_j, 0.0), self.domain, _UNDIVIDED


def collect_shares(study: ReportStudy) -> list[Share]:
    """By configuration, then status with the most trusted first, then part, where known."""
    shares: list[Share] = []
    for configuration in study.configurations:
        runs, label = study.metered(configuration), configuration.label
        own = [share for domain in PARTS if (share := _average_share(label, runs, domain))]
        shares += sorted(own, key=lambda s: (s.domain is Domain.SYSTEM, Origin(s.status).rank))
    return shares


def _average_share(variant: str, runs: Sequence[Run], domain: Domain) -> Share | None:
    """``None`` where no run knows the part's joules; the most frequent way of reading counts."""
    known: list[tuple[Run, float, tuple[str, str]]] = []
    for run in runs:
        source, energy_j = run.source(domain), run.energy_j(domain)
        if source is None or source.status is None or source.method is None:
            continue
        if energy_j is not None and math.isfinite(energy_j):
            known.append((run, energy_j, (source.status.value, source.method)))
    if not known:
        return None
    counts = Counter(way for _, _, way in known)
    way = max(counts, key=lambda way: (counts[way], way))
    own = [(run, energy_j) for run, energy_j, other in known if other == way]
    # As measured minus above idle, so that this is the idle energy of the results table.
    above_j = [run.energy_above_idle_j(run.source(domain)) for run, _ in own]
    idle_j = [e - a for (_, e), a in zip(own, above_j, strict=True) if a is not None]
    return Share(
        variant,
        domain,
        *way,
        runs=len(own),
        energy_j=mean_known([energy_j for _, energy_j in own]) or 0.0,
        idle_j=mean_known(idle_j) if len(idle_j) == len(own) else None,
    )


def stack_bars(shares: Sequence[Share]) -> list[list[Share]]:
    """What may be stacked: one configuration, one status; the whole machine by itself."""
    groups: dict[tuple[str, str, bool], list[Share]] = {}
    for share in shares:
        key = (share.variant, share.status, share.domain is Domain.SYSTEM)
        groups.setdefault(key, []).append(share)
    return list(groups.values())


def build_why(study: ReportStudy) -> Block | None:
    """Why the joules differ: energy is mean power times time; which part of the machine drew it."""
    tables = [_build_levels(study)] if study.comparable else []
    comparison = study.comparison
    if comparison and comparison.splits:
        tables.append(_build_splits(study, comparison))
    shares = collect_shares(study)
    figures = (_build_figure(study, shares),) if shares else ()
    if not tables and not figures:
        return None
    claims = tuple(_iterate_claims(comparison)) if comparison else ()
    return Block("why", "Why the joules differ", (_WORDS,), tuple(tables), figures, claims=claims)


def _iterate_claims(comparison: Comparison) -> Iterator[Statement]:
    """The splits of which at least one part is sure."""
    effects, place = _find_energy_effects(comparison), 0
    kind = format_status(comparison.energy.status)
    for split in comparison.splits:
        intervals = (split.time_interval, split.power_interval)
        if any(interval is not None and interval.excludes(0.0) for interval in intervals):
            place += 1
            time = format_difference(split.time, split.time_interval, _TIME)
            power = format_difference(split.power, split.power_interval, _TIME)
            name = name_contrast(split)
            text = f"{name}: time {time}, mean power {power}{kind}."
            values = {"energy": split.energy, "time": split.time, "power": split.power}
            key = format_contrast_key(effects[split.contrast, split.against])
            yield Statement(f"why-{place}", text, CONTRASTS, key, values)


def _find_energy_effects(comparison: Comparison) -> dict[tuple[str, str], Effect]:
    """The effect on the compared joules of each contrast."""
    return {
        (effect.contrast, effect.against): effect
        for effect in comparison.effects
        if effect.metric.name == comparison.energy.metric
    }


def _build_levels(study: ReportStudy) -> DataTable:
    rows = []
    for configuration in study.configurations:
        runs = study.metered(configuration)
        timed = [run for run in runs if run.row["time_train_s"] is not None]
        energy_j, time_s = (mean_of_known(timed, name) for name in (ENERGY, "time_train_s"))
        power_w = ratio(energy_j, time_s)
        cells = (human_duration(time_s), human_power(power_w), human_energy(energy_j))
        if runs:
            rows.append((configuration.label, str(len(timed)), *cells))
    headings = ("variant", "runs", "time, training", "mean power", "energy, training")
    caption = (
        "Means over the runs that the summary counts. Mean power is mean energy over mean time, so "
        f"that power times time is energy in every line. Energy: {study.energy_words}.{study.stamp}"
    )
    return DataTable(caption, headings, tuple(rows))


def _build_splits(study: ReportStudy, comparison: Comparison) -> DataTable:
    def format_part(value: float, interval: Interval | None) -> str:
        return format_difference(value, interval, _TIME) if math.isfinite(value) else UNKNOWN

    effects = _find_energy_effects(comparison)
    rows = tuple(
        (
            name_contrast(split),
            format_part(split.time, split.time_interval),
            format_part(split.power, split.power_interval),
            format_part(split.energy, effects[split.contrast, split.against].interval),
        )
        for split in comparison.splits
    )
    caption = (
        "Differences within blocks with their 95 % intervals. As factors, time × mean power = "
        "energy exactly: +3 % time and -5 % power make 1.03 × 0.95 = -2.15 % energy. Energy: "
        f"{comparison.energy.words}.{study.stamp}"
    )
    return DataTable(caption, ("contrast", "time", "mean power", "energy"), rows)


def _build_figure(study: ReportStudy, shares: Sequence[Share]) -> Figure:
    """The figure of these shares, of which there is at least one."""
    description = "; ".join(
        f"{share.variant}, {PARTS[share.domain]}: {share.energy_j:.4g} J, {share.status}"
        for share in shares
    )
    return Figure(
        "energy-parts",
        lambda: _draw(shares),
        "Energy in training by part of the machine",
        description,
        "".join(_iterate_caption(study, shares)),
        _build_data(study, shares),
    )


def _iterate_caption(study: ReportStudy, shares: Sequence[Share]) -> Iterator[str]:
    statuses = sorted({share.status for share in shares}, key=lambda s: Origin(s).rank)
    yield "Mean joules of the runs that the summary counts, idle included. "
    yield f"One bar for each status ({_join(statuses)}): "
    yield "joules that are known in different ways are not added up. "
    hatched = [status for status in statuses if drawing.HATCHES[status]]
    if hatched:
        yield f"Hatched: {_join(hatched)}, not measured. "
    if any(share.is_divided for share in shares):
        yield "Faint: what the part would have drawn idle in the same time; strong: above that. "
    if not all(share.is_divided for share in shares):
        yield (
            "Undivided: no idle power is known, or it was higher than the load (see the table). "
        )
    domains = {share.domain for share in shares}
    if Domain.SYSTEM in domains:
        yield "The whole machine includes the parts, so it is never added to them. "
    absent = [name for domain, name in PARTS.items() if domain not in domains]
    if absent:
        yield f"Not known, and so not drawn: {_join(absent)}. "
    variants = len({share.variant for share in shares})
    if variants > MOST_VARIANTS:
        yield f"The first {MOST_VARIANTS} of {variants} variants are drawn. "
    yield study.stamp.strip()


def _join(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _draw(shares: Sequence[Share]) -> drawing.Canvas:
    """Variant by variant, its name above its bars; heights are inches."""
    variants = list(dict.fromkeys(share.variant for share in shares))[:MOST_VARIANTS]
    bars = stack_bars([share for share in shares if share.variant in variants])
    height_in = len(bars) * _BAR_IN + len(variants) * _NAME_IN + _AROUND_IN
    canvas, plot = drawing.create_plot((drawing.WIDTH_IN, height_in))
    longest_j = max(sum(max(share.energy_j, 0.0) for share in bar) for bar in bars)
    divisor, unit = energy_scale(longest_j)
    plot.set_xlim(0.0, 1.02 * longest_j / divisor or 1.0)
    names, y = drawing.make_short_labels(variants), 0.0
    for variant in variants:
        _write(plot, y, names[variant], "medium")
        y += _NAME_IN
        for bar in bars:
            if bar[0].variant == variant:
                _draw_bar(plot, y, bar, divisor)
                y += _BAR_IN
    plot.set_ylim(y, -_NAME_IN)
    plot.set_yticks([])
    plot.grid(visible=False, axis="y")
    plot.set_xlabel(f"energy in training ({unit})")
    return canvas


def _write(plot: drawing.Axes, y: float, text: str, size: str) -> None:
    place = {"textcoords": "offset points", "va": "center", "annotation_clip": False}
    plot.annotate(text, (0.0, y), (3, 0), fontsize=size, **place)  # type: ignore[arg-type]


def _draw_bar(plot: drawing.Axes, y: float, bar: Sequence[Share], divisor: float) -> None:
    """The bar with its segments, and below it their parts, in order."""
    from matplotlib.colors import to_rgba

    left, status = 0.0, bar[0].status
    for energy_j, domain, alpha in (segment for share in bar for segment in share.segments()):
        plot.barh(
            y,
            energy_j / divisor,
            left=left,
            height=_BAR_HEIGHT * _BAR_IN,
            color=to_rgba(_COLOUR[domain], alpha),
            hatch=drawing.HATCHES[status],
            edgecolor=drawing.INK,
            linewidth=0.7,
        )
        left += energy_j / divisor
    parts = [PARTS[share.domain] + ("" if share.is_divided else " (undivided)") for share in bar]
    _write(plot, y + 0.46 * _BAR_IN, f"{status}: {' | '.join(parts)}", "small")


def _build_data(study: ReportStudy, shares: Sequence[Share]) -> DataTable:
    rows = tuple(
        (
            share.variant,
            PARTS[share.domain],
            share.status,
            share.method,
            str(share.runs),
            format_number(share.energy_j),
            format_number(share.idle_j),
            format_number(share.active_j),
        )
        for share in shares
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
        "The joules of the figure, means over runs, idle included. A negative number above idle "
        f"means that the idle power was read higher than the load.{study.stamp}"
    )
    return DataTable(caption, headings, rows, (0, 1, 2, 3))
