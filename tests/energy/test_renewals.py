"""Renewals of a counter, told from polls alone, and the energy at any moment between them."""

from __future__ import annotations

import random
from bisect import bisect_right
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulated_sensors import Signal
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window
from wbcbench.energy.integrate import EnergyCurve, energy_curve, window_energy
from wbcbench.energy.phase import find_renewals, place_renewals
from wbcbench.energy.renewals import LOOSENESSES, RenewalTracker, find_slow_pace_s

POLL_S, POLLS = 0.1, 400
COUNTER = Channel("c", Kind.COUNTER, Origin.MEASURED, Domain.GPU, "total_energy")


def poll(
    rng: random.Random, renewals_s: list[float]
) -> tuple[list[float], list[bool], list[float]]:
    """Jittered polls, whether each shows a move, and the last renewal before it."""
    first_s = renewals_s[1]
    times_s = [first_s + (i + 1 + rng.uniform(-0.5, 0.5)) * POLL_S for i in range(POLLS)]
    last_s = [renewals_s[bisect_right(renewals_s, t_s) - 1] for t_s in times_s]
    return times_s, [True, *(a != b for a, b in pairwise(last_s))], last_s


def renew(rng: random.Random, period_s: float, jitter: float, drift: float = 0.0) -> list[float]:
    """Renewals at an even pace, each early or late by a share of the period."""
    count, phase_s = int((POLLS + 3) * POLL_S / period_s) + 3, rng.random() * period_s
    clock_s = [phase_s + k * period_s * (1 + drift * k / count) for k in range(count)]
    return [t_s + rng.uniform(-jitter, jitter) * period_s for t_s in clock_s]


def share_within(most_s: float, period_s: float, told: float = 1.0, drift: float = 0.0) -> float:
    """How many middles of spans are that near to their renewals, over ten seeds."""
    off_s = list[float]()
    for seed in range(10):
        rng = random.Random(f"{period_s} {seed}")
        times_s, moves, last_s = poll(rng, renew(rng, period_s, 0.0, drift))
        spans = find_renewals(times_s, moves, told * period_s)
        off_s += [
            abs(0.5 * sum(span) - at_s)
            for span, at_s, moved in zip(spans, last_s, moves, strict=True)
            if moved
        ]
    return sum(each_s <= most_s for each_s in off_s) / len(off_s)


@pytest.mark.parametrize(("period_s", "most_s"), [(0.1, 0.004), (0.2, 0.008), (1.0, 0.02)])
@pytest.mark.parametrize("told", [0.9995, 1.0, 1.0005])
def test_renewals_at_an_even_pace_are_placed_within_milliseconds(
    period_s: float, most_s: float, told: float
) -> None:
    assert share_within(most_s, period_s, told) > 0.95


def test_a_clock_that_drifts_is_followed() -> None:
    assert share_within(0.004, 0.1, drift=5e-4) > 0.95


@pytest.mark.parametrize("jitter", [0.1, 0.3])
def test_renewals_at_no_even_pace_are_taken_to_be_between_their_polls(jitter: float) -> None:
    rng = random.Random(jitter)
    times_s, moves, last_s = poll(rng, renew(rng, 0.1, jitter))
    spans = find_renewals(times_s, moves, 0.1)
    moved = [i for i in range(1, POLLS) if moves[i]]
    assert all(times_s[i - 1] <= spans[i][0] <= spans[i][1] <= times_s[i] for i in moved)
    inside = sum(spans[i][0] - 0.03 <= last_s[i] <= spans[i][1] + 0.03 for i in moved)
    assert inside > 0.95 * len(moved)


@given(st.integers(0, 10_000), st.sampled_from([0.02, 0.05, 0.1, 0.37]), st.floats(0.0, 0.4))
def test_a_renewal_never_lies_outside_the_polls_that_enclose_it(
    seed: int, period_s: float, jitter: float
) -> None:
    rng = random.Random(seed)
    times_s, moves, _ = poll(rng, renew(rng, period_s, jitter))
    for i, (low_s, high_s) in enumerate(find_renewals(times_s, moves, period_s)):
        assert low_s <= high_s <= times_s[i]
        assert i == 0 or low_s >= times_s[i - 1]


@given(st.integers(0, 10_000), st.floats(0.8, 4.0))
def test_a_slow_counter_of_unknown_pace_moved_between_its_polls(seed: int, period_s: float) -> None:
    rng = random.Random(seed)
    times_s, moves, last_s = poll(rng, renew(rng, period_s, 0.0))
    pace_s, spans = place_renewals(times_s, moves, None)
    assert pace_s == pytest.approx(period_s, abs=0.2)
    for i in (i for i in range(1, POLLS) if moves[i]):
        assert spans[i][0] <= last_s[i] <= spans[i][1]
    assert spans[0][0] == pytest.approx(last_s[0], abs=0.4)


