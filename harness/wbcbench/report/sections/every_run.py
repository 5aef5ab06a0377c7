"""Every run, failed ones included: nothing that was tried is left out."""

from __future__ import annotations

from wbcbench.core.text import human_duration, human_energy, human_share
from wbcbench.report import Block, DataTable
from wbcbench.report.evidence import ReportStudy
from wbcbench.table.view import Run

HEADINGS = (
    "run",
    "status",
    "verdict",
    "why",
    "accuracy",
    "95 % by photograph",
    "without leaks",
    "energy, training",
    "read as",
    "time, training",
    "epochs",
)
_WORDS = frozenset({0, 1, 2, 3, 8})


def section(study: ReportStudy) -> Block:
    """One line a run."""
    rows = tuple(_line(run) for run in study.runs)
    caption = f"Every run of the study with a record. Energy is gross.{study.energy_stamp}"
    keys = tuple(run.run_id for run in study.runs)
    table = DataTable(caption, HEADINGS, rows, _WORDS, "runs.csv", keys)
    return Block("runs", "Every run", tables=(table,), folded=True)


def _line(run: Run) -> tuple[str, ...]:
    row, error = run.row, run.record.error
    read_as = " ".join(str(row[n] or "") for n in ("headline_domain", "headline_status"))
    return (
        run.run_id,
        str(row["status"]) + (", synthetic" if row["synthetic"] else ""),
        str(row["verdict"]),
        f"{error.kind}: {error.message}" if error else "–",
        human_share(row["accuracy"]),
        _interval(run),
        human_share(row["accuracy_leak_free"]),
        human_energy(run.train_energy_j),
        read_as.strip(),
        human_duration(row["time_train_s"]),
        f"{row['epochs_run']} of {row['epochs_planned']}",
    )


def _interval(run: Run) -> str:
    low, high = run.row["accuracy_ci_low"], run.row["accuracy_ci_high"]
    return "unknown" if low is None or high is None else f"{low:.2f}–{high:.2f}"
