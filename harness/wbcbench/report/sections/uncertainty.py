"""Where the uncertainty of the joules comes from, and what of it a difference is free of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from wbcbench.core.record import Budget
from wbcbench.core.text import UNKNOWN, human_energy
from wbcbench.core.window import TRAIN
from wbcbench.energy.metrics import mean_known, sum_if_all_known
from wbcbench.report import Block, DataTable
from wbcbench.report.evidence import ReportStudy, average
from wbcbench.report.summary_rows import summary_rows
from wbcbench.table.view import Run

_SHARED = "yes, on one machine"
_PARTS: tuple[tuple[str, str, Callable[[Budget], float | None], str], ...] = (
    ("gain", "the sensor reads too high or too low throughout", lambda b: b.gain_j, _SHARED),
    ("quantisation", "steps of the counter or of the reading", lambda b: b.quantisation_j, "no"),
    ("edges", "when the window began and ended", lambda b: b.edges_j, "no"),
    ("sampling", "what went on between two readings", lambda b: b.sampling_j, "no"),
    ("baseline", "the idle power, in net joules only", lambda b: b.baseline_j, "no"),
)
_CANCELS = (
    "What cancels: a constant gain error of the sensor cancels in percentage differences between "
    "runs on one machine. What does not cancel: an offset, a gain that changes with the load, "
    "bursts that the sensor missed, and anything that differs between machines. No more is claimed."
)


def section(study: ReportStudy) -> Block:
    """The budget of the training joules, and the sentence of what cancels."""
    runs = study.comparable
    tables = (_table(study),) if runs else ()
    return Block("uncertainty", "How uncertain the joules are", tuple(_words(study)), tables)


def _words(study: ReportStudy) -> Iterator[str]:
    if not study.comparable:
        yield "No joules, so no uncertainty of joules."
        return
    if study.comparable[0].row["headline_status"] in {"modelled", "estimated"}:
        yield (
            f"The joules are {study.comparable[0].row['headline_status']}: nothing here knows how "
            "far such a model is from the truth, so no ± is stated for it. Published comparisons "
            "found such models up to 40 % off."
        )
    yield _CANCELS


def _table(study: ReportStudy) -> DataTable:
    energy_j = average(study.comparable, "headline_energy_train_j")
    rows = [
        (name, what, *_cells(_mean_part_j(study.comparable, read), energy_j), cancels)
        for name, what, read, cancels in _PARTS
    ]
    runs_j = mean_known([_number(row["energy_runs_j"]) for row in summary_rows(study)])
    rows.append(
        ("runs", "run-to-run, half of the 95 % t interval", *_cells(runs_j, energy_j), "no")
    )
    headings = ("part", "what it is", "±", "of the joules", "cancels in differences")
    caption = (
        "Half-widths at about 95 %, mean over runs (for run-to-run: over variants). Energy: "
        f"{study.energy_words}.{study.stamp}"
    )
    return DataTable(caption, headings, tuple(rows), frozenset({0, 1, 4}))


def _cells(part_j: float | None, energy_j: float | None) -> tuple[str, str]:
    if part_j is None or not energy_j:
        return human_energy(part_j), UNKNOWN
    percent = 100 * part_j / energy_j
    return human_energy(part_j), f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _mean_part_j(runs: Sequence[Run], read: Callable[[Budget], float | None]) -> float | None:
    return mean_known([_part_j(run, read) for run in runs])


def _part_j(run: Run, read: Callable[[Budget], float | None]) -> float | None:
    """A part of the training window's uncertainty, the headline's devices added."""
    if run.row["headline_status"] in {"modelled", "estimated"} or run.headline is None:
        return None
    channels = run.headline.channels
    budgets = [b for b in run.record.budgets if b.window == TRAIN and b.channel in channels]
    return sum_if_all_known([read(budget) for budget in budgets]) if budgets else None
