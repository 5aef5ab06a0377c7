"""Grams of CO2 equivalent by place: what the same joules would have meant on other grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import count_of, human_energy, human_mass, mass_scale
from wbcbench.energy.metrics import Intensity, carbon_g, intensities, mean_known
from wbcbench.report import Block, DataTable, Figure, Statement
from wbcbench.report.drawing import COLOURS, INK, WIDTH_IN, new_plot
from wbcbench.report.study import ReportStudy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NAME = "carbon-places"
TITLE = "CO2e of one training by place"

# Large grids that readers know, spread over the range and the continents.
NAMED = ("SWE", "FRA", "BRA", "GBR", "DEU", "USA", "JPN", "CHN", "AUS", "POL", "IND", "ZAF")
_ROW_IN = 0.28
_MARKS = {"own": "s", "edge": "D", "named": "o"}


@dataclass(frozen=True, slots=True)
class GridEmission:
    """One grid and what the study's mean training would emit there."""

    grid: Intensity
    co2e_g: float
    note: str = ""


def carbon_section(study: ReportStudy) -> Block | None:
    """Grams of CO2 equivalent by place: what the same joules would have meant on other grids.

    The mean training's joules times each grid's intensity; ``None`` without joules.
    """
    energy_j = mean_known([run.train_energy_j for run in study.comparable])
    if energy_j is None:
        return None
    pue = float(study.comparable[0].row["pue"])
    own = {str(run.row["carbon_zone"]) for run in study.comparable}
    everywhere = _emissions_by_place(energy_j, pue, own)
    figure = _figure(study, everywhere, pue)
    claims = (_claim(study, energy_j, everywhere),)
    return Block(
        "carbon", "CO2e and place", (_words(pue),), figures=(figure,), folded=True, claims=claims
    )


def _emissions_by_place(energy_j: float, pue: float, own: set[str]) -> list[GridEmission]:
    """Every grid of the table by rising intensity, with a word for the ones that stand out."""
    grids = sorted(intensities().values(), key=lambda grid: (grid.g_per_kwh, grid.zone))
    notes = {grids[-1].zone: "highest", grids[len(grids) // 2].zone: "median"}
    notes[grids[0].zone] = "lowest"
    notes |= {zone: _joined(notes.get(zone), "set for this study") for zone in own}
    grams = (carbon_g(energy_j, grid.g_per_kwh, pue) for grid in grids)
    return [
        GridEmission(grid, g, notes.get(grid.zone, ""))
        for grid, g in zip(grids, grams, strict=True)
        if g is not None
    ]


def _joined(first: str | None, second: str) -> str:
    return f"{first}, {second}" if first else second


def _drawn_places(everywhere: list[GridEmission]) -> list[GridEmission]:
    """Those that are drawn: the ones with a note and the named ones."""
    return [place for place in everywhere if place.note or place.grid.zone in NAMED]


def _claim(study: ReportStudy, energy_j: float, everywhere: list[GridEmission]) -> Statement:
    low, high = everywhere[0], everywhere[-1]
    own = " and ".join(
        f"{human_mass(place.co2e_g)} CO2e in {place.grid.country}, the place set for this study"
        for place in everywhere
        if "set for this study" in place.note
    )
    text = (
        f"One training used {human_energy(energy_j)} on average of "
        f"{count_of(len(study.comparable), 'run')} ({study.energy_words}). That is "
        f"{own or 'an unknown mass of CO2e in the place set for this study'}; the same joules "
        f"would be {human_mass(low.co2e_g)} in {low.grid.country} and "
        f"{human_mass(high.co2e_g)} in {high.grid.country}, "
        f"{high.co2e_g / low.co2e_g:.0f} times as much. The factor is the same for every variant, "
        "so CO2e ranks nothing that joules do not."
    )
    values = {
        "runs": len(study.comparable),
        "primary_energy_train_j": energy_j,
        "co2e_lowest_g": low.co2e_g,
        "co2e_highest_g": high.co2e_g,
    }
    return Statement("carbon", text, RUNS_TABLE, "", values)


def _words(pue: float) -> str:
    return (
        f"Estimated: joules / 3.6e6 × PUE {pue:g} × yearly mean of the grid. Operational energy of "
        "the part named above alone: not the rest of the machine, not the building beyond the "
        "PUE, not the making of the hardware; and a yearly mean says nothing of the hour."
    )


def _figure(study: ReportStudy, everywhere: list[GridEmission], pue: float) -> Figure:
    drawn = _drawn_places(everywhere)
    description = "; ".join(f"{_label(place)}: {human_mass(place.co2e_g)}" for place in drawn)
    caption = (
        f"CO2e of one training, estimated, on the grids of {len(drawn)} of {len(everywhere)} "
        "countries; the horizontal axis grows tenfold at each line. Square: set for this study; "
        "diamond: lowest, median and highest of the table; circle: some large grids. "
        f"Energy: {study.energy_words}. PUE {pue:g}. {_source(everywhere)}{study.stamp}"
    )
    data = _data(study, everywhere)
    return Figure(NAME, lambda: _picture(drawn), TITLE, description, caption, data)


def _source(everywhere: list[GridEmission]) -> str:
    sources = sorted({place.grid.source.rpartition(",")[0] for place in everywhere})
    years = sorted({place.grid.year for place in everywhere})
    return (
        f"Intensities: {'; '.join(sources)} (MIT licence), yearly means of {years[0]}–{years[-1]}."
    )


def _label(place: GridEmission) -> str:
    note = f" ({place.note})" if place.note else ""
    return f"{place.grid.country}{note}"


def _picture(drawn: list[GridEmission]) -> Canvas:
    canvas, plot = new_plot((WIDTH_IN, 1.0 + _ROW_IN * len(drawn)))
    divisor, unit = mass_scale(max(place.co2e_g for place in drawn))
    for row, place in enumerate(drawn):
        _mark(plot, place, place.co2e_g / divisor, row)
    plot.set_xscale("log")
    plot.margins(x=0.12)
    plot.set_yticks(range(len(drawn)), [_label(place) for place in drawn], fontsize="small")
    plot.set_xlabel(f"CO2e of one training ({unit}, log scale)")
    plot.xaxis.set_major_formatter("{x:g}")
    return canvas


def _mark(plot: Axes, place: GridEmission, mass: float, row: int) -> None:
    kind = "own" if "set" in place.note else "edge" if place.note else "named"
    colour = {"own": COLOURS[1], "edge": INK, "named": COLOURS[0]}[kind]
    plot.plot([mass], [row], _MARKS[kind], color=colour, markersize=7, markeredgewidth=0)


def _data(study: ReportStudy, everywhere: list[GridEmission]) -> DataTable:
    rows = tuple(
        (
            f"{p.grid.country} ({p.grid.zone}, {p.grid.year})",
            f"{p.grid.g_per_kwh:g}",
            f"{p.co2e_g:.3g}",
        )
        for p in everywhere
    )
    headings = ("place (zone, year)", "grid (g/kWh)", "CO2e of one training (g)")
    caption = (
        f"Every grid of the table that comes with wbcbench. {_source(everywhere)} CO2e: estimated, "
        f"from the mean of {study.energy_words}.{study.stamp}"
    )
    return DataTable(caption, headings, rows)
