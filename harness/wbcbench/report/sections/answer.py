"""The answer and the summary: what the joules bought, in three sentences and one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wbcbench.compare.design import notes_on_one_class
from wbcbench.compare.result import (
    Comparison,
    ContrastResult,
    Effect,
    build_contrast_row,
    format_contrast_key,
)
from wbcbench.core.study_folder import CONTRASTS, RUNS_TABLE
from wbcbench.core.text import UNKNOWN, count_of, energy_scale, human_energy, human_share
from wbcbench.report import Block, DataTable, Statement
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import (
    ENERGY,
    SUMMARY_FILE,
    Row,
    build_summary_rows,
    format_mean,
    get_mean,
)
from wbcbench.report.words import (
    describe_contrast,
    describe_variant,
    format_both_errors,
    format_photographs,
    format_target,
)

_MOST = 3
_RANK = (
    ContrastResult.DIFFERENT,
    ContrastResult.EQUIVALENT,
    ContrastResult.INCONCLUSIVE,
    ContrastResult.NOT_TESTED,
)
_FEWEST_BLOCKS = 3

_METHOD = " with its 95 % t interval [ ] over runs"
_FEW = "with lowest and highest (–), because fewer than three runs give no interval"
_WORDS = (
    "Energy is power times time; a joule (J) is one watt for one second, and 3.6 MJ are one "
    "kilowatt-hour. Balanced accuracy is the mean of the recalls of the kinds of cell, so that a "
    "rare kind counts as much as a common one. TEST is the part of the images that no run was "
    "trained on."
)


def build_answer(study: ReportStudy) -> Block:
    """The answer: at most three sentences, each from one row of a table, or why there is none.

    A difference is stated only from the comparison's primary family. Estimated joules are named
    as such and never as a saving.
    """
    reasons = list(_iterate_reasons(study))[: _MOST - 1]
    values = {"runs": len(study.runs), "done": len(study.done), "blocks": study.blocks_used}
    claims = [
        Statement(f"cannot-{place}", text, RUNS_TABLE, "", values)
        for place, text in enumerate(reasons, start=1)
    ]
    claims += list(_iterate_claims(study))[: _MOST - len(reasons)]
    return Block("answer", "Answer", claims=tuple(claims))


def _iterate_claims(study: ReportStudy) -> Iterator[Statement]:
    comparison = study.comparison
    primary = [e for e in comparison.effects if e.family == "primary"] if comparison else []
    if any(notes_on_one_class(study.configurations)):
        primary = [effect for effect in primary if effect.metric.is_speed]
    mark = " (Synthetic data.)" if study.is_synthetic else ""
    for place, effect in enumerate(_select_effects(primary), start=1):
        row = build_contrast_row(effect)
        text = describe_contrast(row) + mark
        yield Statement(f"answer-{place}", text, CONTRASTS, format_contrast_key(effect), row)
    if primary:
        return
    for place, summary in enumerate(build_summary_rows(study), start=1):
        if summary["n"]:
            text, key = describe_variant(summary) + mark, summary["configuration"]
            yield Statement(f"answer-{place}", text, SUMMARY_FILE, key, summary)


def _select_effects(primary: list[Effect]) -> list[Effect]:
    """The most decided of energy, of accuracy, and of what is left."""
    ranked = sorted(primary, key=_rank)
    energy = [effect for effect in ranked if effect.metric.part is not None]
    others = [effect for effect in ranked if effect.metric.part is None]
    chosen = energy[:1] + others[:1]
    return (chosen + [effect for effect in ranked if effect not in chosen])[:_MOST]


def _rank(effect: Effect) -> tuple[bool, int, bool, float, float, bool]:
    p = 1.0 if effect.p_holm is None else effect.p_holm
    is_open = effect.result is not ContrastResult.DIFFERENT
    raw = 1.0 if effect.p is None else effect.p
    aside = effect.contrast == "interaction" and is_open
    is_more = not is_open and (effect.estimate or 0.0) > 0
    return (aside, _RANK.index(effect.result), is_more, p, raw, effect.metric.part is None)


def _iterate_reasons(study: ReportStudy) -> Iterator[str]:
    """What cannot be shown and why."""
    labels = [configuration.label for configuration in study.configurations]
    comparison = study.comparison
    yield from notes_on_one_class(study.configurations)
    if not study.done:
        runs = count_of(len(study.runs), "run")
        yield f"There is no result: none of {runs} ended well."
    elif len(labels) == 1:
        runs = count_of(len(study.done), "run")
        yield (
            f"No difference can be shown: there is one variant ({labels[0]}, {runs}) and nothing "
            "to compare it with."
        )
    elif comparison is None:
        reason = study.why_not_compared
        yield f"No difference can be shown. {reason[:1].upper()}{reason[1:]}"
    elif not comparison.blocks.runs:
        yield "No difference can be shown: no seed has a finished run of every variant."
    else:
        yield from _iterate_limits(comparison)


def _iterate_limits(comparison: Comparison) -> Iterator[str]:
    """What the comparison cannot show for want of joules or of blocks."""
    if comparison.energy.metric is None and not any(metric.part for metric in comparison.metrics):
        yield f"No energy is compared: {comparison.energy.words}."
    blocks = len(comparison.blocks.runs)
    if blocks < _FEWEST_BLOCKS:
        count = f"{'is' if blocks == 1 else 'are'} {count_of(blocks, 'complete repetition')}"
        yield f"No difference can be shown: there {count}, and an interval needs {_FEWEST_BLOCKS}."
    else:
        limits = ("p cannot fall below", "The plan is exploratory")
        yield from (note for note in comparison.notes if any(words in note for words in limits))


def build_summary(study: ReportStudy) -> Block:
    """One line for each configuration: its cost and accuracy, with the uncertainty of both."""
    rows = build_summary_rows(study)
    words = [_WORDS]
    if study.photographs:
        few = (
            f"The test images were made from only {study.photographs:g} photographs, so each "
            "accuracy is uncertain by the 95 % CI over photographs below, "
            "however many images or runs there are."
        )
        words.append(few)
    images = study.distinct_values("dataset_id")
    values = {"done": len(study.done), "runs": len(study.runs), "configurations": len(rows)}
    text = (
        f"{values['done']} of {count_of(values['runs'], 'run')} finished, of "
        f"{count_of(len(rows), 'variant')}{' on ' if images else ''}{' and '.join(images)}. "
        f"Energy: {study.energy_words}."
    )
    claims = (Statement("runs", text, RUNS_TABLE, "", values),)
    tables = (_build_table(study, rows), _build_errors(study, rows))
    return Block("summary", "By variant", tuple(words), tables, claims=claims)


def _build_table(study: ReportStudy, rows: Sequence[Row]) -> DataTable:
    (divisor, unit), (per_image, image_unit) = (
        energy_scale(max((row[column] or 0.0 for row in rows), default=0.0))
        for column in (ENERGY, "energy_per_train_image_j")
    )
    headings = (
        "variant",
        "runs",
        f"energy ({unit})",
        "balanced accuracy",
        "time (s)",
        "mean power (W)",
        f"per image ({image_unit})",
        "to target",
    )
    columns = (
        (ENERGY, divisor),
        ("balanced_accuracy", 1.0),
        ("time_train_s", 1.0),
        ("power_mean_w", 1.0),
        ("energy_per_train_image_j", per_image),
    )
    lines = tuple(
        (
            row["configuration"],
            f"{row['n']} of {row['runs_tried']}",
            *(format_mean(get_mean(row, column), size) for column, size in columns),
            format_target(row),
        )
        for row in rows
    )
    return DataTable(
        f"Mean of the runs of each variant{_describe_intervals(rows)}. Runs: used of tried. "
        f"Energy: {study.energy_words}. To target: joules until the validation target was first "
        "reached (the median, runs that never did counted as such), and how many runs did."
        f"{study.stamp}",
        headings,
        lines,
        source=SUMMARY_FILE,
        keys=tuple(line[0] for line in lines),
    )


def _describe_intervals(rows: Sequence[Row]) -> str:
    """The meaning of the brackets, which depends on how many runs there are."""
    times = [mean for row in rows if (mean := get_mean(row, "time_train_s"))]
    intervals = {mean.has_interval for mean in times if mean.n > 1}
    if intervals == {True}:
        return _METHOD
    if True in intervals:
        return f"{_METHOD}, or {_FEW}"
    return f", {_FEW}" if intervals else ""


def _build_errors(study: ReportStudy, rows: Sequence[Row]) -> DataTable:
    headings = (
        "variant",
        "energy with its errors",
        "above idle",
        "accuracy",
        "95 % CI over photographs",
        "leakage-free test subset",
    )
    caption = (
        "What an interval over runs leaves out. Joules: ± runs (95 % t; −/+ where its sides "
        "differ); ± reading and ± board (the gain of its sensor), which more runs do not shrink; "
        "above idle is without what the idle machine would have drawn. 95 % CI over photographs: "
        "a cluster bootstrap that resamples whole photographs, not images; of several runs the "
        "widest. Leakage-free test subset: accuracy without test images of cells that "
        f"TRAIN shows as well.{study.energy_stamp}"
    )
    lines = []
    for row in rows:
        above_idle = get_mean(row, "primary_energy_train_above_idle_j")
        line = (
            row["configuration"],
            format_both_errors(row) if row[ENERGY] is not None else UNKNOWN,
            human_energy(above_idle.mean if above_idle else None),
            format_mean(get_mean(row, "accuracy")),
            format_photographs(row),
            human_share(row["accuracy_leakage_free"]),
        )
        lines.append(line)
    return DataTable(caption, headings, tuple(lines), (0, 1))
