"""Everything that traces say of windows: joules, budgets, agreement, faults, the idle baseline.

The one way from readings to stated joules, for runs, for ``monitor`` and for other people's code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from wbcbench.core.board_state import BoardSample, Telemetry, summarise_window
from wbcbench.core.record import Agreement, Budget
from wbcbench.core.trace import Trace
from wbcbench.core.window import IDLE_AFTER, IDLE_BEFORE, TRAIN, Window, WindowEnergy, is_validation
from wbcbench.energy.cross_check import agreements
from wbcbench.energy.faults import Fault, find_faults, refuse_spoilt
from wbcbench.energy.integrate import window_energy
from wbcbench.energy.uncertainty import sensor_of, uncertainty_budget


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
    found = find_faults(traces)
    sensors = [sensor_of(trace) for trace in traces]
    energies, budgets = list[WindowEnergy](), list[Budget]()
    for window in windows:
        for trace, sensor in zip(traces, sensors, strict=True):
            [energy] = refuse_spoilt([window_energy(trace, window)], [window], found)
            part = uncertainty_budget(trace, window, energy, sensor)
            energies.append(replace(energy, uncertainty_j=part.total_j if part else None))
            budgets += [part] if part else []
    return Appraisal(
        tuple(energies),
        with_baseline(budgets, energies, windows),
        agreements([trace.channel for trace in traces], energies),
        found,
    )


def telemetry_by_window(
    logs: Mapping[str, Sequence[BoardSample]], windows: Sequence[Window]
) -> list[Telemetry]:
    """What each board did in each window, from the looks at it."""
    found = (summarise_window(device, looks, w) for w in windows for device, looks in logs.items())
    return [each for each in found if each is not None]


# The window ``train`` reaches from the first training step to the end of the last validation pass.
# What the passes inside it cost is in their own windows and is taken out here, so that a run with
# more or longer validation does not look more expensive to train.
def without_validation(
    energies: Iterable[WindowEnergy], windows: Sequence[Window]
) -> tuple[WindowEnergy, ...]:
    """The same energies, with the validation passes taken out of ``train``."""
    found = tuple(energies)
    steps_s = steps_duration_s(windows)
    return tuple(
        _without_passes(each, found, steps_s) if each.window == TRAIN else each for each in found
    )


def budgets_without_validation(
    budgets: Iterable[Budget], windows: Sequence[Window]
) -> tuple[Budget, ...]:
    """The same budgets, with that of ``train`` standing behind its energy without the passes.

    A channel whose passes are not all known has no such energy, and so no budget for it.
    """
    found = tuple(budgets)
    passes = [window.name for window in windows if is_validation(window.name)]
    lengths = {window.name: window.duration_s for window in windows}
    alone = list[Budget]()
    for each in found:
        parts = [b for b in found if b.channel == each.channel and b.window in passes]
        if each.window != TRAIN:
            alone.append(each)
        elif len(parts) == len(passes):
            alone.append(_budget_without(each, parts, lengths))
    return tuple(alone)


def _budget_without(whole: Budget, parts: Sequence[Budget], lengths: Mapping[str, float]) -> Budget:
    """Independent parts add in squares; gain and baseline go with joules and seconds."""
    every = [whole, *parts]
    gains = [each.gain_j for each in parts if each.gain_j is not None]
    share = 1 - sum(lengths[each.window] for each in parts) / lengths[whole.window]
    quantisation_j = math.hypot(*(each.quantisation_j for each in every))
    edges_j = math.hypot(*(each.edges_j for each in every))
    sampling_j = math.hypot(*(each.sampling_j for each in every))
    return replace(
        whole,
        quantisation_j=quantisation_j,
        edges_j=edges_j,
        sampling_j=sampling_j,
        total_j=None if whole.total_j is None else math.hypot(quantisation_j, edges_j, sampling_j),
        gain_j=None if whole.gain_j is None else whole.gain_j - sum(gains),
        baseline_j=None if whole.baseline_j is None else whole.baseline_j * share,
    )


def steps_duration_s(windows: Sequence[Window]) -> float | None:
    """Seconds of ``train`` without its validation passes; ``None`` if there was no training."""
    whole = next((window for window in windows if window.name == TRAIN), None)
    if whole is None:
        return None
    passes = (window.duration_s for window in windows if is_validation(window.name))
    return whole.duration_s - sum(passes)


def _without_passes(
    whole: WindowEnergy, energies: Iterable[WindowEnergy], steps_s: float | None
) -> WindowEnergy:
    passes = [
        each for each in energies if each.channel == whole.channel and is_validation(each.window)
    ]
    known = [each.energy_j for each in passes if each.energy_j is not None]
    if whole.energy_j is None or not steps_s or len(known) < len(passes):
        reason = whole.reason or next((each.reason for each in passes if each.reason), "")
        return replace(whole, energy_j=None, mean_power_w=None, uncertainty_j=None, reason=reason)
    energy_j = whole.energy_j - sum(known)
    return replace(
        whole,
        energy_j=energy_j,
        mean_power_w=energy_j / steps_s,
        uncertainty_j=_combined([whole, *passes]),
        samples=whole.samples - sum(each.samples for each in passes),
    )


def _combined(energies: Sequence[WindowEnergy]) -> float | None:
    """Errors at different edges are independent: they add in squares."""
    parts = [each.uncertainty_j for each in energies]
    known = [part for part in parts if part is not None]
    return math.hypot(*known) if len(known) == len(parts) else None


# Joules above idle are joules as measured minus the mean idle power before and after times the
# duration. The baseline is uncertain by its own windows' uncertainty and by its drift between them.
@dataclass(frozen=True, slots=True)
class Idle:
    """Mean power of one idle window, and its half-width at 95 %."""

    power_w: float
    uncertainty_w: float


def idle_power(
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


def baseline_uncertainty_w(before: Idle | None, after: Idle | None) -> float | None:
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
        channel: baseline_uncertainty_w(
            idle_power(energies, windows, channel, IDLE_BEFORE),
            idle_power(energies, windows, channel, IDLE_AFTER),
        )
        for channel in {each.channel for each in budgets}
    }
    return tuple(
        replace(each, baseline_j=width_w * lengths[each.window])
        if (width_w := off_w[each.channel]) is not None
        else each
        for each in budgets
    )
