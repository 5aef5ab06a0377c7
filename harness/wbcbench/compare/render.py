"""A comparison in words: tables as plain text, Markdown or LaTeX."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from wbcbench.compare.metric import Metric
from wbcbench.compare.result import (
    AccuracyByPhotograph,
    Comparison,
    ConfigurationSummary,
    Effect,
    Level,
    SameImages,
    ThresholdResult,
)
from wbcbench.core.text import (
    UNKNOWN,
    aligned_table,
    human_duration,
    human_energy,
    latex_table,
    latex_text,
    markdown_table,
    printable,
)
from wbcbench.stats.intervals import Interval

_MOST_DIGITS = 4


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """One table with what must be said below it."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    below: tuple[str, ...] = ()


def render_headline(found: Comparison) -> str:
    """One line: blocks, what kind of energy, machine, intervals."""
    n = len(found.blocks.runs)
    uses_joules = any(metric.part for metric in found.metrics)
    parts = [
        "1 paired block" if n == 1 else f"{n} paired blocks",
        found.energy.words if uses_joules else "no joules compared",
        str(found.machine["gpu_name"] or found.machine["cpu_model"] or "unknown machine"),
        f"{found.settings.method} intervals on within-block differences",
    ]
    return " · ".join(parts)


def comparison_tables(found: Comparison) -> Iterator[ComparisonTable]:
    """Every table that has something in it, in the order of the protocol."""
    for made in (_contrasts, _splits, _against, _arms, _same_images, _gates):
        section = made(found)
        if section.rows:
            yield section


def count_lines(found: Comparison) -> list[str]:
    """How many runs there were, which blocks were left out and why."""
    states = found.blocks.states
    total = sum(states.values()) + found.unfinished
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    unfinished = f", {found.unfinished} without a record" if found.unfinished else ""
    used = len(found.blocks.runs) * len(found.design.configurations)
    lines = [f"Runs: {total} ({told}{unfinished}); {used} used, {found.blocks.suspect} suspect."]
    if found.blocks.spare:
        lines.append(f"{found.blocks.spare} valid runs repeat a complete block and are not used.")
    lines += [f"Left out whole: {each.block} ({each.reason})." for each in found.blocks.left_out]
    return lines


def _contrasts(found: Comparison) -> ComparisonTable:
    primary = [effect for effect in found.effects if effect.family == "primary"]
    n = len(found.blocks.runs)
    below: tuple[str, ...] = ()
    if primary and n > 1:
        below = (
            f"Holm over {len(primary)} tests; cannot tell = the interval or the corrected p does "
            f"not exclude zero. Least p for {n} blocks: {p_words(primary[0].p_floor)}",
            f"equivalent = shown to lie within ±{found.settings.region_pct:g} % (joules, seconds) "
            f"or ±{found.settings.region_pp:g} pp (accuracies), two one-sided tests at 5 %",
        )
    headings = ("Contrast", *(metric.name for metric in found.metrics), "p (Holm)")
    return ComparisonTable("Contrasts", headings, tuple(_effect_rows(primary, found)), below)


def _effect_rows(effects: list[Effect], found: Comparison) -> Iterator[tuple[str, ...]]:
    for name, against in dict.fromkeys((e.contrast, e.against) for e in effects):
        own = [_effect_of(effects, name, against, metric) for metric in found.metrics]
        words = [_effect_words(effect) for effect in own]
        p = ", ".join(f"{p_words(e.p)} ({p_words(e.p_holm)})" for e in own)
        between = "of" if name == "interaction" else "vs"
        yield (f"{name} {between} {against}", *words, p)


def _effect_of(effects: list[Effect], name: str, against: str, metric: Metric) -> Effect:
    return next(
        e for e in effects if (e.contrast, e.against) == (name, against) and e.metric == metric
    )


def _splits(found: Comparison) -> ComparisonTable:
    if not found.splits:
        return ComparisonTable("", (), ())
    percent = next(metric for metric in found.metrics if metric.name == found.energy.metric)
    rows = tuple(
        (
            f"{split.contrast} vs {split.against}",
            difference_words(split.energy, None, percent) + status_words(found.energy.status),
            difference_words(split.time, split.time_interval, percent),
            difference_words(split.power, split.power_interval, percent)
            + status_words(found.energy.status),
        )
        for split in found.splits
    )
    below = ("Factors multiply: (1 + energy) = (1 + time) × (1 + mean power), exactly",)
    return ComparisonTable(
        "Where the joules come from", ("Contrast", "energy", "time", "mean power"), rows, below
    )


