"""Which reading counts for each device of the machine, and what a run had cost after each epoch.

A part of the machine (GPU, CPU, …) has devices: boards, sockets. A device may have several
readings: an energy counter, and power that is integrated. For each window and each device one of
them is chosen; an *energy source* is these readings together, and its joules are their sum. If one
device has none, the sum is unknown: it is never that of the other devices.

All readings of a source come from meters that are trusted alike. What was lost or refused by them
is not filled in by a model or by CodeCarbon: those stand beside, as what they are. ``system`` is
not added to anything.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import Literal, Protocol

from pydantic import JsonValue

from wbcbench.core import window
from wbcbench.core.quality import QualityWarning, Severity
from wbcbench.core.record import AbsentMeter, Budget, Epoch, RunRecord
from wbcbench.core.text import human_energy_within
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.window import TRAIN, WindowEnergy
from wbcbench.energy import thresholds
from wbcbench.energy.metrics import Reached, energy_to_accuracy, scale, sum_if_all_known

# The GPU is what training loads; the CPU counts where no GPU is in use, and the whole machine where
# the CPU cannot be read either. DRAM alone is never the primary energy.
PRIMARY_DOMAINS = (Domain.GPU, Domain.CPU, Domain.SYSTEM)

CODECARBON = "codecarbon"
WALL = "wall"  # the meter that `attach` adds
TDP_LOAD = "codecarbon_tdp_load"  # the method of its model of the processor


def meter_of(channel: str) -> str:
    """Name of the meter that reads a channel."""
    return channel.split("/", maxsplit=1)[0]


def is_codecarbon(channel: str) -> bool:
    """Whether a channel is CodeCarbon's: a cross-check wherever another meter is as trusted."""
    return meter_of(channel) == CODECARBON


def device_label(channel: str) -> str:
    """``nvml/gpu0`` for ``nvml/gpu0/counter``: what messages call the device of a channel."""
    return channel.rpartition("/")[0] or channel


def describe_model(meters: Mapping[str, JsonValue], method: str | None) -> str:
    """What the joules of a model rest on, as a clause; empty where it is not known."""
    facts = meters.get(CODECARBON)
    if method != TDP_LOAD or not isinstance(facts, Mapping):
        return ""
    if facts.get("cpu_tdp_known") is False:
        return (
            "CodeCarbon knew no power rating of this processor and assumed 4 W a thread, and a "
            "curve of its load"
        )
    return "CodeCarbon's model of the processor's power rating and load"


class Measured(Protocol):
    """What a source is chosen from: a run record, or the evidence of a run being accounted."""

    @property
    def channels(self) -> Sequence[Channel]:
        """All channels."""

    @property
    def absent(self) -> Sequence[AbsentMeter]:
        """Meters and devices that cannot be read."""

    @property
    def warnings(self) -> Sequence[QualityWarning]:
        """The warnings known so far."""

    @property
    def budgets(self) -> Sequence[Budget]:
        """Where the uncertainty of each energy comes from."""

    @property
    def device(self) -> str:
        """Where TensorFlow ran, e.g. ``/GPU:0``; empty if unknown."""

    def energy(self, window: str, channel: str) -> WindowEnergy | None:
        """The joules of one window on one channel; ``None`` if there are none."""


@dataclass(frozen=True, slots=True)
class EnergySource:
    """Channels whose joules together are the joules of one part of the machine.

    Attributes:
        domain: The part.
        channels: Names, one for each device of the part that has readings.
        method: How they are read, each way once: ``counter``, ``counter+integral_usage``,
            ``rapl_package``, ``codecarbon_tdp_load``, …; ``None`` without channels.
        status: ``measured``, ``estimated`` or ``simulated``; ``None`` without channels.
        unread: Devices of the part that have no such reading, so that the sum is unknown.
    """

    domain: Domain
    channels: tuple[str, ...]
    method: str | None
    status: Origin | None
    unread: tuple[str, ...] = ()


