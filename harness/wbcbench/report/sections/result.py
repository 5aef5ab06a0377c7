"""The first screen: the answer, the table of variants, and the two figures that show it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from wbcbench.compare.design import notes_on_one_class
from wbcbench.compare.render import decimals, format_signed
from wbcbench.compare.result import (
    Comparison,
    ContrastResult,
    Effect,
    build_contrast_row,
    count_tests,
    format_contrast_key,
)
from wbcbench.compare.sentences import DifferenceSentence, describe_differences, describe_open
from wbcbench.core.study_folder import CONTRASTS, RUNS_TABLE
from wbcbench.core.text import UNKNOWN, count_of, energy_scale, format_digits, human_energy
from wbcbench.report import DataTable, Pair, Part, Place, Section, Statement, Value
from wbcbench.report.figures.agreement import format_percent
from wbcbench.report.figures.differences import build_differences
from wbcbench.report.figures.energy_accuracy import build_tradeoff
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import (
    ENERGY,
    SUMMARY_FILE,
    WALL,
    Mean,
    Row,
    build_summary_rows,
    format_means,
    get_mean,
)
from wbcbench.report.words import describe_variant, format_photographs

_MOST = 3
_FEWEST_BLOCKS = 3
_FINE_PCT = 0.5
_PER_IMAGE = "energy_per_train_image_j"


def build_result(study: ReportStudy) -> Section:
    """The answer, the variants with their cost and accuracy, and what that looks like."""
    rows = build_summary_rows(study)
    parts: list[Part] = [*_iterate_answer(study, rows)]
    if study.done:
        parts.append(_build_table(study, rows))
    figures = tuple(filter(None, (build_tradeoff(study), build_differences(study))))
    if figures:
        parts.append(Pair(figures))
    return Section("result", "Result", tuple(parts), Place.FIRST)


def _iterate_answer(study: ReportStudy, rows: Sequence[Row]) -> Iterator[Statement]:
    """At most three sentences, each from rows of a table, or why there is none.

    A difference is stated only from the comparison's primary family.
    """
    counts = {"runs": len(study.runs), "done": len(study.done), "blocks": study.blocks_used}
    sentences = describe_differences(study.comparison) if study.comparison else []
    for place, sentence in enumerate(sentences[:_MOST], start=1):
        yield _build_statement(f"answer-{place}", sentence)
    used = [row for row in rows if row["n"]]
    if not sentences and len(used) == 1:
        label = str(used[0]["configuration"])
        text = describe_variant(used[0], is_machine=_is_whole_machine(study))
        yield Statement("answer-1", text, SUMMARY_FILE, label, used[0], (label,))
    elif not sentences and used:
        yield _describe_spread(study, used)
    more = len(sentences) - _MOST
    reasons = [f"{count_of(more, 'further contrast')} in the comparison below."] if more > 0 else []
    reasons += _iterate_reasons(study)
    for place, text in enumerate(reasons, start=1):
        yield Statement(f"open-{place}", text, RUNS_TABLE, "", counts)


def _describe_spread(study: ReportStudy, rows: Sequence[Row]) -> Statement:
    """The lowest and highest mean of several variants that no difference is shown between."""
    values: dict[str, Value] = {"variants": len(rows)}
    words = []
    for column, human in ((ENERGY, human_energy), ("accuracy", _format_accuracy)):
        means = [row[column] for row in rows if row[column] is not None]
        if means:
            values |= {f"{column}_lowest": min(means), f"{column}_highest": max(means)}
            words.append(f"{human(min(means))} to {human(max(means))}")
    kind = study.energy_kind.strip()
    energy = (
        f"used {words[0]}{f' ({kind})' if kind else ''} in training" if study.comparable else ""
    )
    accuracy = f"reached an accuracy of {words[-1]}" if "accuracy_lowest" in values else ""
    text = " and ".join(filter(None, (energy, accuracy))) or "finished"
    return Statement(
        "answer-1",
        f"The {count_of(len(rows), 'variant')} {text} (means).",
        SUMMARY_FILE,
        "",
        values,
    )


def _format_accuracy(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.1f} %"


def _build_statement(name: str, sentence: DifferenceSentence) -> Statement:
    first, *others = sentence.effects
    values: dict[str, Value] = build_contrast_row(first)
    for effect in others:
        row = build_contrast_row(effect)
        values |= {f"{effect.metric.name}.{column}": value for column, value in row.items()}
    key = format_contrast_key(first)
    return Statement(name, sentence.text, CONTRASTS, key, values, sentence.strong)


def _iterate_reasons(study: ReportStudy) -> Iterator[str]:
    """What cannot be shown and why."""
    labels = [configuration.label for configuration in study.configurations]
    comparison = study.comparison
    yield from notes_on_one_class(study.configurations)
    if not study.done:
        yield f"There is no result: none of {count_of(len(study.runs), 'run')} ended well."
    elif len(labels) == 1:
        yield "One variant: there is nothing to compare it with."
    elif comparison is None:
        reason = study.why_not_compared
        yield f"No difference can be shown. {reason[:1].upper()}{reason[1:]}"
    elif not comparison.blocks.runs:
        yield "No difference can be shown: no seed has a finished run of every variant."
    else:
        yield from _iterate_limits(comparison)


def _iterate_limits(comparison: Comparison) -> Iterator[str]:
    """What the comparison leaves open, or cannot show for want of joules or of seeds."""
    if comparison.energy.metric is None and not any(metric.part for metric in comparison.metrics):
        yield f"No energy is compared: {comparison.energy.words.partition(';')[0]}."
    if comparison.blocks.boards.is_spread:
        boards = count_of(len(comparison.blocks.boards.blocks), "board")
        yield f"The runs of a seed were spread over {boards}: joules and seconds are not tested."
    seeds = len(comparison.blocks.runs)
    if seeds < _FEWEST_BLOCKS:
        count = f"{'is' if seeds == 1 else 'are'} {count_of(seeds, 'complete seed')}"
        yield f"No difference can be shown: there {count}, and an interval needs {_FEWEST_BLOCKS}."
        return
    limits = [note for note in comparison.notes if "nothing is called different" in note]
    yield from limits or filter(None, [describe_open(comparison)])


def _build_table(study: ReportStudy, rows: Sequence[Row]) -> DataTable:
    (divisor, unit), (per_image, image_unit), (wall, wall_unit) = (
        energy_scale(max((row[column] or 0.0 for row in rows), default=0.0))
        for column in (ENERGY, _PER_IMAGE, WALL)
    )
    has_wall = wall_unit and any(row[WALL] for row in rows) and not _is_whole_machine(study)
    effects = _find_energy_effects(study)
    kind = study.energy_kind.strip()
    means = {
        column: [get_mean(row, column) for row in rows] for column in ("accuracy", ENERGY, WALL)
    }
    energies = _format_energies(study, means[ENERGY], divisor)
    counted = "Seeds" if all(row["n"] == row["runs_tried"] for row in rows) else "Runs"
    columns = [
        ("Variant", [str(row["configuration"]) for row in rows]),
        (counted, [_format_count(row) for row in rows]),
        ("Accuracy, %", format_means(means["accuracy"], 0.01)),
        (f"Energy, {unit}{f' ({kind})' if kind else ''}", energies),
    ]
    if effects:
        columns.append(("Energy against baseline, %", _format_effects(effects, rows)))
    if has_wall:
        cells = format_means(means[WALL], wall)
        columns.append((f"Whole machine, {wall_unit} (measured)", cells))
    columns += [
        ("Time, s", [_format_plain(row["time_train_s"]) for row in rows]),
        (f"{image_unit} per image", [_format_plain(row[_PER_IMAGE], per_image) for row in rows]),
    ]
    headings, cells_by_column = zip(*columns, strict=True)
    labels = tuple(row["configuration"] for row in rows)
    return DataTable(
        " ".join(_iterate_caption(study, rows, has_effects=bool(effects))),
        headings,
        tuple(zip(*cells_by_column, strict=True)),
        source=SUMMARY_FILE,
        keys=labels,
        styles=tuple(study.styles[label] for label in labels),
    )


def _format_energies(study: ReportStudy, means: Sequence[Mean | None], divisor: float) -> list[str]:
    """Of an estimate the scatter over runs would pass for its error, which nobody knows."""
    cells = format_means(means, divisor)
    return [c.partition(" ")[0] for c in cells] if study.energy_status == "estimated" else cells


def _is_whole_machine(study: ReportStudy) -> bool:
    return any(run.row["primary_domain"] == "system" for run in study.comparable)


def _format_count(row: Row) -> str:
    n, tried = row["n"], row["runs_tried"]
    return str(n) if n == tried else f"{n} of {tried}"


def _format_plain(value: float | None, divisor: float = 1.0) -> str:
    return UNKNOWN if value is None else format_digits(value / divisor)


def _find_energy_effects(study: ReportStudy) -> dict[str, Effect]:
    """Each variant's energy against the baseline; empty where the factors are compared."""
    comparison = study.comparison
    if comparison is None:
        return {}
    labels = {configuration.label for configuration in study.configurations}
    energies = (e for e in comparison.effects if e.metric.name == comparison.energy.metric)
    baseline = comparison.design.baseline
    return {e.contrast: e for e in energies if e.contrast in labels and e.against == baseline}


