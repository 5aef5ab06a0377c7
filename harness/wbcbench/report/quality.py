"""How far the numbers can be trusted: meters, samples, doubts with advice, and what is absent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from wbcbench.joules.headline import spoken_energy_j
from wbcbench.joules.metrics import sum_if_all_known
from wbcbench.report import Block, DataTable
from wbcbench.report.page.evidence import Evidence, Run
from wbcbench.verdict import Caution, Severity
from wbcbench.writing.show_units import count_of, human_energy

_WEIGHT = {Severity.INVALID: 0, Severity.SUSPECT: 1, Severity.INFO: 2}


def section(study: Evidence) -> Block:
    """Measurement quality in words, then every kind of doubt."""
    tables = [table for table in (_meters(study), _doubts(study)) if table.rows]
    return Block("quality", "Measurement quality", tuple(_words(study)), tuple(tables))


def _words(study: Evidence) -> Iterator[str]:
    whole_j = [_whole_run_j(run) for run in study.runs]
    known_j = [energy_j for energy_j in whole_j if energy_j is not None]
    statuses = {run.row["headline_status"] for run in study.runs}
    if known_j and len(statuses) == 1:
        yield (
            f"{count_of(len(known_j), 'run')} with known energy, idle phases and failed runs "
            f"included, used {human_energy(sum(known_j))} in all ({statuses.pop()})."
        )
    absent = Counter((a.meter, a.reason) for run in study.runs for a in run.record.absent)
    for (meter, reason), count in sorted(absent.items()):
        yield f"Meter {meter} was absent in {count} of {count_of(len(study.runs), 'run')}: {reason}"


def _whole_run_j(run: Run) -> float | None:
    phases = run.view.phases
    return sum_if_all_known(
        [spoken_energy_j(run.record, run.view.headline, phase.name) for phase in phases]
    )


def _meters(study: Evidence) -> DataTable:
    names = (
        "headline_method",
        "headline_status",
        "samples_train",
        "sample_gap_max_ms",
        "counter_vs_integral_pct",
        "watcher_cpu_s",
    )
    rows = tuple(
        (run.record.run_id, *(_cell(run.row[name]) for name in names)) for run in study.runs
    )
    headings = (
        "run",
        "how the energy was read",
        "status",
        "samples in training",
        "longest gap (ms)",
        "counter vs integral (%)",
        "watcher's CPU (s)",
    )
    caption = "How the headline energy of each run was sampled, and what watching cost."
    return DataTable(caption, headings, rows, frozenset({0, 1, 2}))


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _doubts(study: Evidence) -> DataTable:
    """Each kind of doubt once, the gravest first, with the first run that has it."""
    found: dict[tuple[int, str, str, str], list[tuple[str, Caution]]] = {}
    for run in study.runs:
        for caution in run.record.cautions:
            key = (_WEIGHT[caution.severity], caution.code, caution.window, caution.channel)
            found.setdefault(key, []).append((run.record.run_id, caution))
    rows = tuple(_doubt_line(*found[key][0], _runs(found[key])) for key in sorted(found))
    headings = ("doubt", "weight", "window", "runs", "what was seen", "in", "what to do")
    caption = (
        "Doubts and remarks that were stored with the runs, each kind once. Invalid and suspect "
        "weigh in the verdict; info does not."
    )
    return DataTable(caption, headings, rows, frozenset({0, 1, 2, 4, 5, 6}))


def _runs(found: list[tuple[str, Caution]]) -> int:
    return len({run_id for run_id, _ in found})


def _doubt_line(run_id: str, caution: Caution, runs: int) -> tuple[str, ...]:
    window = caution.window or "whole run"
    weight = caution.severity.value
    return (caution.code, weight, window, str(runs), caution.detail, run_id, caution.advice)
