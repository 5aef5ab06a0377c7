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
from wbcbench.core.trace import Channel, Domain, Kind
from wbcbench.core.window import WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.faults import is_pair
from wbcbench.energy.metrics import difference_pct, sum_if_all_known
from wbcbench.energy.source import is_codecarbon, rank_sources

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
    def sum_joules(names: Sequence[str]) -> float | None:
        parts = [energies.get(name) for name in names]
        return sum_if_all_known([part.energy_j if part else None for part in parts])

    for domain in Domain:
        groups = [source.channels for source in rank_sources(channels, domain)]
        ours = next((names for names in groups if not is_codecarbon(names[0])), None)
        for names in groups:
            if ours is None or not is_codecarbon(names[0]):
                continue
            pct = difference_pct(sum_joules(ours), sum_joules(names))
            if pct is not None:
                yield Agreement(window, "+".join(ours), "+".join(names), pct, "cross-check")
