"""Meters and boards opened, probed and sampled into a folder, as one context."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

from wbcbench.core.errors import UsageError
from wbcbench.core.lock import machine_lock
from wbcbench.core.record import Circumstances, SensorCard
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Channel, Origin, Trace
from wbcbench.core.window import Clock, utc_now
from wbcbench.energy.uncertainty import card_of, informed
from wbcbench.power.meter import AUTO, EnergyMeter, MeterRequest, open_meters
from wbcbench.power.sampler import Sampler
from wbcbench.power.telemetry import TelemetryRecorder, open_boards

# Every meter sampled into a folder, outside a run: for ``monitor``, ``doctor`` and the API.
#
# Sampling begins a while before what is to be measured and ends a while after it, so that no edge
# lies at the edge of the trace: a power sensor needs up to a second to follow, and a counter states
# a joule only at its next step. What is read goes to the same files as a run's.


EDGE_S = 1.0  # rise time of board power sensors is 0.1–1 s
MOST_EDGE_S = 5.0
UPDATES_PAST_EDGE = 2  # one may be lost to a slow poll
INTERVALS_S = (0.01, 10.0)
SHARED = "shared"  # fact among the circumstances: another harness was measuring, too


@dataclass(frozen=True, slots=True)
class Asked:
    """What to measure with.

    Attributes:
        meters: Names in ``catalog.METERS``, or ``("auto",)``.
        gpus: GPU indices, UUIDs or UUID prefixes; empty = every visible one.
        interval_s: Sampling period in seconds, 0.01 to 10.
        seed: For the synthetic meter's signal.
        options: Further words for one meter; see ``MeterRequest``.

    Raises:
        UsageError: No meter is named, or the period is out of its range.
    """

    meters: tuple[str, ...] = (AUTO,)
    gpus: tuple[str, ...] = ()
    interval_s: float = 0.1
    seed: int = 0
    options: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be sampled."""
        low_s, high_s = INTERVALS_S
        if not low_s <= self.interval_s <= high_s:
            raise UsageError(
                f"The sampling period must lie between {low_s:g} and {high_s:g} seconds; "
                f"it is {self.interval_s!r}."
            )
        if not self.meters:
            raise UsageError("No meter is named. Leave --meters out, or name at least one.")

    @property
    def request(self) -> MeterRequest:
        """What this asks of each meter."""
        return MeterRequest(gpus=self.gpus, seed=self.seed, options=self.options)


class Recording:
    """Meters and boards, sampled from ``__enter__`` to ``__exit__``."""

    def __init__(self, run: RunDir, asked: Asked, clock: Clock) -> None:
        """Prepare to record into the folder of ``run``; nothing is opened yet."""
        self._run, self._asked, self._clock = run, asked, clock
        self._stack = ExitStack()
        self.meters: list[EnergyMeter] = []
        self.sampler: Sampler
        self.channels: tuple[Channel, ...] = ()

    def __enter__(self) -> Self:
        """Open the meters and start sampling.

        Raises:
            CannotMeasureError: A meter asked for by name does not work here, or none at all does.
            UsageError: There is no meter or no GPU of that name.
        """
        with ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def _open(self, stack: ExitStack) -> None:
        # Held for a moment only: a run may well be what is monitored, and must not be refused.
        with machine_lock("host", share=True) as hold:
            shared = not hold.alone
        opened = open_meters(self._asked.meters, self._asked.request, stack)
        self.meters = opened.meters
        cards = sensor_cards(opened.meters, self._clock)
        self.channels = channels_of(opened.meters, cards)
        self._run.trace_path("").parent.mkdir(parents=True, exist_ok=True)
        self._run.write_channels(self.channels)
        self._began = Circumstances(
            utc_now(), {SHARED: shared}, absent=tuple(opened.absent), sensor_cards=cards
        )
        self.sampler = Sampler(opened.meters, self._run, self._asked.interval_s, self._clock)
        boards = open_boards(self.channels, stack)
        self._telemetry = TelemetryRecorder(boards, self._run, self._clock)
        stack.callback(self._telemetry.stop)
        stack.callback(self.sampler.stop)
        self.sampler.start()
        self._telemetry.start()

    def __exit__(self, *_: object) -> None:
        """Stop sampling, let the meters go and write what was seen."""
        described = {meter.name: meter.describe() for meter in self.meters}
        self._stack.close()
        seen = Circumstances(
            started_utc=self._began.started_utc,
            provenance=self._began.provenance,
            absent=self._began.absent,
            meters=described,
            sensor_cards=self._began.sensor_cards,
            sampling=self.sampler.summaries(),
        )
        self._run.write_began(seen)

    @property
    def error(self) -> OSError | None:
        """Why sampling ended early; ``None`` while all is well."""
        return self.sampler.error

    @property
    def edge_s(self) -> float:
        """How long to sample before and after what is measured."""
        slowest_s = max((channel.update_s or 0.0 for channel in self.channels), default=0.0)
        return min(max(EDGE_S, UPDATES_PAST_EDGE * slowest_s), MOST_EDGE_S)

    def rest(self) -> None:
        """Sample for the length of an edge."""
        self._clock.sleep_until(self._clock.now_s() + self.edge_s)


