"""Validation is counted apart: the joules of ``train`` are those of its training steps alone.

The window ``train`` reaches from the first training step to the end of the last validation pass.
What the passes inside it cost is in their own windows and is taken out here, so that a run with
more or longer validation does not look more expensive to train.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from wbcbench.core.record import Budget
from wbcbench.core.window import TRAIN, Window, WindowEnergy, is_validation


def steps_alone(
    energies: Iterable[WindowEnergy], windows: Sequence[Window]
) -> tuple[WindowEnergy, ...]:
    """The same energies, with the validation passes taken out of ``train``."""
    found = tuple(energies)
    steps_s = steps_duration_s(windows)
    return tuple(
        _without_passes(each, found, steps_s) if each.window == TRAIN else each for each in found
    )


def budgets_alone(budgets: Iterable[Budget], windows: Sequence[Window]) -> tuple[Budget, ...]:
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
            alone.append(_less(each, parts, lengths))
    return tuple(alone)


def _less(whole: Budget, parts: Sequence[Budget], lengths: Mapping[str, float]) -> Budget:
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
