"""Whether the machine is quiet, and what sampling costs on it."""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from wbcbench import registry
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.provenance import virtualised
from wbcbench.core.record import AbsentMeter
from wbcbench.core.run_folder import RunDir
from wbcbench.core.trace import Channel, Kind
from wbcbench.core.window import IDLE, Clock, Window
from wbcbench.doctor import Facts, Line, State
from wbcbench.energy.uncertainty import t_95
from wbcbench.measure.spans import recorded
from wbcbench.power.meter import NEVER_AUTO, EnergyMeter, open_meters
from wbcbench.power.sampler import Sampler
from wbcbench.power.session import MeteringRequest, sampling

BUSY_SHARE = 0.25  # of the processors, over the last minute
CPUFREQ = Path("/sys/devices/system/cpu")

IDLE_RECORDING_S = 3.0

OVERHEAD_PAIRS = 10

OVERHEAD_WORK_S = 0.5
OVERHEAD_REST_S = 3.0


def check_quiet_machine(facts: Facts) -> Iterator[Line]:
    """Whether the machine is quiet enough, and equally quiet, for its joules to be a run's."""
    yield from _idle(facts)
    yield _load(os.getloadavg()[0], os.cpu_count() or 1)
    if facts.recorded and facts.recorded.seen.shared:
        yield Line(
            State.WARN,
            "other-run",
            "another wbcbench is measuring on this machine",
            why="each would be charged the other's joules",
            fix="wait for it to end",
        )
    yield from check_governor(CPUFREQ)
    if virtualised():
        yield Line(
            State.WARN,
            "virtual",
            "this is a virtual machine",
            why="other guests change speed and power, and none of it can be seen here",
            fix="measure on the host or on a machine of your own",
        )


def _idle(facts: Facts) -> Iterator[Line]:
    if facts.idle is None or facts.recorded is None:
        return
    primary = facts.idle.energy
    if primary.mean_power_w is None:
        return
    text = f"idle {primary.domain} {primary.mean_power_w:.1f} W{_spread(facts)}{_heat(facts)}"
    yield Line(State.OK, "idle", f"{text}, {primary.status}")


def _spread(facts: Facts) -> str:
    """Standard deviation of the headline part's power readings."""
    assert facts.idle is not None
    assert facts.recorded is not None
    window, domain = facts.idle.window, facts.idle.energy.domain
    for trace in facts.recorded.traces:
        if trace.channel.kind is Kind.SAMPLED and trace.channel.domain == domain:
            pairs = zip(*trace.good, strict=True)
            inside = [w for t, w in pairs if window.start_s <= t <= window.end_s]
            if len(inside) > 1:
                return f" (sd {stdev(inside):.1f} over {window.duration_s:.0f} s)"
    return ""


def _heat(facts: Facts) -> str:
    assert facts.recorded is not None
    last = [looks[-1].temperature_c for looks in facts.recorded.looks.values() if looks]
    known = [f"{c:.0f} °C" for c in last if c is not None]
    return f", {', '.join(known)}" if known else ""


def _load(load: float, processors: int) -> Line:
    text = f"load {load:.1f} on {processors} processors"
    if load <= BUSY_SHARE * processors:
        return Line(State.OK, "load", text)
    return Line(
        State.WARN,
        "load",
        text,
        why="others' work slows a run down and is charged to it",
        fix="stop it, or wait: `uptime` tells the load",
    )


def check_governor(root: Path) -> Iterator[Line]:
    """The frequency governor of each processor below ``root``, where the system has any."""
    found = Counter(
        path.read_text().strip() for path in root.glob("cpu[0-9]*/cpufreq/scaling_governor")
    )
    total = sum(found.values())
    slow = total - found["performance"]
    if not total:
        return
    if not slow:
        yield Line(State.OK, "governor", f"governor is 'performance' on {total} processors")
        return
    usual = max(found, key=lambda name: (name != "performance", found[name]))
    tell = "sudo cpupower frequency-set -g"
    yield Line(
        State.WARN,
        "governor",
        f"governor is '{usual}' on {found[usual]} of {total} processors",
        why="clocks wander with load, and time and joules with them",
        fix=f"{tell} performance",
        undo=f"{tell} {usual}",
    )


