"""Whether the machine is quiet, and what sampling costs on it."""

from __future__ import annotations

import hashlib
import math
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

from wbcbench import registry
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.core.provenance import virtualised
from wbcbench.core.record import AbsentMeter
from wbcbench.core.run_folder import RunDir
from wbcbench.core.text import count_of
from wbcbench.core.trace import Kind
from wbcbench.core.window import IDLE, Clock, Window
from wbcbench.doctor import Facts, Line, ok, warn
from wbcbench.energy.uncertainty import t_95
from wbcbench.measure.window_result import Recording, WindowResult, read_recording
from wbcbench.power.meter import NEVER_AUTO, EnergyMeter, open_meters
from wbcbench.power.sampler import Sampler
from wbcbench.power.session import MeteringRequest, sampling
from wbcbench.power.trackers import find_trackers

BUSY_SHARE = 0.25  # of the processors, over the last minute
CPUFREQ = Path("/sys/devices/system/cpu")
IDLE_RECORDING_S = 3.0

OVERHEAD_PAIRS = 10
OVERHEAD_WORK_S = 0.5
OVERHEAD_REST_S = 3.0
HASHED_BLOCK = bytes(8 << 20)  # hashing a large block lets other threads run


def check_quiet_machine(facts: Facts) -> Iterator[Line]:
    """Whether the machine is quiet enough, and its idle power steady enough, to measure a run."""
    if facts.recording is not None and facts.idle is not None:
        yield from _check_idle(facts.recording, facts.idle)
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    text = f"load {load:.1f} on {processors} processors"
    if load <= BUSY_SHARE * processors:
        yield ok("load", text)
    else:
        yield warn(
            "load",
            text,
            why="other programs slow a run down, and their energy is counted as its own",
            fix="stop them, or wait until `uptime` shows a low load",
        )
    if facts.recording and facts.recording.circumstances.shared:
        yield warn(
            "other-run",
            "another wbcbench is measuring on this machine",
            why="each would include the other's energy",
            fix="wait for it to end",
        )
    if trackers := find_trackers():
        yield warn(
            "foreign-tracker",
            f"{count_of(len(trackers), 'other program')} measuring energy: {', '.join(trackers)}",
            why="its own work is in the joules",
            fix="stop it before you measure",
        )
    yield from check_governor(CPUFREQ)
    if virtualised():
        yield warn(
            "virtual",
            "this is a virtual machine",
            why="other guests change speed and power, and none of it is visible here",
            fix="measure on the host or on a machine of your own",
        )


def _check_idle(recording: Recording, idle: WindowResult) -> Iterator[Line]:
    """Mean power, its standard deviation and the temperature of the idle machine."""
    energy, window = idle.energy, idle.window
    if energy.mean_power_w is None:
        return
    text = f"idle {energy.domain} {energy.mean_power_w:.1f} W"
    for trace in recording.traces:
        if trace.channel.kind is Kind.SAMPLED and trace.channel.domain == energy.domain:
            pairs = zip(*trace.good, strict=True)
            powers_w = [w for t, w in pairs if window.start_s <= t <= window.end_s]
            if len(powers_w) > 1:
                text += f" (sd {stdev(powers_w):.1f} over {window.duration_s:.0f} s)"
                break
    last = [samples[-1].temperature_c for samples in recording.samples.values() if samples]
    text += "".join(f", {celsius:.0f} °C" for celsius in last if celsius is not None)
    yield ok("idle", f"{text}, {energy.status}")


def check_governor(root: Path) -> Iterator[Line]:
    """The frequency governor of each processor below ``root``, where the system has any."""
    governors = Counter(
        path.read_text().strip() for path in root.glob("cpu[0-9]*/cpufreq/scaling_governor")
    )
    if not governors:
        return
    total = governors.total()
    if governors["performance"] == total:
        yield ok("governor", f"governor is 'performance' on {total} processors")
        return
    usual = max(governors, key=lambda name: (name != "performance", governors[name]))
    command = "sudo cpupower frequency-set -g"
    yield warn(
        "governor",
        f"governor is '{usual}' on {governors[usual]} of {total} processors",
        why="clock rates change with load, and time and energy with them",
        fix=f"{command} performance",
        undo=f"{command} {usual}",
    )


def record_idle(
    request: MeteringRequest,
    results: Path,
    data: Path | None,
    clock: Clock,
    for_s: float = IDLE_RECORDING_S,
) -> Facts:
    """Record for ``for_s`` seconds with what works; without any meter, give each one's reason.

    Raises:
        CannotMeasureError: A meter that was asked for by name does not work here.
        UsageError: There is no meter or GPU of that name.
    """
    with tempfile.TemporaryDirectory(prefix="wbcbench-") as folder:
        run = RunDir(Path(folder))
        try:
            with sampling(run, request, clock) as session:
                session.rest()
                start_s = clock.now_s()
                clock.sleep_until(start_s + for_s)
                window = Window(IDLE, start_s, clock.now_s())
                session.rest()
        except CannotMeasureError:
            if request.meters != ("auto",):
                raise
            meters = [name for name in registry.METERS if name not in NEVER_AUTO]
            absent = tuple(AbsentMeter(name, _why_absent(name, request)) for name in meters)
            return Facts(results, data, request.gpus, absent=absent)
        recording = read_recording(run)
    return Facts(
        results=results,
        data=data,
        gpus=request.gpus,
        channels=tuple(trace.channel for trace in recording.traces),
        absent=recording.circumstances.absent,
        recording=recording,
        idle=recording.measure_window(window),
    )


