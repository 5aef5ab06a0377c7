"""Spreads of configurations without what a block shares, and when they are called unequal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wbcbench.stats.spreads import estimate_variances, find_unequal_spreads

tables = st.tuples(st.integers(2, 12), st.integers(3, 6)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(-50, 50).map(float))
)


@given(tables)
def test_a_variance_is_grubbs_mean_of_covariances_of_differences(values):
    k = values.shape[1]
    for i, found in enumerate(estimate_variances(values)):
        x = values[:, i]
        covariances = [
            np.cov(x - values[:, j], x - values[:, l])[0, 1]
            for j in range(k)
            for l in range(j + 1, k)  # noqa: E741
            if i not in {j, l}
        ]
        assert found == pytest.approx(np.mean(covariances), abs=1e-6)


def test_what_a_block_shares_adds_nothing_to_a_spread():
    rng = np.random.default_rng(1)
    own = rng.standard_normal((4_000, 3)) * (1, 2, 3)
    shared = 50 * rng.standard_normal((4_000, 1))
    assert estimate_variances(own + shared) == pytest.approx(estimate_variances(own), abs=1e-6)
    assert estimate_variances(own) == pytest.approx((1, 4, 9), abs=0.5)


@pytest.mark.parametrize("k", [2, 4])
def test_a_configuration_that_scatters_ten_times_as_much_is_found_with_its_factor(k):
    rng = np.random.default_rng(2)
    values = rng.standard_normal((12, k)) * ([1.0] * (k - 1) + [10.0])
    found = find_unequal_spreads(values)
    assert found is not None
    assert found.widest == k - 1
    sd = np.sqrt(np.maximum(estimate_variances(values), 0))
    assert found.factor == pytest.approx(sd[k - 1] / sd[sd > 0].min())


def test_no_spread_is_told_of_few_seeds_one_configuration_or_equal_values():
    assert find_unequal_spreads(np.array([[1.0, 2.0], [5.0, -9.0]])) is None
    assert find_unequal_spreads(np.arange(8.0)[:, None]) is None
    assert find_unequal_spreads(np.ones((8, 4))) is None