def record_idle(
    asked: MeteringRequest,
    results: Path,
    data: Path | None,
    clock: Clock,
    for_s: float = IDLE_RECORDING_S,
) -> Facts:
    """Record for ``for_s`` seconds with what works; without any meter, say why none does.

    Raises:
        CannotMeasureError: A meter that was asked for by name does not work here.
        UsageError: There is no meter or GPU of that name.
    """
    with tempfile.TemporaryDirectory(prefix="wbcbench-") as folder:
        run = RunDir(Path(folder))
        try:
            with sampling(run, asked, clock) as session:
                session.rest()
                start_s = clock.now_s()
                clock.sleep_until(start_s + for_s)
                window = Window(IDLE, start_s, clock.now_s())
                session.rest()
        except CannotMeasureError:
            if asked.meters != ("auto",):
                raise
            return Facts(results, data, asked.gpus, absent=_reasons(asked))
        kept = recorded(run)
    return Facts(
        results=results,
        data=data,
        gpus=asked.gpus,
        channels=tuple(trace.channel for trace in kept.traces),
        absent=kept.seen.absent,
        recorded=kept,
        idle=kept.span(window),
    )


def _reasons(asked: MeteringRequest) -> tuple[AbsentMeter, ...]:
    """Why each meter does not work, where none does."""
    return tuple(
        AbsentMeter(name, _reason(name, asked))
        for name in registry.METERS
        if name not in NEVER_AUTO
    )


def _reason(name: str, asked: MeteringRequest) -> str:
    try:
        for meter in registry.load_part("meter", name)(asked.request):
            with meter:
                pass
    except (CannotMeasureError, UsageError) as error:
        return str(error)
    return "it did not begin just now; try again"


HASHED_BLOCK = bytes(8 << 20)  # hashing a large block lets other threads run


# Cost of sampling: each pair holds a fixed piece of work once with the sampler and once without, in
# an order drawn for the pair, so that drift of the machine falls on both alike. The cost is the
# mean of the differences within pairs, with a 95 % t interval. The work fills every processor, for
# only then does sampling take time from it. Joules of both halves are the difference of two single
# readings of a counter: the sampler's own trace could not tell the half without it. A meter without
# a measured counter has none.
@dataclass(frozen=True, slots=True)
class MeanDifference:
    """A mean difference, on minus off, and the half-width of its 95 % t interval."""

    mean: float
    half_width: float


@dataclass(frozen=True, slots=True)
class Overhead:
    """What sampling costs.

    Attributes:
        pairs: How often the work was done with and without.
        work_s: Mean length of the work without.
        time_share: Cost in time as a share of the work.
        energy_share: Cost in joules as a share; ``None`` without a measured counter.
        energy_channel: Which counter; empty if there is none.
        sampler_cpu_share: Processor seconds a second that sampling takes on an idle machine.
    """

    pairs: int
    work_s: float
    time_share: MeanDifference
    energy_share: MeanDifference | None
    energy_channel: str
    sampler_cpu_share: float


def measure_overhead(
    asked: MeteringRequest,
    clock: Clock,
    pairs: int = OVERHEAD_PAIRS,
    work_s: float = OVERHEAD_WORK_S,
) -> Overhead:
    """Do the work ``pairs`` times (two or more) with the sampler on and as often with it off.

    Raises:
        CannotMeasureError: No meter works here.
    """
    with ExitStack() as stack:
        meters = open_meters(asked.meters, asked.request, stack).meters
        counter = _counter(meters)
        pool = stack.enter_context(ThreadPoolExecutor(os.cpu_count()))
        rounds = _rounds(pool, work_s, clock)
        bench = _Bench(meters, counter, asked.interval_s, clock, lambda: _work(pool, rounds))
        found = [bench.pair(random.Random(f"pair {i}")) for i in range(pairs)]
        cpu_share = bench.idle_cpu_share()
    with_it, without = [on for on, _ in found], [off for _, off in found]
    return Overhead(
        pairs=pairs,
        work_s=fmean(half.time_s for half in without),
        time_share=mean_cost([h.time_s for h in with_it], [h.time_s for h in without]),
        energy_share=_energy_cost(with_it, without),
        energy_channel=counter[1].name if counter else "",
        sampler_cpu_share=cpu_share,
    )


