"""The cost of reaching a target when some runs never reach it.

A run that stops at 40 kJ without reaching the target says that its cost lies above 40 kJ. Leaving
it out would flatter the arm, a made-up value would be made up; so it is counted as censored there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Censored:
    """Costs of reaching a target, some of them only known from below.

    Attributes:
        reached: How many runs reached it.
        runs: How many there were.
        median: Kaplan–Meier median; ``None`` where fewer than half of the runs reached it.
    """

    reached: int
    runs: int
    median: float | None


def censored_median(costs: Sequence[float], reached: Sequence[bool]) -> Censored:
    """Kaplan and Meier's median (1958) of ``costs``, those not ``reached`` being lower bounds.

    The median is the least cost by which at least half of all runs have reached the target.
    """
    from scipy import stats

    hits = np.asarray(reached, dtype=bool)
    if not hits.any():
        return Censored(0, len(hits), None)
    values = np.asarray(costs, dtype=np.float64)
    data = stats.CensoredData(uncensored=values[hits], right=values[~hits])
    curve = stats.ecdf(data).cdf
    # A share such as 1 − 5/10 comes out of a product of fractions: equal up to rounding.
    half = np.flatnonzero(curve.probabilities >= 0.5 - 1e-12)
    median = float(curve.quantiles[half[0]]) if len(half) else None
    return Censored(int(hits.sum()), len(hits), median)