def list_readings(channels: Iterable[Channel], domain: Domain) -> Sequence[Sequence[Channel]]:
    """The readings of each device of a part, the most trusted first, by its most trusted meters.

    In the order of trust of ``Origin``, and CodeCarbon after other meters; meters that are trusted
    alike are those of one part together. Among the readings of one device a counter goes before an
    integral, and an instantaneous reading before an averaged one.
    """
    return _sort_readings(tuple(channels), domain)


@lru_cache  # the runs of a study have the same channels
def _sort_readings(channels: tuple[Channel, ...], domain: Domain) -> Sequence[Sequence[Channel]]:
    ranked = sorted((channel for channel in channels if channel.domain is domain), key=_rank)
    devices: dict[str, list[Channel]] = {}
    for channel in ranked:
        if _rank(channel)[:2] == _rank(ranked[0])[:2]:
            # The machine as a whole is one device.
            name = channel.device or device_label(channel.name)
            devices.setdefault("" if domain is Domain.SYSTEM else name, []).append(channel)
    return sorted(devices.values(), key=lambda readings: device_label(readings[0].name))


def _rank(channel: Channel) -> tuple[int, bool, bool, bool, bool, str]:
    return (
        channel.origin.rank,
        is_codecarbon(channel.name),
        meter_of(channel.name) != WALL,  # which its user attached because it knows better
        channel.kind is not Kind.COUNTER,
        "instant" not in channel.reading,
        channel.name,
    )


def _name_method(channel: Channel) -> str:
    if channel.domain is not Domain.GPU:
        # A number in the reading is that of the device: package-0 and package-1 are read alike.
        reading = channel.reading.rstrip("0123456789").rstrip("-_")
        return "_".join(part for part in (meter_of(channel.name), reading) if part)
    if channel.kind is Kind.COUNTER:
        return "counter"
    for word in ("instant", "usage", "average"):
        if word in channel.reading:
            return f"integral_{word}"
    return "integral_average" if channel.averaging_s else "integral_unnamed"


_PARTS = {Domain.GPU: "GPU", Domain.CPU: "CPU", Domain.DRAM: "DRAM", Domain.SYSTEM: "whole machine"}
_WAYS = {
    "counter": " counter",
    "integral": " power readings",
    "rapl": " RAPL",
    "wall": ", wall meter",
    CODECARBON: " model (CodeCarbon)",
}


def name_part(domain: str) -> str:
    """``GPU``, ``whole machine``."""
    return _PARTS[Domain(domain)]


def name_reading(domain: str, method: str | None) -> str:
    """``GPU counter``, ``CPU model (CodeCarbon)``: what the joules of a part were read by."""
    ways = dict.fromkeys(each.partition("_")[0] for each in (method or "").split("+"))
    words = " and".join(_WAYS.get(way, f" {way}".rstrip()) for way in ways)
    return f"{_PARTS[Domain(domain)]}{words}"


def name_channel(channel: Channel) -> str:
    """``GPU counter``: what a single channel reads, and how."""
    return name_reading(channel.domain, _name_method(channel))


def _join_readings(
    domain: Domain, readings: Sequence[Channel], unread: Iterable[str]
) -> EnergySource | None:
    """One reading a device as a source; ``None`` if the part has no device at all."""
    missing = tuple(dict.fromkeys(unread))
    if not readings and not missing:
        return None
    return EnergySource(
        domain,
        tuple(channel.name for channel in readings),
        "+".join(dict.fromkeys(map(_name_method, readings))) or None,
        max((c.origin for c in readings), key=lambda origin: origin.rank, default=None),
        missing,
    )


def expected_source(
    channels: Iterable[Channel], domain: Domain, absent: Iterable[AbsentMeter] = ()
) -> EnergySource | None:
    """The source of a part before anything was measured: the best reading of each device."""
    best = [readings[0] for readings in list_readings(channels, domain)]
    return _join_readings(domain, best, _list_unread(absent, domain))


