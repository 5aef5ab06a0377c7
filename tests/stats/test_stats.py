"""Every number of ``stats`` against scipy, statsmodels, or what was worked out by hand."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.formula.api as smf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from wbcbench.energy.metrics import pareto_front
from wbcbench.stats.bootstrap import compare_on_images
from wbcbench.stats.intervals import (
    Interval,
    compute_censored_median,
    compute_win_rate,
    d_z,
    level_interval,
    mean_interval,
    on_front,
    resample_front,
    share_interval,
    skewness_t_interval,
    t_interval,
)
from wbcbench.stats.tests import (
    FIRST,
    INTERACTION,
    SECOND,
    ThresholdOutcome,
    adjust_holm,
    build_pair_weights,
    compute_contrast,
    compute_equivalence_power,
    compute_power,
    count_blocks_to_settle,
    count_stein_blocks,
    equivalence_p,
    evaluate_limit,
    find_detectable_effect,
    find_equivalence_blocks,
    find_equivalence_spread,
    find_least_blocks,
    p_floor,
    sign_flip_p,
    stein_interval,
)


@pytest.fixture(autouse=True, scope="module")
def few_objects() -> Iterator[None]:
    """``multipletests`` collects garbage at each call: a tenth of a second where much is loaded."""
    gc.freeze()
    yield
    gc.unfreeze()


numbers = st.floats(-5, 5, allow_subnormal=False).map(lambda x: round(x, 3))


def samples(least: int, most: int) -> st.SearchStrategy[np.ndarray]:
    return st.integers(least, most).flatmap(lambda n: arrays(np.float64, n, elements=numbers))


@given(samples(3, 20))
def test_the_t_interval_is_that_of_scipy(differences):
    assume(np.ptp(differences) > 0)
    found = t_interval(differences)
    wanted = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    assert found.method == "t"


positive = st.floats(1e-9, 1e12)


@given(st.lists(positive, min_size=3, max_size=12).map(np.array))
def test_the_interval_of_positive_quantities_lies_above_zero_around_their_mean(values):
    found = level_interval(values, "ratio")
    assert 0 < found.low <= np.mean(values) * (1 + 1e-12)
    assert np.mean(values) * (1 - 1e-12) <= found.high < math.inf


@given(samples(3, 20))
def test_the_interval_of_quantities_that_scatter_little_is_students(differences):
    values = 1_000 + differences  # a half-width of up to 10 %
    found, students = level_interval(values, "ratio"), t_interval(values)
    assert (found.low, found.high) == pytest.approx((students.low, students.high), rel=0.01)


@pytest.mark.parametrize(("mean", "sd"), [(1.0, 0.2), (1.0, 0.6)])
def test_the_interval_of_positive_quantities_holds_the_arithmetic_mean_as_often_as_students(
    mean, sd
):
    """Lognormal samples of eight: both fall short of 95 % by the skew, the one by less."""
    shape = math.log(1 + sd**2)
    rng = np.random.default_rng(3)
    drawn = mean * np.exp(math.sqrt(shape) * rng.standard_normal((2_000, 8)) - shape / 2)
    found, students = (
        np.mean([not interval(values).excludes(mean) for values in drawn])
        for interval in (lambda values: level_interval(values, "ratio"), t_interval)
    )
    assert found >= students
    assert found > 0.89


@given(st.lists(st.floats(0, 1), min_size=3, max_size=12).map(np.array))
def test_the_interval_of_a_mean_share_is_students_within_0_and_1(values):
    found, students = level_interval(values, "share"), t_interval(values)
    assert (found.low, found.high) == (max(students.low, 0.0), min(students.high, 1.0))


def test_joules_above_idle_that_fall_below_zero_keep_students_interval():
    values = np.array([-1.0, 2.0, 3.0])
    assert level_interval(values, "ratio") == t_interval(values)
    assert level_interval(values, "plain") == t_interval(values)
    assert level_interval(values[:2], "ratio") is None


def test_below_three_blocks_there_is_no_interval_and_below_fifteen_no_bootstrap():
    assert t_interval(np.array([1.0, 2.0])) is None
    assert mean_interval(np.arange(14.0), "bootstrap") is None
    found = mean_interval(np.arange(15.0), "bootstrap")
    assert found.method == "bootstrap"
    assert found.low < 7 < found.high


def test_equal_differences_give_an_interval_without_width_by_either_method():
    same = np.full(15, 2.5)
    assert (t_interval(same).low, t_interval(same).high) == (2.5, 2.5)
    assert (mean_interval(same, "bootstrap").low, mean_interval(same, "bootstrap").high) == (
        2.5,
        2.5,
    )


@settings(max_examples=60)
@given(samples(2, 8))
def test_the_sign_flip_p_is_that_of_scipys_permutation_test(differences):
    wanted = scipy.stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert sign_flip_p(differences) == pytest.approx(wanted.pvalue)


@pytest.mark.parametrize(
    ("blocks", "least"), [(1, 1.0), (5, 0.0625), (7, 0.015625), (8, 0.0078125)]
)
def test_p_cannot_fall_below_its_floor_however_large_the_effect(blocks, least):
    assert p_floor(blocks) == least
    assert sign_flip_p(np.full(blocks, 1e9) + np.arange(blocks)) == least


def test_many_blocks_are_tested_by_drawn_patterns_with_a_fixed_seed():
    differences = np.random.default_rng(3).normal(0.4, 1, 30)
    p = sign_flip_p(differences)
    assert p == sign_flip_p(differences)
    assert p == pytest.approx(scipy.stats.ttest_1samp(differences, 0).pvalue, abs=0.01)
    assert sign_flip_p(np.full(30, 1.0)) == p_floor(30)


def test_rows_are_tested_each_by_itself():
    rows = np.random.default_rng(5).normal(size=(4, 8))
    assert sign_flip_p(rows) == pytest.approx([float(sign_flip_p(row)) for row in rows])


@pytest.mark.parametrize(("level", "blocks"), [(0.05, 6), (0.05 / 3, 7), (0.05 / 6, 8)])
def test_the_fewest_blocks_that_can_reach_a_level(level, blocks):
    assert find_least_blocks(level) == blocks


@given(arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1)))
def test_holm_is_that_of_statsmodels(p):
    assert adjust_holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@given(samples(3, 12), st.floats(0.1, 3))
def test_equivalence_is_the_two_one_sided_tests_of_statsmodels(differences, half):
    assume(np.ptp(differences) > 0.01)
    wanted, _, _ = DescrStatsW(differences).ttost_mean(-half, half)
    assert equivalence_p(differences, -half, half) == pytest.approx(wanted, abs=1e-12)


@given(samples(3, 12), st.floats(0.1, 3))
def test_equivalence_at_five_per_cent_is_the_ninety_per_cent_interval_inside(differences, half):
    assume(np.ptp(differences) > 0.01)
    found = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    p = equivalence_p(differences, -half, half)
    assume(abs(p - 0.05) > 1e-9)
    assert (p <= 0.05) == (-half < found.low and found.high < half)


def test_without_spread_equivalence_is_decided_by_where_the_difference_lies():
    assert equivalence_p(np.zeros(5), -1, 1) == p_floor(5)
    assert equivalence_p(np.full(5, 2.0), -1, 1) == 1.0
    assert equivalence_p(np.zeros(2), -1, 1) is None


def test_d_z_is_mean_over_standard_deviation_and_unknown_without_spread():
    assert d_z(np.array([1.0, 2.0, 3.0])) == pytest.approx(2.0)
    assert d_z(np.array([1.0, 1.0])) is None
    assert d_z(np.array([1.0])) is None


def test_a_tie_is_half_a_win():
    differences = np.array([-1.0, 0.0, 1.0, 2.0])
    assert compute_win_rate(differences, lower_is_better=True) == 0.375
    assert compute_win_rate(differences, lower_is_better=False) == 0.625
    assert compute_win_rate(np.array([]), lower_is_better=True) is None


def test_factorial_contrasts_are_the_coefficients_of_a_linear_model_with_blocks():
    values = np.random.default_rng(11).normal(size=(8, 4))
    rows = [
        {"y": values[block, variant], "block": block, "a": variant // 2, "b": variant % 2}
        for block in range(8)
        for variant in range(4)
    ]
    # Effect coding: ±½ for each factor, so that main effects are means over the other factor.
    frame = pd.DataFrame(rows).assign(a=lambda d: d.a - 0.5, b=lambda d: d.b - 0.5)
    fitted = smf.ols("y ~ C(block) + a * b", frame).fit().params
    assert compute_contrast(values, FIRST).mean() == pytest.approx(fitted["a"])
    assert compute_contrast(values, SECOND).mean() == pytest.approx(fitted["b"])
    assert compute_contrast(values, INTERACTION).mean() == pytest.approx(fitted["a:b"])


@given(
    arrays(np.float64, (5, 4), elements=st.floats(-3, 12)),
    arrays(np.float64, (5, 4), elements=st.floats(-3, 8)),
    st.sampled_from([FIRST, SECOND, INTERACTION, build_pair_weights(2, 0, 4)]),
)
def test_time_and_power_make_up_the_whole_difference_in_energy(log_energy, log_time, weights):
    time = compute_contrast(log_time, weights)
    power = compute_contrast(log_energy - log_time, weights)
    assert time + power == pytest.approx(compute_contrast(log_energy, weights), abs=1e-9)


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=12))
def test_the_censored_median_is_that_of_scipys_survival_curve(runs):
    costs = np.array([cost for cost, _ in runs], dtype=float)
    reached = np.array([hit for _, hit in runs])
    found = compute_censored_median(costs, reached)
    assert (found.reached, found.runs) == (int(reached.sum()), len(runs))
    if not reached.any():
        assert found.median is None
        return
    data = scipy.stats.CensoredData(uncensored=costs[reached], right=costs[~reached])
    curve = scipy.stats.ecdf(data).sf
    half = curve.quantiles[curve.probabilities <= 0.5 + 1e-9]
    assert found.median == (half[0] if len(half) else None)


def test_a_run_that_never_reached_the_target_raises_the_median_and_is_not_dropped():
    assert compute_censored_median([1, 2, 3], [True, True, True]).median == 2
    assert compute_censored_median([1, 2, 3, 9, 9], [True, True, True, False, False]).median == 3
    assert compute_censored_median([1, 9, 9], [True, False, False]).median is None


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=6),
)
def test_the_front_is_that_of_the_report(points):
    joules, accuracy = np.array(points, dtype=float).T
    found = np.flatnonzero(on_front(joules, accuracy)).tolist()
    assert found == sorted(pareto_front([(float(e), float(a)) for e, a in points]))


def test_a_configuration_that_wins_in_every_block_is_always_on_the_front():
    rng = np.random.default_rng(2)
    joules = np.column_stack([rng.normal(10, 0.1, 8), rng.normal(20, 0.1, 8)])
    accuracy = np.column_stack([rng.normal(0.9, 0.01, 8), rng.normal(0.5, 0.01, 8)])
    assert resample_front(joules, accuracy).tolist() == [1.0, 0.0]


def test_two_configurations_that_trade_places_share_the_front():
    joules = np.array([[1.0, 2.0], [2.0, 1.0]] * 4)
    share = resample_front(joules, np.full((8, 2), 0.8))
    assert 0.3 < share[0] < 0.8


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (-1.0, 4.9, ThresholdOutcome.NOT_WORSE),
        (-1.0, 5.0, ThresholdOutcome.NOT_WORSE),
        (5.1, 9.0, ThresholdOutcome.WORSE),
        (4.0, 6.0, ThresholdOutcome.INCONCLUSIVE),
        (5.0, 6.0, ThresholdOutcome.INCONCLUSIVE),
    ],
)
def test_a_threshold_has_three_answers_and_its_mirror_image_the_same(low, high, outcome):
    assert evaluate_limit(Interval(low, high, "t"), 5.0, above_is_worse=True) is outcome
    assert evaluate_limit(Interval(-high, -low, "t"), -5.0, above_is_worse=False) is outcome


def test_a_threshold_without_an_interval_is_inconclusive():
    assert evaluate_limit(None, 5.0, above_is_worse=True) is ThresholdOutcome.INCONCLUSIVE


def test_the_number_of_further_blocks_is_the_least_that_settles_a_threshold():
    differences = np.array([0.02, 0.05, 0.03, 0.06, 0.04, 0.05, 0.02, 0.05])
    limit = 0.05
    more = count_blocks_to_settle(differences, limit)
    mean, spread = differences.mean(), differences.std(ddof=1)

    def half(n):
        return scipy.stats.t.ppf(0.975, n - 1) * spread / math.sqrt(n)

    n = len(differences) + more
    assert half(n) < limit - mean <= half(n - 1)


def test_no_number_of_blocks_settles_a_threshold_that_is_met_exactly():
    assert count_blocks_to_settle(np.array([0.04, 0.06, 0.05]), 0.05) is None
    assert count_blocks_to_settle(np.array([0.04]), 0.05) is None


def test_power_is_nothing_where_p_cannot_get_low_enough():
    assert compute_power(10.0, blocks=7, tests=6) == 0.0
    assert find_detectable_effect(7, tests=6) is None
    assert compute_power(10.0, blocks=8, tests=6) > 0.99


def test_power_without_an_effect_is_the_level_and_grows_with_the_effect():
    assert compute_power(0.0, 8) == pytest.approx(2 / 256, abs=0.004)
    found = [compute_power(effect, 8) for effect in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)]
    assert found == sorted(found)


def test_power_at_eight_blocks_is_the_chance_that_all_signs_agree():
    # At the first of six corrected tests only the two patterns of equal signs are left.
    effect = 1.5
    agree = scipy.stats.norm.cdf(effect) ** 8
    assert compute_power(effect, 8) == pytest.approx(agree, abs=0.02)


def test_power_with_many_blocks_is_that_of_the_t_test():
    wanted = TTestPower().power(0.8, 30, 0.05 / 6)
    assert compute_power(0.8, 30) == pytest.approx(wanted, abs=1e-6)


def test_the_detectable_effect_is_found_with_the_promised_chance():
    effect = find_detectable_effect(9)
    assert compute_power(effect, 9) == pytest.approx(0.8, abs=0.015)


@pytest.mark.parametrize(("spread", "blocks", "tests"), [(1.0, 8, 6), (0.5, 8, 2), (0.7, 9, 12)])
def test_the_chance_of_equivalence_is_that_of_simulated_studies(spread, blocks, tests):
    rng = np.random.default_rng(4)
    drawn = spread * rng.standard_normal((4_000, blocks))
    hits = np.mean([equivalence_p(row, -1.0, 1.0) <= 0.05 / tests for row in drawn])
    assert compute_equivalence_power(spread, blocks, tests) == pytest.approx(hits, abs=0.025)


def test_the_blocks_and_the_spread_for_equivalence_give_the_promised_chance():
    blocks = find_equivalence_blocks(1.0, 6)
    assert compute_equivalence_power(1.0, blocks, 6) >= 0.8
    assert compute_equivalence_power(1.0, blocks - 1, 6) < 0.8
    spread = find_equivalence_spread(0.8, 8, 6)
    assert compute_equivalence_power(spread, 8, 6) >= 0.8
    assert compute_equivalence_power(spread + 0.01, 8, 6) < 0.8
    assert find_equivalence_blocks(60.0, 6) is None
    assert compute_equivalence_power(0.1, 2) == 0.0


def test_two_stages_take_as_many_blocks_as_the_first_spread_asks_for():
    first = np.array([0.9, 1.1, 1.0, 1.2, 0.8])
    quantile = scipy.stats.t.ppf(0.975, 4) * first.std(ddof=1)
    half = quantile / np.sqrt(10)
    assert count_stein_blocks(first, half * 1.0001) == 10
    assert count_stein_blocks(first, half * 0.9999) == 11
    assert count_stein_blocks(first, 100.0) == 5
    both = np.concatenate([first, np.full(5, 3.0)])
    found = stein_interval(both, 5)
    assert (found.low, found.high) == pytest.approx((2.0 - half, 2.0 + half))


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_a_share_is_scipys_exact_one(pair_):
    hits, runs = pair_
    wanted = scipy.stats.binomtest(hits, runs).proportion_ci(method="exact")
    assert share_interval(hits, runs) == pytest.approx((wanted.low, wanted.high))


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6), st.floats(-5, 5))
def test_of_symmetric_values_the_interval_corrected_for_skewness_is_the_t_interval(halves, centre):
    values = np.array([centre, *(centre + h for h in halves), *(centre - h for h in halves)])
    wanted, found = t_interval(values), skewness_t_interval(values)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-6)


@given(st.lists(st.floats(0.01, 1.0), min_size=3, max_size=12))
def test_an_interval_corrected_for_skewness_is_that_of_the_mirrored_values_mirrored(values):
    found, mirrored = (skewness_t_interval(np.array(values) * sign) for sign in (1, -1))
    assert found.low <= np.mean(values) + 1e-12
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_skewed_values_seldom_lie_wholly_below_their_mean():
    drawn = np.random.default_rng(5).exponential(size=(4_000, 8))
    share = {
        make: np.mean([make(values).high < 1.0 for values in drawn])
        for make in (t_interval, skewness_t_interval)
    }
    assert share[t_interval] > 0.09
    assert share[skewness_t_interval] < 0.06


def on_photographs(per_photograph: int, photographs: int = 60, seed: int = 4):
    """Two networks that differ at random by photograph; images of one photograph agree."""
    rng = np.random.default_rng(seed)
    first = np.repeat(rng.random((1, photographs)) < 0.8, per_photograph, axis=1)
    second = np.repeat(rng.random((1, photographs)) < 0.7, per_photograph, axis=1)
    photo = np.repeat(np.arange(photographs), per_photograph)
    return first, second, photo % 4, photo


def test_copies_of_the_same_photograph_add_nothing_to_a_comparison():
    once = compare_on_images(*on_photographs(1))
    often = compare_on_images(*on_photographs(40))
    assert often.images == 40 * once.images
    assert often.photographs == once.photographs
    assert often.p == pytest.approx(once.p)
    assert astuple(often.difference) == pytest.approx(astuple(once.difference))


def test_exchanging_two_networks_turns_their_difference_round():
    first, second, labels, photographs = on_photographs(5)
    there = compare_on_images(first, second, labels, photographs)
    back = compare_on_images(second, first, labels, photographs)
    assert back.difference.mean == pytest.approx(-there.difference.mean)
    bounds = (-there.difference.high, -there.difference.low)
    assert (back.difference.low, back.difference.high) == pytest.approx(bounds, abs=0.01)
    assert (back.only_first, back.only_second) == (there.only_second, there.only_first)
    assert back.p == pytest.approx(there.p, abs=0.01)


def test_with_one_image_a_photograph_the_test_is_mcnemars_on_discordant_images():
    first, second, labels, photographs = on_photographs(1)
    found = compare_on_images(first, second, labels, photographs)
    only_first, only_second = int(found.only_first), int(found.only_second)
    wanted = scipy.stats.binomtest(only_first, only_first + only_second).pvalue
    assert found.p == pytest.approx(wanted, abs=0.02)


def test_a_network_against_itself_shows_no_difference():
    first, _, labels, photographs = on_photographs(3)
    found = compare_on_images(first, first, labels, photographs)
    assert astuple(found.difference) == (0,) * 6
    assert found.p == 1