# A close look at every sensor of its own before anything is measured; all meters at once.
#
# What the cards say goes into the channels, and from there into every stated uncertainty.


PROBE_S = 2.0
POLL_S = 0.001  # NVML answers in tens of microseconds: the machine stays nearly idle
PATIENCE_S = 3.0  # a driver that hangs longer has no card; the sampler's handshake deals with it


def sensor_cards(meters: Sequence[EnergyMeter], clock: Clock) -> tuple[SensorCard, ...]:
    """Probe every meter that reads a sensor; takes as long as one probe.

    Models have no sensor, and a meter with a period of its own knows its sensor's pace.

    Args:
        meters: Entered meters; their sampler must not run yet.
        clock: Source of time.
    """
    found: dict[int, tuple[SensorCard, ...]] = {}

    def look(place: int, meter: EnergyMeter) -> None:
        found[place] = probe(meter, clock)

    threads = [
        threading.Thread(target=look, args=each, name=f"probe {each[1].name}", daemon=True)
        for each in enumerate(meters)
        if _has_sensor(each[1])
    ]
    for thread in threads:
        thread.start()
    end_s = clock.now_s() + PROBE_S + PATIENCE_S
    for thread in threads:
        thread.join(max(end_s - clock.now_s(), 0.0))
    return tuple(card for _, cards in sorted(found.items()) for card in cards)


def probe(meter: EnergyMeter, clock: Clock, for_s: float = PROBE_S) -> tuple[SensorCard, ...]:
    """Read an entered meter as fast as is sensible and write a card for each channel.

    Args:
        meter: Its sampler must not run yet.
        clock: Source of time.
        for_s: Length of the probe in seconds; a call that hangs makes it longer.
    """
    times: list[float] = []
    rows: list[Sequence[float | None]] = []
    end_s = clock.now_s() + for_s
    while (now_s := clock.now_s()) < end_s:
        rows.append(meter.read())
        times.append(now_s)
        clock.sleep_until(now_s + POLL_S)
    columns = zip(*rows, strict=True)
    pairs = zip(meter.channels, columns, strict=True)
    return tuple(card_of(Trace(channel, times, column)) for channel, column in pairs)


def channels_of(meters: Iterable[EnergyMeter], cards: Iterable[SensorCard]) -> tuple[Channel, ...]:
    """All channels, with the pace that their cards found."""
    return informed((channel for meter in meters for channel in meter.channels), cards)


def _has_sensor(meter: EnergyMeter) -> bool:
    is_measured = any(channel.origin is Origin.MEASURED for channel in meter.channels)
    return is_measured and meter.interval_s is None
