"""The answer and the summary: what the joules bought, in three sentences and one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wbcbench.compare.result import Comparison, ContrastResult, Effect, contrast_key, contrast_row
from wbcbench.core.study_folder import CONTRASTS, RUNS_TABLE
from wbcbench.core.text import UNKNOWN, count_of, energy_scale, human_energy, human_share
from wbcbench.report import Block, DataTable, Statement
from wbcbench.report.study import ReportStudy, known_values
from wbcbench.report.summaries import (
    ENERGY,
    SUMMARY_FILE,
    T_INTERVAL,
    Row,
    mean_in,
    mean_words,
    summary_rows,
)
from wbcbench.report.words import (
    both_errors,
    contrast_sentence,
    photographs_words,
    target_words,
    variant_sentence,
)

_MOST = 3
_RANK = (
    ContrastResult.DIFFERENT,
    ContrastResult.EQUIVALENT,
    ContrastResult.INCONCLUSIVE,
    ContrastResult.NOT_TESTED,
)
_FEWEST_BLOCKS = 3

HEADINGS = (
    "variant",
    "runs",
    "energy ({})",
    "balanced accuracy",
    "time (s)",
    "mean power (W)",
    "per image ({})",
    "to target",
)
_HOW = " with its 95 % t interval [ ] over runs"
_WORDS = (
    "Energy is power times time; a joule (J) is one watt for one second, and 3.6 MJ are one "
    "kilowatt-hour. Balanced accuracy is the mean of the shares found of each kind of cell, so "
    "that a rare kind counts as much as a common one. TEST is the part of the images that no run "
    "was trained on."
)


def answer_section(study: ReportStudy) -> Block:
    """The answer: at most three sentences, each from one row of a table; plainly none if none.

    A difference is told only from the comparison's primary family. Estimated joules are told as
    such and never as a saving.
    """
    plainly = list(_plainly(study))[: _MOST - 1]
    values = {"runs": len(study.runs), "done": len(study.done), "blocks": study.blocks_used}
    claims = [
        Statement(f"cannot-{place}", text, RUNS_TABLE, "", values)
        for place, text in enumerate(plainly, start=1)
    ]
    claims += list(_claims(study))[: _MOST - len(plainly)]
    return Block("answer", "Answer", claims=tuple(claims))


def _claims(study: ReportStudy) -> Iterator[Statement]:
    found = study.comparison
    primary = [e for e in found.effects if e.family == "primary"] if found else []
    for place, effect in enumerate(_chosen(primary), start=1):
        row = contrast_row(effect)
        text = contrast_sentence(row) + _mark(study)
        yield Statement(f"answer-{place}", text, CONTRASTS, contrast_key(effect), row)
    if not primary:
        yield from _alone(study)


def _alone(study: ReportStudy) -> Iterator[Statement]:
    """What each arm came to, where nothing is compared."""
    for place, row in enumerate(summary_rows(study), start=1):
        if row["n"]:
            text = variant_sentence(row) + _mark(study)
            yield Statement(f"answer-{place}", text, SUMMARY_FILE, str(row["arm"]), row)


def _mark(study: ReportStudy) -> str:
    return " (Synthetic data.)" if study.is_synthetic else ""


def _chosen(primary: list[Effect]) -> list[Effect]:
    """The most decided of energy, of accuracy, and of what is left."""
    ranked = sorted(primary, key=_rank)
    first = [next((e for e in ranked if (e.metric.part is not None) is is_joules), None)
             for is_joules in (True, False)]  # fmt: skip
    chosen = [effect for effect in first if effect is not None]
    return (chosen + [effect for effect in ranked if effect not in chosen])[:_MOST]


def _rank(effect: Effect) -> tuple[bool, int, bool, float, float, bool]:
    p = 1.0 if effect.p_holm is None else effect.p_holm
    is_open = effect.finding is not ContrastResult.DIFFERENT
    raw = 1.0 if effect.p is None else effect.p
    aside = effect.contrast == "interaction" and is_open
    is_more = not is_open and (effect.estimate or 0.0) > 0
    return (aside, _RANK.index(effect.finding), is_more, p, raw, effect.metric.part is None)


def _plainly(study: ReportStudy) -> Iterator[str]:
    """What cannot be shown and why."""
    nothing = _nothing(study)
    if nothing:
        yield nothing
    elif study.comparison:
        yield from _limits(study.comparison)


def _nothing(study: ReportStudy) -> str:
    """Why there is no comparison at all."""
    if not study.done:
        runs = count_of(len(study.runs), "run")
        return f"Nothing can be said: none of {runs} ended well, so there is no result."
    labels = [each.label for each in study.configurations]
    if len(labels) == 1:
        runs = count_of(len(study.done), "run")
        return (
            f"No difference can be shown: there is one variant ({labels[0]}, {runs}) and nothing "
            "to compare it with."
        )
    if study.comparison is None:
        why = study.why_not_compared
        return f"No difference can be shown. {why[:1].upper()}{why[1:]}"
    if not study.comparison.blocks.runs:
        return (
            "No difference can be shown: no block (one seed with every variant once) is complete."
        )
    return ""


def _limits(found: Comparison) -> Iterator[str]:
    """What the comparison cannot show for want of joules or of blocks."""
    if found.energy.metric is None and not any(metric.part for metric in found.metrics):
        yield f"No energy is compared: {found.energy.words}."
    blocks = len(found.blocks.runs)
    if blocks < _FEWEST_BLOCKS:
        yield (
            f"No difference can be shown: there {_are(blocks)}, and an interval needs "
            f"{_FEWEST_BLOCKS}."
        )
    else:
        yield from (note for note in found.notes if "p cannot fall below" in note)


def _are(blocks: int) -> str:
    return f"{'is' if blocks == 1 else 'are'} {count_of(blocks, 'complete block')}"


def summary_section(study: ReportStudy) -> Block:
    """One line for each arm: what it cost, what it reached, and how sure both are."""
    rows = summary_rows(study)
    tables = (_summary(study, rows), _errors(study, rows))
    return Block(
        "summary", "By variant", _words(study), tables, claims=(_what_ran(study, len(rows)),)
    )


def _words(study: ReportStudy) -> tuple[str, ...]:
    photographs = [n for n in known_values(study.done, "n_test_photographs") if n]
    if not photographs:
        return (_WORDS,)
    few = (
        f"The test images were made from only {photographs[0]:g} photographs, so each accuracy is "
        "uncertain by the interval by photograph below, however many images or runs there are."
    )
    return (_WORDS, few)


def _what_ran(study: ReportStudy, configurations: int) -> Statement:
    images = sorted({str(run.row["dataset_id"]) for run in study.runs if run.row["dataset_id"]})
    values = {"done": len(study.done), "runs": len(study.runs), "arms": configurations}
    on = f" on {' and '.join(images)}" if images else ""
    text = (
        f"{values['done']} of {count_of(values['runs'], 'run')} finished, of "
        f"{count_of(values['arms'], 'variant')}{on}. Energy: {study.energy_words}."
    )
    return Statement("runs", text, RUNS_TABLE, "", values)


def _summary(study: ReportStudy, rows: Sequence[Row]) -> DataTable:
    energies = [_top(row, ENERGY) for row in rows]
    divisor, unit = energy_scale(max(energies, default=0.0))
    images = [_top(row, "energy_per_train_image_j") for row in rows]
    per_image, image_unit = energy_scale(max(images, default=0.0))
    headings = tuple(
        heading.format(unit if i == 2 else image_unit) for i, heading in enumerate(HEADINGS)
    )
    return DataTable(
        f"Mean of the runs of each variant{_how(rows)}. Runs: used of tried. Energy: "
        f"{study.energy_words}. To target: joules until the validation target was first reached "
        f"(the median, runs that never did counted as such), and how many runs did.{study.stamp}",
        headings,
        tuple(_line(row, divisor, per_image) for row in rows),
        source=SUMMARY_FILE,
        keys=tuple(str(row["arm"]) for row in rows),
    )


def _top(row: Row, column: str) -> float:
    return float(row[column] or 0.0)


def _how(rows: Sequence[Row]) -> str:
    """What stands in brackets, which depends on how many runs there are."""
    times = [found for row in rows if (found := mean_in(row, "time_train_s"))]
    kinds = {found.how for found in times} - {""}
    if any(found.low < 0 for found in times):
        return (
            f"{_HOW}; of so few and so different runs it may reach below zero, where no time lies"
        )
    if kinds == {T_INTERVAL}:
        return _HOW
    few = "with lowest and highest (–), for fewer than three runs give no interval"
    if T_INTERVAL in kinds:
        return f"{_HOW}, or {few}"
    return f", {few}" if kinds else ""


def _line(row: Row, divisor: float, per_image: float) -> tuple[str, ...]:
    return (
        str(row["arm"]),
        f"{row['n']} of {row['runs_tried']}",
        mean_words(mean_in(row, ENERGY), divisor),
        mean_words(mean_in(row, "balanced_accuracy")),
        mean_words(mean_in(row, "time_train_s")),
        mean_words(mean_in(row, "power_mean_w")),
        mean_words(mean_in(row, "energy_per_train_image_j"), per_image),
        target_words(row),
    )


def _errors(study: ReportStudy, rows: Sequence[Row]) -> DataTable:
    headings = (
        "variant",
        "energy with both errors",
        "net of idle",
        "accuracy",
        "95 % by photograph",
        "without leaks",
    )
    caption = (
        "What an interval over runs leaves out. Joules: ± runs (95 % t) and ± meter, which more "
        "runs do not shrink; net takes away what the idle machine would have drawn. Accuracy: the "
        "interval draws whole photographs, not images; of several runs the widest. 'Without "
        f"leaks': without test images of cells that TRAIN shows as well.{study.energy_stamp}"
    )
    lines = tuple(_error_line(row) for row in rows)
    return DataTable(caption, headings, lines, frozenset({0, 1}))


def _error_line(row: Row) -> tuple[str, ...]:
    net = mean_in(row, "primary_energy_train_above_idle_j")
    leakage_free = row["accuracy_leakage_free"]
    return (
        str(row["arm"]),
        both_errors(row) if row[ENERGY] is not None else UNKNOWN,
        human_energy(net.mean if net else None),
        mean_words(mean_in(row, "accuracy")),
        photographs_words(row),
        human_share(None if leakage_free is None else float(leakage_free)),
    )
