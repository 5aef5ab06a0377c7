"""Grams of CO2 equivalent by place: what the same joules would have emitted on other grids."""

from __future__ import annotations

from dataclasses import dataclass

from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import count_of, human_energy, human_mass, mass_scale
from wbcbench.energy.metrics import Intensity, carbon_g, load_intensities, mean_known
from wbcbench.report import Block, DataTable, Figure, Statement, drawing
from wbcbench.report.study import ReportStudy

# Large, well-known grids, spread over the range and the continents.
WELL_KNOWN = ("SWE", "FRA", "BRA", "GBR", "DEU", "USA", "JPN", "CHN", "AUS", "POL", "IND", "ZAF")
_ROW_IN = 0.28
_OWN = "named in its runs"


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


def build_carbon(study: ReportStudy) -> Block | None:
    """Grams of CO2 equivalent by place: what the same joules would have emitted on other grids.

    The mean training's joules times each grid's intensity; ``None`` without joules.
    """
    energy_j = mean_known([run.train_energy_j for run in study.comparable])
    if energy_j is None:
        return None
    pue = float(study.comparable[0].row["pue"])
    own = {str(zone) for run in study.comparable if (zone := run.row["carbon_zone"])}
    places = _compute_emissions(energy_j, pue, own)
    words = (
        f"Estimated: joules / 3.6e6 × PUE {pue:g} × yearly mean of the grid. Operational energy of "
        "the part named above alone: not the rest of the machine, not the building beyond the "
        "PUE, not the making of the hardware; and a yearly mean says nothing of the hour."
    )
    figure, claim = _build_figure(study, places, pue), _build_claim(study, energy_j, places)
    title = "CO2e and place"
    return Block("carbon", title, (words,), figures=(figure,), folded=True, claims=(claim,))


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


def _build_claim(study: ReportStudy, energy_j: float, places: list[GridEmission]) -> Statement:
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
    times = f"{high.co2e_g / low.co2e_g:.0f} times as much"
    text = (
        f"One training used {human_energy(energy_j)} on average of {count_of(runs, 'run')} "
        f"({study.energy_words}). "
    )
    if own:
        text += f"That is {own}; the same joules would be {' and '.join(ends)}, {times}. "
    else:
        text += (
            f"By the grid that is between {ends[0]} and {ends[1]} of CO2e, {times}: no country of "
            "the table was set (--country). "
        )
    text += "The factor is the same for every variant, so CO2e ranks nothing that joules do not."
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
    source = (
        f"Intensities: {'; '.join(sources)} (MIT licence), yearly means of {years[0]}–{years[-1]}."
    )
    square = f"Square: {_OWN}. " if any(_OWN in place.note for place in places) else ""
    caption = (
        f"CO2e of one training, estimated, on the grids of {len(drawn)} of {len(places)} "
        f"countries; the horizontal axis grows tenfold at each line. {square}"
        "Diamond: lowest, median and highest of the table; circle: some large grids. "
        f"Energy: {study.energy_words}. PUE {pue:g}. {source}{study.stamp}"
    )
    rows = tuple(
        (f"{grid.country} ({grid.zone}, {grid.year})", f"{grid.g_per_kwh:g}", f"{co2e_g:.3g}")
        for grid, co2e_g in ((place.grid, place.co2e_g) for place in places)
    )
    data = DataTable(
        f"Every grid of the table that comes with wbcbench. {source} CO2e: estimated, from the "
        f"mean of {study.energy_words}.{study.stamp}",
        ("place (zone, year)", "grid (g/kWh)", "CO2e of one training (g)"),
        rows,
    )
    description = "; ".join(f"{place.label}: {human_mass(place.co2e_g)}" for place in drawn)
    return Figure(
        "carbon-places",
        lambda: _draw(drawn),
        "CO2e of one training by place",
        description,
        caption,
        data,
    )


def _draw(places: list[GridEmission]) -> drawing.Canvas:
    canvas, plot = drawing.create_plot((drawing.WIDTH_IN, 1.0 + _ROW_IN * len(places)))
    divisor, unit = mass_scale(max(place.co2e_g for place in places))
    for row, place in enumerate(places):
        shape, colour = ("D", drawing.INK) if place.note else ("o", drawing.COLOURS[0])
        if _OWN in place.note:
            shape, colour = "s", drawing.COLOURS[1]
        mass = place.co2e_g / divisor
        plot.plot([mass], [row], shape, color=colour, markersize=7, markeredgewidth=0)
    plot.set_xscale("log")
    plot.margins(x=0.12)
    plot.set_yticks(range(len(places)), [place.label for place in places], fontsize="small")
    plot.set_xlabel(f"CO2e of one training ({unit}, log scale)")
    plot.xaxis.set_major_formatter("{x:g}")
    return canvas
