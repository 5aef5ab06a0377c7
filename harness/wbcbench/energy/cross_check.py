"""Two readings of one part against each other, in each window.

Up to 3 % is agreement, up to 10 % a warning, beyond that one of them is wrong. A difference that
the uncertainties explain proves nothing either way, and is called that.

Counter against integral is a judgement, for both are sensors of the same board. Anything against
CodeCarbon is a cross-check: it is shown and never makes a window invalid. Which reading counts when
one is refused is decided in ``energy.source``.
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
from wbcbench.energy.metrics import sum_if_all_known
from wbcbench.energy.source import EnergySource, is_codecarbon, rank_sources

_Found = dict[tuple[str, str], WindowEnergy]


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
        return "inconclusive"
    slack_j = math.hypot(counter.uncertainty_j, integral.uncertainty_j)
    if abs(pct) <= 100.0 * slack_j / integral.energy_j:
        return "inconclusive"
    return "suspect" if abs(pct) <= thresholds.DISAGREE_PCT else "invalid"


def agreements(
    channels: Sequence[Channel], energies: Iterable[WindowEnergy]
) -> tuple[Agreement, ...]:
    """How the readings of each part agree in each window where both are known.

    Args:
        channels: All channels of the run.
        energies: Their joules with uncertainties, refused ones being unknown.
    """
    found = {(energy.window, energy.channel): energy for energy in energies}
    windows = list(dict.fromkeys(window for window, _ in found))
    return tuple(
        each
        for window in windows
        for each in (
            *_counters_against_integrals(channels, found, window),
            *_against_codecarbon(channels, found, window),
        )
    )


def _counters_against_integrals(
    channels: Sequence[Channel], found: _Found, window: str
) -> Iterator[Agreement]:
    for one, other in combinations(channels, 2):
        if not is_pair(one, other) or one.origin.is_estimated or other.origin.is_estimated:
            continue
        counter, integral = (one, other) if one.kind is Kind.COUNTER else (other, one)
        a, b = found.get((window, counter.name)), found.get((window, integral.name))
        judged = agreement(a, b) if a and b else None
        if judged is not None:
            yield judged


def _against_codecarbon(
    channels: Sequence[Channel], found: _Found, window: str
) -> Iterator[Agreement]:
    for domain in Domain:
        sides = rank_sources(channels, domain)
        ours = next((s for s in sides if not _is_cross_check(s)), None)
        for other in filter(_is_cross_check, sides):
            if ours is None:
                continue
            pct = difference_pct(_joules(ours, found, window), _joules(other, found, window))
            if pct is not None:
                yield Agreement(window, _named(ours), _named(other), pct, "cross-check")


def _is_cross_check(who: EnergySource) -> bool:
    return is_codecarbon(who.channels[0])


def _joules(who: EnergySource, found: _Found, window: str) -> float | None:
    each = (found.get((window, name)) for name in who.channels)
    return sum_if_all_known([energy.energy_j if energy else None for energy in each])


def _named(who: EnergySource) -> str:
    return "+".join(who.channels)