def _why_absent(name: str, request: MeteringRequest) -> str:
    try:
        for meter in registry.load_part("meter", name)(request.request):
            with meter:
                pass
    except (CannotMeasureError, UsageError) as error:
        return str(error)
    return "it did not start just now; try again"


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """A mean difference, on minus off, as a share of off, and its 95 % t interval."""

    mean: float
    low: float
    high: float


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
    request: MeteringRequest,
    clock: Clock,
    pairs: int = OVERHEAD_PAIRS,
    work_s: float = OVERHEAD_WORK_S,
) -> Overhead:
    """Do the work ``pairs`` times (two or more) with the sampler on and as often with it off.

    Each pair comes in random order, so that drift of the machine falls on both alike. The work
    fills every processor, for only then does sampling take time from it. Joules are the difference
    of two readings of a counter: the sampler's own trace does not cover the work without it.

    Raises:
        CannotMeasureError: No meter works here.
    """
    times_s: dict[bool, list[float]] = {True: [], False: []}
    energies_j: dict[bool, list[float]] = {True: [], False: []}
    with ExitStack() as stack:
        meters = open_meters(request.meters, request.request, stack).meters
        channel, read_j = _find_counter(meters)
        pool = stack.enter_context(ThreadPoolExecutor(os.cpu_count()))
        start_s = clock.now_s()
        _hash_blocks(pool, 1)
        rounds = max(round(work_s / max(clock.now_s() - start_s, 1e-4)), 1)
        for pair in range(pairs):
            for is_sampled in random.Random(f"pair {pair}").sample((True, False), 2):
                with ExitStack() as sampled:
                    if is_sampled:
                        sampled.enter_context(_running_sampler(meters, request.interval_s, clock))
                    before_j, start_s = read_j(), clock.now_s()
                    _hash_blocks(pool, rounds)
                    times_s[is_sampled].append(clock.now_s() - start_s)
                    energies_j[is_sampled].append(read_j() - before_j)
        with _running_sampler(meters, request.interval_s, clock):
            start_s, used_s = clock.now_s(), time.process_time()
            clock.sleep_until(start_s + OVERHEAD_REST_S)
            cpu_share = (time.process_time() - used_s) / (clock.now_s() - start_s)
    both_j = zip(energies_j[True], energies_j[False], strict=True)
    known = [pair_j for pair_j in both_j if all(energy_j > 0 for energy_j in pair_j)]
    return Overhead(
        pairs=pairs,
        work_s=fmean(times_s[False]),
        time_share=mean_cost(times_s[True], times_s[False]),
        energy_share=mean_cost(*zip(*known, strict=True)) if len(known) > 1 else None,
        energy_channel=channel,
        sampler_cpu_share=cpu_share,
    )


@contextmanager
def _running_sampler(
    meters: Sequence[EnergyMeter], interval_s: float, clock: Clock
) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="wbcbench-") as folder:
        sampler = Sampler(meters, RunDir(Path(folder)), interval_s, clock)
        try:
            sampler.start()
            yield
        finally:
            sampler.stop()


def _find_counter(meters: Sequence[EnergyMeter]) -> tuple[str, Callable[[], float]]:
    """The first counter of a sensor: its name, empty for none, and what reads its joules."""

    def read_j(meter: EnergyMeter, place: int) -> float:
        value = meter.read()[place]
        return math.nan if value is None else value

    for meter in meters:
        for place, channel in enumerate(meter.channels if meter.interval_s is None else ()):
            if channel.kind is Kind.COUNTER and not channel.origin.is_estimated:
                return channel.name, partial(read_j, meter, place)
    return "", lambda: math.nan


def _hash_blocks(pool: ThreadPoolExecutor, rounds: int) -> None:
    """Keep every processor busy with ``rounds`` blocks."""

    def hash_rounds(_: int) -> None:
        for _ in range(rounds):
            hashlib.sha256(HASHED_BLOCK).digest()

    list(pool.map(hash_rounds, range(os.cpu_count() or 1)))


def mean_cost(sampled: Sequence[float], unsampled: Sequence[float]) -> MeanDifference:
    """Mean difference within pairs of values above zero, as a ratio: on the logarithm."""
    logs = [math.log(on / off) for on, off in zip(sampled, unsampled, strict=True)]
    mean, half = fmean(logs), t_95(len(logs) - 1) * stdev(logs) / len(logs) ** 0.5
    return MeanDifference(*map(math.expm1, (mean, mean - half, mean + half)))
