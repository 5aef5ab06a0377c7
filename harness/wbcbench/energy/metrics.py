"""Quantities that follow from joules, seconds and accuracy, and grams of CO2 equivalent.

Unknown goes in as ``None`` and comes out as ``None``; nothing is floored and nothing is guessed.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from wbcbench.core.units import kwh_from_j

# Power usage effectiveness: what the building draws over what the machine draws. A single
# workstation has no building to account for.
DEFAULT_PUE = 1.0


@dataclass(frozen=True, slots=True)
class Reached:
    """What it took to reach a target.

    Attributes:
        epochs: Epochs trained, the reaching one included.
        time_s: Seconds from the start of training to the end of that epoch.
        energy_j: Joules over the same span; ``None`` if unknown.
    """

    epochs: int
    time_s: float | None
    energy_j: float | None


def energy_above_idle_j(
    energy_j: float | None, idle_w: float | None, duration_s: float
) -> float | None:
    """Joules as measured minus what the idle machine would have drawn in the same time.

    Negative when the baseline was higher than the load, and then it stays negative: a floor at
    zero would hide that the baseline was wrong.
    """
    if energy_j is None or idle_w is None:
        return None
    return energy_j - idle_w * duration_s


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """``numerator / denominator``; ``None`` if either is unknown or there is nothing to share by.

    Serves joules per image (images seen, not images in the set) and images per second.
    """
    if numerator is None or not denominator:
        return None
    return numerator / denominator


def scale(value: float | None, factor: float) -> float | None:
    """``factor × value``; ``None`` if that is unknown."""
    return None if value is None else factor * value


def difference_pct(energy_j: float | None, other_j: float | None) -> float | None:
    """How far ``energy_j`` is above ``other_j``, in per cent; ``None`` if that has no meaning."""
    if energy_j is None or other_j is None or other_j <= 0:
        return None
    return 100.0 * (energy_j - other_j) / other_j


def mean_known(values: Sequence[float | None]) -> float | None:
    """Mean of the known values; ``None`` if none is known."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def sum_if_all_known(values: Sequence[float | None]) -> float | None:
    """Sum; ``None`` as soon as one part is unknown, or when there is no part."""
    known = [value for value in values if value is not None]
    return math.fsum(known) if known and len(known) == len(values) else None


def energy_to_accuracy(
    scores: Sequence[float | None],
    target: float,
    cumulative_s: Sequence[float | None],
    cumulative_j: Sequence[float | None],
) -> Reached | None:
    """What it took until the validation metric first reached ``target``; ``None`` if never.

    An unknown or not-a-number score reaches nothing.

    Args:
        scores: Validation metric after each epoch, shape ``[epochs]``.
        target: Fixed before the run.
        cumulative_s: Seconds from the start of training to the end of each epoch, same shape.
        cumulative_j: Joules over the same spans, same shape.
    """
    for i, score in enumerate(scores):
        if score is not None and score >= target:
            return Reached(i + 1, cumulative_s[i], cumulative_j[i])
    return None


def pareto_front(points: Sequence[tuple[float | None, float | None]]) -> list[int]:
    """Positions of the points that none beats, by rising energy.

    A point ``(energy_j, accuracy)`` is beaten when another needs no more joules and is no less
    accurate, and is better in one of the two. Equal points are all on the front; a point with an
    unknown coordinate never is.
    """
    known = [
        (energy_j, accuracy, i)
        for i, (energy_j, accuracy) in enumerate(points)
        if energy_j is not None and accuracy is not None and math.isfinite(energy_j + accuracy)
    ]
    front: list[tuple[float, float, int]] = []
    for point in sorted(known, key=lambda p: (p[0], -p[1], p[2])):
        if not front or point[1] > front[-1][1] or point[:2] == front[-1][:2]:
            front.append(point)
    return [i for _, _, i in front]


# Carbon is derived from energy and never ranks anything: for runs on one host it is one multiplier.
# No network is used: a service that falls back to another country falsifies silently.
# ``carbon_intensity.csv`` holds yearly means of national grids, each row with its year and source;
# they are extracted from the data that CodeCarbon ships under the MIT licence.
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
def load_intensities() -> dict[str, Intensity]:
    """Every grid of the table, by zone."""
    text = resources.files("wbcbench.energy").joinpath("carbon_intensity.csv").read_text("utf-8")
    _, *rows = csv.reader(text.splitlines())
    return {
        zone: Intensity(zone, country, int(year), float(g_per_kwh), f"{source}, {year}")
        for zone, country, year, g_per_kwh, source in rows
    }


def intensity(zone: str | None) -> Intensity | None:
    """The grid of a zone; ``None`` without one in the table, for no other grid stands in for it."""
    return load_intensities().get(zone or "")


def carbon_g(
    energy_j: float | None, g_per_kwh: float | None, pue: float = DEFAULT_PUE
) -> float | None:
    """Grams of CO2 equivalent: kilowatt-hours × PUE × grid intensity; ``None`` if unknown."""
    if energy_j is None or g_per_kwh is None:
        return None
    return kwh_from_j(energy_j) * pue * g_per_kwh
