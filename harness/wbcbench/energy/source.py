"""Which reading counts for a part of the machine, and what a run had cost after each epoch.

A *speaker* is one way of reading one part of the machine: all channels of one meter with one kind
and one reading (both sockets, every GPU). Joules are summed over the channels of one speaker and
never across sources: measured and estimated joules are not added, ``system`` is not added to
anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from wbcbench.core import window
from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.record import Epoch, RunRecord
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.window import TRAIN, WindowEnergy
from wbcbench.energy.metrics import Reached, energy_to_accuracy, sum_if_all_known

# The GPU is what training loads; the CPU stands in where there is no GPU, and the whole machine
# where neither can be read. Memory alone is no headline.
PRIMARY_DOMAINS = (Domain.GPU, Domain.CPU, Domain.SYSTEM)

CODECARBON = "codecarbon"


def meter_of(channel: str) -> str:
    """Name of the meter that reads a channel."""
    return channel.split("/", maxsplit=1)[0]


def is_codecarbon(channel: str) -> bool:
    """Whether a channel is CodeCarbon's: a cross-check wherever another meter is as trusted."""
    return meter_of(channel) == CODECARBON


class Measured(Protocol):
    """What a speaker is chosen from: a run record, or the evidence of a run being accounted."""

    @property
    def channels(self) -> Sequence[Channel]:
        """All channels."""
        ...

    @property
    def warnings(self) -> Sequence[QualityWarning]:
        """The doubts known so far."""
        ...

    def energy(self, window: str, channel: str) -> WindowEnergy | None:
        """The joules of one window on one channel; ``None`` if there are none."""
        ...


@dataclass(frozen=True, slots=True)
class EnergySource:
    """Channels whose joules together are the joules of one part of the machine.

    Attributes:
        domain: The part.
        channels: Names, one for each device of the part.
        method: How it is read: ``counter``, ``integral_instant``, ``rapl_package``,
            ``codecarbon_tdp_load``, …
        status: ``measured``, ``estimated``, ``estimated`` or ``synthetic``.
    """

    domain: Domain
    channels: tuple[str, ...]
    method: str
    status: Origin


def rank_sources(channels: Iterable[Channel], domain: Domain) -> list[EnergySource]:
    """Every way these channels read a part of the machine, the most trusted first.

    In the order of trust of ``Origin``; among equals a counter before an integral, an
    instantaneous reading before an averaged one, and CodeCarbon last.
    """
    groups: dict[tuple[str, Kind, str], list[Channel]] = {}
    for channel in channels:
        if channel.domain is domain:
            key = (meter_of(channel.name), channel.kind, _family(channel.reading))
            groups.setdefault(key, []).append(channel)
    return [_speaker(group) for group in sorted(groups.values(), key=_rank)]


def live_channel(channels: Sequence[Channel]) -> Channel | None:
    """The channel to show while nothing is settled yet: the first of the likely headline."""
    named = {channel.name: channel for channel in channels}
    likely = (who for domain in PRIMARY_DOMAINS for who in rank_sources(channels, domain))
    return next((named[who.channels[0]] for who in likely), None)


def choose_source(record: Measured, domain: Domain, window: str = TRAIN) -> EnergySource | None:
    """Who speaks for a part: the most trusted that knows the joules of ``window``.

    A counter that stood still, a sensor that is invalid in that window or a trace that ends
    early gives way to the next. If nobody knows, the most trusted is returned nevertheless, so
    that the row can say which meter was there.
    """
    return first_with_energy(record, rank_sources(record.channels, domain), window)


def primary_source(record: Measured, window: str = TRAIN) -> EnergySource | None:
    """Who speaks for a window: GPU first, then CPU, then whole machine; ``None`` if nobody."""
    found = (choose_source(record, domain, window) for domain in PRIMARY_DOMAINS)
    return first_with_energy(record, [each for each in found if each], window)


def first_with_energy(
    record: Measured, found: Sequence[EnergySource], window: str = TRAIN
) -> EnergySource | None:
    """The first that knows the joules of ``window``, else the first; ``None`` if there is none."""
    knowing = (each for each in found if _has_energy(record, each, window))
    return next(knowing, found[0] if found else None)


def source_energy_j(record: Measured, who: EnergySource | None, window: str) -> float | None:
    """Joules of one window, summed over the speaker's devices; ``None`` if one is unknown."""
    return sum_if_all_known(
        [each.energy_j if each else None for each in _energies(record, who, window)]
    )


