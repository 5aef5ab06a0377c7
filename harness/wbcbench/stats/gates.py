"""Is a difference within a limit? Three answers, from where its interval lies."""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from wbcbench.stats.intervals import LEAST_FOR_T, Interval, t_quantile

Floats = NDArray[np.float64]

MOST_BLOCKS = 1_000


class GateOutcome(StrEnum):
    """What an interval says of a limit."""

    NOT_WORSE = "not worse"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"


def judge(found: Interval | None, limit: float, *, above_is_worse: bool) -> GateOutcome:
    """Wholly inside the limit, wholly beyond it, or astride; an interval ending on it is inside."""
    if found is None:
        return GateOutcome.CANNOT_TELL
    least_bad, most_bad = (found.low, found.high) if above_is_worse else (-found.high, -found.low)
    edge = limit if above_is_worse else -limit
    if most_bad <= edge:
        return GateOutcome.NOT_WORSE
    return GateOutcome.WORSE if least_bad > edge else GateOutcome.CANNOT_TELL


def blocks_to_settle(differences: Floats, limit: float) -> int | None:
    """How many more blocks would settle it, were mean and spread to stay as they are.

    ``None`` where no number up to a thousand would, or where one block shows no spread.
    """
    n = len(differences)
    if n < 2:
        return None
    distance = abs(float(np.mean(differences)) - limit)
    spread = float(np.std(differences, ddof=1))
    for blocks in range(max(n + 1, LEAST_FOR_T), MOST_BLOCKS + 1):
        if t_quantile(0.95, blocks) * spread / math.sqrt(blocks) < distance:
            return blocks - n
    return None