def _list_unread(absent: Iterable[AbsentMeter], domain: Domain) -> list[str]:
    return [meter.meter for meter in absent if meter.domain is domain]


def live_channel(channels: Sequence[Channel]) -> Channel | None:
    """The channel to show while a run goes on: the first of the likely primary source."""
    likely = (list_readings(channels, domain) for domain in PRIMARY_DOMAINS)
    return next((devices[0][0] for devices in likely if devices), None)


def choose_source(
    record: Measured, domain: Domain, window: str = TRAIN, *, kind: Kind | None = None
) -> EnergySource | None:
    """The source of a part in ``window``; ``None`` if the part has no device that should be read.

    Of each device the most trusted reading that has joules is taken; if none has, the most trusted
    of all, so that the row can say which meter was there.

    Args:
        record: What was measured.
        domain: The part.
        window: Name of the window.
        kind: Only readings of this kind; a device without one leaves the sum unknown.
    """
    chosen, unread = list[Channel](), _list_unread(record.absent, domain)
    for readings in list_readings(record.channels, domain):
        offered = [channel for channel in readings if kind in (None, channel.kind)]
        if offered:
            chosen.append(_choose_reading(record, offered, window))
        else:
            unread.append(device_label(readings[0].name))
    return _join_readings(domain, chosen, unread)


def _choose_reading(record: Measured, readings: Sequence[Channel], window: str) -> Channel:
    """The reading of one device that counts in a window; the most trusted stands first."""
    usable = [channel for channel in readings if has_energy(record, channel.name, window)]
    if not usable:
        return readings[0]
    first, *others = usable
    # What a part-time sensor did not read is in no ±, so that its integral is never the finer one.
    full_time = (c for c in others if (c.averaging_s or math.inf) >= (c.update_s or 0.0))
    finer = (c for c in full_time if is_too_coarse(record, first, c, window))
    return next(finer, first)


def is_too_coarse(record: Measured, counter: Channel, integral: Channel, window: str) -> bool:
    """Whether a counter steps so slowly that the integral of the same device says much more.

    One of a fast pace never does: which reading counts must not hang on a window's length. Where
    the pace is unknown, the ± says for how long the counter may have stood.
    """
    steps, curve = record.energy(window, counter.name), record.energy(window, integral.name)
    if not steps or not curve or not steps.mean_power_w or not steps.energy_j:
        return False
    if steps.uncertainty_j is None or curve.uncertainty_j is None:
        return False
    pace_s = counter.update_s or steps.uncertainty_j / steps.mean_power_w
    return pace_s > thresholds.PROMPT_COUNTER_S and (
        steps.uncertainty_j > thresholds.COARSE_COUNTER_SHARE * steps.energy_j
        and steps.uncertainty_j > thresholds.COARSE_COUNTER_RATIO * curve.uncertainty_j
    )


def has_energy(record: Measured, channel: str, window: str) -> bool:
    """Whether a channel's joules are known, positive and not invalid."""
    energy = record.energy(window, channel)
    return ((energy.energy_j if energy else None) or 0.0) > 0 and not any(
        warning.severity is Severity.INVALID
        and warning.channel == channel
        and warning.window in {"", window}
        for warning in record.warnings
    )


def list_passed_over(record: Measured, source: EnergySource) -> Iterator[tuple[Channel, Channel]]:
    """The most trusted reading of a device, and the one of ``source`` that counts instead."""
    for readings in list_readings(record.channels, source.domain):
        taken = next((channel for channel in readings if channel.name in source.channels), None)
        if taken is not None and taken is not readings[0]:
            yield readings[0], taken


