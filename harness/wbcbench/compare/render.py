"""A comparison in words: tables as plain text, Markdown or LaTeX."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from wbcbench.compare.design import Contrast
from wbcbench.compare.metric import Metric
from wbcbench.compare.result import (
    Comparison,
    ContrastResult,
    Effect,
    Level,
    PlannedClaimResult,
    Split,
    Target,
    ThresholdResult,
    count_tests,
)
from wbcbench.core.terminal import fill, format_rows
from wbcbench.core.text import (
    UNKNOWN,
    Error,
    count_of,
    escape_markdown,
    format_with_errors,
    human_duration,
    human_energy,
    latex_table,
    latex_text,
    markdown_table,
    printable,
)
from wbcbench.core.trace import Origin
from wbcbench.stats.boards import Way
from wbcbench.stats.intervals import Interval

STATUS_WORDS = {
    "estimated": "the joules are estimated, not measured, so no saving or cost is shown",
    "simulated": "the joules are those of a simulated sensor, so this shows nothing about energy",
    "measured": "the joules are measured",
}

_WAYS: Mapping[Way, str] = {
    "factor": "with the board as a factor",
    "unpaired": "unpaired, each run on a board of its own",
    "mixed": "unpaired and without an interval",
}
_MOST_DIGITS = 4
_WINS = "better with the same seed"
NONE = "–"
"""Of what there is none, as opposed to what is unknown."""


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """One table and the explanations below it."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    below: tuple[str, ...] = ()


def render_summary(comparison: Comparison) -> str:
    """One line: blocks, what kind of energy, machine, intervals."""
    uses_joules = any(metric.part for metric in comparison.metrics)
    parts = [
        count_of(len(comparison.blocks.runs), "paired seed"),
        comparison.energy.words if uses_joules else "no joules compared",
        name_machine(comparison),
        f"{comparison.settings.method} intervals on within-seed differences",
    ]
    if (way := comparison.blocks.boards.way) and uses_joules:
        parts[-1] = f"joules and seconds {_WAYS[way]}"
    return " · ".join(parts)


def name_machine(comparison: Comparison) -> str:
    """The model of GPU or processor; of several boards, how many."""
    machine, boards = comparison.machine, comparison.blocks.boards.blocks
    name = str(machine["gpu_name"] or machine["cpu_model"] or "unknown machine")
    kind = "board" if machine["gpu_name"] else "machine"
    return f"{name} ({len(boards)} {kind}s)" if len(boards) > 1 else name


def build_comparison_tables(comparison: Comparison) -> Iterator[ComparisonTable]:
    """Every table that has a row, in the order of the protocol."""
    tables = (
        _build_contrasts,
        _build_splits,
        _build_secondary,
        _build_configurations,
        _build_images,
        _build_thresholds,
        build_claims_table,
    )
    yield from (table for make in tables if (table := make(comparison)).rows)


def count_lines(comparison: Comparison) -> list[str]:
    """How many runs there were, which blocks were left out and why."""
    blocks = comparison.blocks
    counts = [f"{count} {state}" for state, count in sorted(blocks.states.items())]
    if comparison.unfinished:
        counts.append(f"{comparison.unfinished} without a record")
    total = sum(blocks.states.values()) + comparison.unfinished
    used = len(blocks.runs) * len(comparison.design.configurations)
    lines = [f"Runs: {total} ({', '.join(counts)}); {used} used, {blocks.suspect} suspect."]
    if blocks.spare:
        lines.append(f"{blocks.spare} valid runs repeat a complete seed and are not used.")
    return lines + [f"Not used: {block.block} ({block.reason})." for block in blocks.left_out]