def source_power_w(record: Measured, who: EnergySource | None, window: str) -> float | None:
    """Mean power of one window, summed over the speaker's devices; ``None`` if one is unknown."""
    return sum_if_all_known(
        [each.mean_power_w if each else None for each in _energies(record, who, window)]
    )


def source_uncertainty_j(record: Measured, who: EnergySource | None, window: str) -> float | None:
    """Uncertainty of a window's joules: the devices' added, for a gain error is shared."""
    found = _energies(record, who, window)
    return sum_if_all_known([each.uncertainty_j if each else None for each in found])


def source_samples(record: Measured, who: EnergySource | None, window: str) -> int | None:
    """Good readings inside a window, of the device with the fewest."""
    return min((each.samples for each in _energies(record, who, window) if each), default=None)


def source_gap_s(record: Measured, who: EnergySource | None, window: str) -> float | None:
    """Longest time without a good reading, of the device with the longest."""
    gaps = [each.max_gap_s for each in _energies(record, who, window) if each]
    return max((gap for gap in gaps if gap is not None), default=None)


def _energies(record: Measured, who: EnergySource | None, window: str) -> list[WindowEnergy | None]:
    return [record.energy(window, name) for name in who.channels] if who else []


def _has_energy(record: Measured, who: EnergySource, window: str) -> bool:
    energy_j = source_energy_j(record, who, window)
    return energy_j is not None and energy_j > 0 and not _is_invalid(record, who, window)


def _is_invalid(record: Measured, who: EnergySource, window: str) -> bool:
    return any(
        warning.severity is Severity.INVALID
        and warning.channel in who.channels
        and warning.window in {"", window}
        for warning in record.warnings
    )


def _speaker(group: Iterable[Channel]) -> EnergySource:
    channels = sorted(group, key=lambda channel: channel.name)
    worst = max(channels, key=lambda channel: channel.origin.rank)
    names = tuple(channel.name for channel in channels)
    return EnergySource(worst.domain, names, _method(channels[0]), worst.origin)


def _rank(group: list[Channel]) -> tuple[int, bool, bool, bool, str]:
    first = min(group, key=lambda channel: channel.name)
    return (
        max(channel.origin.rank for channel in group),
        is_codecarbon(first.name),
        first.kind is not Kind.COUNTER,
        "instant" not in first.reading,
        first.name,
    )


def _method(channel: Channel) -> str:
    if channel.domain is Domain.GPU:
        return _gpu_method(channel)
    return "_".join(part for part in (meter_of(channel.name), _family(channel.reading)) if part)


def _gpu_method(channel: Channel) -> str:
    if channel.kind is Kind.COUNTER:
        return "counter"
    if "average" in channel.reading or channel.averaging_s:
        return "integral_average"
    return "integral_instant" if "instant" in channel.reading else "integral_unnamed"


def _family(reading: str) -> str:
    """The reading without a device number: ``package-0`` and ``package-1`` are one family."""
    return reading.rstrip("0123456789").rstrip("-_")


# Only training steps count, as in ``train``: validation is counted apart, so that a run that
# validates more often does not seem to learn at a higher price.
@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """The state at the end of one epoch's training steps.

    Attributes:
        epoch: The epoch; its validation metrics belong to the weights of this moment.
        time_s: Seconds of training steps so far.
        energy_j: Joules of the same steps; ``None`` if those of one epoch are unknown.
    """

    epoch: Epoch
    time_s: float
    energy_j: float | None


def timeline(record: RunRecord, who: EnergySource | None) -> list[TimelinePoint]:
    """One point for each finished epoch, in order."""
    costs = [source_energy_j(record, who, window.epoch(each.index)) for each in record.epochs]
    times = [each.end_s - each.start_s for each in record.epochs]
    return [
        TimelinePoint(epoch, sum(times[: i + 1]), sum_if_all_known(costs[: i + 1]))
        for i, epoch in enumerate(record.epochs)
    ]


def cost_of_target(record: RunRecord, who: EnergySource | None) -> Reached | None:
    """What it took to reach the plan's target; ``None`` if this run never did."""
    points = timeline(record, who)
    return energy_to_accuracy(
        [target_score(record, point.epoch) for point in points],
        record.spec.target_value,
        [point.time_s for point in points],
        [point.energy_j for point in points],
    )


def target_score(record: RunRecord, epoch: Epoch) -> float | None:
    """The plan's target metric after one epoch; ``None`` if it was not worked out."""
    scores = {
        "accuracy": epoch.accuracy,
        "val_accuracy": epoch.val_accuracy,
        "val_balanced_accuracy": epoch.val_balanced_accuracy,
    }
    return scores.get(record.spec.target_metric)
