"""Figure 9: grams of CO2 equivalent of one training on different grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import count_of, human_energy, human_mass, mass_scale
from wbcbench.energy.metrics import Intensity, carbon_g, load_intensities
from wbcbench.report import DataTable, Figure, Place, Section, Statement
from wbcbench.report.figures import style
from wbcbench.report.study import ReportStudy, mean_of_known
from wbcbench.report.summaries import ENERGY, build_data_table

if TYPE_CHECKING:
    from wbcbench.report.figures.style import Canvas

# Large, well-known grids, spread over the range and the continents.
WELL_KNOWN = ("SWE", "FRA", "BRA", "GBR", "DEU", "USA", "JPN", "CHN", "AUS", "POL", "IND", "ZAF")
_ROW_IN = 0.22
_OWN = "named in its runs"

HEADINGS = ("grid", "zone", "year", "g/kWh", "CO2e (g)", "drawn")


@dataclass(frozen=True, slots=True)
class GridEmission:
    """One grid and what the study's mean training would emit there."""

    grid: Intensity
    co2e_g: float
    note: str = ""

    @property
    def label(self) -> str:
        """Country and note."""
        return f"{self.grid.country} ({self.note})" if self.note else self.grid.country


def build_carbon(study: ReportStudy) -> Section | None:
    """Grams of CO2 equivalent by place: what the same joules would have emitted on other grids.

    The mean training's joules times each grid's intensity; ``None`` without joules.
    """
    energy_j = mean_of_known(study.comparable, ENERGY)
    if energy_j is None:
        return None
    pue = float(study.comparable[0].row["pue"])
    own = {str(zone) for run in study.comparable if (zone := run.row["carbon_zone"])}
    places = _compute_emissions(energy_j, pue, own)
    words = (
        f"Estimated: joules / 3.6e6 × PUE {pue:g} × yearly mean of the grid, of that part of the "
        "machine alone, without the making of the hardware; a yearly mean says nothing of the hour."
    )
    statement = _build_statement(study, energy_j, places)
    low, high = (human_mass(place.co2e_g) for place in (places[0], places[-1]))
    parts = (statement, words, _build_figure(study, places, pue))
    return Section("carbon", "CO2e by grid", parts, Place.FOLDED, f"{low} to {high} a training")


def _compute_emissions(energy_j: float, pue: float, own: set[str]) -> list[GridEmission]:
    """Every grid of the table by rising intensity, with a note on the extremes and its own."""
    grids = sorted(load_intensities().values(), key=lambda grid: (grid.g_per_kwh, grid.zone))
    notes = {grids[-1].zone: "highest", grids[len(grids) // 2].zone: "median"}
    notes[grids[0].zone] = "lowest"
    notes |= {zone: f"{notes[zone]}, {_OWN}" if zone in notes else _OWN for zone in own}
    emissions = []
    for grid in grids:
        co2e_g = carbon_g(energy_j, grid.g_per_kwh, pue)
        if co2e_g is not None:
            emissions.append(GridEmission(grid, co2e_g, notes.get(grid.zone, "")))
    return emissions


def _build_statement(study: ReportStudy, energy_j: float, places: list[GridEmission]) -> Statement:
    low, high, runs = places[0], places[-1], len(study.comparable)
    own = " and ".join(
        f"{human_mass(place.co2e_g)} CO2e in {place.grid.country}, the country {_OWN}"
        for place in places
        if _OWN in place.note
    )
    ends = (
        f"{human_mass(low.co2e_g)} in {low.grid.country}",
        f"{human_mass(high.co2e_g)} in {high.grid.country}",
    )
    text = (
        f"One training used {human_energy(energy_j)} on average of {count_of(runs, 'run')}"
        f"{f' ({study.energy_kind.strip()})' if study.energy_kind else ''}: "
    )
    if own:
        text += f"{own}; the same joules would be {' and '.join(ends)}."
    else:
        text += f"{ends[0]}, {ends[1]}; no country of the table was set (--country)."
    values = {
        "runs": runs,
        "primary_energy_train_j": energy_j,
        "co2e_lowest_g": low.co2e_g,
        "co2e_highest_g": high.co2e_g,
    }
    return Statement("carbon", text, RUNS_TABLE, "", values)


def _build_figure(study: ReportStudy, places: list[GridEmission], pue: float) -> Figure:
    drawn = [place for place in places if place.note or place.grid.zone in WELL_KNOWN]
    sources = sorted({place.grid.source.rpartition(",")[0] for place in places})
    years = sorted({place.grid.year for place in places})
    source = f"{'; '.join(sources)} (MIT licence), yearly means of {years[0]}–{years[-1]}"
    rows = [
        (place.label, place.grid.zone, place.grid.year, place.grid.g_per_kwh, place.co2e_g,
         "yes" if place in drawn else "no")
        for place in places
    ]  # fmt: skip
    square = f"Square: {_OWN}. " if any(_OWN in place.note for place in places) else ""
    return Figure(
        "carbon-places",
        "CO2e of one training by grid",
        "; ".join(f"{place.label}: {human_mass(place.co2e_g)}" for place in drawn),
        f"Estimated, log axis; {len(drawn)} of {len(places)} grids, PUE {pue:g}. {square}"
        f"Diamond: lowest, median, highest. Source: {source}.{study.stamp}",
        build_data_table(f"{source}.{study.stamp}", HEADINGS, rows, (0, 1, 5)),
        draw_carbon,
    )


def draw_carbon(data: DataTable) -> Canvas:
    """Draw the chosen rows of the table of grids."""
    places = [row for row in data.select("grid", "CO2e (g)", "drawn") if row[2] == "yes"]
    canvas, plot = style.create_plot((style.WIDTH_IN, 1.0 + _ROW_IN * len(places)))
    divisor, unit = mass_scale(max(co2e_g for _, co2e_g, _ in places))
    for row, (label, co2e_g, _) in enumerate(places):
        shape, colour = ("D", style.INK) if "(" in label else ("o", style.COLOURS[0])
        if _OWN in label:
            shape, colour = "s", style.COLOURS[1]
        plot.plot([co2e_g / divisor], [row], shape, color=colour, markersize=7, markeredgewidth=0)
    plot.set_xscale("log")
    plot.margins(x=0.12)
    plot.set_yticks(range(len(places)), [label for label, _, _ in places], fontsize=9)
    plot.set_xlabel(f"CO2e of one training ({unit}, log scale)")
    plot.xaxis.set_major_formatter("{x:g}")
    return canvas
