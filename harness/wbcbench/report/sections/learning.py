"""How the score grew with the joules, and what it cost to reach the target."""

from __future__ import annotations

from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import count_of, energy_scale, format_digits, human_duration
from wbcbench.report import DataTable, Part, Section, Statement
from wbcbench.report.figures.learning import build_learning_curves
from wbcbench.report.study import ReportStudy
from wbcbench.report.summaries import Row, build_summary_rows
from wbcbench.table.view import Run


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
    return Section("learning", "Learning and energy", (*parts, figure))


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
    heading = f"Energy to target, {unit}" if in_joules else "Time to target"
    lines = []
    for row in rows:
        cost = row["energy_to_target_j" if in_joules else "time_to_target_s"]
        reached = f"{row['target_reached']} of {row['target_runs']}"
        if cost is None:
            words = "never" if not row["target_reached"] else "not by half"
        else:
            words = format_digits(cost / divisor) if in_joules else human_duration(cost)
        lines.append((row["configuration"], reached, words))
    caption = (
        "Energy at the first validation at or above the target: Kaplan–Meier median, in which a "
        "run that never got there counts as one that costs more than it used."
    )
    return DataTable(
        f"{caption}{study.energy_stamp if in_joules else study.stamp}",
        ("Variant", "Reached by", heading),
        tuple(lines),
        styles=tuple(study.styles[row["configuration"]] for row in rows),
    )
