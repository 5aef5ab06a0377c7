"""One line for each arm: what it cost, what it reached, and how sure both are."""

from __future__ import annotations

from collections.abc import Sequence

from wbcbench.core.text import UNKNOWN, count_of, energy_scale, human_energy, human_share
from wbcbench.report import Block, DataTable, Statement
from wbcbench.report.evidence import ReportStudy, known
from wbcbench.report.means import T_INTERVAL, told
from wbcbench.report.summary_rows import ENERGY, FILE, Row, mean_in, summary_rows
from wbcbench.report.summary_words import both_errors, photographs_words, target_words

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


def section(study: ReportStudy) -> Block:
    """What ran, and a table by arm."""
    rows = summary_rows(study)
    tables = (_summary(study, rows), _errors(study, rows))
    return Block(
        "summary", "By variant", _words(study), tables, claims=(_what_ran(study, len(rows)),)
    )


def _words(study: ReportStudy) -> tuple[str, ...]:
    photographs = [n for n in known(study.done, "n_test_photographs") if n]
    if not photographs:
        return (_WORDS,)
    few = (
        f"The test images were made from only {photographs[0]:g} photographs, so each accuracy is "
        "uncertain by the interval by photograph below, however many images or runs there are."
    )
    return (_WORDS, few)


def _what_ran(study: ReportStudy, arms: int) -> Statement:
    images = sorted({str(run.row["dataset_id"]) for run in study.runs if run.row["dataset_id"]})
    values = {"done": len(study.done), "runs": len(study.runs), "arms": arms}
    on = f" on {' and '.join(images)}" if images else ""
    text = (
        f"{values['done']} of {count_of(values['runs'], 'run')} finished, of "
        f"{count_of(values['arms'], 'variant')}{on}. Energy: {study.energy_words}."
    )
    return Statement("runs", text, "runs.csv", "", values)


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
        source=FILE,
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
        told(mean_in(row, ENERGY), divisor),
        told(mean_in(row, "balanced_accuracy")),
        told(mean_in(row, "time_train_s")),
        told(mean_in(row, "power_mean_w")),
        told(mean_in(row, "energy_per_train_image_j"), per_image),
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
    net = mean_in(row, "headline_energy_train_net_j")
    leak_free = row["accuracy_leak_free"]
    return (
        str(row["arm"]),
        both_errors(row) if row[ENERGY] is not None else UNKNOWN,
        human_energy(net.mean if net else None),
        told(mean_in(row, "accuracy")),
        photographs_words(row),
        human_share(None if leak_free is None else float(leak_free)),
    )
