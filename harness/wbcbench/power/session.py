"""One metering session: meters opened, probed, sampled into a folder, closed.

One class under a run, ``monitor``, ``doctor`` and ``Meter``: all of them leave the same files.

Sampling begins a while before what is to be measured and ends a while after it, so that no edge
lies at the edge of the trace: a power sensor needs up to a second to follow, and a counter states
a joule only at its next step.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from pydantic import JsonValue

from wbcbench.core.errors import UsageError
from wbcbench.core.lock import HOST, machine_lock
from wbcbench.core.record import Circumstances, SensorCard
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Channel, Kind, Origin, Trace
from wbcbench.core.window import Clock, utc_now
from wbcbench.energy.uncertainty import FEWEST_EVEN_MOVES, make_sensor_card, update_channels
from wbcbench.power.device import Device
from wbcbench.power.meter import AUTO, EnergyMeter, MeterRequest, open_meters
from wbcbench.power.sampler import Sampler
from wbcbench.power.telemetry import TelemetryRecorder

EDGE_S = 1.0  # rise time of board power sensors is 0.1–1 s
MOST_EDGE_S = 5.0
UPDATES_PAST_EDGE = 2  # one may be lost to a slow poll
SETTLED = 0.1  # of what a reading rose by: less is left when it has followed the power down
SETTLED_READINGS = 4
SETTLING_S = 0.25
INTERVALS_S = (0.01, 10.0)

PROBE_S = 2.0
MOST_PROBE_S = 8.0  # for a reading that hardly moves and has no counter beside it
POLL_S = 0.001  # NVML answers in tens of microseconds: the machine stays nearly idle
PATIENCE_S = 3.0  # a driver that hangs longer has no card; the sampler's handshake deals with it


@dataclass(frozen=True, slots=True)
class MeteringRequest:
    """What to measure with.

    Attributes:
        meters: Names in ``registry.METERS``, or ``("auto",)``.
        gpus: GPU indices, UUIDs or UUID prefixes; empty = every visible one.
        interval_s: Sampling period in seconds, 0.01 to 10.
        seed: For the simulated meter's signal.
        options: Options of one meter; see ``MeterRequest``.

    Raises:
        UsageError: No meter is named, or the period is out of its range.
    """

    meters: tuple[str, ...] = (AUTO,)
    gpus: tuple[str, ...] = ()
    interval_s: float = 0.1
    seed: int = 0
    options: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the period and the names."""
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
        """The same for each meter."""
        return MeterRequest(gpus=self.gpus, seed=self.seed, options=self.options)


class MeteringSession:
    """Meters, sampled into a run's folder: ``open``, ``probe``, ``start``, ``stop``.

    A run takes its locks and cools down between opening and probing.
    """

    meters: list[EnergyMeter]
    devices: list[Device]
    channels: tuple[Channel, ...]
    sampler: Sampler

    def __init__(
        self, run: RunDir, clock: Clock, stack: ExitStack, root_pid: int | None = None
    ) -> None:
        """Prepare.

        Args:
            run: Where everything is written.
            clock: Source of time.
            stack: Will stop sampling and close what was opened.
            root_pid: The process that, with all it starts, is measured; see ``TelemetryRecorder``.
        """
        self._run, self._clock, self._stack, self._root_pid = run, clock, stack, root_pid
        self._idle_w: dict[str, float] = {}

    def open(self, names: Sequence[str], request: MeterRequest) -> None:
        """Open the meters of these names.

        Raises:
            CannotMeasureError: A meter asked for by name does not work here, or none at all does.
            UsageError: There is no meter or no GPU of that name.
        """
        opened = open_meters(names, request, self._stack)
        self.meters, self._absent = opened.meters, tuple(opened.absent)
        self.devices, self.channels = opened.devices, channels_of(self.meters, ())

    def probe(self) -> None:
        """Find the pace of every sensor; the channels have it from then on."""
        self._cards = probe_sensors(self.meters, self._clock)
        self.channels = channels_of(self.meters, self._cards)

    def start(self, interval_s: float, provenance: Mapping[str, JsonValue]) -> None:
        """Write circumstances and channels, then sample; raises as ``Sampler.start`` does."""
        self._began = Circumstances(
            started_utc=utc_now(),
            provenance=provenance,
            meters=self._descriptions(),
            absent=self._absent,
            sensor_cards=self._cards,
        )
        self._run.write_began(self._began)
        self._run.write_channels(self.channels)
        telemetry = TelemetryRecorder(self.devices, self._run, self._clock, self._root_pid)
        self._stack.callback(telemetry.stop)
        telemetry.start()
        self.sampler = Sampler(self.meters, self._run, interval_s, self._clock)
        self._stack.callback(self.sampler.stop)
        self.sampler.start()

    def stop(self) -> Circumstances:
        """Stop sampling; returns the circumstances as they are at the end."""
        self.sampler.stop()
        return replace(self._began, meters=self._descriptions(), sampling=self.sampler.summaries())

    def _descriptions(self) -> dict[str, JsonValue]:
        return {meter.name: meter.describe() for meter in self.meters}

    @property
    def error(self) -> str | None:
        """Why the traces could not be written; ``None`` while all is well."""
        error = self.sampler.error
        return None if error is None else error.strerror or str(error)

    @property
    def edge_s(self) -> float:
        """How long to sample before and after what is measured."""
        slowest_s = (
            UPDATES_PAST_EDGE * (channel.update_s or 0.0) + (channel.averaging_s or 0.0)
            for channel in self.channels
        )
        return min(max(EDGE_S, *slowest_s), MOST_EDGE_S)

    def rest(self) -> None:
        """Sample for the length of an edge, and until every counter has moved.

        After the first edge, until slow readings have fallen, too.
        """
        start_s, before = self._clock.now_s(), self._read_counters()
        self._clock.sleep_until(start_s + self.edge_s)
        if not self._idle_w:
            self._idle_w = {name: min(values) for name, values in self._list_recent()}
        while self._clock.now_s() < start_s + MOST_EDGE_S and (
            before.items() & self._read_counters().items() or not self._is_settled()
        ):
            self._clock.sleep_until(self._clock.now_s() + SETTLING_S)

    def _read_counters(self) -> dict[str, float]:
        """The last joules of each counter of a sensor."""
        return {
            channel.name: values[-1]
            for meter in self.meters
            for channel in meter.channels
            if meter.interval_s is None and channel.origin is Origin.MEASURED
            if channel.kind is Kind.COUNTER and (values := self._list_values(channel))
        }

    def _is_settled(self) -> bool:
        """Whether each power reading is back where it was before the load."""
        for name, values in self._list_recent():
            idle_w = self._idle_w.get(name, 0.0)
            if max(values[-SETTLED_READINGS:]) - idle_w > SETTLED * max(values):
                return False
        return True

    def _list_recent(self) -> Iterator[tuple[str, list[float]]]:
        """The last readings of each power that is measured."""
        for meter in self.meters:
            for channel in meter.channels:
                if channel.kind is Kind.COUNTER or channel.origin is not Origin.MEASURED:
                    continue
                if values := self._list_values(channel):
                    yield channel.name, values

    def _list_values(self, channel: Channel) -> list[float]:
        """The last good readings of a channel."""
        return [value for _, value in self.sampler.recent(channel) if value is not None]