def _against(found: Comparison) -> ComparisonTable:
    pairs = [
        (found.design.configurations[i].label, found.design.configurations[j].label)
        for i, j in found.design.pairs
    ]
    rows = []
    for variant, baseline in pairs:
        own = [e for e in found.effects if (e.contrast, e.against) == (variant, baseline)]
        if own:
            words = (
                difference_words(e.estimate, e.interval, e.metric) + status_words(e.status)
                for e in own
            )
            rows.append((variant, baseline, *words, ", ".join(_won(e) for e in own)))
    names = (metric.name for metric in found.metrics)
    headings = ("Candidate", "against", *names, "better in the same block")
    return ComparisonTable("Against the baseline", headings, tuple(rows))


def _won(effect: Effect) -> str:
    if effect.share_won is None:
        return UNKNOWN
    return f"{effect.share_won * effect.n:g}/{effect.n}"


def _arms(found: Comparison) -> ComparisonTable:
    status = {effect.metric.name: effect.status for effect in found.effects}
    headings = (
        "Arm",
        *(metric.name for metric in found.metrics),
        "to target",
        "on Pareto front",
        "balanced accuracy by photograph",
        "without leaks",
    )
    rows = tuple(
        (
            configuration.label,
            *(
                _level_words(configuration.levels[metric.name], metric, status.get(metric.name, ""))
                for metric in found.metrics
            ),
            _target(configuration, found.energy.status),
            _front(configuration),
            _photographs(configuration.by_photograph),
            UNKNOWN
            if configuration.leakage_free is None
            else f"{100 * configuration.leakage_free:.2f} %",
        )
        for configuration in found.configurations
    )
    below = (
        "Front: yes or no on the means, and the share of resampled sets of blocks. Target: "
        "Kaplan–Meier median, and how many runs reached it",
    )
    return ComparisonTable("Arms", headings, rows, below)


def _target(configuration: ConfigurationSummary, status: str) -> str:
    target = configuration.target
    if target is None:
        return UNKNOWN
    of = f"({target.reached} of {target.runs})"
    if target.median is None:
        return f"not reached by half {of}"
    if target.unit == "J":
        return f"{human_energy(target.median)} {of}{status_words(status)}"
    return f"{human_duration(target.median)} {of}"


def _front(configuration: ConfigurationSummary) -> str:
    if configuration.on_front is None:
        return UNKNOWN
    share = (
        "" if configuration.front_share is None else f", {100 * configuration.front_share:.0f} %"
    )
    return ("yes" if configuration.on_front else "no") + share


def _photographs(found: AccuracyByPhotograph | None) -> str:
    if found is None:
        return UNKNOWN
    return (
        f"{100 * found.balanced:.1f} % "
        f"[{100 * found.balanced_low:.1f}, {100 * found.balanced_high:.1f}]"
    )


def _same_images(found: Comparison) -> ComparisonTable:
    headings = ("On the same images", "against", "balanced accuracy", "right alone", "p")
    rows = tuple(_same_row(each) for each in found.same_images)
    photographs = found.same_images[0].found.photographs if rows else 0
    below = (
        f"95 % intervals and p by photograph ({photographs}): draws and sign flips of whole "
        "photographs. Right alone: images a seed that only one of the two has right",
    )
    return ComparisonTable("By photograph", headings, rows, below)


def _same_row(each: SameImages) -> tuple[str, ...]:
    same = each.found
    return (
        each.variant,
        each.baseline,
        f"{100 * same.balanced_difference:+.2f} pp "
        f"[{100 * same.balanced_low:+.2f}, {100 * same.balanced_high:+.2f}]",
        f"{same.only_first:.1f} : {same.only_second:.1f}",
        p_words(same.p),
    )


def _gates(found: Comparison) -> ComparisonTable:
    rows = tuple(
        (each.variant, each.threshold.text, each.outcome.value, _gate_words(each))
        for each in found.thresholds
    )
    return ComparisonTable("Gates", ("Candidate", "fails if", "verdict", "95 % interval"), rows)


def as_text(found: Comparison) -> str:
    """Tables padded for a terminal."""
    blocks = [render_headline(found)]
    for each in comparison_tables(found):
        below = "".join(f"\n  {line}" for line in each.below)
        blocks.append(f"{aligned_table(each.headings, each.rows)}{below}")
    blocks.append("\n".join([*count_lines(found), *(f"Note: {note}" for note in found.notes)]))
    return printable("\n\n".join(blocks))


