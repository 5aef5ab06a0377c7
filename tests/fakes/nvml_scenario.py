"""Scenarios for the scripted ``libnvidia-ml.so.1`` (``nvml.c``): dataclasses in, a text file out.

Times are *scenario seconds*. By default they run with ``CLOCK_MONOTONIC`` from ``epoch_s`` on, in
every process alike. ``scale`` makes scenario time run faster than the world: a program under test
must then be given a ``ScaledClock`` of the same scale, for powers are not scaled and joules are
watts × scenario seconds. With ``clock`` (a ``FileClock``'s file) time stands still until the test
moves it: exact and instant, but one process only.

Readings: ``instant`` and ``average`` are the field values 186 and 185, ``usage`` is
``nvmlDeviceGetPowerUsage``. A part-time sensor is one whose window is shorter than its update. A
counter ``from_sensor`` adds up what the instant reading shows, with its gain and blind spots.

Faults (``kind``) hold from ``at_s`` to ``until_s``, or for ``count`` calls from the ``nth`` on,
counted anew whenever the driver is opened first: ``lost``, ``unknown``, ``unsupported``, ``error``
(any NVML ``code``), ``hang`` (until ``until_s``; ``value`` seconds for counted ones), ``zero``,
``spike`` (``value`` in W or J), ``scale`` (times ``value``) and ``stuck`` (what was shown at
``at_s``; a counter then catches up, one that loses energy has a ``Rate`` of factor 0). ``on`` says
what they strike: ``all``, ``power`` (every power reading), ``instant``, ``average``, ``usage``,
``energy``, or one call group: ``fields``, ``energy_call``, ``usage_call``, ``limits``,
``temperature``, ``clocks``, ``utilization``, ``memory``, ``throttle``, ``processes``, ``identity``,
``modes``; and, named alone, ``handle``: the board answers nothing from the start.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fakes.power_shapes import Constant, Shape

VARIABLE = "WBCBENCH_FAKE_NVML"
FOREVER = 1e300
STEADY = Constant(200.0)


@dataclass(frozen=True)
class Sensor:
    """A reading renewed every ``update_s``: the mean of the ``window_s`` that ended ``lag_s`` ago.

    With ``window_s`` 0 it is the power of that moment. ``jitter`` is the share of ``update_s``
    (below a half) by which a renewal may come early or late.
    """

    update_s: float = 0.1
    window_s: float = 0.0
    gain: float = 1.0
    offset_w: float = 0.0
    noise_w: float = 0.0
    phase_s: float = 0.0
    seed: int = 1
    supported: bool = True
    lag_s: float = 0.0
    resolution_w: float = 0.0
    jitter: float = 0.0

    def statement(self, reading: str) -> str:
        return (
            f"sensor reading={reading} supported={int(self.supported)} update={self.update_s!r} "
            f"window={self.window_s!r} gain={self.gain!r} offset={self.offset_w!r} "
            f"noise={self.noise_w!r} phase={self.phase_s!r} seed={self.seed} lag={self.lag_s!r} "
            f"resolution={self.resolution_w!r} jitter={self.jitter!r}"
        )


UNSUPPORTED = Sensor(supported=False)
FULL_TIME = Sensor(update_s=0.1, window_s=0.1)
PART_TIME = Sensor(update_s=0.1, window_s=0.025)  # A100, H100: arXiv 2312.02741
RUNNING_AVERAGE = Sensor(update_s=0.1, window_s=1.0)  # power usage since Ampere
FAST = Sensor(update_s=0.02, window_s=0.02)


@dataclass(frozen=True)
class Event:
    """Joules that a counter gains or, below 0, loses at its first step from ``at_s`` on."""

    at_s: float
    joules: float

    def statement(self) -> str:
        return f"event at={self.at_s!r} joules={self.joules!r}"


@dataclass(frozen=True)
class Rate:
    """A time in which a counter counts ``factor`` times the joules drawn; with 0 they are lost."""

    from_s: float
    until_s: float = FOREVER
    factor: float = 0.0

    def statement(self) -> str:
        return f"rate from={self.from_s!r} until={self.until_s!r} factor={self.factor!r}"


@dataclass(frozen=True)
class Counter:
    """An energy counter that moves every ``step_s``, early or late by up to ``jitter`` of it.

    With ``resolution_j`` it shows whole multiples of that, rounded down.
    Events and rates from before a reset are forgotten with it.
    """

    step_s: float = 0.1
    gain: float = 1.0
    start_j: float = 123_456.0
    phase_s: float = 0.0
    frozen_at_s: float = FOREVER
    reset_at_s: float = FOREVER
    jump_at_s: float = FOREVER
    jump_j: float = 0.0
    from_sensor: bool = False
    supported: bool = True
    events: tuple[Event, ...] = ()
    rates: tuple[Rate, ...] = ()
    jitter: float = 0.0
    seed: int = 1
    resolution_j: float = 0.0

    def statements(self) -> Iterator[str]:
        yield (
            f"counter supported={int(self.supported)} step={self.step_s!r} gain={self.gain!r} "
            f"start={self.start_j!r} phase={self.phase_s!r} frozen={self.frozen_at_s!r} "
            f"reset={self.reset_at_s!r} jump={self.jump_at_s!r} jump_j={self.jump_j!r} "
            f"from_sensor={int(self.from_sensor)} jitter={self.jitter!r} seed={self.seed} "
            f"resolution={self.resolution_j!r}"
        )
        for item in (*self.events, *self.rates):
            yield item.statement()


@dataclass(frozen=True)
class Process:
    pid: int
    kind: str = "compute"
    memory_bytes: int = 1 << 30
    at_s: float = 0.0
    until_s: float = FOREVER

    def statement(self) -> str:
        return (
            f"process pid={self.pid} kind={self.kind} bytes={self.memory_bytes} "
            f"at={self.at_s!r} until={self.until_s!r}"
        )


@dataclass(frozen=True)
class Throttle:
    mask: int
    at_s: float = 0.0
    until_s: float = FOREVER

    def statement(self) -> str:
        return f"throttle mask={self.mask} at={self.at_s!r} until={self.until_s!r}"


@dataclass(frozen=True)
class Fault:
    kind: str
    on: str = "all"
    at_s: float = -FOREVER
    until_s: float = FOREVER
    nth: int = 0
    count: int = 1
    value: float = 0.0
    code: int = 999

    def statement(self) -> str:
        return (
            f"fault kind={self.kind} on={self.on} at={self.at_s!r} until={self.until_s!r} "
            f"nth={self.nth} count={self.count} value={self.value!r} code={self.code}"
        )


@dataclass(frozen=True)
class FakeGpu:
    """One scripted board; limits in watts, memory in bytes, clocks in MHz, load in per cent."""

    power: Shape = STEADY
    uuid: str = "GPU-11111111-2222-3333-4444-555555555555"
    name: str = "NVIDIA Test GPU"
    bus: str = "00000000:3B:00.0"
    serial: str = "1320000000001"
    architecture: int = 7
    instant: Sensor = FULL_TIME
    average: Sensor = RUNNING_AVERAGE
    usage: Sensor = RUNNING_AVERAGE
    counter: Counter = Counter()
    processes: tuple[Process, ...] = ()
    throttles: tuple[Throttle, ...] = ()
    faults: tuple[Fault, ...] = ()
    temperatures: tuple[tuple[float, float], ...] = ((0.0, 40.0),)
    persistence: bool = True
    ecc: bool = False
    mig: int = 0
    clock_sm_mhz: int = 1410
    clock_memory_mhz: int = 1215
    utilization: int = 0
    utilization_memory: int = 0
    memory_total: int = 40 << 30
    memory_used: int = 0
    memory_reserved: int = 600 << 20
    limit_default_w: float = 300.0
    limit_min_w: float = 100.0
    limit_max_w: float = 300.0
    limit_settable: bool = False
    minor: int = -1  # of its device file; below 0 its place in the scenario

    def statements(self, folder: Path) -> Iterator[str]:
        yield from ("gpu", f"name {self.name}", f"uuid {self.uuid}", f"bus {self.bus}")
        yield f"serial {self.serial}"
        yield self._board()
        yield self.power.statement(folder)
        for reading in ("instant", "average", "usage"):
            yield getattr(self, reading).statement(reading)
        yield from self.counter.statements()
        for at_s, degrees_c in self.temperatures:
            yield f"temperature at={at_s!r} c={degrees_c!r}"
        for item in (*self.processes, *self.throttles, *self.faults):
            yield item.statement()

    def _board(self) -> str:
        limits = (self.limit_default_w, self.limit_min_w, self.limit_max_w)
        default, low, high = (round(limit_w * 1000) for limit_w in limits)
        return (
            f"board arch={self.architecture} persistence={int(self.persistence)} "
            f"ecc={int(self.ecc)} mig={self.mig} clock_sm={self.clock_sm_mhz} "
            f"clock_mem={self.clock_memory_mhz} util_gpu={self.utilization} "
            f"util_mem={self.utilization_memory} mem_total={self.memory_total} "
            f"mem_used={self.memory_used} mem_reserved={self.memory_reserved} "
            f"limit_default={default} limit_min={low} limit_max={high} "
            f"limit_settable={int(self.limit_settable)} minor={self.minor}"
        )


@dataclass(frozen=True)
class Scenario:
    """A machine with scripted GPUs, in NVML's index order.

    ``latency_s`` is what every device call takes in real seconds; ``init_error`` is what the
    driver answers when it is opened (9: not loaded, 4: no permission, 18: version mismatch).
    """

    gpus: tuple[FakeGpu, ...] = (FakeGpu(),)
    epoch_s: float | None = None
    scale: float = 1.0
    clock: Path | None = None
    latency_s: float = 0.0
    driver: str = "580.95.05"
    nvml: str = "13.580.95.05"
    cuda: int = 13000
    init_error: int = 0

    def write(self, folder: Path, name: str = "scenario.txt") -> Path:
        """Write the scenario; power limits that are set are kept beside it."""
        path = folder / name
        epoch_s = time.monotonic() if self.epoch_s is None else self.epoch_s
        clock = f" clock={self.clock}" if self.clock else ""
        host = (
            f"host epoch={epoch_s!r} scale={self.scale!r} latency={self.latency_s!r} "
            f"driver={self.driver} nvml={self.nvml} cuda={self.cuda} "
            f"init_error={self.init_error} state={path}.state{clock}"
        )
        lines = [host, *(line for gpu in self.gpus for line in gpu.statements(folder))]
        path.write_text("\n".join(lines) + "\n", errors="surrogateescape")
        return path
