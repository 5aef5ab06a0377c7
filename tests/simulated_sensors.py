"""Signals whose joules are known exactly, and sensors that see them as real ones do.

Times are in seconds, powers in watts. Everything is pure arithmetic on a seeded generator, so a
simulated hour takes a fraction of a second.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.energy.faults import Fault, find_breaks, review_sensors
from wbcbench.power.pacer import JITTER

LOW_W, HIGH_W = 60.0, 300.0


@dataclass(frozen=True)
class Signal:
    """Power as straight lines between knots; ``energy_j`` is its exact integral from the start."""

    t_s: Sequence[float]
    power_w: Sequence[float]
    total_j: Sequence[float]

    @classmethod
    def through(cls, knots: Sequence[tuple[float, float]]) -> Signal:
        steps = (0.5 * (p + q) * (b - a) for (a, p), (b, q) in pairwise(knots))
        times, power_w = zip(*knots, strict=True)
        return cls(times, power_w, list(accumulate(steps, initial=0.0)))

    def energy_j(self, t_s: float) -> float:
        i = min(max(bisect_right(self.t_s, t_s) - 1, 0), len(self.t_s) - 2)
        into, width = t_s - self.t_s[i], self.t_s[i + 1] - self.t_s[i]
        if width == 0:
            return self.total_j[i]
        slope = (self.power_w[i + 1] - self.power_w[i]) / width
        return self.total_j[i] + into * (self.power_w[i] + 0.5 * slope * into)

    def mean_w(self, a_s: float, b_s: float) -> float:
        return (self.energy_j(b_s) - self.energy_j(a_s)) / (b_s - a_s)


def constant(rng: random.Random, end_s: float) -> Signal:
    level = rng.uniform(LOW_W, HIGH_W)
    return Signal.through([(0.0, level), (end_s, level)])


def ramp(rng: random.Random, end_s: float) -> Signal:
    return Signal.through([(0.0, rng.uniform(LOW_W, HIGH_W)), (end_s, rng.uniform(LOW_W, HIGH_W))])


def _levels(spans: Callable[[], float], end_s: float, first_high: bool) -> Signal:
    t, level = 0.0, HIGH_W if first_high else LOW_W
    knots = [(0.0, level)]
    while t < end_s:
        t += spans()
        knots.append((t, level))
        level = LOW_W if level == HIGH_W else HIGH_W
        knots.append((t, level))
    return Signal.through(knots)


def square(rng: random.Random, end_s: float) -> Signal:
    """Even halves; the period is anything from a few sensor updates to seconds, phase at random."""
    period_s = 0.13 * (5.0 / 0.13) ** rng.random()
    spans = iter([rng.random() * period_s / 2])
    return _levels(lambda: next(spans, period_s / 2), end_s, rng.random() < 0.5)


def telegraph(rng: random.Random, end_s: float) -> Signal:
    """Random switching; the mean dwell is anything from 10 ms to a second."""
    dwell_s = 0.01 * 100.0 ** rng.random()
    return _levels(lambda: rng.expovariate(1 / dwell_s), end_s, rng.random() < 0.5)


def in_step(rng: random.Random, end_s: float) -> Signal:
    """A square load whose period is nearly a whole number of 100 ms looks, or half of one."""
    looks = rng.choice([3, 4, 5, 7, 10, 13, 17, 20])
    period_s = 0.1 * looks + rng.choice([0.0, 0.0, 0.001, 0.003, 0.0333, 0.05])
    spans = iter([rng.random() * period_s / 2])
    return _levels(lambda: next(spans, period_s / 2), end_s, rng.random() < 0.5)


SIGNALS = {
    "constant": constant,
    "ramp": ramp,
    "square": square,
    "in step": in_step,
    "telegraph": telegraph,
}


@dataclass(frozen=True)
class SimulatedSensor:
    """A sensor that renews its value every ``update_s`` with the mean of ``averaging_s`` before."""

    kind: Kind
    update_s: float
    averaging_s: float
    reading: str
    tells: bool = True  # whether the channel states its update and averaging times
    noise: float = 0.0
    lag_s: float = 0.0

    @property
    def channel(self) -> Channel:
        channel = Channel("s", self.kind, Origin.MEASURED, Domain.GPU, self.reading)
        if not self.tells:
            return channel
        return replace(channel, update_s=self.update_s, averaging_s=self.averaging_s)

    def trace(self, signal: Signal, rng: random.Random, end_s: float, poll_s: float) -> Trace:
        """Polls from 2 s on with the sampler's jitter, and a phase of the sensor's own."""
        phase_s = rng.random() * self.update_s
        count = int((end_s - 2.0) / poll_s)
        times = [2.0 + (i + rng.uniform(-JITTER, JITTER)) * poll_s for i in range(1, count)]
        return Trace(self.channel, times, [self._value(signal, t, phase_s, rng) for t in times])

    def _value(self, signal: Signal, t_s: float, phase_s: float, rng: random.Random) -> float:
        updated_s = phase_s + (t_s - phase_s) // self.update_s * self.update_s - self.lag_s
        if self.kind is Kind.COUNTER:
            return signal.energy_j(updated_s)
        mean_w = signal.mean_w(updated_s - self.averaging_s, updated_s)
        return mean_w * (1 + rng.gauss(0.0, self.noise)) if self.noise else mean_w


SENSORS = {
    "counter 100 ms": SimulatedSensor(Kind.COUNTER, 0.1, 0.1, "total_energy"),
    "counter 20 ms, told": SimulatedSensor(Kind.COUNTER, 0.02, 0.02, "total_energy"),
    "counter 20 ms": SimulatedSensor(Kind.COUNTER, 0.02, 0.02, "total_energy", tells=False),
    "instant 20 ms": SimulatedSensor(Kind.SAMPLED, 0.02, 0.02, "power_instant", noise=0.002),
    "part-time 25/100 ms": SimulatedSensor(Kind.SAMPLED, 0.1, 0.025, "power_instant"),
    "part-time, unsaid": SimulatedSensor(Kind.SAMPLED, 0.1, 0.025, "power_instant", tells=False),
    "average 1 s": SimulatedSensor(Kind.SAMPLED, 0.1, 1.0, "power_average"),
}


def find_faults(traces: Sequence[Trace]) -> tuple[Fault, ...]:
    """Every fault of every trace."""
    review = review_sensors(traces)
    return (*review.faults, *find_breaks(review.traces))
