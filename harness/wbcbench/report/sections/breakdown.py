"""Where the joules go: by what a run does, by part of the machine, and what the study cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wbcbench.core.run_folder import study_runs
from wbcbench.core.study_folder import RUNS_TABLE, pilot_study
from wbcbench.core.text import (
    UNKNOWN,
    count_of,
    energy_scale,
    format_digits,
    human_energy,
    human_mass,
)
from wbcbench.core.trace import Domain, Origin
from wbcbench.core.units import kwh_from_j
from wbcbench.energy.bill import PARTS as PHASES
from wbcbench.energy.metrics import carbon_g, load_intensities, mean_known, sum_if_all_known
from wbcbench.report import Cells, DataTable, Part, Section, Statement, Value
from wbcbench.report.figures.breakdown import PARTS, build_breakdown_figure, collect_phases
from wbcbench.report.study import ReportStudy
from wbcbench.table.deleted import read_deleted
from wbcbench.table.derive import Sum, spent, sum_spent
from wbcbench.table.view import Run


def build_breakdown(study: ReportStudy) -> Section | None:
    """The joules of a whole run by phase and part; measured and estimated ones never in one sum."""
    rows = collect_phases(study)
    parts: list[Part] = [*build_cost_statement(study)]
    if not rows:
        return Section("breakdown", "Where the joules go", tuple(parts)) if parts else None
    parts.append(_build_totals(study, rows))
    parts.append(_build_bill(study, rows))
    parts.append(build_breakdown_figure(study, rows))
    return Section("breakdown", "Where the joules go", tuple(parts))


def _build_totals(study: ReportStudy, rows: Sequence[Cells]) -> DataTable:
    """A whole run of each variant: every part, and a sum for each status."""
    sums: dict[str, dict[tuple[str, str], float | None]] = {}
    for label, part, status, _, _, _, energy_j, _ in rows:
        own = sums.setdefault(str(label), {})
        key = (str(status), str(part))
        before = own.get(key, 0.0)
        own[key] = None if energy_j is None or before is None else before + float(energy_j)
    machine = PARTS[Domain.SYSTEM]
    found = dict.fromkeys(key for own in sums.values() for key in own)
    keys = sorted(found, key=lambda key: (key[1] == machine, Origin(key[0]).rank))
    columns: list[tuple[str, list[tuple[str, str]]]] = []
    for status in dict.fromkeys(status for status, part in keys if part != machine):
        members = [key for key in keys if key[0] == status and key[1] != machine]
        columns += [(f"{part}, {status}", [(state, part)]) for state, part in members]
        if len(members) > 1:
            columns.append((f"Sum, {status}", members))
    columns += [(f"Whole machine, {key[0]}", [key]) for key in keys if key[1] == machine]
    cells = [
        [sum_if_all_known([own.get(key) for key in members]) for _, members in columns]
        for own in sums.values()
    ]
    divisor, unit = energy_scale(max((j for row in cells for j in row if j is not None), default=0))
    owners = sorted({each.whose for each in study.evidence.values()} - {""})
    whose = "".join(f" {each}" for each in owners)
    return DataTable(
        f"One run from start to end, idle phases included, {unit}.{whose}{study.stamp}",
        ("Variant", *(heading for heading, _ in columns)),
        tuple(
            (label, *(UNKNOWN if j is None else format_digits(j / divisor) for j in row))
            for label, row in zip(sums, cells, strict=True)
        ),
        values=tuple((label, *row) for label, row in zip(sums, cells, strict=True)),
        styles=tuple(study.styles[label] for label in sums),
    )


def _build_bill(study: ReportStudy, rows: Sequence[Cells]) -> DataTable:
    """What a run does: seconds of all variants' runs, and joules of each one's first part."""
    first: dict[str, str] = {}
    for row in rows:
        first.setdefault(str(row[0]), str(row[1]))
    own = [row for row in rows if first[str(row[0])] == row[1]]
    joules = {(row[0], row[5]): row[6] for row in own}
    seconds = {phase: mean_known([row[7] for row in own if row[5] == phase]) for phase in PHASES}
    phases = [phase for phase in PHASES if seconds[phase] is not None]
    values = [(p, seconds[p], *(joules.get((label, p)) for label in first)) for p in phases]
    columns = [*zip(*(row[1:] for row in values), strict=True)]
    values.append(("whole run", *map(sum_if_all_known, columns)))
    parts = " and ".join(dict.fromkeys(first.values()))
    if study.energy_words.startswith(f"{parts},"):
        parts = study.energy_words
    cells = [[UNKNOWN if v is None else format_digits(float(v)) for v in row[1:]] for row in values]
    return DataTable(
        f"One run by what it does, {parts}; all but training, validation, test, inference and idle "
        f"is overhead.{' Seconds: mean of all variants.' if len(first) > 1 else ''}{study.stamp}",
        ("Part", "s", *(f"{label}, J" for label in first)),
        tuple((str(row[0]), *own) for row, own in zip(values, cells, strict=True)),
        values=tuple(values),
    )


def build_cost_statement(study: ReportStudy) -> tuple[Statement, ...]:
    """One sentence with the joules, kWh and grams of every run and pilot; none without joules.

    Deleted runs are runs without result.
    """
    folder, gone = study.folder, [each.spent for each in study.deleted]
    spoiled = [study.evidence[run].cost for run in study.runs if not run.is_done]
    total = sum_spent([*(study.evidence[run].cost for run in study.runs), *gone])
    wasted, deleted = sum_spent([*spoiled, *gone]), sum_spent(gone)
    pilots = _sum_pilots(folder.parent, pilot_study(study.name)) if folder else sum_spent(())
    if not total.energy_j:
        return ()
    values: dict[str, Value] = {
        "runs": total.runs,
        "runs_unknown": total.unknown,
        "runs_wasted": wasted.runs,
        "runs_deleted": deleted.runs,
        "pilots": pilots.runs,
    }
    for name, part in (
        ("energy", total),
        ("energy_wasted", wasted),
        ("energy_deleted", deleted),
        ("energy_pilots", pilots),
    ):
        values |= {f"{name}_{status}_j": j for status, j in sorted(part.energy_j.items())}
    whose = "" if deleted.runs else _name_part(study)  # nothing says whose those were
    runs = count_of(total.runs, "run")
    text = f"The {runs} used {_format_sum(total)}{whose}, idle phases included"
    machine_j = sum_if_all_known([_sum_machine(study, run) for run in study.runs])
    if machine_j and not deleted.runs and not whose.endswith("machine"):
        values["energy_machine_j"] = machine_j
        text += f"; the whole machine {human_energy(machine_j)}, measured"
    if total.unknown:
        text += f", and more that is not known of {count_of(total.unknown, 'run')}"
    if wasted.runs:
        since = f", {deleted.runs} of them deleted since" if deleted.runs else ""
        runs = f"{count_of(wasted.runs, 'run')}{since}"
        text += f"; {_format_sum(wasted)} of it without result ({runs})"
    if pilots.runs:
        text += f"; in addition {_format_sum(pilots)} in {count_of(pilots.runs, 'pilot run')}"
    return (Statement("cost", f"{text}.", RUNS_TABLE, "", values),)


def _name_part(study: ReportStudy) -> str:
    """`` by the GPU``: whose joules are summed; nothing where runs differ."""
    parts = study.distinct_values("primary_domain")
    names = {"gpu": "GPU", "cpu": "CPU", "system": "whole machine"}
    return f" by the {names.get(parts[0], parts[0])}" if len(parts) == 1 else ""


def _sum_machine(study: ReportStudy, run: Run) -> float | None:
    """Joules of the whole machine over a run, where a sensor has read all of them."""
    is_measured = run.origins[Domain.SYSTEM] == Origin.MEASURED
    return study.evidence[run].bill.whole.energy_j.get(Domain.SYSTEM) if is_measured else None


def _sum_pilots(results: Path, study: str) -> Sum:
    """What pilots cost, with those that are deleted."""
    there = [Run(run.read_record()) for run in study_runs(results, study) if run.is_finished]
    return sum_spent([*map(spent, there), *(each.spent for each in read_deleted(results / study))])


def _format_sum(total: Sum) -> str:
    """``1.44 MJ (0.401 kWh, 8.1–320 g CO2e by grid)``; joules of different status are not added."""
    grids = [grid.g_per_kwh for grid in load_intensities().values()]
    parts = []
    for status, energy_j in sorted(total.energy_j.items(), key=lambda item: Origin(item[0]).rank):
        low, high = (carbon_g(energy_j, end) for end in (min(grids), max(grids)))
        kind = "" if status == "measured" else f", {status}"
        grams = f"{human_mass(low)} to {human_mass(high)} CO2e by grid"
        parts.append(f"{human_energy(energy_j)}{kind} ({kwh_from_j(energy_j):.3g} kWh, {grams})")
    return " and ".join(parts) or "an unknown energy"
