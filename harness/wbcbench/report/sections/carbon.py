"""Figure 9: grams of CO2 equivalent of one training on different grids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wbcbench.core.study_folder import RUNS_TABLE
from wbcbench.core.text import count_of, human_energy, human_mass, mass_scale
from wbcbench.energy.metrics import carbon_g, load_intensities
from wbcbench.report import Cells, DataTable, Figure, Place, Section, Statement, style
from wbcbench.report.study import ReportStudy, mean_of_known
from wbcbench.report.summaries import ENERGY, build_data_table

if TYPE_CHECKING:
    from wbcbench.report.style import Canvas

# Large, well-known grids, spread over the range and the continents.
WELL_KNOWN = ("SWE", "FRA", "BRA", "GBR", "DEU", "USA", "JPN", "CHN", "AUS", "POL", "IND", "ZAF")
_ROW_IN = 0.22
_OWN = "named in its runs"

HEADINGS = ("grid", "note", "zone", "year", "g/kWh", "CO2e (g)", "drawn")


def build_carbon(study: ReportStudy) -> Section | None:
    """Grams of CO2 equivalent by place: what the same joules would have emitted on other grids.

    The mean training's joules times each grid's intensity; ``None`` without joules.
    """
    energy_j = mean_of_known(study.comparable, ENERGY)
    if energy_j is None:
        return None
    pue = float(study.comparable[0].row["pue"])
    rows = _list_grids(study, energy_j, pue)
    words = (
        f"Estimated: joules / 3.6e6 × PUE {pue:g} × yearly mean of the grid, of that part of the "
        "machine alone, without the making of the hardware; a yearly mean says nothing of the hour."
    )
    parts = (_build_statement(study, energy_j, rows), words, _build_figure(study, rows, pue))
    summary = f"{human_mass(rows[0][5])} to {human_mass(rows[-1][5])} a training"
    return Section("carbon", "CO2e by grid", parts, Place.FOLDED, summary)


def _list_grids(study: ReportStudy, energy_j: float, pue: float) -> list[Cells]:
    """A row of ``HEADINGS`` for every grid of the table, by rising intensity."""
    grids = sorted(load_intensities().values(), key=lambda grid: (grid.g_per_kwh, grid.zone))
    notes = {grids[-1].zone: "highest", grids[len(grids) // 2].zone: "median"}
    notes[grids[0].zone] = "lowest"
    for zone in {str(run.row["carbon_zone"]) for run in study.comparable}:
        notes[zone] = f"{notes[zone]}, {_OWN}" if zone in notes else _OWN
    return [
        (
            grid.country,
            notes.get(grid.zone, ""),
            grid.zone,
            grid.year,
            grid.g_per_kwh,
            carbon_g(energy_j, grid.g_per_kwh, pue),
            "yes" if grid.zone in notes or grid.zone in WELL_KNOWN else "no",
        )
        for grid in grids
    ]


def _build_statement(study: ReportStudy, energy_j: float, rows: list[Cells]) -> Statement:
    runs = len(study.comparable)
    own = [f"{human_mass(row[5])} in {row[0]}" for row in rows if _OWN in row[1]]
    ends = " and ".join(f"{human_mass(row[5])} in {row[0]}" for row in (rows[0], rows[-1]))
    kind = f" ({study.energy_kind.strip()})" if study.energy_kind else ""
    text = (
        f"One training used {human_energy(energy_j)}{kind} on average of {count_of(runs, 'run')}: "
    )
    text += f"{' and '.join(own)} CO2e ({_OWN}); " if own else "no country was set (--country); "
    text += f"by the grid between {ends}."
    values = {
        "runs": runs,
        "primary_energy_train_j": energy_j,
        "co2e_lowest_g": rows[0][5],
        "co2e_highest_g": rows[-1][5],
    }
    return Statement("carbon", text, RUNS_TABLE, "", values)


def _build_figure(study: ReportStudy, rows: list[Cells], pue: float) -> Figure:
    grids = load_intensities().values()
    sources = sorted({grid.source.rpartition(",")[0] for grid in grids})
    years = sorted({grid.year for grid in grids})
    source = f"{'; '.join(sources)} (MIT licence), yearly means of {years[0]}–{years[-1]}"
    drawn = [row for row in rows if row[6] == "yes"]
    square = f"Square: {_OWN}. " if any(_OWN in row[1] for row in drawn) else ""
    return Figure(
        "carbon-places",
        "CO2e of one training by grid",
        "; ".join(f"{row[0]}: {human_mass(row[5])}" for row in drawn),
        f"Estimated, log axis; {len(drawn)} of {len(rows)} grids, PUE {pue:g}. {square}"
        f"Diamond: lowest, median, highest. Source: {source}.{study.stamp}",
        build_data_table(f"{source}.{study.stamp}", HEADINGS, rows, (0, 1, 2, 6)),
        draw_carbon,
    )


def draw_carbon(data: DataTable) -> Canvas:
    """Draw the chosen rows of the table of grids."""
    rows = [row for row in data.values if row[6] == "yes"]
    canvas, plot = style.create_plot((style.WIDTH_IN, 1.0 + _ROW_IN * len(rows)))
    divisor, unit = mass_scale(max(row[5] for row in rows))
    for place, row in enumerate(rows):
        shape, colour = ("D", style.INK) if row[1] else ("o", style.COLOURS[0])
        if _OWN in row[1]:
            shape, colour = "s", style.COLOURS[1]
        mass = row[5] / divisor
        plot.plot([mass], [place], shape, color=colour, markersize=7, markeredgewidth=0)
    labels = [f"{row[0]} ({row[1]})" if row[1] else row[0] for row in rows]
    plot.set_xscale("log")
    plot.margins(x=0.12)
    plot.set_yticks(range(len(rows)), labels, fontsize=9)
    plot.set_xlabel(f"CO2e of one training ({unit}, log scale)")
    plot.xaxis.set_major_formatter("{x:g}")
    return canvas
