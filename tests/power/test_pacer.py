"""Polls follow a sensor's renewals, and are drawn by lot where it shows none."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.power.pacer import DENSE_S, FAST_S, QUIET_S, Pacer

POWER = Channel("b/power", Kind.SAMPLED, Origin.MEASURED, Domain.GPU, "power_usage")
COUNTER = replace(POWER, name="b/counter", kind=Kind.COUNTER, reading="total_energy")
PHASE_S = 0.0137


@dataclass
class Sensor:
    """A value that is renewed at an even pace, or early and late by a share of it."""

    period_s: float
    jitter: float = 0.0
    drift: float = 0.0
    stands_still: Callable[[float], bool] = lambda _: False

    def count(self, t_s: float) -> int:
        """Renewals up to a time."""
        tick = math.floor((t_s - PHASE_S) / self.period_s / (1 + self.drift))
        return tick - (self.renew_s(tick) > t_s) + (self.renew_s(tick + 1) <= t_s)

    def renew_s(self, tick: int) -> float:
        early = random.Random(tick).uniform(-self.jitter, self.jitter)
        return PHASE_S + (tick + early) * self.period_s * (1 + self.drift)

    def value(self, t_s: float) -> float:
        return 50.0 if self.stands_still(t_s) else random.Random(-self.count(t_s)).random()


@dataclass
class Poller:
    """Polls a sensor as the sampler does; a sleep ends up to ``late_s`` late."""

    pacer: Pacer
    sensor: Sensor
    late_s: float = 0.0
    times_s: list[float] = field(default_factory=list)
    stamp: Callable[[float], float] | None = None

    def run(self, until_s: float) -> list[float]:
        rng, t_s, planned_s = random.Random(1), -1.0, [0.0]
        while t_s < until_s:
            for due_s in planned_s:
                t_s = max(due_s, t_s + 2e-6) + rng.random() * self.late_s
                self.times_s.append(t_s)
                self.pacer.learn(t_s, (self.sensor.value(t_s),) * 2)
            if self.stamp and self.pacer.wants_stamp and len(planned_s) == 1:
                self.pacer.learn_stamp(t_s, self.stamp(t_s), wall_s=1.7e9 + t_s)
            planned_s = self.pacer.plan(t_s)
        return self.times_s


def share_read_once(poller: Poller, from_s: float) -> float:
    """How many renewals from a time on were polled, few of them twice."""
    seen = [poller.sensor.count(t_s) for t_s in poller.times_s if t_s > from_s]
    assert len(seen) < 1.15 * len(set(seen))
    return len(set(seen)) / (max(seen) - min(seen) + 1)


@pytest.mark.parametrize("period_s", [0.01, 0.02, 0.05, 0.1, 0.14])
@pytest.mark.parametrize("told", [0.999, 1.0, 1.001])
def test_a_power_alone_is_read_once_after_each_renewal(period_s: float, told: float) -> None:
    pacer = Pacer([replace(POWER, update_s=told * period_s)], 0.1, 0.0)
    poller = Poller(pacer, Sensor(period_s), late_s=0.05 * period_s)
    poller.run(60.0)
    assert share_read_once(poller, from_s=2.0) > 0.99
    assert pacer.missed == 0


def test_polls_after_renewals_lie_well_within_a_period() -> None:
    poller = Poller(Pacer([replace(POWER, update_s=0.02)], 0.1, 0.0), Sensor(0.02), late_s=5e-4)
    places = [(t - PHASE_S) / 0.02 % 1 for t in poller.run(30.0) if t > 2.0]
    well = [place for place in places if 0.1 < place < 0.6]
    assert len(well) > 0.9 * len(places)


def test_a_pace_that_drifts_is_followed() -> None:
    poller = Poller(Pacer([replace(POWER, update_s=0.02)], 0.1, 0.0), Sensor(0.02, drift=7e-4))
    poller.run(120.0)
    assert share_read_once(poller, from_s=2.0) > 0.99


def test_renewals_that_come_early_and_late_are_still_read() -> None:
    poller = Poller(Pacer([replace(POWER, update_s=0.1)], 0.1, 0.0), Sensor(0.1, jitter=0.04))
    poller.run(120.0)
    assert share_read_once(poller, from_s=5.0) > 0.97


def test_of_a_sensor_of_no_even_pace_most_is_read() -> None:
    poller = Poller(Pacer([replace(POWER, update_s=0.1)], 0.1, 0.0), Sensor(0.1, jitter=0.45))
    seen = {poller.sensor.count(t_s) for t_s in poller.run(120.0)}
    assert len(seen) > 0.75 * 1200


def test_a_power_that_begins_to_move_shows_its_pace() -> None:
    pacer = Pacer([POWER], 0.1, 0.0)
    poller = Poller(pacer, Sensor(0.05, stands_still=lambda t: t < 20.0))
    poller.run(60.0)
    quiet = [t for t in poller.times_s if 5.0 < t < 20.0]
    assert len(quiet) == pytest.approx(15.0 / QUIET_S, rel=0.05)
    assert pacer.pace_s == pytest.approx(0.05, rel=2e-3)
    assert share_read_once(poller, from_s=25.0) > 0.99
    assert len([t for t in poller.times_s if 20.0 < t < 25.0]) < 1.6 / DENSE_S + 5.0 / 0.05


def test_a_load_of_two_levels_is_no_pace() -> None:
    pacer = Pacer([POWER], 0.1, 0.0)
    times_s = [0.0]
    while times_s[-1] < 60.0:
        for t_s in pacer.plan(times_s[-1]):
            pacer.learn(t_s, (100.0 + 100.0 * (t_s % 0.4 < 0.2),))
            times_s.append(t_s)
    assert pacer.pace_s is None
    assert pacer.interval_s == FAST_S
    assert len(times_s) > 60.0 / FAST_S


@pytest.mark.parametrize("step_s", [0.02, 0.1])
def test_a_counter_is_polled_ten_times_a_second_and_its_phase_is_known(step_s: float) -> None:
    pacer = Pacer([replace(COUNTER, update_s=step_s), replace(POWER, update_s=0.02)], 0.1, 0.0)
    poller = Poller(pacer, Sensor(step_s))
    poller.run(120.0)
    assert len(poller.times_s) == pytest.approx(1200, rel=0.2)
    close = sum(b - a < 0.9 * step_s for a, b in pairwise(poller.times_s))
    assert close >= 5
    assert pacer.interval_s == 0.1


def test_a_power_beside_a_counter_is_looked_at_anywhere_in_its_own_period() -> None:
    pacer = Pacer([replace(COUNTER, update_s=0.1), replace(POWER, update_s=0.02)], 0.1, 0.0)
    times_s = Poller(pacer, Sensor(0.1)).run(200.0)
    fifths = [int(5 * (t / 0.02 % 1)) for t in times_s]
    assert all(0.12 < fifths.count(fifth) / len(fifths) < 0.28 for fifth in range(5))


@pytest.mark.parametrize(
    "channel",
    [
        replace(COUNTER, update_s=0.001),
        replace(COUNTER, update_s=2.0),
        COUNTER,
        replace(POWER, update_s=2.0),
        replace(POWER, origin=Origin.SIMULATED),
        replace(COUNTER, origin=Origin.ESTIMATED, update_s=0.1),
    ],
)
def test_others_are_polled_once_in_each_period_by_lot(channel: Channel) -> None:
    times_s = Poller(Pacer([channel], 0.1, 0.0), Sensor(0.1)).run(100.0)
    ticks = [math.floor(t / 0.1 + 0.5) for t in times_s]
    assert ticks == list(range(len(ticks)))


def test_who_asks_for_fewer_polls_gets_them() -> None:
    assert len(Poller(Pacer([POWER], 1.0, 0.0), Sensor(0.02)).run(100.0)) < 110


def test_time_stamps_that_are_of_renewals_close_what_is_open() -> None:
    sensor = Sensor(0.1)

    def extra(stamp: Callable[[float], float] | None) -> int:
        pacer = Pacer([replace(POWER, update_s=0.1)], 0.1, 0.0)
        poller = Poller(pacer, sensor, stamp=stamp)
        poller.run(300.0)
        assert share_read_once(poller, from_s=2.0) > 0.99
        return len(poller.times_s)

    of_renewals = extra(lambda t: sensor.renew_s(sensor.count(t)))
    of_calls = extra(lambda t: t)
    assert of_renewals < extra(None)
    assert of_calls == extra(None)


@pytest.mark.parametrize("channels", [[POWER], [COUNTER, POWER]])
def test_a_board_that_is_lost_is_polled_no_more_often_than_before(channels: list[Channel]) -> None:
    pacer = Pacer([replace(channel, update_s=0.02) for channel in channels], 0.1, 0.0)
    sensor, t_s, polls = Sensor(0.02), 0.0, [0, 0]
    while t_s < 240.0:
        for due_s in pacer.plan(t_s):
            t_s = max(due_s, t_s + 2e-6)
            is_lost = t_s > 20.0
            value = None if is_lost else sensor.value(t_s)
            pacer.learn(t_s, [value] * len(channels))
            polls[is_lost] += 1
    assert polls[1] / 220.0 < 2.5 * polls[0] / 20.0


def test_stamps_of_an_outage_prove_nothing() -> None:
    sensor = Sensor(0.1)
    poller = Poller(Pacer([replace(POWER, update_s=0.1)], 0.1, 0.0), sensor)
    pacer, t_s, stamp_s = poller.pacer, 0.0, 0.0
    while t_s < 120.0:
        for due_s in pacer.plan(t_s):
            t_s = max(due_s, t_s + 2e-6)
            is_out = 20.0 < t_s < 22.0  # the buffer keeps the time stamp of the call before
            pacer.learn(t_s, (None if is_out else sensor.value(t_s),))
            stamp_s = stamp_s if is_out else t_s
            if pacer.wants_stamp:
                pacer.learn_stamp(t_s, stamp_s, wall_s=1.7e9 + t_s)
            poller.times_s.append(t_s)
    assert share_read_once(poller, from_s=25.0) > 0.99


def test_a_stamp_after_minutes_of_a_quiet_value_is_no_contradiction() -> None:
    sensor = Sensor(0.1, drift=2e-4, stands_still=lambda t: 30.0 < t < 400.0)
    pacer = Pacer([replace(POWER, update_s=0.1)], 0.1, 0.0)
    poller = Poller(pacer, sensor, stamp=lambda t: sensor.renew_s(sensor.count(t)))
    poller.run(460.0)
    assert pacer.interval_s == 0.1
    assert share_read_once(poller, from_s=405.0) > 0.99
