"""Grams of CO2 equivalent from joules, by an offline table of grids.

Carbon is derived from energy and never ranks anything: for runs on one host it is one multiplier.
No network is asked: a look-up that fails over to another country falsifies silently. The table
``carbon_intensity.csv`` holds yearly means of national grids, each row with its year and source;
they are extracted from the data that CodeCarbon ships under the MIT licence.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

from wbcbench.core.units import kwh_from_j

# Power usage effectiveness: what the building draws over what the machine draws. A single
# workstation has no building to account for.
DEFAULT_PUE = 1.0


@dataclass(frozen=True, slots=True)
class Intensity:
    """A grid's yearly mean.

    Attributes:
        zone: ISO 3166 alpha-3 code of the country.
        country: Its name.
        year: The year the mean is of.
        g_per_kwh: Grams of CO2 equivalent per kilowatt-hour generated.
        source: Where the number is from.
    """

    zone: str
    country: str
    year: int
    g_per_kwh: float
    source: str


@cache
def intensities() -> dict[str, Intensity]:
    """Every grid of the table, by zone."""
    text = resources.files("wbcbench.energy").joinpath("carbon_intensity.csv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines())
    return {
        row["zone"]: Intensity(
            zone=row["zone"],
            country=row["country"],
            year=int(row["year"]),
            g_per_kwh=float(row["g_per_kwh"]),
            source=f"{row['source']}, {row['year']}",
        )
        for row in rows
    }


def intensity(zone: str) -> Intensity | None:
    """The grid of a zone; ``None`` if the table has none, for no other grid stands in for it."""
    return intensities().get(zone)


def carbon_g(
    energy_j: float | None, g_per_kwh: float | None, pue: float = DEFAULT_PUE
) -> float | None:
    """Grams of CO2 equivalent: kilowatt-hours × PUE × grid intensity; ``None`` if unknown."""
    if energy_j is None or g_per_kwh is None:
        return None
    return kwh_from_j(energy_j) * pue * g_per_kwh