def primary_source(record: Measured, window: str = TRAIN) -> EnergySource | None:
    """The source of a window's primary energy: GPU if one is in use, else CPU, else whole machine.

    A part that is in use keeps its place where its joules are unknown: those of another part would
    be taken for them.
    """
    if is_gpu_in_use(record):
        unnamed = EnergySource(Domain.GPU, (), None, None, (record.device.strip("/"),))
        return choose_source(record, Domain.GPU, window) or unnamed
    others = (choose_source(record, domain, window) for domain in PRIMARY_DOMAINS[1:])
    return next(filter(None, others), None)


def is_gpu_in_use(record: Measured) -> bool:
    """Whether a GPU was measured, trained on or, where that is not known, should be measured."""
    if any(channel.domain is Domain.GPU for channel in record.channels):
        return True
    if record.device:
        return "GPU" in record.device.upper()
    return bool(_list_unread(record.absent, Domain.GPU))


def explain_unknown(record: Measured, source: EnergySource, window: str) -> dict[str, str]:
    """Each device without joules, and why; empty where the source's joules are known."""
    absent = {meter.meter: meter.reason for meter in record.absent}
    reasons = {
        name: absent.get(name, "no meter has such a reading of it") for name in source.unread
    }
    for channel in source.channels:
        energy = record.energy(window, channel)
        if energy is None or energy.energy_j is None:
            reasons[device_label(channel)] = energy.reason if energy else "it has no such window"
    return reasons


def source_energy_j(record: Measured, source: EnergySource | None, window: str) -> float | None:
    """Joules of one window, summed over the source's devices; ``None`` if one is unknown."""
    energies = _list_energies(record, source, window)
    return sum_if_all_known([energy.energy_j if energy else None for energy in energies])


def spent_j(record: RunRecord, source: EnergySource | None, window: str) -> float | None:
    """Joules spent in one window: of ``train``, which states one training, those of all loops."""
    energy_j = source_energy_j(record, source, window)
    return scale(energy_j, record.loop_count) if window == TRAIN else energy_j


def source_power_w(record: Measured, source: EnergySource | None, window: str) -> float | None:
    """Mean power of one window, summed over the source's devices; ``None`` if one is unknown."""
    energies = _list_energies(record, source, window)
    return sum_if_all_known([energy.mean_power_w if energy else None for energy in energies])


def source_uncertainty_j(
    record: Measured, source: EnergySource | None, window: str
) -> float | None:
    """Uncertainty of a window's joules; ``None`` for a model, or if that of a device is unknown.

    Devices that work in step are late alike and miss the same of the load: what the same meter's
    readings of one kind are off by at the edges and between readings adds up. The steps of their
    counters are independent and add in squares. The gain is stated apart, by ``source_board_j``.
    """
    energies = _list_energies(record, source, window)
    known = [(e, e.uncertainty_j) for e in energies if e and e.uncertainty_j is not None]
    is_model = source is not None and source.status is Origin.ESTIMATED
    if is_model or not energies or len(known) < len(energies):
        return None
    if len(known) == 1:
        return known[0][1]
    budgets = {b.channel: b for b in record.budgets if b.window == window}
    kinds = {channel.name: channel.kind for channel in record.channels}
    squares_j2, shared_j = 0.0, defaultdict[tuple[str, str, Kind], float](float)
    for energy, width_j in known:
        name = energy.channel
        alike = meter_of(name), kinds[name]
        budget = budgets.get(name)
        # Where nothing says what it comes from, all of it may be shared.
        shared_j["sampling", *alike] += budget.sampling_j if budget else width_j
        shared_j["edges", *alike] += budget.edges_j if budget else 0.0
        squares_j2 += budget.quantisation_j**2 if budget else 0.0
    return math.hypot(math.sqrt(squares_j2), *shared_j.values())


def source_board_j(record: Measured, source: EnergySource | None, window: str) -> float | None:
    """By what the gain of its sensors may shift a window's joules; ``None`` if that is unknown.

    Each board has its own gain, the same in all its windows: those of several add in squares.
    """
    gains = {channel.name: channel.gain_error for channel in record.channels}
    energies = _list_energies(record, source, window)
    known = [(gains.get(energy.channel), energy.energy_j) for energy in energies if energy]
    known_j = [gain * j for gain, j in known if gain is not None and j is not None]
    return math.hypot(*known_j) if known_j and len(known_j) == len(energies) else None