@contextmanager
def sampling(
    run: RunDir, request: MeteringRequest, clock: Clock, root_pid: int | None = None
) -> Iterator[MeteringSession]:
    """Sample while the caller works; arguments and errors as those of ``MeteringSession``."""
    # Held for a moment only: a run may well be what is monitored, and must not be refused.
    with machine_lock(HOST, share=True) as hold:
        is_shared = not hold.is_exclusive
    with ExitStack() as stack:
        session = MeteringSession(run, clock, stack, root_pid)
        session.open(request.meters, request.request)
        session.probe()
        session.start(request.interval_s, provenance={})
        try:
            yield session
        finally:
            run.write_began(replace(session.stop(), shared=is_shared))


def probe_sensors(meters: Sequence[EnergyMeter], clock: Clock) -> tuple[SensorCard, ...]:
    """Probe every meter that reads a sensor, all at once; takes as long as one probe.

    What the cards say goes into the channels, and from there into every stated uncertainty. Models
    have no sensor, and a meter with a period of its own knows its sensor's pace.

    Args:
        meters: Entered meters; their sampler must not run yet.
        clock: Source of time.
    """
    cards: dict[int, tuple[SensorCard, ...]] = {}

    def write_cards(place: int, meter: EnergyMeter) -> None:
        cards[place] = probe(meter, clock, most_s=MOST_PROBE_S)

    threads = [
        threading.Thread(target=write_cards, args=(place, meter), name="probe", daemon=True)
        for place, meter in enumerate(meters)
        if meter.interval_s is None
        and any(channel.origin is Origin.MEASURED for channel in meter.channels)
    ]
    for thread in threads:
        thread.start()
    most_s = max((MOST_PROBE_S if _list_alone(meter) else PROBE_S for meter in meters), default=0.0)
    end_s = clock.now_s() + most_s + PATIENCE_S
    for thread in threads:
        thread.join(max(end_s - clock.now_s(), 0.0))
    return tuple(card for place in sorted(cards) for card in cards[place])


def probe(
    meter: EnergyMeter, clock: Clock, for_s: float = PROBE_S, most_s: float = 0.0
) -> tuple[SensorCard, ...]:
    """Read an entered meter as fast as is sensible and write a card for each channel.

    Args:
        meter: Its sampler must not run yet.
        clock: Source of time.
        for_s: Length of the probe in seconds; a call that hangs makes it longer.
        most_s: Its length where a power without a counter beside it has moved too seldom by then
            to show a pace.
    """
    times: list[float] = []
    rows: list[Sequence[float | None]] = []
    alone = [meter.channels.index(channel) for channel in _list_alone(meter)]
    moves = [0] * len(meter.channels)
    start_s = clock.now_s()
    while (now_s := clock.now_s()) < start_s + for_s or (
        now_s < start_s + most_s and any(moves[place] < FEWEST_EVEN_MOVES for place in alone)
    ):
        row = meter.read()
        for place in alone:
            moves[place] += bool(rows) and row[place] != rows[-1][place]
        rows.append(row)
        times.append(now_s)
        clock.sleep_until(now_s + POLL_S)
    columns = zip(meter.channels, zip(*rows, strict=True), strict=True)
    return tuple(make_sensor_card(Trace(channel, times, values)) for channel, values in columns)


def _list_alone(meter: EnergyMeter) -> list[Channel]:
    """Measured power of devices that have no counter: its sensor's pace and delay matter most."""
    counted = {c.device for c in meter.channels if c.kind is Kind.COUNTER}
    measured = (c for c in meter.channels if c.origin is Origin.MEASURED)
    return [channel for channel in measured if channel.device not in counted]


def channels_of(meters: Iterable[EnergyMeter], cards: Iterable[SensorCard]) -> tuple[Channel, ...]:
    """All channels, with the pace that their cards found."""
    return update_channels((channel for meter in meters for channel in meter.channels), cards)
