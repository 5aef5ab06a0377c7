"""How the score grew with the joules, and what it cost to reach the target."""

from __future__ import annotations

from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import count_of, energy_scale, format_digits, human_duration
from wbcbench.report import DataTable, Part, Section, Statement
from wbcbench.report.figures.learning import build_learning_curves
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import NONE, Row, build_summary_rows, compute_mean, format_means
from wbcbench.stats.intervals import Scale
from wbcbench.table.view import Run

_COURSE: tuple[tuple[str, Scale, float], ...] = (
    ("final_train_accuracy", "share", 0.01),
    ("validation_movement", "share", 0.01),
    ("epochs_until_near_best", "ratio", 1.0),
)
"""Measure, what it can be, and the unit it is shown in."""


def build_learning(study: ReportStudy) -> Section | None:
    """Learning curves over joules, and the energy until the target of the plan was reached."""
    figure = build_learning_curves(study)
    if figure is None:
        return None
    parts: list[Part] = [_describe_target(study)]
    rows = [row for row in build_summary_rows(study) if row["target_runs"]]
    is_one_target = len({_get_target(run) for run in study.done}) == 1
    if rows and is_one_target:
        parts.append(_build_table(study, rows))
    parts += [_build_course(study), figure]
    return Section("learning", "Learning and energy", tuple(parts))


def _get_target(run: Run) -> tuple[str, float]:
    return run.spec.target_metric, run.spec.target_value


def _describe_target(study: ReportStudy) -> Statement:
    """How many reached the target that was fixed before the runs."""
    runs = [run for each in study.configurations for run in study.metered(each) or study.used(each)]
    targets = {_get_target(run) for run in runs}
    reached = sum(bool(run.row["target_reached"]) for run in runs)
    values = {"target_reached": reached, "runs": len(runs), "targets": len(targets)}
    if len(targets) > 1:
        text = "The runs had different targets, so none is drawn."
    else:
        metric, value = min(targets)
        name = metric.replace("val_", "validation ").replace("_", " ")
        text = (
            f"{reached} of {count_of(len(runs), 'run')} reached the target, a {name} of {value:g}."
        )
    return Statement("reached", text, RUNS_TABLE, "", values)


def _build_table(study: ReportStudy, rows: list[Row]) -> DataTable:
    divisor, unit = energy_scale(max(row["energy_to_target_j"] or 0.0 for row in rows))
    in_joules = bool(study.comparable)

    def describe_cost(row: Row, cost: float | None, words: str) -> str:
        never = "never" if not row["target_reached"] else "not by half"
        return never if cost is None else words

    lines = []
    for row in rows:
        energy_j, time_s = row["energy_to_target_j"], row["time_to_target_s"]
        joules = [describe_cost(row, energy_j, format_digits((energy_j or 0.0) / divisor))]
        seconds = describe_cost(row, time_s, human_duration(time_s or 0.0))
        reached = f"{row['target_reached']} of {row['target_runs']}"
        lines.append((row["configuration"], reached, *(joules if in_joules else []), seconds))
    caption = (
        "Training steps, without the validations between them, up to the first validation at or "
        "above the target: Kaplan–Meier median, in which a run that never got there counts as one "
        "that costs more than it used."
    )
    energy = [f"Energy to target, {unit}"] if in_joules else []
    return DataTable(
        f"{caption}{study.energy_stamp if in_joules else study.stamp}",
        ("Variant", "Reached by", *energy, "Time to target"),
        tuple(lines),
        styles=tuple(study.styles[row["configuration"]] for row in rows),
    )


def _build_course(study: ReportStudy) -> DataTable:
    """Whether and how each variant learned, over its runs."""
    rows = [
        (configuration.label, [study.evidence[run].learning for run in own])
        for configuration in study.configurations
        if (own := study.used(configuration))
    ]

    def collect(name: str) -> list[list[float]]:
        return [[v for each in own if (v := each[name]) is not None] for _, own in rows]

    stuck = [f"{sum(own):.0f} of {len(own)}" if own else NONE for own in collect("stuck")]
    columns: list[list[str]] = [
        format_means([compute_mean(own, scale) for own in collect(name)], unit)
        for name, scale, unit in _COURSE
    ]
    return DataTable(
        "Mean over runs [95 % CI]. At chance: the last epoch's training accuracy is below 1.2 × "
        "chance; with dropout that accuracy is of the thinned network. Swing: change of the "
        "validation accuracy from one epoch to the next, last half of the epochs. Near its best: "
        f"first epoch within 2 pp of the run's highest validation accuracy.{study.stamp}",
        ("Variant", "At chance", "Training accuracy, %", "Swing, pp", "Near its best, epoch"),
        tuple(zip([label for label, _ in rows], stuck, *columns, strict=True)),
        styles=tuple(study.styles[label] for label, _ in rows),
    )
