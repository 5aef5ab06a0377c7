"""The documents of a bundle, and what its study has cost the world.

Each document is a template of ``templates/`` filled from ``submission.json`` and the study; what
only a person can answer stands there as ``[author]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from wbcbench.bundle import layout
from wbcbench.bundle.describe import SubmittedStudy
from wbcbench.bundle.document import EnergyTotals, MeterState, Submission
from wbcbench.compare.render import comparison_tables
from wbcbench.core.files import write_atomically
from wbcbench.core.text import count_of, human_duration, human_energy, human_mass, markdown_table
from wbcbench.core.units import kg_from_g, kwh_from_j
from wbcbench.energy.metrics import DEFAULT_PUE, Intensity, carbon_g, intensities, intensity
from wbcbench.table.derive import spent

if TYPE_CHECKING:
    from jinja2 import Environment

PAPERS = (
    layout.README, layout.CITATION, layout.LICENCE, layout.MODEL_CARD, layout.IMPACT,
    layout.APPENDIX, layout.CHECKLIST,
)  # fmt: skip
_MIT = "MIT"

_PARTS = {"gpu": "GPU", "cpu": "processor", "dram": "memory", "system": "whole machine"}
ABSENT = "absent"


def write_papers(study: SubmittedStudy, made: Submission) -> None:
    """Write every paper."""
    facts = _facts(study, made)
    for name in PAPERS:
        text = _environment().get_template(f"{name}.j2").render(facts)
        write_atomically(study.payload / name, text.encode())


@cache
def _environment() -> Environment:
    """Plain text, not HTML: values are made harmless by the filters that name their place."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("wbcbench.bundle", "templates"),
        autoescape=False,  # Markdown and YAML; see the filters
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "yaml": lambda value: json.dumps(value, ensure_ascii=False),
        "md": _markdown_text,
        "j": human_energy,
        "s": human_duration,
        "g": human_mass,
        "kwh": lambda energy_j: f"{kwh_from_j(energy_j):.3g} kWh",
        "kg": lambda mass_g: f"{kg_from_g(mass_g):.3g} kg",
        "count": count_of,
        "answer": _answer,
    }
    return environment


def _facts(study: SubmittedStudy, made: Submission) -> dict[str, Any]:
    cost = impact(study, made)
    return {
        "made": made,
        "spec": study.spec,
        "fact": study.fact,
        "different": study.different,
        "plan": study.plan,
        "about": study.plan.about if study.plan else "",
        "impact": cost,
        "hardware": study.fact("gpu_name") or study.fact("cpu_model") or "unknown",
        "place": cost.grid.country if cost.grid else study.spec.country,
        "source": _source(made, cost),
        "tables": _tables(study),
        "wall_s": _wall_s(study),
        "payload_bytes": sum(p.stat().st_size for p in layout.payload_files(study.payload.parent)),
        "year": made.created_utc[:4],
        "date": made.created_utc[:10],
        "has_lock": (study.payload / layout.LOCK).exists(),
        "results_folder": layout.study_dir(study.name).as_posix(),
        "report_folder": layout.report_dir(study.name).as_posix(),
        "is_mit": made.licence == _MIT,
        "skipped": [each for r in study.records if r.dataset for each in r.dataset.skipped],
        "n_runs": len(study.runs),
    }


def _source(made: Submission, cost: Impact) -> str:
    """Where the grams come from, in one line for the front matter."""
    return (
        f"wbcbench {made.wbcbench_version} ({cost.method}, {cost.status}); "
        f"{cost.part} energy of every run and pilot, failed ones included"
    )


def _tables(study: SubmittedStudy) -> Mapping[str, str]:
    """The comparison's tables in Markdown, by title."""
    if study.comparison is None:
        return {}
    return {
        each.title: "\n\n".join([markdown_table(each.headings, each.rows), *each.below])
        for each in comparison_tables(study.comparison)
    }


def _wall_s(study: SubmittedStudy) -> float | None:
    """Wall-clock seconds of all runs together."""
    known = [time_s for r in study.records if (time_s := spent(r).time_s) is not None]
    return sum(known) if known else None


def _answer(value: Any) -> str:
    """Yes, no, or what nobody but the author knows."""
    if value is None:
        return "[author]"
    return {True: "Yes", False: "No"}.get(value, str(value)) if isinstance(value, bool) else value


def _markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, on one line: no markup, no HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", " ".join(str(text).split()))


# Joules of different status are never added. The grams are of the status that the finished runs'
# headline has; they are derived from energy by one multiplier and rank nothing.
@dataclass(frozen=True, slots=True)
class Impact:
    """What the statement of impact says; ``None`` is unknown.

    Attributes:
        part: Of the machine whose joules these are.
        method, status: How they were got.
        energy_j: Of every run and pilot.
        wasted_j, pilot_j: Of those that failed or were discarded, and of pilots; within the first.
        other_j: Joules of other status, by status; never added to the first.
        grid: The grid of the plan's country.
        co2e_g: Grams of CO2 equivalent.
        cleanest, dirtiest: The grids at both ends of the table, with the grams there.
        others: What is known of the parts that are not in these joules.
    """

    part: str
    method: str
    status: str
    energy_j: float | None
    wasted_j: float
    pilot_j: float
    other_j: Mapping[str, float]
    grid: Intensity | None
    co2e_g: float | None
    cleanest: tuple[Intensity, float | None]
    dirtiest: tuple[Intensity, float | None]
    others: tuple[str, ...]
    pue: float = DEFAULT_PUE


def impact(study: SubmittedStudy, made: Submission) -> Impact:
    """Work the statement out."""
    primary = made.meter["headline"]
    totals, status = made.energy_total_j, primary.status
    energy_j = _all_of(totals, status)
    grid = intensity(study.spec.country)
    grids = sorted(intensities().values(), key=lambda each: (each.g_per_kwh, each.zone))
    domain = str(study.fact("primary_domain"))
    return Impact(
        part=_PARTS.get(domain, domain),
        method=primary.method,
        status=status,
        energy_j=energy_j,
        wasted_j=totals.wasted.get(status, 0.0),
        pilot_j=totals.pilot.get(status, 0.0),
        other_j=_other(totals, status),
        grid=grid,
        co2e_g=carbon_g(energy_j, grid.g_per_kwh if grid else None),
        cleanest=(grids[0], carbon_g(energy_j, grids[0].g_per_kwh)),
        dirtiest=(grids[-1], carbon_g(energy_j, grids[-1].g_per_kwh)),
        others=tuple(_other_parts(made.meter, domain)),
    )


def _all_of(totals: EnergyTotals, status: str) -> float | None:
    if status not in totals.study:
        return None
    return totals.study[status] + totals.pilot.get(status, 0.0)


def _other(totals: EnergyTotals, status: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in (totals.study, totals.pilot):
        for name, energy_j in part.items():
            if name != status:
                found[name] = found.get(name, 0.0) + energy_j
    return found


def _other_parts(meter: Mapping[str, MeterState], domain: str) -> list[str]:
    """One clause for each part that the headline leaves out."""
    said = []
    for part in ("gpu", "cpu", "dram"):
        state = meter[part]
        if part == domain:
            continue
        name = _PARTS[part]
        if state.status == ABSENT:
            said.append(f"{name}: not counted")
        else:
            said.append(f"{name}: {state.status} ({state.method}), in the records, not added here")
    return said
