"""Two readings of one part in one window: how far apart, and what that means; pure.

Up to 3 % is agreement, up to 10 % a doubt, beyond that one of them is wrong. A difference that
the uncertainties explain proves nothing either way, and is called that.
"""

from __future__ import annotations

import math

from wbcbench.core.record import Agreement, AgreementStatus
from wbcbench.core.window import WindowEnergy
from wbcbench.energy import thresholds


def agreement(counter: WindowEnergy, integral: WindowEnergy) -> Agreement | None:
    """How a counter and an integral of the same part agree; ``None`` if either is unknown.

    Both must be of one window, and each carry its uncertainty for the difference to be judged.
    """
    pct = difference_pct(counter.energy_j, integral.energy_j)
    if pct is None:
        return None
    return Agreement(
        counter.window, counter.channel, integral.channel, pct, _status(pct, counter, integral)
    )


def difference_pct(energy_j: float | None, other_j: float | None) -> float | None:
    """How far ``energy_j`` lies above ``other_j`` in per cent; ``None`` if that has no meaning."""
    if energy_j is None or other_j is None or other_j <= 0:
        return None
    return 100.0 * (energy_j - other_j) / other_j


def _status(pct: float, counter: WindowEnergy, integral: WindowEnergy) -> AgreementStatus:
    if abs(pct) <= thresholds.AGREE_PCT:
        return "ok"
    if counter.uncertainty_j is None or integral.uncertainty_j is None or not integral.energy_j:
        return "cannot-tell"
    slack_j = math.hypot(counter.uncertainty_j, integral.uncertainty_j)
    if abs(pct) <= 100.0 * slack_j / integral.energy_j:
        return "cannot-tell"
    return "suspect" if abs(pct) <= thresholds.DISAGREE_PCT else "invalid"
