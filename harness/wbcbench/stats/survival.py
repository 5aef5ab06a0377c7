"""The cost of reaching a target when some runs never reach it.

A run that stops at 40 kJ without reaching the target says that its cost lies above 40 kJ. Leaving
it out would flatter the arm, a made-up value would be made up; so it is counted as censored there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A share such as 1 − 5/10 comes out of a product of fractions: equal up to rounding.
_ROUNDING = 1e-12


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
    hits = np.asarray(reached, dtype=bool)
    values = np.asarray(costs, dtype=np.float64)
    return Censored(int(hits.sum()), len(hits), _median(values, hits))


def _median(costs: Floats, reached: NDArray[np.bool_]) -> float | None:
    """Where the product of (1 − reached there / still on the way) first falls to a half."""
    left = 1.0
    for cost in np.unique(costs[reached]):
        # A run censored at this very cost was still on the way when the others reached it.
        on_the_way = int((costs >= cost).sum())
        left *= 1.0 - int((costs[reached] == cost).sum()) / on_the_way
        if left <= 0.5 + _ROUNDING:
            return float(cost)
    return None
