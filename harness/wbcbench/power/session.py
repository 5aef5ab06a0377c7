"""One metering session: meters opened, probed, sampled into a folder, closed.

One class under a run, ``monitor``, ``doctor`` and ``Meter``: all of them leave the same files.

Sampling begins a while before what is to be measured and ends a while after it, so that no edge
lies at the edge of the trace: a power sensor needs up to a second to follow, and a counter states
a joule only at its next step.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace

from pydantic import JsonValue

from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.lock import HOST, is_held
from wbcbench.core.ranks import Rank, find_rank
from wbcbench.core.record import FOREIGN_TRACKERS, AbsentMeter, Circumstances
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Channel, Kind, Origin
from wbcbench.core.trace_file import TraceWriter
from wbcbench.core.window import Clock, utc_now
from wbcbench.power.allotment import state_allotment
from wbcbench.power.device import Device
from wbcbench.power.meter import AUTO, EnergyMeter, MeterRequest, open_meters
from wbcbench.power.probing import channels_of, probe_sensors
from wbcbench.power.sampler import Sampler
from wbcbench.power.telemetry import TelemetryRecorder
from wbcbench.power.trackers import find_trackers

EDGE_S = 1.0  # rise time of board power sensors is 0.1–1 s
QUICK_EDGE_S = 0.5
MOST_EDGE_S = 5.0
CELLS_PAST_EDGE = 5  # by which ``energy.integrate`` finds the step of a load at an edge
UPDATES_PAST_EDGE = 2  # one may be lost to a slow poll
SETTLED = 0.1  # of what a reading rose by: less is left when it has followed the power down
SETTLED_S = 0.4
SETTLING_S = 0.25
INTERVALS_S = (0.01, 10.0)


@dataclass(frozen=True, slots=True)
class MeteringRequest:
    """What to measure with.

    Attributes:
        meters: Names in ``registry.METERS``, or ``("auto",)``.
        gpus: GPU indices, UUIDs or UUID prefixes; empty = every visible one.
        interval_s: Sampling period in seconds, 0.01 to 10.
        seed: For the simulated meter's signal.
        options: Options of one meter; see ``MeterRequest``.
        calibrate: Probe every sensor in full, although a card of it may be known.

    Raises:
        UsageError: No meter is named, or the period is out of its range.
    """

    meters: tuple[str, ...] = (AUTO,)
    gpus: tuple[str, ...] = ()
    interval_s: float = 0.1
    seed: int = 0
    options: dict[str, str] = field(default_factory=dict)
    calibrate: bool = False

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
    telemetry: TelemetryRecorder

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
        self._interval_s = 0.0
        self._edge_traces: list[tuple[EnergyMeter, TraceWriter]] = []
        self._edge_read_s = -math.inf
        self._has_rested = False

    def open(self, names: Sequence[str], request: MeterRequest, rank: Rank | None = None) -> None:
        """Open the meters of these names; arguments and errors as those of ``open_meters``."""
        opened = open_meters(names, request, self._stack, rank)
        self._names, self._started = names, opened.started
        self.meters, self._absent = opened.meters, tuple(opened.absent)
        self.devices, self.channels = opened.devices, channels_of(self.meters, ())

    def probe(self, *, is_quick: bool = False, uses_known: bool = False) -> None:
        """Find the pace of every sensor; the channels have it from then on.

        Args:
            is_quick: See ``probe_sensors``.
            uses_known: Likewise.
        """
        how = {"is_quick": is_quick, "uses_known": uses_known}
        self._cards = probe_sensors(self.meters, self._clock, **how)
        self.channels = channels_of(self.meters, self._cards)

    def start(self, interval_s: float, provenance: Mapping[str, JsonValue]) -> None:
        """Write circumstances and channels, then sample; raises as ``Sampler.start`` does."""
        self._began = Circumstances(
            started_utc=utc_now(),
            provenance={**provenance, FOREIGN_TRACKERS: list[JsonValue](find_trackers())},
            meters=self._descriptions(),
            absent=self._absent,
            sensor_cards=self._cards,
        )
        self._run.write_began(self._began)
        self._run.write_channels(self.channels)
        self.telemetry = TelemetryRecorder(self.devices, self._run, self._clock, self._root_pid)
        self._stack.callback(self.telemetry.stop)
        self.telemetry.start()
        self._interval_s = interval_s
        self.sampler = Sampler(self.meters, self._run, interval_s, self._clock, self.channels)
        self._stack.callback(self.sampler.stop)
        self.sampler.start()

    def add_started(self) -> None:
        """Wait for the meters that were slow to start, and read them for the first time.

        Raises:
            CannotMeasureError: One that was asked for by name does not work here.
        """
        for meter in self._started:
            try:
                meter.__enter__()  # the stack closes it already
            except CannotMeasureError as error:
                if meter.name in self._names:
                    raise
                self._absent = (*self._absent, AbsentMeter(meter.name, str(error)))
                continue
            path = self._run.trace_path(meter.name)
            trace = TraceWriter(path, (channel.name for channel in meter.channels))
            self._stack.enter_context(trace)
            self._edge_traces.append((meter, trace))
            self.channels = (*self.channels, *meter.channels)
        if self._started:
            self._run.write_channels(self.channels)
            descriptions = self._descriptions()
            self._began = replace(self._began, meters=descriptions, absent=self._absent)
            self._run.write_began(self._began)
        self._started = []
        self.read_edge()

    def read_edge(self, since_s: float | None = None) -> None:
        """Something that is measured begins or ends: read the meters that are read then only.

        Where one window ends as another begins, at ``since_s``, they are read once.
        """
        if since_s is not None and since_s <= self._edge_read_s:
            return
        self._edge_read_s = self._clock.now_s()
        for meter, trace in self._edge_traces:
            before_s = self._clock.now_s()
            values = meter.read()
            with suppress(OSError):  # a disk that cannot be written ends the run by the sampler
                trace.write([(0.5 * (before_s + self._clock.now_s()), values)])

    def stop(self) -> Circumstances:
        """Stop sampling; returns the circumstances as they are at the end."""
        own = resource.getrusage(resource.RUSAGE_SELF)
        self.read_edge()
        self.sampler.stop()
        if paces_s := self.sampler.find_paces_s():
            self.channels = tuple(
                replace(channel, update_s=paces_s.get(channel.name, channel.update_s))
                for channel in self.channels
            )
            self._run.write_channels(self.channels)
        return replace(
            self._began,
            meters=self._descriptions(),
            sampling=self.sampler.summaries(),
            recorder_cpu_s=own.ru_utime + own.ru_stime,
        )

    def _descriptions(self) -> dict[str, JsonValue]:
        beside = (meter for meter, _ in self._edge_traces)
        return {meter.name: meter.describe() for meter in (*self.meters, *beside)}

    def find_others(self) -> set[str]:
        """Of the measured boards and ``HOST`` those that a run holds; it does not learn of us.

        A run may well be what is measured, so that nothing is held or refused.
        """
        return set(filter(is_held, [HOST, *(device.gpu.uuid for device in self.devices)]))

    @property
    def error(self) -> str | None:
        """Why the traces could not be written; ``None`` while all is well."""
        error = self.sampler.error
        return None if error is None else error.strerror or str(error)

    @property
    def edge_s(self) -> float:
        """How long to sample before and after what is measured."""
        slowest_s = (
            UPDATES_PAST_EDGE * (channel.update_s or 0.0)
            + (channel.averaging_s or 0.0)
            + (channel.delay_s or 0.0)
            for channel in self.channels
        )
        return min(max(self._least_edge_s, *slowest_s), MOST_EDGE_S)

    @property
    def _least_edge_s(self) -> float:
        """Shorter than ``EDGE_S`` where each device has a counter, whose pace is known.

        Not beside power that may be the mean of a second, as those of some boards are.
        """
        sensors = [c for c in self.channels if c.origin is Origin.MEASURED and not c.sparse]
        paces_s = {c.device: c.update_s for c in sensors if c.kind is Kind.COUNTER}
        may_average = any(
            c.kind is Kind.SAMPLED and c.averaging_s is None and "instant" not in c.reading
            for c in sensors
        )
        known_s = [pace_s for pace_s in paces_s.values() if pace_s is not None]
        if may_average or not known_s or len(known_s) < len({c.device for c in sensors}):
            return EDGE_S
        cell_s = max(self._interval_s, *known_s)
        return min(max(QUICK_EDGE_S, CELLS_PAST_EDGE * cell_s), EDGE_S)

    def rest(self) -> None:
        """Sample for the length of an edge, and until every counter has moved.

        After the first edge, until slow readings have fallen, too. What is measured lies between
        the first rest and the second: there the meters are read that are read at edges only.
        """
        is_first, self._has_rested = not self._has_rested, True
        if not is_first:
            self.read_edge()
        self._wait_out_edge()
        if is_first:
            self.add_started()

    def _wait_out_edge(self) -> None:
        start_s, before = self._clock.now_s(), self._read_counters()
        self._clock.sleep_until(start_s + self.edge_s)
        if not self._idle_w:
            powers = self._list_recent(Kind.SAMPLED).items()
            self._idle_w = {name: min(w for _, w in recent) for name, recent in powers if recent}
        while self._clock.now_s() < start_s + MOST_EDGE_S and (
            not self._has_moved(before) or not self._is_settled()
        ):
            self._clock.sleep_until(self._clock.now_s() + SETTLING_S)

    def _has_moved(self, before: dict[str, float | None]) -> bool:
        """Whether each counter has been read, and shows other joules than before."""
        return all(value not in (None, before[n]) for n, value in self._read_counters().items())

    def _read_counters(self) -> dict[str, float | None]:
        """The last joules of each counter of a sensor."""
        counters = self._list_recent(Kind.COUNTER).items()
        return {name: recent[-1][1] if recent else None for name, recent in counters}

    def _is_settled(self) -> bool:
        """Whether each power reading is back where it was before the load."""
        for name, recent in self._list_recent(Kind.SAMPLED).items():
            if not recent:
                continue
            idle_w, last_s = self._idle_w.get(name, 0.0), recent[-1][0]
            late_w = [power_w for t_s, power_w in recent if t_s > last_s - SETTLED_S]
            if max(late_w) - idle_w > SETTLED * max(power_w for _, power_w in recent):
                return False
        return True

    def _list_recent(self, kind: Kind) -> dict[str, list[tuple[float, float]]]:
        """The last good readings of each sensor of one kind, in seconds and joules or watts."""
        return {
            channel.name: [(t_s, v) for t_s, v in self.sampler.recent(channel) if v is not None]
            for meter in self.meters
            for channel in meter.channels
            if meter.interval_s is None and channel.origin is Origin.MEASURED
            if channel.kind is kind
        }


@contextmanager
def sampling(
    run: RunDir,
    request: MeteringRequest,
    clock: Clock,
    root_pid: int | None = None,
    facts: Mapping[str, JsonValue] | None = None,
) -> Iterator[MeteringSession]:
    """Sample while the caller works; arguments and errors as those of ``MeteringSession``.

    ``facts`` are the provenance.
    """
    with ExitStack() as stack:
        session = MeteringSession(run, clock, stack, root_pid)
        session.open(request.meters, request.request, find_rank(os.environ))
        facts = {**(facts or {}), **state_allotment(facts or {}, session.devices, is_run=False)}
        before = session.find_others()
        session.probe(is_quick=not request.calibrate, uses_known=not request.calibrate)
        session.start(request.interval_s, facts)
        try:
            yield session
        finally:
            others = before | session.find_others()
            boards = {device.gpu.uuid for device in session.devices}
            with suppress(OSError):  # a full disk, which ``error`` tells
                began = replace(
                    session.stop(),
                    shared=bool(others & (boards or {HOST})),
                    cpu_shared=bool(boards) and HOST in others,
                )
                run.write_began(began)