@dataclass(frozen=True, slots=True)
class _Half:
    time_s: float
    energy_j: float | None


@dataclass
class _Bench:
    """One machine with its meters open and its work ready."""

    meters: Sequence[EnergyMeter]
    counter: tuple[EnergyMeter, Channel] | None
    interval_s: float
    clock: Clock
    work: Callable[[], None]

    def pair(self, rng: random.Random) -> tuple[_Half, _Half]:
        """The work with and without sampling, in drawn order; returned in that of their names."""
        halves: dict[bool, _Half] = {}
        for is_on in rng.sample((True, False), 2):
            with ExitStack() as stack:
                if is_on:
                    self._start(stack)
                halves[is_on] = self._half()
        return halves[True], halves[False]

    def idle_cpu_share(self) -> float:
        """Processor seconds a second of this process while it only samples."""
        with ExitStack() as stack:
            self._start(stack)
            start_s, used_s = self.clock.now_s(), time.process_time()
            self.clock.sleep_until(start_s + OVERHEAD_REST_S)
            return (time.process_time() - used_s) / (self.clock.now_s() - start_s)

    def _start(self, stack: ExitStack) -> None:
        run = RunDir(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wbcbench-"))))
        sampler = Sampler(self.meters, run, self.interval_s, self.clock)
        stack.callback(sampler.stop)
        sampler.start()

    def _half(self) -> _Half:
        before_j, start_s = self._read(), self.clock.now_s()
        self.work()
        time_s, after_j = self.clock.now_s() - start_s, self._read()
        if before_j is None or after_j is None or after_j <= before_j:
            return _Half(time_s, None)
        return _Half(time_s, after_j - before_j)

    def _read(self) -> float | None:
        if self.counter is None:
            return None
        meter, channel = self.counter
        return meter.read()[meter.channels.index(channel)]


def _counter(meters: Sequence[EnergyMeter]) -> tuple[EnergyMeter, Channel] | None:
    """The first counter that a sensor stands behind."""
    found = (
        (meter, channel)
        for meter in meters
        for channel in meter.channels
        if channel.kind is Kind.COUNTER
        and not channel.origin.is_estimated
        and meter.interval_s is None
    )
    return next(found, None)


def _rounds(pool: ThreadPoolExecutor, work_s: float, clock: Clock) -> int:
    """How many blocks each processor hashes in about ``work_s`` seconds."""
    start_s = clock.now_s()
    _work(pool, 1)
    return max(round(work_s / max(clock.now_s() - start_s, 1e-4)), 1)


def _work(pool: ThreadPoolExecutor, rounds: int) -> None:
    list(pool.map(_hash, [rounds] * (os.cpu_count() or 1)))


def _hash(rounds: int) -> None:
    for _ in range(rounds):
        hashlib.sha256(HASHED_BLOCK).digest()


def _energy_cost(with_it: Sequence[_Half], without: Sequence[_Half]) -> MeanDifference | None:
    pairs = [(on.energy_j, off.energy_j) for on, off in zip(with_it, without, strict=True)]
    known = [(on, off) for on, off in pairs if on is not None and off is not None]
    if len(known) < 2:
        return None
    return mean_cost([on for on, _ in known], [off for _, off in known])


def mean_cost(with_it: Sequence[float], without: Sequence[float]) -> MeanDifference:
    """Mean difference within pairs as a share of the mean without, and its half-width."""
    base = fmean(without)
    shares = [(on - off) / base for on, off in zip(with_it, without, strict=True)]
    width = t_95(len(shares) - 1) * stdev(shares) / len(shares) ** 0.5
    return MeanDifference(fmean(shares), width)