def as_markdown(found: Comparison) -> str:
    """Headed pipe tables, fit for a job summary."""
    blocks = [f"## Comparison of {', '.join(found.studies)}", render_headline(found)]
    for each in comparison_tables(found):
        blocks += [f"### {each.title}", markdown_table(each.headings, each.rows), *each.below]
    blocks.append("\n".join(f"- {line}" for line in [*count_lines(found), *found.notes]))
    return printable("\n\n".join(blocks))


def as_latex(found: Comparison) -> str:
    """One ``tabular`` for each table, the words around them as comments."""
    blocks = ["\n".join(f"% {printable(line)}" for line in [render_headline(found), *_said(found)])]
    blocks += [_latex(each) for each in comparison_tables(found)]
    return "\n\n".join(blocks)


def _said(found: Comparison) -> list[str]:
    return [*count_lines(found), *found.notes]


def _latex(each: ComparisonTable) -> str:
    below = "".join(f"\n\n{latex_text(line)}." for line in each.below)
    return f"% {each.title}\n{latex_table(each.headings, each.rows)}{below}"


def difference_words(value: float | None, found: Interval | None, metric: Metric) -> str:
    """``-6.91 % [-7.31, -6.51]``; two digits of the half-width, for more would be noise."""
    if value is None:
        return UNKNOWN
    digits = decimals(found)
    unit = f" {metric.unit}" if metric.unit else ""
    told = f"{_signed(value, digits)}{unit}"
    return told if found is None else f"{told} {_bounds_words(found, digits)}"


def _bounds_words(found: Interval, digits: int | None = None) -> str:
    """``[-7.31, -6.51]``."""
    places = decimals(found) if digits is None else digits
    return f"[{_signed(found.low, places)}, {_signed(found.high, places)}]"


def _effect_words(effect: Effect) -> str:
    """Estimate, interval, finding, and what kind of joules if they are not measured."""
    finding = "" if effect.finding == "estimate only" else f" {effect.finding.value}"
    return (
        difference_words(effect.estimate, effect.interval, effect.metric)
        + finding
        + status_words(effect.status)
    )


def status_words(status: str) -> str:
    """`` (estimated)``; nothing for what is measured or is no joule."""
    return "" if status in {"", "measured"} else f" ({status})"


def _level_words(level: Level, metric: Metric, status: str) -> str:
    """``41.2 kJ ± 0.6 kJ (runs) ± 2.1 kJ (meter)``, shares in per cent."""
    told = _quantity_words(level.mean, metric)
    if level.runs is not None:
        told += f" ± {_quantity_words(level.runs, metric)} (runs)"
    if level.meter is not None:
        told += f" ± {_quantity_words(level.meter, metric)} (meter)"
    return told + status_words(status)


def _quantity_words(value: float | None, metric: Metric) -> str:
    """A value of a column with its unit."""
    if value is None:
        return UNKNOWN
    if metric.scale == "share":
        return f"{100 * value:.2f} %"
    if metric.name.endswith("_j"):
        return human_energy(value)
    return human_duration(value) if metric.name.endswith("_s") else f"{value:.4g}"


def p_words(p: float | None) -> str:
    """``0.0078``; two digits."""
    return UNKNOWN if p is None else f"{p:.2g}"


def _gate_words(judged: ThresholdResult) -> str:
    """Where the interval lies and what it would take to settle an open gate."""
    if judged.interval is None:
        told = "no interval: too few complete blocks"
    else:
        told = _bounds_words(judged.interval)
    if judged.outcome == "inconclusive":
        told += (
            "; no number of blocks up to 1,000 would settle it at this estimate"
            if judged.more_blocks is None and judged.interval is not None
            else f"; about {_blocks(judged.more_blocks)} would settle it"
            if judged.more_blocks is not None
            else ""
        )
    return told + status_words(judged.status)


def _signed(value: float, digits: int) -> str:
    """With its sign, but for what rounds to zero."""
    told = f"{value:+.{digits}f}"
    return told if told.strip("+-0.") else told[1:]


def _blocks(count: int) -> str:
    return "1 more block" if count == 1 else f"{count} more blocks"


def decimals(found: Interval | None) -> int:
    """How many decimals show two digits of the half-width; two without an interval."""
    half = (found.high - found.low) / 2 if found else 0.0
    if half <= 0:
        return 2
    return min(max(1 - math.floor(math.log10(half)), 0), _MOST_DIGITS)
