"""Known loads find a sensor out: pace, window, share of the time looked at, delay, counter step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from wbcbench.core.arrays import Floats, to_floats
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.energy.load_plan import SQUARES_S, list_bouts
from wbcbench.energy.sensor_fit import Estimate, LoadTimes, SensorFit, fit_sensor, join_spans

POLL_S, FIRST_S = 0.001, 2.5
TRIALS, FEWEST_RIGHT = 100, 95
RIGHT = 0.05


@cache
def plan() -> tuple[LoadTimes, float]:
    """All loads of the plan, on a board, and when the last of them is over."""
    spans, at_s = [], FIRST_S
    for bout in list_bouts():
        if bout.where == "board":
            spans += [(at_s + start_s, at_s + start_s + on_s) for start_s, on_s in bout.spans]
        at_s += bout.length_s
    return join_spans(spans), at_s + 1.0


@dataclass(frozen=True)
class KnownSensor:
    """Renews every ``update_s`` the mean of ``averaging_s`` that ended ``delay_s`` ago.

    ``noise`` and ``jitter`` are shares of the load's step and of the update.
    """

    update_s: float
    averaging_s: float
    delay_s: float
    kind: Kind = Kind.SAMPLED
    noise: float = 0.0
    jitter: float = 0.0
    idle_w: float = 60.0
    step_w: float = 240.0
    resolution: float = 0.001
    rise_s: float = 0.0

    def poll(self, rng: np.random.Generator, load: LoadTimes, end_s: float) -> Trace:
        """Dense polls with a phase of the sensor's own, each up to a third of a poll off."""
        count = int(end_s / POLL_S)
        times_s = POLL_S * (np.arange(count) + rng.uniform(-0.3, 0.3, count))
        ticks = np.arange(-2, int(end_s / self.update_s) + 3)
        early = rng.uniform(-self.jitter, self.jitter, len(ticks))
        renewed_s = self.update_s * (ticks + early + rng.uniform())
        values = self._values(renewed_s - self.delay_s, rng, load)
        values = self.resolution * np.floor(values / self.resolution)
        last = np.searchsorted(renewed_s, times_s, side="right") - 1
        reading = "total_energy" if self.kind is Kind.COUNTER else "power_instant"
        channel = Channel("s", self.kind, Origin.MEASURED, Domain.GPU, reading)
        is_read = last >= 0
        return Trace(channel, to_floats(times_s[is_read]), to_floats(values[last[is_read]]))

    def _values(self, until_s: Floats, rng: np.random.Generator, load: LoadTimes) -> Floats:
        if self.kind is Kind.COUNTER:
            return 1000.0 + self.idle_w * (until_s + 10.0) + self.step_w * load.on_s(until_s)
        noise_w = self.noise * self.step_w * rng.standard_normal(len(until_s))
        return (
            self.idle_w + self.step_w * load.share(until_s, self.averaging_s, self.rise_s) + noise_w
        )


def draw_sensor(rng: np.random.Generator, name: str) -> KnownSensor:
    """One of a class: paces, windows, delays, noise and jitter of boards, and some beside them."""
    kind, averaging_s = Kind.SAMPLED, 0.0
    match name:
        case "full-time":
            update_s = rng.uniform(0.025, 0.2)
        case "part-time":
            update_s = rng.uniform(0.08, 0.12)
            averaging_s = update_s * rng.uniform(0.2, 0.5)
        case "running average":
            update_s = rng.choice([0.02, 0.05, 0.1]) * rng.uniform(0.95, 1.05)
            averaging_s = rng.uniform(0.8, 1.2)
        case "fast":
            update_s = rng.uniform(0.018, 0.025)
        case _:
            kind, update_s = Kind.COUNTER, rng.uniform(0.018, 0.11)
    return KnownSensor(
        update_s,
        averaging_s or update_s,
        delay_s=rng.uniform(0.01, 0.25),
        kind=kind,
        noise=rng.choice([0.0, 0.002, 0.01]),
        jitter=rng.choice([0.0, 0.02, 0.05]),
        idle_w=rng.uniform(40.0, 120.0),
        step_w=rng.uniform(100.0, 500.0),
    )


CLASSES = ("full-time", "part-time", "running average", "fast", "counter")


def fit(sensor: KnownSensor, seed: int = 0) -> SensorFit:
    load, end_s = plan()
    return fit_sensor(sensor.poll(np.random.default_rng(seed), load, end_s), load)


def pairs(sensor: KnownSensor, found: SensorFit) -> list[tuple[Estimate, float]]:
    """Every parameter beside its truth."""
    return [
        (found.update_s, sensor.update_s),
        (found.averaging_s, sensor.averaging_s),
        (found.delay_s, sensor.delay_s),
        (found.share, min(sensor.averaging_s / sensor.update_s, 1.0)),
        (found.step_w, sensor.step_w),
    ]


def test_all_parameters_of_95_of_100_sensors_are_right_within_5_per_cent() -> None:
    right = inside = known = 0
    for seed in range(TRIALS):
        rng = np.random.default_rng(seed)
        sensor = draw_sensor(rng, CLASSES[seed % len(CLASSES)])
        load, end_s = plan()
        told = pairs(sensor, fit_sensor(sensor.poll(rng, load, end_s), load))
        right += all(e.value == pytest.approx(truth, rel=RIGHT) for e, truth in told)
        known += len(told[1:3])
        inside += sum(abs(e.value - truth) <= e.half for e, truth in told[1:3])
    assert right >= FEWEST_RIGHT, f"{right} of {TRIALS}"
    assert inside >= 0.9 * known, f"± holds {inside} of {known} windows and delays"


