"""Drift over the order of runs: the slope of a linear model with a level for each group."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from wbcbench.stats.order import fit_drift

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
