"""The order of runs: squares that balance it, and drift, the slope with a level for each group."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from wbcbench.stats.order import count_balance, count_blocks_of_balance, draw_orders, fit_drift

PLACES = (1, 2, 3, 4, 5, 6, 7, 9)
GROUPS = ("a", "b", "b", "a", "a", "b", "a", "b")
VALUES = (10.0, 20.4, 20.1, 10.9, 11.0, 21.2, 11.9, 21.0)


def test_the_slope_and_its_interval_are_those_of_a_linear_model_with_groups():
    dummies = np.array([[g == "a", g == "b"] for g in GROUPS], dtype=float)
    design = np.column_stack([PLACES, dummies])
    model = sm.OLS(np.array(VALUES), design).fit()
    found = fit_drift(PLACES, VALUES, GROUPS)
    assert found.slope == pytest.approx(model.params[0])
    assert (found.interval.low, found.interval.high) == pytest.approx(model.conf_int()[0])
    assert (found.runs, found.groups) == (8, 2)


def test_groups_that_differ_are_no_drift():
    found = fit_drift((1, 2, 3, 4, 5, 6), (1.0, 9.0, 1.0, 9.0, 1.0, 9.0), ("a", "b") * 3)
    assert found.slope == pytest.approx(0.0)


def test_a_perfect_line_has_no_width():
    found = fit_drift((1, 2, 3, 4), (2.0, 4.0, 6.0, 8.0), ("a",) * 4)
    assert (found.slope, found.interval.low) == pytest.approx((2.0, 2.0))


@pytest.mark.parametrize(
    ("places", "groups"), [((1,), "a"), ((1, 2, 3), "abc"), ((5, 5, 5), "aaa")]
)
def test_where_no_group_stands_at_two_places_no_drift_can_be_told(places, groups):
    assert fit_drift(places, [float(i) for i in range(len(places))], groups) is None


def test_two_runs_give_a_slope_and_no_interval():
    found = fit_drift((1, 2), (1.0, 2.0), "aa")
    assert (found.slope, found.interval) == (1.0, None)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 11])
def test_squares_balance_places_and_neighbours(size):
    places, both = count_blocks_of_balance(size)
    rows = draw_orders(size, 2 * both, seed=3)
    for blocks in (both, 2 * both):
        found = count_balance([[str(i) for i in row] for row in rows[:blocks]])
        assert found.is_balanced
        assert {n for row in found.places for n in row} == {blocks // size}
        after = {n for i, row in enumerate(found.after) for j, n in enumerate(row) if i != j}
        assert after == ({blocks // size} if size > 1 else set())
    assert count_balance([[str(i) for i in row] for row in rows[:places]]).is_balanced


def test_later_blocks_leave_the_earlier_ones_and_another_seed_gives_others():
    assert draw_orders(4, 9, seed=1)[:5] == draw_orders(4, 5, seed=1)
    assert draw_orders(4, 8, seed=1) != draw_orders(4, 8, seed=2)
    assert len({tuple(draw_orders(4, 4, seed=seed)) for seed in range(40)}) > 20


def test_of_a_part_of_a_square_nothing_better_can_be_asked():
    names = [[str(i) for i in row] for row in draw_orders(4, 7, seed=1)]
    assert count_balance(names).is_balanced
    assert not count_balance([names[0], names[0], *names[2:]]).is_balanced