def _build_contrasts(comparison: Comparison) -> ComparisonTable:
    primary = [effect for effect in comparison.effects if effect.family == "primary"]
    n, settings, metrics = len(comparison.blocks.runs), comparison.settings, comparison.metrics
    below: tuple[str, ...] = ()
    if primary and n > 1 and not settings.untested:
        below = (
            f"Holm over {count_of(count_tests(primary, settings), 'test')}; inconclusive = the "
            "interval or the corrected p does not exclude zero. Smallest attainable p with "
            f"{n} seeds: {format_p(primary[0].p_floor)}",
            f"equivalent = shown to lie within ±{settings.region_pct:g} % (joules, seconds) "
            f"or ±{settings.region_pp:g} pp (accuracies), two one-sided tests at 5 % after Holm's "
            "correction",
        )
    rows = []
    for name, against in dict.fromkeys((e.contrast, e.against) for e in primary):
        effects = _select(primary, name, against)
        words = (
            format_difference(e.estimate, e.interval, e.metric)
            + ("" if e.result is ContrastResult.NOT_TESTED else f" {e.result.value}")
            + format_status(e.status)
            for e in effects
        )
        p = () if settings.untested else (", ".join(map(_format_both_p, effects)),)
        rows.append((name_contrast(effects[0]), *words, *p, _format_wins(effects)))
    p_heading = () if settings.untested else ("p (Holm)",)
    headings = ("Contrast", *(metric.name for metric in metrics), *p_heading, _WINS)
    return ComparisonTable("Contrasts", headings, tuple(rows), below)


def _format_both_p(effect: Effect) -> str:
    if effect.result is ContrastResult.NOT_TESTED:
        return NONE
    return f"{format_p(effect.p)} ({format_p(effect.p_holm)})"


def _select(effects: list[Effect], name: str, against: str) -> list[Effect]:
    """The effects of one contrast; they are in the order of the metrics."""
    return [effect for effect in effects if (effect.contrast, effect.against) == (name, against)]


def _build_splits(comparison: Comparison) -> ComparisonTable:
    status = format_status(comparison.energy.status)
    percent = Metric("", "ratio", lower_is_better=True)
    rows = tuple(
        (
            name_contrast(split),
            format_difference(split.energy, None, percent) + status,
            format_difference(split.time, split.time_interval, percent),
            format_difference(split.power, split.power_interval, percent) + status,
        )
        for split in comparison.splits
    )
    below = ("Factors multiply: (1 + energy) = (1 + time) × (1 + mean power), exactly",)
    headings = ("Contrast", "energy", "time", "mean power")
    return ComparisonTable("Where the joules come from", headings, rows, below)


def _build_secondary(comparison: Comparison) -> ComparisonTable:
    """What a reader asks besides the primary contrasts: the baseline's pairs, or the factors."""
    design = comparison.design
    labels = [c.label for c in design.configurations]
    pairs = {(labels[i], labels[j]) for i, j in design.pairs}
    rows = []
    for contrast in design.contrasts:
        is_asked = contrast.name not in labels or (contrast.name, contrast.against) in pairs
        effects = _select(list(comparison.effects), contrast.name, contrast.against)
        if contrast.family == "secondary" and is_asked and effects:
            words = (
                format_difference(e.estimate, e.interval, e.metric) + format_status(e.status)
                for e in effects
            )
            rows.append((name_contrast(contrast), *words, _format_wins(effects)))
    headings = ("Not tested", *(metric.name for metric in comparison.metrics), _WINS)
    return ComparisonTable("Not tested: estimates and intervals", headings, tuple(rows))


def name_contrast(contrast: Contrast | Split | Effect) -> str:
    """``regulariser batchnorm vs dropout``; an interaction is *of* two factors."""
    name = contrast.name if isinstance(contrast, Contrast) else contrast.contrast
    return f"{name} {'of' if name == 'interaction' else 'vs'} {contrast.against}"


def _format_wins(effects: list[Effect]) -> str:
    """``8/8, 5/8``: in how many blocks the first side is better, by metric."""
    return ", ".join(NONE if e.win_rate is None else f"{e.win_rate * e.n:g}/{e.n}" for e in effects)


def _build_configurations(comparison: Comparison) -> ComparisonTable:
    status = {effect.metric.name: effect.status for effect in comparison.effects}
    rows = []
    for summary in comparison.configurations:
        levels = []
        for metric in comparison.metrics:
            level = summary.levels[metric.name]
            levels.append(format_level(level, metric, status.get(metric.name, "")))
        front = UNKNOWN
        if summary.on_front is not None:
            front = "yes" if summary.on_front else "no"
            if summary.front_share is not None:
                front += f", {100 * summary.front_share:.0f} %"
        accuracy, rest = summary.accuracy, summary.leakage_free
        row = (
            summary.label,
            *levels,
            _format_target(summary.target, comparison.energy.status),
            front,
            f"{100 * accuracy.balanced:.1f} % "
            f"[{100 * accuracy.balanced_low:.1f}, {100 * accuracy.balanced_high:.1f}]"
            if accuracy
            else UNKNOWN,
            UNKNOWN if rest is None else f"{100 * rest:.2f} %",
        )
        rows.append(row)
    headings = (
        "Configuration",
        *(metric.name for metric in comparison.metrics),
        "to target",
        "on Pareto front",
        "balanced accuracy, 95 % CI over photographs",
        "leakage-free test subset",
    )
    below = (
        "Pareto front: yes or no on the means, and the share of resampled sets of seeds. Target: "
        "Kaplan–Meier median, and how many runs reached it",
    )
    return ComparisonTable("Configurations", headings, tuple(rows), below)


