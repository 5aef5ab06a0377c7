"""The arithmetic of joules, as properties that hold for every trace."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window
from wbcbench.energy.integrate import max_gap, window_energy

POWER = Channel("p", Kind.SAMPLED, Origin.MEASURED, Domain.GPU)
COUNTER = Channel("c", Kind.COUNTER, Origin.MEASURED, Domain.GPU)
RAPL = Channel("r", Kind.COUNTER, Origin.MEASURED, Domain.CPU, wrap_j=262_143.328850)

watts = st.floats(0, 1000)
periods = st.lists(st.floats(0.01, 2.0), min_size=3, max_size=60)


def times_of(steps, start_s=100.0):
    times = [start_s]
    for step in steps:
        times.append(times[-1] + step)
    return times


@st.composite
def irregular(draw):
    """Irregular times and a window that they span."""
    times = times_of(draw(periods))
    a, b = sorted((draw(st.floats(0, 1)), draw(st.floats(0, 1))))
    length = times[-1] - times[0]
    window = Window("w", times[0] + a * length, times[0] + b * length)
    assume(window.end_s <= times[-1])
    return times, window


def joules(trace, window):
    return window_energy(trace, window).energy_j


@given(irregular(), watts)
def test_constant_power_is_exact_for_a_sampled_channel(polls, power_w):
    times, window = polls
    trace = Trace(POWER, times, [power_w] * len(times))
    assert joules(trace, window) == pytest.approx(power_w * window.duration_s, abs=1e-6)


@given(irregular(), st.floats(1.0, 1000.0))
def test_constant_power_is_exact_for_a_counter_that_moves_at_every_poll(polls, power_w):
    times, window = polls
    trace = Trace(COUNTER, times, [power_w * t for t in times])
    assert joules(trace, window) == pytest.approx(power_w * window.duration_s, abs=1e-6)


@given(irregular(), watts, st.floats(-5, 5))
def test_a_linear_ramp_is_exact_for_a_sampled_channel(polls, power_w, slope):
    times, window = polls
    trace = Trace(POWER, times, [power_w + slope * (t - times[0]) for t in times])
    middle = (window.start_s + window.end_s) / 2 - times[0]
    assert joules(trace, window) == pytest.approx(
        (power_w + slope * middle) * window.duration_s, abs=1e-6
    )


AVERAGE = replace(POWER, averaging_s=1.0)


@given(irregular(), watts, st.floats(0.05, 3.0), st.floats(0.0, 0.5))
def test_constant_power_is_exact_for_a_running_average(polls, power_w, averaging_s, update_s):
    times, window = polls
    channel = replace(POWER, averaging_s=averaging_s, update_s=update_s)
    trace = Trace(channel, times, [power_w] * len(times))
    assert joules(trace, window) == pytest.approx(power_w * window.duration_s, abs=1e-6)


@given(irregular(), watts, st.floats(-5, 5))
def test_a_linear_ramp_is_exact_for_a_running_average(polls, power_w, slope):
    times, window = polls
    assume(window.end_s <= times[-1] - AVERAGE.averaging_s)
    shown = [power_w + slope * (t - AVERAGE.averaging_s / 2 - times[0]) for t in times]
    middle_w = power_w + slope * (0.5 * (window.start_s + window.end_s) - times[0])
    expected_j = middle_w * window.duration_s
    assert joules(Trace(AVERAGE, times, shown), window) == pytest.approx(expected_j, abs=1e-5)


@given(irregular(), st.data())
def test_adjacent_windows_add_up_for_a_running_average(polls, data):
    times, window = polls
    shown = data.draw(st.lists(watts, min_size=len(times), max_size=len(times)))
    cut_s = data.draw(st.floats(window.start_s, window.end_s))
    trace = Trace(AVERAGE, times, shown)
    parts = (Window("a", window.start_s, cut_s), Window("b", cut_s, window.end_s))
    assert sum(joules(trace, part) for part in parts) == pytest.approx(joules(trace, window))


def test_a_one_second_average_blurs_an_edge_but_does_not_move_it():
    def shown_w(t_s):
        on_s, off_s = max(t_s - 5.0, 0.0), max(t_s - 15.0, 0.0)
        return 50.0 + 200.0 * (min(on_s, 1.0) - min(off_s, 1.0))

    times = [0.1 * i for i in range(300)]
    trace = Trace(AVERAGE, times, [shown_w(t_s) for t_s in times])
    energy_j = joules(trace, Window("train", 5.0, 15.0))
    # An eighth of a second of the load is smeared over each edge; half a second used to be lost.
    assert energy_j == pytest.approx(2500.0 - 2 * 200.0 / 8)
    beside_j = joules(trace, Window("around", 3.0, 17.0))
    assert beside_j == pytest.approx(2500.0 + 4 * 50.0)


@given(irregular(), st.data(), st.sampled_from([POWER, COUNTER]))
def test_adjacent_windows_add_up(polls, data, channel):
    times, window = polls
    values = data.draw(st.lists(watts, min_size=len(times), max_size=len(times)))
    values = sorted(values) if channel.kind is Kind.COUNTER else values
    between = sorted(data.draw(st.lists(st.floats(0, 1), max_size=6)))
    edges = [window.start_s + share * window.duration_s for share in between]
    edges = [window.start_s, *edges, window.end_s]
    trace = Trace(channel, times, values)
    parts = [joules(trace, Window("x", *pair)) for pair in pairwise(edges)]
    if joules(trace, window) is None:  # the counter stood still
        assert None in parts
        return
    assert sum(parts) == pytest.approx(joules(trace, window), rel=1e-9, abs=1e-6)


@given(irregular(), st.data())
def test_a_trace_that_never_reads_below_a_power_never_integrates_below_it(polls, data):
    times, window = polls
    values = data.draw(st.lists(st.floats(50, 90), min_size=len(times), max_size=len(times)))
    mean_w = joules(Trace(POWER, times, values), window)
    assert 50 * window.duration_s - 1e-6 <= mean_w <= 90 * window.duration_s + 1e-6


@pytest.mark.parametrize(
    ("start_s", "end_s", "reason"),
    [
        (99.0, 105.0, "its good readings begin after the window does"),
        (101.0, 111.0, "its good readings end before the window does"),
    ],
)
@pytest.mark.parametrize("channel", [POWER, COUNTER])
def test_a_window_that_the_trace_does_not_span_is_unknown(channel, start_s, end_s, reason):
    trace = Trace(channel, [100.0 + i for i in range(11)], [float(i) for i in range(11)])
    found = window_energy(trace, Window("w", start_s, end_s))
    assert found.energy_j is None
    assert found.mean_power_w is None
    assert found.reason == reason


@pytest.mark.parametrize("values", [[], [None, None, None], [None, 5.0, None]])
def test_a_trace_of_failed_reads_is_unknown_and_not_zero(values):
    trace = Trace(POWER, [float(i) for i in range(len(values))], values)
    found = window_energy(trace, Window("w", 0.5, 1.5))
    assert found.energy_j is None
    assert found.reason == "fewer than two good readings"


@given(irregular(), st.data())
def test_a_failed_read_is_a_gap_that_neighbours_bridge(polls, data):
    times, window = polls
    values = data.draw(st.lists(watts, min_size=len(times), max_size=len(times)))
    lost = data.draw(st.sets(st.integers(1, len(times) - 2)))
    with_holes = [None if i in lost else value for i, value in enumerate(values)]
    kept = [i for i in range(len(times)) if i not in lost]
    without = Trace(POWER, [times[i] for i in kept], [values[i] for i in kept])
    assert joules(Trace(POWER, times, with_holes), window) == joules(without, window)


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_reading_that_is_no_number_is_a_failed_read(odd):
    trace = Trace(POWER, [0.0, 1.0, 2.0, 3.0], [10.0, odd, 10.0, 10.0])
    found = window_energy(trace, Window("w", 0.0, 3.0))
    assert found.energy_j == pytest.approx(30.0)
    assert found.max_gap_s == 2.0
    assert found.samples == 2


# --- counters ----------------------------------------------------------------------------------


@given(st.lists(st.floats(0.05, 1.0), min_size=5, max_size=50), st.floats(1, 900), st.floats(0, 1))
def test_a_wrapped_counter_counts_as_one_that_did_not_wrap(steps, power_w, phase):
    times = times_of(steps)
    plain = [power_w * (t - times[0]) for t in times]
    start = RAPL.wrap_j - phase * plain[-1]
    wrapped = [(start + value) % RAPL.wrap_j for value in plain]
    window = Window("w", times[1], times[-2])
    expected = power_w * window.duration_s
    assert joules(Trace(RAPL, times, wrapped), window) == pytest.approx(expected, abs=1e-4)


def test_a_failed_read_taken_as_zero_is_left_out_and_does_not_count_as_a_wrap():
    times = [0.1 * i for i in range(101)]
    values = [400.0 + 50.0 * t for t in times]
    values[50] = 0.0
    found = window_energy(Trace(RAPL, times, values), Window("w", 1.0, 9.0))
    assert found.energy_j == pytest.approx(400.0)


def test_a_single_reading_far_above_the_count_is_left_out():
    times = [0.1 * i for i in range(101)]
    values = [50.0 * t for t in times]
    values[50] = 1e9
    assert joules(Trace(COUNTER, times, values), Window("w", 1.0, 9.0)) == pytest.approx(400.0)


def counter_with(at_s, change):
    times = [0.1 * i for i in range(101)]
    values = [5000.0 + 300.0 * t for t in times]
    return Trace(
        replace(COUNTER, limit_w=700.0),
        times,
        [change(value) if t >= at_s else value for t, value in zip(times, values, strict=True)],
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda value: value - 5000.0, "the counter went backwards inside the window"),
        (lambda value: value + 1e5, "the counter jumped inside the window"),
    ],
)
def test_a_window_with_a_reset_or_a_jump_inside_is_unknown_and_those_beside_are_not(change, reason):
    trace = counter_with(5.0, change)
    across = window_energy(trace, Window("across", 2.0, 8.0))
    assert across.energy_j is None
    assert across.reason == reason
    assert joules(trace, Window("before", 1.0, 4.8)) == pytest.approx(3.8 * 300)
    assert joules(trace, Window("after", 5.2, 9.0)) == pytest.approx(3.8 * 300)


def test_a_reset_between_two_polls_spoils_the_window_that_ends_there():
    trace = counter_with(5.0, lambda value: value - 5000.0)
    assert joules(trace, Window("w", 2.0, 4.95)) is None
    assert joules(trace, Window("w", 4.95, 8.0)) is None


def test_no_window_of_a_counter_with_a_reset_is_negative():
    trace = counter_with(5.0, lambda value: value - 5000.0)
    edges = [0.05 * i for i in range(200)]
    found = [joules(trace, Window("w", a, a + 0.3)) for a in edges]
    assert all(value is None or value > 0 for value in found[:-10])


def test_a_counter_after_a_pause_of_the_driver_may_make_up_for_it():
    times = [0.1 * i for i in range(101)]
    values = [300.0 * (t if not 3 <= t < 6 else 3.0) for t in times]
    trace = Trace(replace(COUNTER, limit_w=700.0), times, values)
    assert joules(trace, Window("w", 1.0, 9.0)) == pytest.approx(8 * 300)


@given(st.floats(0.02, 0.5), st.floats(0.005, 0.1), st.floats(0, 1), st.floats(10, 700))
def test_a_counter_polled_faster_than_it_moves_errs_by_no_more_than_a_step_at_each_edge(
    update_s, poll_s, phase, power_w
):
    assume(poll_s < update_s)
    times = [i * poll_s for i in range(int(6 / poll_s))]
    moved = [math.floor(t / update_s + phase) * update_s for t in times]
    trace = Trace(COUNTER, times, [power_w * t for t in moved])
    window = Window("w", 1.03, 4.41)
    error_j = abs(joules(trace, window) - power_w * window.duration_s)
    assert error_j <= power_w * (poll_s + 1e-9) * 2  # knots lag by less than a poll
    assert error_j <= 2 * power_w * update_s


@given(st.floats(0.02, 0.3), st.floats(0, 1), st.sampled_from([0.5, 1.0, 2.5]))
def test_a_step_counter_of_changing_power_errs_by_at_most_two_steps(update_s, phase, period_s):
    """The power is 600 W for one half of each period and 60 W for the other."""

    def energy(t):
        whole, part = divmod(t, period_s)
        half = period_s / 2
        return whole * half * 660 + 600 * min(part, half) + 60 * max(part - half, 0)

    times = [0.01 * i for i in range(600)]
    moved = [math.floor(t / update_s + phase) - phase for t in times]
    trace = Trace(COUNTER, times, [energy(max(k * update_s, 0.0)) for k in moved])
    window = Window("w", 1.03, 4.41)
    truth = energy(window.end_s) - energy(window.start_s)
    assert abs(joules(trace, window) - truth) <= 2 * 600 * (update_s + 0.01)


# --- the rest ----------------------------------------------------------------------------------


@given(irregular())
def test_the_largest_gap_is_seen_whole_even_if_only_its_end_lies_in_the_window(polls):
    times, window = polls
    steps = [b - a for a, b in pairwise(times) if b > window.start_s and a <= window.end_s]
    assert max_gap(times, window) == pytest.approx(max(steps)) if steps else True


def test_samples_are_the_good_readings_inside():
    trace = Trace(POWER, [0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 1.0, None, 1.0, 1.0])
    assert window_energy(trace, Window("w", 0.5, 3.5)).samples == 2


def test_a_window_without_length_has_no_power():
    trace = Trace(POWER, [0.0, 1.0], [5.0, 5.0])
    found = window_energy(trace, Window("w", 0.5, 0.5))
    assert found.energy_j == 0.0
    assert found.mean_power_w is None


def stepping_off_j(phase_s: float, update_s: float | None) -> float:
    """Error of 10 s that begin with a step from 50 to 200 W; the counter moves every 0.1 s."""

    def counter_j(t_s: float) -> float:
        at_s = math.floor((t_s - phase_s) / 0.1) * 0.1 + phase_s
        return 50.0 * at_s + 150.0 * max(at_s - 5.0, 0.0)

    times = [0.1 * i + 0.03 * math.sin(7.0 * i) for i in range(1, 200)]
    trace = Trace(replace(COUNTER, update_s=update_s), times, [counter_j(t) for t in times])
    return window_energy(trace, Window("w", 5.0, 15.0)).energy_j - 2000.0


def test_a_counter_of_known_pace_is_taken_to_have_moved_half_a_look_ago():
    phases_s = [0.005 + 0.01 * i for i in range(10)]
    known = [stepping_off_j(phase_s, 0.1) for phase_s in phases_s]
    unknown = [stepping_off_j(phase_s, None) for phase_s in phases_s]
    assert abs(sum(known)) < 0.5 * abs(sum(unknown))
    assert max(map(abs, known)) < max(map(abs, unknown))
