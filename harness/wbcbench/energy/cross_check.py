"""Two readings of one part against each other, in each window.

Counter against integral is a judgement, for both are sensors of the same board: up to 3 % they
agree, up to 10 % the window is suspect, above that one of them is wrong. A difference that the
uncertainties explain is inconclusive. Anything against CodeCarbon is a cross-check: it is shown and
never makes a window invalid. ``energy.source`` decides which reading counts when one is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from wbcbench.core.record import Agreement, AgreementStatus
from wbcbench.core.trace import Channel, Kind
from wbcbench.core.window import WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.faults import is_pair
from wbcbench.energy.metrics import difference_pct, sum_if_all_known
from wbcbench.energy.source import is_codecarbon, list_readings

_Energies = dict[str, WindowEnergy]  # of one window, by channel


def compare_readings(counter: WindowEnergy, integral: WindowEnergy) -> Agreement | None:
    """How a counter and an integral of the same part agree; ``None`` if either is unknown.

    Both must be of one window, and each carry its uncertainty for the difference to be judged.
    """
    pct = difference_pct(counter.energy_j, integral.energy_j)
    if pct is None or not integral.energy_j:
        return None
    widths_j = (counter.uncertainty_j, integral.uncertainty_j)
    slack_j = math.hypot(*(math.inf if width_j is None else width_j for width_j in widths_j))
    status: AgreementStatus = "suspect" if abs(pct) <= thresholds.DISAGREE_PCT else "invalid"
    if abs(pct) <= thresholds.AGREE_PCT:
        status = "ok"
    elif abs(pct) <= 100.0 * slack_j / integral.energy_j:
        status = "inconclusive"
    return Agreement(counter.window, counter.channel, integral.channel, pct, status)


def agreements(
    channels: Sequence[Channel], energies: Iterable[WindowEnergy]
) -> tuple[Agreement, ...]:
    """How the readings of each part agree in each window where both are known.

    Args:
        channels: All channels of the run.
        energies: Their joules with uncertainties, refused ones being unknown.
    """
    by_window: dict[str, _Energies] = {}
    for energy in energies:
        by_window.setdefault(energy.window, {})[energy.channel] = energy
    return tuple(
        pair
        for window, known in by_window.items()
        for pair in (
            *_compare_sensors(channels, known),
            *_compare_with_codecarbon(channels, known, window),
        )
    )


def _compare_sensors(channels: Sequence[Channel], energies: _Energies) -> Iterator[Agreement]:
    for first, second in combinations(channels, 2):
        if not is_pair(first, second) or first.origin.is_estimated or second.origin.is_estimated:
            continue
        counter, integral = (first, second) if first.kind is Kind.COUNTER else (second, first)
        a, b = energies.get(counter.name), energies.get(integral.name)
        pair = compare_readings(a, b) if a and b else None
        if pair is not None:
            yield pair


def _compare_with_codecarbon(
    channels: Sequence[Channel], energies: _Energies, window: str
) -> Iterator[Agreement]:
    """Each of CodeCarbon's channels against the same devices by the other meters of the part."""

    def find_joules(name: str) -> float | None:
        return energies[name].energy_j if name in energies else None

    for theirs in channels:
        if not is_codecarbon(theirs.name):
            continue
        covered = theirs.device.split("+") if theirs.device else None
        ours = list[str]()
        for readings in list_readings(channels, theirs.domain):
            if covered is None or readings[0].device in covered:
                known = (c.name for c in readings if find_joules(c.name) is not None)
                ours.append(next(known, readings[0].name))
        if not ours or is_codecarbon(ours[0]) or (covered and len(ours) < len(covered)):
            continue
        joules = sum_if_all_known([find_joules(name) for name in ours])
        pct = difference_pct(joules, find_joules(theirs.name))
        if pct is not None:
            yield Agreement(window, "+".join(ours), theirs.name, pct, "cross-check")