def format_level(level: Level, metric: Metric, status: str) -> str:
    """``41.2 kJ ± 600 J (runs) ± 9 J (reading)``, and the joules' status."""
    errors: dict[str, Error | None] = {}
    if (
        status != Origin.ESTIMATED
    ):  # the scatter over runs would pass for the error, which is unknown
        sides = (level.mean - level.runs.low, level.runs.high - level.mean) if level.runs else None
        errors = {"runs": sides, "reading": level.reading, "board": level.board}
    words = format_with_errors(level.mean, partial(_format_quantity, metric=metric), errors)
    return words + format_status(status)


def _format_target(target: Target | None, status: str) -> str:
    if target is None:
        return UNKNOWN
    of = f"({target.reached} of {target.runs})"
    if target.median is None:
        return f"not reached by half {of}"
    if target.unit == "J":
        return f"{human_energy(target.median)} {of}{format_status(status)}"
    return f"{human_duration(target.median)} {of}"


def _build_images(comparison: Comparison) -> ComparisonTable:
    rows = []
    for same in comparison.same_images:
        paired, difference = same.paired, same.paired.difference
        row = (
            same.variant,
            same.baseline,
            f"{100 * difference.balanced:+.2f} pp "
            f"[{100 * difference.balanced_low:+.2f}, {100 * difference.balanced_high:+.2f}]",
            f"{paired.only_first:.1f} : {paired.only_second:.1f}",
            format_p(paired.p),
        )
        rows.append(row)
    photographs = comparison.same_images[0].paired.photographs if rows else 0
    headings = (
        "On the same images",
        "against",
        "balanced accuracy, 95 % CI",
        "discordant predictions",
        "p",
    )
    below = (
        f"95 % CI over photographs ({photographs}, cluster bootstrap); p by sign flips of whole "
        "photographs. Discordant predictions: images a seed that only one of the two has right",
    )
    return ComparisonTable("On the same images", headings, tuple(rows), below)


def _build_thresholds(comparison: Comparison) -> ComparisonTable:
    rows = tuple(
        (result.variant, result.threshold.text, result.outcome.value, format_threshold(result))
        for result in comparison.thresholds
    )
    headings = ("Configuration", "fails if", "result", "95 % interval")
    return ComparisonTable("Thresholds", headings, rows)


def build_claims_table(comparison: Comparison) -> ComparisonTable:
    """The claims of the plan: what was claimed, what was found, and the result."""
    rows = tuple(
        (
            result.name,
            f"{' vs '.join(result.claim.variants)}: {result.metric.name}",
            result.claim.claimed,
            format_difference(result.estimate, result.interval, result.metric)
            + format_status(result.status),
            f"{format_p(result.p)} ({format_p(result.p_holm)})",
            result.outcome.value,
        )
        for result in comparison.claims
    )
    below = tuple(describe_claim(result) for result in comparison.claims)
    headings = ("Claim", "about", "claimed", "difference [95 %]", "p (Holm)", "result")
    return ComparisonTable("Claims of the plan", headings, rows, below)


def describe_claim(result: PlannedClaimResult) -> str:
    """A claim of the plan and its result in a sentence, the same wherever it is shown."""
    why = result.why.rstrip(".")
    words = f"Claim {result.name} is {result.outcome.value}, because {why}. Tested: "
    words += result.claim.statement
    if result.estimate is not None:
        difference = format_difference(result.estimate, result.interval, result.metric)
        words += f"; found {difference} over {count_of(result.n, 'block')}"
    if result.p_holm is not None:
        words += f", p = {format_p(result.p_holm)} by Student's t after Holm's correction"
    status = STATUS_WORDS.get(result.status)
    text = f" In the author's words: \u201c{result.claim.text}\u201d" if result.claim.text else ""
    return f"{words}; {status}.{text}" if status else f"{words}.{text}"


