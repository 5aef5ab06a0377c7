"""Which reading counts for a part of the machine, and what a run had cost after each epoch.

An *energy source* is one way of reading one part of the machine: all channels of one meter with one
kind and one reading (both sockets, every GPU). Joules are summed over the channels of one source
and never across sources: measured and estimated joules are not added, ``system`` is not added to
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
# where neither can be read. DRAM alone is never the primary energy.
PRIMARY_DOMAINS = (Domain.GPU, Domain.CPU, Domain.SYSTEM)

CODECARBON = "codecarbon"


def meter_of(channel: str) -> str:
    """Name of the meter that reads a channel."""
    return channel.split("/", maxsplit=1)[0]


def is_codecarbon(channel: str) -> bool:
    """Whether a channel is CodeCarbon's: a cross-check wherever another meter is as trusted."""
    return meter_of(channel) == CODECARBON


class Measured(Protocol):
    """What a source is chosen from: a run record, or the evidence of a run being accounted."""

    @property
    def channels(self) -> Sequence[Channel]:
        """All channels."""
        ...

    @property
    def warnings(self) -> Sequence[QualityWarning]:
        """The warnings known so far."""
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
        status: ``measured``, ``estimated`` or ``simulated``.
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
    for channel in sorted(channels, key=lambda channel: channel.name):
        if channel.domain is domain:
            key = (meter_of(channel.name), channel.kind, _strip_number(channel.reading))
            groups.setdefault(key, []).append(channel)
    return [
        EnergySource(
            domain,
            tuple(channel.name for channel in group),
            _name_method(group[0]),
            max((channel.origin for channel in group), key=lambda origin: origin.rank),
        )
        for group in sorted(groups.values(), key=_rank_group)
    ]


def _rank_group(group: list[Channel]) -> tuple[int, bool, bool, bool, str]:
    first = group[0]
    return (
        max(channel.origin.rank for channel in group),
        is_codecarbon(first.name),
        first.kind is not Kind.COUNTER,
        "instant" not in first.reading,
        first.name,
    )


def _name_method(channel: Channel) -> str:
    if channel.domain is not Domain.GPU:
        reading = _strip_number(channel.reading)
        return "_".join(part for part in (meter_of(channel.name), reading) if part)
    if channel.kind is Kind.COUNTER:
        return "counter"
    if "average" in channel.reading or channel.averaging_s:
        return "integral_average"
    return "integral_instant" if "instant" in channel.reading else "integral_unnamed"


def _strip_number(reading: str) -> str:
    """The reading without a device number: ``package-0`` and ``package-1`` are one source."""
    return reading.rstrip("0123456789").rstrip("-_")


def live_channel(channels: Sequence[Channel]) -> Channel | None:
    """The channel to show while a run goes on: the first of the likely primary source."""
    by_name = {channel.name: channel for channel in channels}
    likely = (source for domain in PRIMARY_DOMAINS for source in rank_sources(channels, domain))
    return next((by_name[source.channels[0]] for source in likely), None)


def choose_source(record: Measured, domain: Domain, window: str = TRAIN) -> EnergySource | None:
    """The most trusted source of a part that has joules for ``window``.

    Sources whose counter froze, whose sensor is invalid in that window or whose trace ends early
    are skipped. If none is left, the most trusted is returned nevertheless, so that the row can
    say which meter was there.
    """
    return first_with_energy(record, rank_sources(record.channels, domain), window)


def primary_source(record: Measured, window: str = TRAIN) -> EnergySource | None:
    """The source of a window's primary energy: GPU, else CPU, else whole machine."""
    sources = (choose_source(record, domain, window) for domain in PRIMARY_DOMAINS)
    return first_with_energy(record, [source for source in sources if source], window)


def first_with_energy(
    record: Measured, sources: Sequence[EnergySource], window: str = TRAIN
) -> EnergySource | None:
    """The first that has joules for ``window``, else the first; ``None`` if there is none."""
    usable = (source for source in sources if _has_energy(record, source, window))
    return next(usable, sources[0] if sources else None)


def _has_energy(record: Measured, source: EnergySource, window: str) -> bool:
    """Whether the joules are known, positive and not invalid."""
    return (source_energy_j(record, source, window) or 0.0) > 0 and not any(
        warning.severity is Severity.INVALID
        and warning.channel in source.channels
        and warning.window in {"", window}
        for warning in record.warnings
    )


def source_energy_j(record: Measured, source: EnergySource | None, window: str) -> float | None:
    """Joules of one window, summed over the source's devices; ``None`` if one is unknown."""
    energies = _list_energies(record, source, window)
    return sum_if_all_known([energy.energy_j if energy else None for energy in energies])


def source_power_w(record: Measured, source: EnergySource | None, window: str) -> float | None:
    """Mean power of one window, summed over the source's devices; ``None`` if one is unknown."""
    energies = _list_energies(record, source, window)
    return sum_if_all_known([energy.mean_power_w if energy else None for energy in energies])


def source_uncertainty_j(
    record: Measured, source: EnergySource | None, window: str
) -> float | None:
    """Uncertainty of a window's joules: the devices' added, for a gain error is shared."""
    energies = _list_energies(record, source, window)
    return sum_if_all_known([energy.uncertainty_j if energy else None for energy in energies])


def source_samples(record: Measured, source: EnergySource | None, window: str) -> int | None:
    """Good readings inside a window, of the device with the fewest."""
    energies = _list_energies(record, source, window)
    return min((energy.samples for energy in energies if energy), default=None)


def source_gap_s(record: Measured, source: EnergySource | None, window: str) -> float | None:
    """Longest time without a good reading, of the device with the longest."""
    gaps = [energy.max_gap_s for energy in _list_energies(record, source, window) if energy]
    return max((gap for gap in gaps if gap is not None), default=None)


def _list_energies(
    record: Measured, source: EnergySource | None, window: str
) -> list[WindowEnergy | None]:
    return [record.energy(window, name) for name in source.channels] if source else []


# Only training steps count, as in ``train``: validation has its own windows, so that a run that
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


def timeline(record: RunRecord, source: EnergySource | None) -> list[TimelinePoint]:
    """One point for each finished epoch, in order."""
    costs = [source_energy_j(record, source, window.epoch(e.index)) for e in record.epochs]
    times = [epoch.end_s - epoch.start_s for epoch in record.epochs]
    return [
        TimelinePoint(epoch, sum(times[: i + 1]), sum_if_all_known(costs[: i + 1]))
        for i, epoch in enumerate(record.epochs)
    ]


def cost_of_target(record: RunRecord, source: EnergySource | None) -> Reached | None:
    """What it took to reach the plan's target; ``None`` if this run never reached it."""
    points = timeline(record, source)
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
