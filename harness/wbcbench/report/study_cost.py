"""What the whole study cost: good runs, failed ones, idle phases and pilots, none left out."""

from __future__ import annotations

from wbcbench.core.run_folder import study_runs
from wbcbench.core.study_folder import pilot_study
from wbcbench.core.text import count_of, human_energy
from wbcbench.core.units import kwh_from_j
from wbcbench.report import Statement, Value
from wbcbench.report.evidence import ReportStudy
from wbcbench.table.derive import Sum, spent, summed


def cost_claim(study: ReportStudy) -> tuple[Statement, ...]:
    """One sentence with the joules of everything that was carried out; none without joules."""
    all_runs, wasted = _sums(study)
    pilots = _pilots(study)
    if not all_runs.energy_j:
        return ()
    values: dict[str, Value] = {
        "runs": all_runs.runs,
        "runs_unknown": all_runs.unknown,
        "runs_wasted": wasted.runs,
        "pilots": pilots.runs,
        **{f"energy_{status}_j": j for status, j in sorted(all_runs.energy_j.items())},
        **{f"energy_wasted_{status}_j": j for status, j in sorted(wasted.energy_j.items())},
        **{f"energy_pilots_{status}_j": j for status, j in sorted(pilots.energy_j.items())},
    }
    return (Statement("cost", _words(all_runs, wasted, pilots), "runs.csv", "", values),)


def _words(all_runs: Sum, wasted: Sum, pilots: Sum) -> str:
    told = (
        f"The whole study used {_joules(all_runs)}: {count_of(all_runs.runs, 'run')}, idle phases "
        "and failed runs included"
    )
    if all_runs.unknown:
        told += f", and more that is not known of {count_of(all_runs.unknown, 'run')}"
    if wasted.runs:
        told += f"; {_joules(wasted)} of it went into {count_of(wasted.runs, 'run')} without result"
    if pilots.runs:
        told += f"; beside these, {count_of(pilots.runs, 'pilot run')} used {_joules(pilots)}"
    return f"{told}."


def _joules(found: Sum) -> str:
    """``1.44 MJ (0.401 kWh, measured)``; joules of different status are not added."""
    parts = [
        f"{human_energy(energy_j)} ({kwh_from_j(energy_j):.3g} kWh, {status})"
        for status, energy_j in sorted(found.energy_j.items())
    ]
    return " and ".join(parts) or "an unknown energy"


def _sums(study: ReportStudy) -> tuple[Sum, Sum]:
    bad = [run for run in study.runs if not run.is_done]
    return (
        summed(spent(run.record) for run in study.runs),
        summed(spent(run.record) for run in bad),
    )


def _pilots(study: ReportStudy) -> Sum:
    if study.folder is None:
        return summed(())
    runs = study_runs(study.folder.parent, pilot_study(study.name))
    return summed(spent(run.read_record()) for run in runs if run.is_finished)
