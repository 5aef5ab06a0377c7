"""What subtracting an idle power adds to the uncertainty of net joules; pure.

Net joules are gross joules minus the mean idle power before and after times the duration. The
baseline is uncertain by its own windows' uncertainty and by its drift between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from wbcbench.core.record import Budget
from wbcbench.core.window import IDLE_AFTER, IDLE_BEFORE, Window, WindowEnergy


@dataclass(frozen=True, slots=True)
class Idle:
    """Mean power of one idle window, and its half-width at 95 %."""

    power_w: float
    uncertainty_w: float


def idle(
    energies: Iterable[WindowEnergy], windows: Sequence[Window], channel: str, names: Sequence[str]
) -> Idle | None:
    """The idle power in the first of the named windows that is known on a channel."""
    lengths = {window.name: window.duration_s for window in windows}
    known = {
        e.window: Idle(e.mean_power_w, e.uncertainty_j / lengths[e.window])
        for e in energies
        if e.channel == channel and e.mean_power_w is not None and e.uncertainty_j is not None
    }
    return next((known[name] for name in names if name in known), None)


def baseline_w(before: Idle | None, after: Idle | None) -> float | None:
    """Half-width at 95 % of the mean of the idle powers; ``None`` if neither is known.

    Half the difference of the two is its drift: neither is more right for the time in between.
    """
    if before is None or after is None:
        only = before or after
        return only.uncertainty_w if only else None
    own_w = math.hypot(before.uncertainty_w, after.uncertainty_w) / 2
    return math.hypot(own_w, (before.power_w - after.power_w) / 2)


def with_baseline(
    budgets: Sequence[Budget], energies: Sequence[WindowEnergy], windows: Sequence[Window]
) -> tuple[Budget, ...]:
    """The budgets with what subtracting idle power would add to each."""
    lengths = {window.name: window.duration_s for window in windows}
    off_w = {
        channel: baseline_w(
            idle(energies, windows, channel, IDLE_BEFORE),
            idle(energies, windows, channel, IDLE_AFTER),
        )
        for channel in {each.channel for each in budgets}
    }
    return tuple(
        replace(each, baseline_j=width_w * lengths[each.window])
        if (width_w := off_w[each.channel]) is not None
        else each
        for each in budgets
    )
