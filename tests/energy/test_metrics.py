"""Derived numbers: what is added, what is left unknown, and what never happens."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wbcbench.energy import metrics

joules = st.floats(0, 1e9, allow_nan=False)
watts = st.floats(0, 1e4, allow_nan=False)
seconds = st.floats(1e-3, 1e6, allow_nan=False)
maybe_joules = st.none() | joules
accuracies = st.none() | st.floats(0, 1) | st.just(math.nan)
points = st.lists(st.tuples(maybe_joules, accuracies), max_size=12)


@given(joules, watts, seconds)
def test_net_is_gross_minus_idle_power_times_duration(gross_j, idle_w, duration_s):
    net_j = metrics.energy_above_idle_j(gross_j, idle_w, duration_s)
    assert net_j + idle_w * duration_s == pytest.approx(gross_j, abs=1e-6 * (1 + idle_w * 1e6))


def test_a_load_below_the_baseline_gives_a_negative_net_energy():
    assert metrics.energy_above_idle_j(100.0, 60.0, 2.0) == -20.0


@pytest.mark.parametrize(("gross_j", "idle_w"), [(None, 60.0), (100.0, None), (None, None)])
def test_net_energy_is_unknown_when_a_part_is(gross_j, idle_w):
    assert metrics.energy_above_idle_j(gross_j, idle_w, 2.0) is None


def test_nothing_is_shared_by_no_images():
    assert metrics.ratio(10.0, 0) is None
    assert metrics.ratio(10.0, None) is None
    assert metrics.ratio(None, 4) is None
    assert metrics.ratio(10.0, 4) == 2.5


def test_disagreement_is_in_per_cent_of_the_witness():
    assert metrics.difference_pct(103.0, 100.0) == pytest.approx(3.0)
    assert metrics.difference_pct(103.0, 0.0) is None


@given(st.lists(maybe_joules))
def test_a_sum_with_an_unknown_part_is_unknown(values):
    total = metrics.sum_if_all_known(values)
    if None in values or not values:
        assert total is None
    else:
        assert total == pytest.approx(math.fsum(values))


@given(st.lists(maybe_joules))
def test_a_mean_lies_between_the_known_values(values):
    known = [value for value in values if value is not None]
    mean = metrics.mean_known(values)
    if not known:
        assert mean is None
    else:
        assert min(known) * (1 - 1e-9) <= mean <= max(known) * (1 + 1e-9)


@given(st.lists(accuracies, max_size=10), st.floats(0, 1))
def test_the_target_is_reached_by_the_first_value_at_or_above_it_and_by_no_unknown(values, target):
    steps = list(range(len(values)))
    reached = metrics.energy_to_accuracy(values, target, steps, steps)
    reaching = [i for i, value in enumerate(values) if value is not None and value >= target]
    assert (reached and reached.time_s) == (reaching[0] if reaching else None)
    assert (reached and reached.epochs) == (reaching[0] + 1 if reaching else None)


def test_energy_to_accuracy_counts_to_the_end_of_the_reaching_epoch():
    reached = metrics.energy_to_accuracy([0.5, 0.8, 0.9], 0.8, [10, 20, 30], [100.0, 210.0, 330.0])
    assert reached == metrics.Reached(epochs=2, time_s=20, energy_j=210.0)


def test_a_target_never_reached_costs_nothing_known():
    assert metrics.energy_to_accuracy([0.5, None], 0.8, [10, 20], [1.0, 2.0]) is None


@given(points)
def test_nobody_on_the_front_is_beaten_and_everybody_off_it_is(candidates):
    front = metrics.pareto_front(candidates)
    whole = {
        i
        for i, (energy_j, accuracy) in enumerate(candidates)
        if energy_j is not None and accuracy is not None and math.isfinite(accuracy)
    }
    for i in whole:
        beaten = any(_beats(candidates[j], candidates[i]) for j in whole)
        assert beaten == (i not in front)
    assert set(front) <= whole


@given(points)
def test_the_front_rises_in_both_energy_and_accuracy(candidates):
    front = [candidates[i] for i in metrics.pareto_front(candidates)]
    assert front == sorted(front)


def _beats(a, b):
    return a[0] <= b[0] and a[1] >= b[1] and a != b