def test_a_counter_tells_its_step_and_its_joules() -> None:
    found = fit(KnownSensor(0.05, 0.05, 0.0, Kind.COUNTER))
    assert found.update_s.value == pytest.approx(0.05, rel=1e-4)
    assert found.share.value == pytest.approx(1.0, abs=0.01)
    assert found.resolution == pytest.approx(60.0 * 0.05, rel=0.01)
    assert found.idle_w == pytest.approx(60.0, rel=1e-3)
    assert found.delay_s.value == pytest.approx(0.0, abs=0.001)


@pytest.mark.parametrize("rise_s", [0.005, 0.015, 0.03])
@pytest.mark.parametrize(("update_s", "averaging_s"), [(0.1, 0.025), (0.02, 0.02), (0.1, 0.1)])
def test_a_board_whose_own_power_rises_slowly_does_not_lengthen_the_window(
    update_s: float, averaging_s: float, rise_s: float
) -> None:
    found = fit(KnownSensor(update_s, averaging_s, 0.02, noise=0.0025, rise_s=rise_s))
    assert found.averaging_s.value == pytest.approx(averaging_s, rel=RIGHT)
    # Less than that hardly shows beside the window, and is taken for a part of the delay.
    if rise_s > 0.1 * averaging_s:
        assert found.rise_s.value == pytest.approx(rise_s, rel=RIGHT)
    assert found.delay_s.value + found.rise_s.value == pytest.approx(0.02 + rise_s, abs=0.002)


def test_a_board_that_follows_at_once_has_no_rise() -> None:
    assert fit(KnownSensor(0.1, 0.025, 0.02, noise=0.0025)).rise_s.value == 0.0


@pytest.mark.parametrize("delay_s", [0.0, 0.6, 1.2])
def test_slow_readings_are_found_as_well(delay_s: float) -> None:
    sensor = KnownSensor(0.1, 0.3, delay_s, noise=0.005)
    found = fit(sensor)
    assert found.averaging_s.value == pytest.approx(0.3, rel=RIGHT)
    assert found.delay_s.value == pytest.approx(delay_s, abs=0.005)


def test_a_reading_that_stands_still_has_no_pace_and_says_why() -> None:
    load, end_s = plan()
    times_s = np.arange(0.0, end_s, POLL_S)
    channel = Channel("s", Kind.SAMPLED, Origin.MEASURED, Domain.GPU)
    found = fit_sensor(Trace(channel, times_s.tolist(), [60.0] * len(times_s)), load)
    for each in (found.update_s, found.averaging_s, found.delay_s, found.share):
        assert (each.value, each.half) == (None, None)
        assert "moved 0 times" in each.reason
    nothing = fit_sensor(Trace(channel, [], []), load)
    assert nothing.update_s.reason == "no reading succeeded"


def test_a_reading_that_a_load_does_not_move_has_a_pace_and_neither_window_nor_delay() -> None:
    found = fit(KnownSensor(0.1, 0.1, 0.02, step_w=0.0, idle_w=60.0), seed=4)
    assert found.averaging_s.value is None
    noisy = KnownSensor(0.1, 0.1, 0.02, noise=30.0, step_w=0.1)
    found = fit(noisy)
    assert found.update_s.value == pytest.approx(0.1, rel=1e-3)
    for each in (found.averaging_s, found.delay_s, found.share):
        assert each.value is None
        assert "too little" in each.reason


def test_a_reading_as_fast_as_the_polls_has_a_pace_as_unsure_as_they_and_a_step() -> None:
    found = fit(KnownSensor(0.0015, 0.0015, 0.0, Kind.COUNTER))
    assert abs(found.update_s.value - 0.0015) < found.update_s.half < 0.005
    assert found.step_w.value == pytest.approx(240.0, rel=0.02)


def test_a_response_that_is_no_window_is_told_and_not_fitted() -> None:
    """A low pass whose time constant is a second: it has no end."""
    load, end_s = plan()
    times_s = np.arange(0.0, end_s, POLL_S)
    on = np.diff(load.on_s(np.append(times_s, end_s))) / POLL_S
    slow, share = 0.0, np.empty(len(on))
    for place in range(0, len(on), 20):
        share[place : place + 20] = slow
        slow += (float(on[place : place + 20].mean()) - slow) * 0.02 / 2.5
    channel = Channel("s", Kind.SAMPLED, Origin.MEASURED, Domain.GPU)
    power_w = (60 + 240 * share).tolist()
    found = fit_sensor(Trace(channel, times_s.tolist(), power_w), load)
    assert found.misfit is not None
    assert found.averaging_s.value is None or found.misfit > 0.01


def test_the_plan_takes_about_a_minute_and_its_periods_are_not_those_of_sensors() -> None:
    bouts = list_bouts()
    assert len({bout.name for bout in bouts}) == len(bouts)
    assert 50.0 < sum(bout.length_s for bout in bouts) < 65.0
    for period_s in SQUARES_S:
        for update_s in (0.01, 0.02, 0.025, 0.05, 0.1):
            turns = period_s / update_s
            assert abs(turns - round(turns)) > 0.01