def as_text(comparison: Comparison) -> str:
    """Everything that was computed, each table as wide as the terminal."""
    parts = [fill(render_summary(comparison), rest="  ")]
    for table in build_comparison_tables(comparison):
        lines = format_rows(table.headings, table.rows)
        lines += [fill(line, "  ", "    ") for line in table.below]
        parts.append("\n".join(lines))
    notes = [f"Note: {note}" for note in comparison.notes]
    parts.append("\n".join(fill(line, rest="  ") for line in [*count_lines(comparison), *notes]))
    return printable("\n\n".join(parts))


def as_markdown(comparison: Comparison) -> str:
    """Headed pipe tables, fit for a job summary."""
    parts = [f"## Comparison of {', '.join(comparison.studies)}", render_summary(comparison)]
    for table in build_comparison_tables(comparison):
        parts += [f"### {table.title}", markdown_table(table.headings, table.rows)]
        parts += map(escape_markdown, table.below)
    lines = [*count_lines(comparison), *comparison.notes]
    parts.append("\n".join(f"- {escape_markdown(line)}" for line in lines))
    return printable("\n\n".join(parts))


def as_latex(comparison: Comparison) -> str:
    """One ``tabular`` for each table, the words around them as comments."""
    lines = [render_summary(comparison), *count_lines(comparison), *comparison.notes]
    parts = ["\n".join(f"% {printable(line)}" for line in lines)]
    for table in build_comparison_tables(comparison):
        below = "".join(f"\n\n{latex_text(line)}." for line in table.below)
        parts.append(f"% {table.title}\n{latex_table(table.headings, table.rows)}{below}")
    return "\n\n".join(parts)


def format_difference(value: float | None, interval: Interval | None, metric: Metric) -> str:
    """``-6.91 % [-7.31, -6.51]``; two digits of the half-width, for more would be noise."""
    if value is None:
        return UNKNOWN
    unit = f" {metric.unit}" if metric.unit else ""
    text = f"{format_signed(value, decimals(interval))}{unit}"
    return f"{text} {format_interval(interval)}" if interval else text


def format_interval(interval: Interval) -> str:
    """``[-7.31, -6.51]``."""
    digits = decimals(interval)
    return f"[{format_signed(interval.low, digits)}, {format_signed(interval.high, digits)}]"


def format_status(status: str) -> str:
    """`` (estimated)``; nothing for what is measured or is no joule."""
    return "" if status in {"", "measured"} else f" ({status})"


def _format_quantity(value: float | None, metric: Metric) -> str:
    """``41.2 kJ``: a value of a column with its unit, shares in per cent."""
    if value is None:
        return UNKNOWN
    if metric.scale == "share":
        return f"{100 * value:.2f} %"
    if metric.name.endswith("_j"):
        return human_energy(value)
    return human_duration(value) if metric.name.endswith("_s") else f"{value:.4g}"


def format_p(p: float | None) -> str:
    """``0.0078``; two digits."""
    return UNKNOWN if p is None else f"{p:.2g}"


def format_threshold(result: ThresholdResult) -> str:
    """The interval, and how many blocks would settle a threshold that is inconclusive."""
    if result.interval is None:
        why = result.why or "too few complete seeds"
        return f"no interval: {why}{format_status(result.status)}"
    text = format_interval(result.interval)
    if result.more_blocks is not None:
        text += f"; about {count_of(result.more_blocks, 'more seed')} would settle it"
    elif result.outcome == "inconclusive":
        text += "; no number of seeds up to 1,000 would settle it at this estimate"
    return text + format_status(result.status)


def format_signed(value: float, digits: int) -> str:
    """With its sign, but for what rounds to zero."""
    text = f"{value:+.{digits}f}"
    return text if text.strip("+-0.") else text[1:]


def decimals(interval: Interval | None) -> int:
    """How many decimals show two digits of the half-width; two without an interval."""
    half = (interval.high - interval.low) / 2 if interval else 0.0
    if half <= 0:
        return 2
    return min(max(1 - math.floor(math.log10(half)), 0), _MOST_DIGITS)
