"""Traces and windows → joules that can be stood by: refused, uncertain, reconciled.

The one way from readings to stated joules, for runs, for ``monitor`` and for other people's code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wbcbench.core.board_state import BoardSample, Telemetry, summary
from wbcbench.core.record import Agreement, Budget
from wbcbench.core.trace import Trace
from wbcbench.core.window import Window, WindowEnergy
from wbcbench.energy.baseline import with_baseline
from wbcbench.energy.energy import window_energy
from wbcbench.energy.faults import Fault, faults, refused
from wbcbench.energy.reconcile import agreements
from wbcbench.energy.uncertainty import budget, sensor_of


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What the traces say of the windows.

    Attributes:
        energies: Joules of every window on every channel, by window; ``None`` with a reason
            where the trace cannot say or a fault spoils it.
        budgets: Where their uncertainty comes from; none for unknown joules.
        agreements: How the readings of each part agree.
        faults: Where a sensor lied.
    """

    energies: tuple[WindowEnergy, ...]
    budgets: tuple[Budget, ...]
    agreements: tuple[Agreement, ...]
    faults: tuple[Fault, ...]


def appraise(traces: Sequence[Trace], windows: Sequence[Window]) -> Appraisal:
    """State the joules of every window on every trace, and how far they can be trusted."""
    found = faults(traces)
    sensors = [sensor_of(trace) for trace in traces]
    energies, budgets = list[WindowEnergy](), list[Budget]()
    for window in windows:
        for trace, sensor in zip(traces, sensors, strict=True):
            [energy] = refused([window_energy(trace, window)], [window], found)
            part = budget(trace, window, energy, sensor)
            energies.append(replace(energy, uncertainty_j=part.total_j if part else None))
            budgets += [part] if part else []
    return Appraisal(
        tuple(energies),
        with_baseline(budgets, energies, windows),
        agreements([trace.channel for trace in traces], energies),
        found,
    )


def telemetry(
    logs: Mapping[str, Sequence[BoardSample]], windows: Sequence[Window]
) -> list[Telemetry]:
    """What each board did in each window, from the looks at it."""
    found = (summary(device, looks, w) for w in windows for device, looks in logs.items())
    return [each for each in found if each is not None]
