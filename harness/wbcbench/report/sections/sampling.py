"""How the headline energy of each run was sampled, and what watching cost."""

from __future__ import annotations

from wbcbench.report import Block, DataTable
from wbcbench.report.evidence import ReportStudy

_COLUMNS = (
    ("headline_method", "how the energy was read"),
    ("headline_status", "status"),
    ("samples_train", "samples in training"),
    ("sample_gap_max_ms", "longest gap (ms)"),
    ("counter_vs_integral_pct", "counter vs integral (%)"),
    ("watcher_cpu_s", "watcher's CPU (s)"),
)


def section(study: ReportStudy) -> Block:
    """One line a run."""
    rows = tuple(
        (run.run_id, *(_cell(run.row[name]) for name, _ in _COLUMNS)) for run in study.runs
    )
    headings = ("run", *(words for _, words in _COLUMNS))
    words = "How the headline energy of each run was sampled, and what watching cost."
    caption = f"{words}{study.energy_stamp}"
    table = DataTable(caption, headings, rows, frozenset({0, 1, 2}))
    return Block("sampling", "Sampling of every run", tables=(table,), folded=True)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
