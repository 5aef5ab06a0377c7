"""What a comparison shows: one sentence a variant, one table, and what limits both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from wbcbench.compare.metric import ACCURACY, GPU_ENERGY, PRIMARY, TIME, Metric
from wbcbench.compare.notes import notes_on_untested
from wbcbench.compare.render import (
    NONE,
    build_comparison_tables,
    count_lines,
    decimals,
    describe_claim,
    format_interval,
    format_level,
    format_p,
    format_signed,
    format_threshold,
    name_contrast,
    name_machine,
)
from wbcbench.compare.result import Comparison, ContrastResult, Effect, count_tests
from wbcbench.compare.sentences import describe_differences, describe_open
from wbcbench.core.terminal import (
    TableColumn,
    align_points,
    fill,
    format_table,
    terminal_width,
    text_column,
)
from wbcbench.core.text import count_of, printable
from wbcbench.core.trace import Origin
from wbcbench.energy.source import name_reading

_MARKS = {ContrastResult.DIFFERENT: " *", ContrastResult.EQUIVALENT: " ="}
_LABELS = {GPU_ENERGY: "energy", PRIMARY: "energy", TIME: "time", ACCURACY: "balanced accuracy"}
_SEEDS_OF_FRONT = 3  # means of fewer say too little of which is better
_SEEDS_OF_SHARES = 8  # and of fewer than these there are too few different resamples
# Tables that --all adds, by their titles, in a word.
_MORE = {
    "Where the joules come from": "time × power",
    "Not tested: estimates and intervals": "factors, other pairs",
    "Configurations": "means, energy to target",
    "On the same images": "per-image tests",
}


def format_answer(comparison: Comparison) -> str:
    """Heading, sentences, the table of differences, Pareto front, and what limits all that."""
    parts = [
        [fill(describe_setting(comparison), rest="  ")],
        [fill(sentence, rest="  ") for sentence in _list_sentences(comparison)],
        list(_format_differences(comparison)),
        list(_format_front(comparison)),
        list(_format_decisions(comparison)),
        [fill(line, rest="  ") for line in _list_limits(comparison)],
        [fill(_name_rest(comparison), rest=" " * 14)],
    ]
    *most, rest = ["\n".join(part) for part in parts if part]
    return printable("\n\n".join(most) + f"\n{rest}")


def describe_setting(comparison: Comparison) -> str:
    """``8 seeds, 4 variants, NVIDIA H100; energy of training, GPU counter, measured``."""
    runs = comparison.blocks.runs
    words = [
        count_of(len(runs), "seed"),
        count_of(len(comparison.design.configurations), "variant"),
        name_machine(comparison),
    ]
    energy = "no joules compared"
    if comparison.energy.metric and any(metric.part for metric in comparison.metrics):
        energy = f"energy: {comparison.energy.words}"
        if runs and {m.name for m in comparison.metrics} & {PRIMARY, GPU_ENERGY}:
            row = runs[0][0].row
            read_by = name_reading(str(row["primary_domain"]), row["primary_method"])
            energy = f"energy of training, {read_by}, {comparison.energy.status}"
    is_synthetic = any(run.row["synthetic"] for block in runs for run in block)
    mark = "; synthetic images or simulated sensor" if is_synthetic else ""
    return f"{', '.join(words)}; {energy}{mark}"


def _list_sentences(comparison: Comparison) -> Iterator[str]:
    """Why nothing is tested, or what each contrast shows and what is left open."""
    yield from notes_on_untested(comparison.settings)
    yield from (sentence.text for sentence in describe_differences(comparison, in_a_row=True))
    yield from filter(None, [describe_open(comparison)])


def _group_effects(comparison: Comparison) -> list[list[Effect]]:
    """The primary effects of each contrast, by metric."""
    groups: dict[tuple[str, str], list[Effect]] = {}
    for effect in comparison.effects:
        if effect.family == "primary":
            groups.setdefault((effect.contrast, effect.against), []).append(effect)
    return list(groups.values())


def _name_metric(metric: Metric) -> str:
    return _LABELS.get(metric.name, metric.name)


def _format_differences(comparison: Comparison) -> Iterator[str]:
    """The table of the primary contrasts; where it is too wide, one for each metric."""
    groups = _group_effects(comparison)
    if not groups:
        return
    untested = bool(comparison.settings.untested)
    metrics = list(dict.fromkeys(effect.metric for effects in groups for effect in effects))
    names = _name_rows(groups)
    found = [[_find_effect(effects, metric) for effects in groups] for metric in metrics]
    values = [_build_values(metric, own) for metric, own in zip(metrics, found, strict=True)]
    p_values = [align_points([_format_p(effect) for effect in own]) for own in found]
    p_columns = [" ".join(cells) for cells in zip(*p_values, strict=True)]
    columns = [names, *values] + [TableColumn("p (Holm)", p_columns)] * (not untested)
    left_out = False
    if _fits(columns):
        yield from format_table(columns)
    else:
        for column, cells in zip(values, p_values, strict=True):
            own_columns = [names, column] + [TableColumn("p (Holm)", cells)] * (not untested)
            left_out |= not _fits(own_columns)
            yield from format_table(own_columns if _fits(own_columns) else own_columns[:2])
    if not untested:
        yield from (fill(line, rest="  ") for line in _explain_marks(comparison, groups))
    if left_out:
        yield "p (Holm): --all"


def _fits(columns: Sequence[TableColumn]) -> bool:
    return sum(column.width + 2 for column in columns) - 2 <= terminal_width()


def _name_rows(groups: Sequence[Sequence[Effect]]) -> TableColumn:
    """``against relu-dropout`` above the names, or both in each row."""
    against = {effects[0].against for effects in groups}
    if len(against) == 1:
        return text_column(f"against {against.pop()}", [e[0].contrast for e in groups])
    return text_column("contrast", [name_contrast(effects[0]) for effects in groups])


def _find_effect(effects: Iterable[Effect], metric: Metric) -> Effect | None:
    return next((effect for effect in effects if effect.metric == metric), None)


def _build_values(metric: Metric, effects: Sequence[Effect | None]) -> TableColumn:
    """Estimates below each other, with their intervals and marks."""
    known = [e if e and e.estimate is not None else None for e in effects]
    estimates = [NONE if e is None else _format_bare(e) for e in known]
    padded = align_points(estimates)
    intervals = [f" {format_interval(e.interval)}" if e and e.interval else "" for e in known]
    marks = [_MARKS.get(e.result, "") if e else "" for e in known]
    cells = ["".join(parts) for parts in zip(padded, intervals, marks, strict=True)]
    status = next((e.status for e in known if e and e.status not in {"", Origin.MEASURED}), "")
    heading = " ".join(filter(None, (status, _name_metric(metric), metric.unit)))
    return TableColumn(heading, cells)


def _format_bare(effect: Effect) -> str:
    return format_signed(effect.estimate or 0.0, decimals(effect.interval))


def _format_p(effect: Effect | None) -> str:
    """``.047``."""
    return (
        NONE
        if effect is None or effect.p_holm is None
        else format_p(effect.p_holm).removeprefix("0")
    )


def _explain_marks(comparison: Comparison, groups: Sequence[Sequence[Effect]]) -> Iterator[str]:
    effects = [effect for own in groups for effect in own]
    results = {effect.result for effect in effects}
    settings = comparison.settings
    tests = count_of(count_tests(effects, settings), "test")
    p_floor = next((e.p_floor for e in effects if e.p_floor is not None), None)
    seeds = count_of(len(comparison.blocks.runs), "seed")
    planned = "" if settings.plan_sha256 else "; not planned before the runs"
    mark = "* different after Holm" if ContrastResult.DIFFERENT in results else "Holm"
    if p_floor is not None:
        least = format_p(p_floor).removeprefix("0")
        yield f"{mark} over {tests}; with {seeds} p cannot fall below {least}{planned}"
    if ContrastResult.EQUIVALENT in results:
        halves = f"±{settings.region_pct:g} % (joules, seconds), ±{settings.region_pp:g} pp"
        yield f"= equivalent: shown to lie within {halves} (accuracies)"


def _format_front(comparison: Comparison) -> Iterator[str]:
    """Configurations that no other beats in both energy and accuracy, of enough seeds."""
    seeds = len(comparison.blocks.runs)
    if seeds < _SEEDS_OF_FRONT:
        return
    names = list[str]()
    for summary in comparison.configurations:
        if summary.on_front:
            share = summary.front_share if seeds >= _SEEDS_OF_SHARES else None
            of = " of resamples" if not names else ""
            names.append(summary.label + ("" if share is None else f" ({100 * share:.0f} %{of})"))
    if names and len(comparison.configurations) > 1:
        status = comparison.energy.status
        kind = f", {status} energy" if status not in {"", Origin.MEASURED} else ""
        yield fill(f"Pareto front{kind}: {', '.join(names)}", rest="  ")


def _format_decisions(comparison: Comparison) -> Iterator[str]:
    """Results of thresholds and of the plan's claims; the values of a single configuration."""
    if comparison.thresholds:
        thresholds = comparison.thresholds
        yield from format_table(
            [
                text_column("result", [t.outcome.value for t in thresholds]),
                text_column("variant", [t.variant for t in thresholds]),
                text_column("fails if", [t.threshold.text for t in thresholds]),
                text_column("95 % CI", map(format_threshold, thresholds), folds=True),
            ]
        )
    yield from (fill(describe_claim(claim), rest="  ") for claim in comparison.claims)
    if len(comparison.configurations) == 1:
        (summary,) = comparison.configurations
        for metric in comparison.metrics:
            words = format_level(summary.levels[metric.name], metric, _find_status(comparison))
            yield fill(f"{summary.label}: {_name_metric(metric)} {words}", rest="  ")


def _find_status(comparison: Comparison) -> str:
    return comparison.energy.status


def _list_limits(comparison: Comparison) -> list[str]:
    """What must be known of the result: its limits, and runs that are not used or suspect."""
    blocks = comparison.blocks
    used = len(blocks.runs) * len(comparison.design.configurations)
    total = sum(blocks.states.values()) + comparison.unfinished
    is_whole = total == used and not blocks.suspect
    return [*comparison.limits, *([] if is_whole else count_lines(comparison))]


def _name_rest(comparison: Comparison) -> str:
    tables = [_MORE[t.title] for t in build_comparison_tables(comparison) if t.title in _MORE]
    notes = len(comparison.notes) - len(comparison.limits)
    tables += [count_of(notes, "note")] * (notes > 0)
    return f"More: --all   ({', '.join(tables)})"
