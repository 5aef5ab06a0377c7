"""What a study has cost the world: kilowatt-hours by status, and grams of CO2 equivalent.

Joules of different status are never added. The grams are of the status that the finished runs'
headline has; they are derived from energy by one multiplier and rank nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wbcbench.bundle.document import EnergyTotals, MeterState, Submission
from wbcbench.bundle.study import SubmittedStudy
from wbcbench.energy.metrics import DEFAULT_PUE, Intensity, carbon_g, intensities, intensity

_PARTS = {"gpu": "GPU", "cpu": "processor", "dram": "memory", "system": "whole machine"}
ABSENT = "absent"


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
    headline = made.meter["headline"]
    totals, status = made.energy_total_j, headline.status
    energy_j = _all_of(totals, status)
    grid = intensity(study.spec.country)
    grids = sorted(intensities().values(), key=lambda each: (each.g_per_kwh, each.zone))
    domain = str(study.fact("headline_domain"))
    return Impact(
        part=_PARTS.get(domain, domain),
        method=headline.method,
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