def read(signal: Signal, period_s: float, rng: random.Random, *, is_told: bool = True) -> Trace:
    times_s, _, last_s = poll(rng, renew(rng, period_s, 0.0))
    channel = COUNTER if not is_told else Channel(**{**vars_of(COUNTER), "update_s": period_s})
    return Trace(channel, times_s, [signal.energy_j(t_s) for t_s in last_s])


def vars_of(channel: Channel) -> dict[str, object]:
    return {name: getattr(channel, name) for name in channel.__slots__}


def step(start_s: float, end_s: float) -> Signal:
    knots = [(0.0, 50.0), (start_s, 50.0), (start_s, 250.0), (end_s, 250.0), (end_s, 50.0)]
    return Signal.through([*knots, (100.0, 50.0)])


@pytest.mark.parametrize("seed", range(10))
def test_the_step_of_a_load_at_an_edge_is_cut_where_it_is(seed: int) -> None:
    rng = random.Random(seed)
    window = Window("w", start := 8 + rng.random(), start + 10.0)
    trace = read(step(window.start_s, window.end_s), 0.1, rng)
    # Cut evenly, up to a quarter of 0.1 s × 200 W would be missing at each edge: 10 J.
    assert window_energy(trace, window).energy_j == pytest.approx(2500.0, abs=3.0)


@given(
    st.integers(0, 10_000),
    st.lists(st.floats(2.0, 40.0), min_size=3, max_size=8, unique=True),
    st.booleans(),
)
def test_windows_that_share_edges_add_up_and_energy_never_falls(
    seed: int, edges_s: list[float], is_told: bool
) -> None:
    rng = random.Random(seed)
    knots = [(0.0, 60.0)]
    while knots[-1][0] < 60.0:
        at_s = knots[-1][0] + rng.expovariate(4.0)
        knots += [(at_s, knots[-1][1]), (at_s, rng.uniform(30.0, 300.0))]
    trace = read(Signal.through(knots), rng.choice([0.02, 0.1]), rng, is_told=is_told)
    edges_s = sorted(edges_s)
    parts = [window_energy(trace, Window("w", a, b)).energy_j for a, b in pairwise(edges_s)]
    whole = window_energy(trace, Window("w", edges_s[0], edges_s[-1])).energy_j
    assert all(part is None or part >= 0 for part in parts)
    if whole is not None and None not in parts:
        assert sum(part for part in parts if part is not None) == pytest.approx(whole)
    curve = energy_curve(trace)
    dense = [curve.at(curve.t_s[0] + 0.01 * i) for i in range(3000)]
    assert all(b >= a - 1e-9 for a, b in pairwise(dense))


def test_a_load_that_fills_no_cell_is_as_high_as_the_reading_beside_shows() -> None:
    load = step(8.05, 8.35)
    knots_s = [0.2 * i for i in range(60)]  # 8.0, 8.2, 8.4 s
    power = Channel("p", Kind.SAMPLED, Origin.MEASURED, Domain.GPU, "power_instant")
    seen_w = [250.0 if 8.05 < t_s < 8.35 else 50.0 for t_s in (t_s + 0.1 for t_s in knots_s)]
    curve = EnergyCurve(
        knots_s,
        [load.energy_j(t_s) for t_s in knots_s],
        None,
        half_s=[0.0] * 60,
        beside=Trace(power, [t_s + 0.1 for t_s in knots_s], seen_w),
    )
    assert curve.at(8.35) - curve.at(8.05) == pytest.approx(75.0, rel=1e-6)
    assert curve.at(8.35) - curve.at(8.2) == pytest.approx(37.5, rel=1e-6)


def test_a_counter_that_moved_at_every_poll_is_not_slow_however_late_a_poll_came():
    assert find_slow_pace_s([100.0, 100.125, 101.125, 101.25], [True] * 4) is None


def test_the_period_is_told_by_the_phase_long_after() -> None:
    rng = random.Random(7)
    tracker = RenewalTracker(0.02, 0.0, LOOSENESSES[0])
    t_s, count = 0.0, 0
    for _ in range(5000):
        before_s, before = t_s, count
        t_s += rng.uniform(0.005, 0.03)
        count = int((t_s - 0.0137) / 0.020013)
        tracker.follow(before_s, t_s, count != before)
    low_s, high_s = tracker.carry(t_s + 10.0)
    assert tracker.period_s == pytest.approx(0.020013, rel=1e-4)
    assert tracker.contradicted == 0
    assert high_s - low_s < 0.006