def _format_effects(effects: Mapping[str, Effect], rows: Sequence[Row]) -> list[str]:
    """``-6.2 [-7.8, -4.6] *``: the star where it is different."""
    spans = [effect.interval for effect in effects.values() if effect.interval]
    widest = max((span.high - span.low for span in spans), default=1.0)
    digits = min(max(map(decimals, spans), default=1), 1 if widest > _FINE_PCT else 2)
    baseline = next(iter(effects.values())).against
    cells = []
    for row in rows:
        effect, span = effects.get(row["configuration"]), None
        if effect is None or effect.estimate is None:
            cells.append("baseline" if row["configuration"] == baseline else UNKNOWN)
            continue
        text, span = format_signed(effect.estimate, digits), effect.interval
        if span:
            text += f" [{format_signed(span.low, digits)}, {format_signed(span.high, digits)}]"
        cells.append(f"{text} *" if effect.result is ContrastResult.DIFFERENT else text)
    return cells


def _iterate_caption(
    study: ReportStudy, rows: Sequence[Row], *, has_effects: bool
) -> Iterator[str]:
    """The meaning of brackets and star, the kind of energy, and the errors that seeds hide."""
    times = [mean for row in rows if (mean := get_mean(row, "time_train_s"))]
    if any(mean.has_interval for mean in times):
        yield "Mean [95 % CI over seeds]."
    elif any(mean.n > 1 for mean in times):
        yield "Mean (lowest–highest)."
    comparison = study.comparison
    stars = [e for e in _find_energy_effects(study).values() if e.result.value == "different"]
    if has_effects and comparison and stars:
        primary = [e for e in comparison.effects if e.family == "primary"]
        tests = count_of(count_tests(primary, comparison.settings), "test")
        yield f"* different after Holm over {tests}."
    if any(get_mean(row, "accuracy") for row in rows):
        yield "Accuracy: TEST, after the last epoch."
    if study.comparable:
        yield f"Energy: training, {study.energy_words}{_describe_meter_errors(rows)}."
    yield from _describe_photographs(study, rows)
    if study.is_synthetic:
        yield "Synthetic: no result."


def _describe_meter_errors(rows: Sequence[Row]) -> str:
    """``, ± 0.3 % (reading) ± 5 % (board)``: what more seeds do not shrink."""
    words = ""
    for name, column in (("reading", "energy_reading_j"), ("board", "energy_board_j")):
        shares = [row[column] / row[ENERGY] for row in rows if row[column] and row[ENERGY]]
        if shares and rows[0]["energy_status"] != "estimated":
            words += f" ± {format_percent(100 * median(shares))} % ({name})"
    return f",{words}" if words else ""


def _describe_photographs(study: ReportStudy, rows: Sequence[Row]) -> Iterator[str]:
    known = [(row, span) for row in rows if (span := format_photographs(row)) != UNKNOWN]
    if known and study.photographs:
        row, span = known[0]
        ends = [100 * row[f"accuracy_photographs_{end}"] for end in ("low", "high")]
        percent = "–".join(f"{end:.{int(ends[1] - ends[0] < 2)}f}" for end in ends)
        yield (
            f"Over other photographs (TEST has {study.photographs:g}) the accuracy of "
            f"{row['configuration']} may be {percent} % (95 % CI)."
        )