@dataclass(frozen=True, slots=True)
class EnergyResult:
    """The joules to quote for one window.

    Attributes:
        window: Its name.
        energy_j: Joules as measured; ``None`` if no meter knows.
        uncertainty_j: Half-width of the reading at about 95 %; ``None`` for a model, whose error
            is unknown.
        mean_power_w: Joules over the window's duration.
        status: ``measured``, ``estimated``, ``simulated`` or ``absent``.
        channel: Name of the channel, or of several joined by ``+`` (one for each device).
        method: How it was read: ``counter``, ``integral_instant``, ``codecarbon_tdp_load``, …; of
            several devices each way once, joined by ``+``.
        domain: The part of the machine: ``gpu``, ``cpu`` or ``system``.
        unread: The devices of that part whose joules are unknown, so that ``energy_j`` is.
        board_uncertainty_j: Half-width by the gain of the boards' sensors, which is the same in all
            that one board measures; ``None`` where no figure is known.
        unrated: The devices without such a figure where others have one: theirs alone would pass
            for that of all.
    """

    window: str
    energy_j: float | None = None
    uncertainty_j: float | None = None
    mean_power_w: float | None = None
    status: Origin | Literal["absent"] = "absent"
    channel: str | None = None
    method: str | None = None
    domain: str | None = None
    unread: tuple[str, ...] = ()
    board_uncertainty_j: float | None = None
    unrated: tuple[str, ...] = ()

    @property
    def in_words(self) -> str:
        """``5.51 kJ ± 3.4 J (reading) ± 276 J (board)``."""
        halves_j = {"reading": self.uncertainty_j, "board": self.board_uncertainty_j}
        unrated = f" ± unknown (board {', '.join(self.unrated)})" if self.unrated else ""
        return human_energy_within(self.energy_j, **halves_j) + unrated


def find_window_energy(record: Measured, source: EnergySource | None, window: str) -> EnergyResult:
    """What one window cost on a source, with each ± and how it was read."""
    if source is None:
        return EnergyResult(window)
    energy_j = source_energy_j(record, source, window)
    gains = {channel.name: channel.gain_error for channel in record.channels}
    unrated = tuple(device_label(name) for name in source.channels if gains[name] is None)
    return EnergyResult(
        window=window,
        energy_j=energy_j,
        uncertainty_j=source_uncertainty_j(record, source, window),
        mean_power_w=source_power_w(record, source, window),
        status="absent" if energy_j is None or source.status is None else source.status,
        channel="+".join(source.channels) or None,
        method=source.method,
        domain=source.domain.value,
        unread=tuple(explain_unknown(record, source, window)),
        board_uncertainty_j=source_board_j(record, source, window),
        unrated=unrated if len(unrated) < len(source.channels) else (),
    )


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
    """The joules of each device of a source, ``None`` for one that has none."""
    if source is None:
        return []
    energies = [record.energy(window, name) for name in source.channels]
    return energies + [None] * len(source.unread)


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


def epoch_s(record: RunRecord, epoch: Epoch) -> float:
    """Seconds of an epoch's training steps; of several loops, the mean, as its joules are."""
    spans_s = [loop.spans_s[epoch.index - 1] for loop in record.loops]
    return fmean(end_s - start_s for start_s, end_s in spans_s or [(epoch.start_s, epoch.end_s)])


def timeline(record: RunRecord, source: EnergySource | None) -> list[TimelinePoint]:
    """One point for each finished epoch, in order."""
    costs = [source_energy_j(record, source, window.epoch(e.index)) for e in record.epochs]
    times = [epoch_s(record, epoch) for epoch in record.epochs]
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
