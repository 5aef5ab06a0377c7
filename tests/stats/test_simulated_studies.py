"""The benchmark of the statistics on few studies: it draws what it says, and counts what is so."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import bench_stats
from benchmarks.bench_stats import (
    STOPPING,
    UNEQUAL,
    WITHOUT_DIFFERENCE,
    count_errors,
    count_stopping,
    find_equal,
    find_power,
    list_tasks,
    make_truth,
    stand_on_border,
)
from benchmarks.simulated_stopping import compare_in_two_stages
from benchmarks.simulated_studies import (
    DESIGNS,
    ENERGY,
    SHARE,
    Truth,
    World,
    compare_on_disk,
    draw_places,
    draw_runs,
    draw_values,
    exponential,
    find_primary,
    lognormal,
    normal,
    outliers,
    simulate,
)
from benchmarks.stats_table import BEGIN, END, PAGE, Found, make_tables
from wbcbench.stats.tests import find_least_blocks

FACTORS, PAIR, FOUR, SEVEN = DESIGNS


@pytest.mark.parametrize("noise", [normal, exponential, lognormal])
def test_noise_has_mean_zero_and_unit_spread(noise):
    drawn = noise(np.random.default_rng(1), (500, 1000))
    assert drawn.mean() == pytest.approx(0.0, abs=0.01)
    assert drawn.std() == pytest.approx(1.0, abs=0.03)


def test_one_run_in_twenty_is_an_outlier():
    drawn = np.abs(outliers(np.random.default_rng(1), (100_000,)))
    assert (drawn > 5).mean() == pytest.approx(0.05 * 0.617, abs=0.003)


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_a_design_has_the_blocks_that_its_family_needs(design):
    assert design.blocks == max(8, find_least_blocks(0.05 / design.tests))


@pytest.mark.parametrize("order", ["fixed", "shuffled", "balanced"])
def test_every_order_has_each_configuration_once_a_block(order):
    places = draw_places(order, SEVEN, np.random.default_rng(1))
    assert np.sort(places, axis=1).tolist() == [list(range(7))] * 9


def test_in_a_balanced_order_every_configuration_has_every_place_equally_often():
    places = draw_places("balanced", FOUR, np.random.default_rng(1))
    assert Counter(zip(np.tile(range(4), 8), places.ravel(), strict=True)) == {
        (thing, place): 2 for thing in range(4) for place in range(4)
    }


def test_a_drawn_run_says_in_which_block_at_which_place_and_when_it_was_run():
    runs = draw_runs(World(), PAIR, np.random.default_rng(1), Truth())
    by_start = sorted(runs, key=lambda run: run.record.started_utc)
    assert [run.row["order_global"] for run in by_start] == list(range(1, 17))
    assert [(run.row["block"], run.row["order_in_block"]) for run in by_start] == [
        (block, place) for block in range(1, 9) for place in (1, 2)
    ]


def test_drift_and_warm_up_are_as_large_as_stated():
    places = np.array([[0, 1, 2], [2, 1, 0]])
    still = World(lambda _, shape: np.zeros(shape), sd=0.02)

    def relative(**changes):
        world = replace(still, **changes)
        log_j, _ = draw_values(world, places, np.random.default_rng(1), Truth())
        return (log_j - log_j[:, 1:2]) / 0.02

    assert relative(drift=2.0) == pytest.approx(np.array([[-1, 0, 1], [1, 0, -1]]))
    assert relative(warm_up=4.0) == pytest.approx(np.array([[2, 0, -1], [-1, 0, 2]]))


@pytest.mark.parametrize("design", [FACTORS, FOUR], ids=lambda design: design.name)
def test_every_contrast_has_the_truth_that_is_asked_for(design):
    exact = World(lambda _, shape: np.zeros(shape))
    truth = make_truth(design, (0.02, 0.0, -0.01), (0.01, 0.03, 0.0))
    (found,) = simulate(exact, design, 1, 1, truth)
    estimates = {ENERGY: [], SHARE: []}
    for effect in find_primary(found):
        estimates[effect.metric.name].append(effect.estimate)
    assert estimates[ENERGY] == pytest.approx([100 * np.expm1(x) for x in (0.02, 0.0, -0.01)])
    assert estimates[SHARE] == pytest.approx([1.0, 3.0, 0.0])


def test_the_same_seed_gives_the_same_study_and_another_seed_another():
    def estimates(seed):
        (found,) = simulate(World(), PAIR, 1, seed)
        return [effect.estimate for effect in found.effects]

    assert estimates(1) == estimates(1) != estimates(2)


def read_shares(found: Found) -> list[float]:
    return [float(word.strip("()")) / 100 for word in found.text.split()]


def test_drift_raises_alarms_and_warnings_in_fixed_order_and_not_in_balanced_order():
    fixed, fixed_warned = count_errors("drift, fixed order", FOUR, 40)
    balanced, balanced_warned = count_errors("drift, balanced", FOUR, 40)
    (alarms, coverage), (few, covered) = read_shares(fixed), read_shares(balanced)
    assert alarms > 0.2 > few
    assert coverage < 0.9 < covered
    assert fixed.is_limit and not fixed.holds and not balanced.is_limit
    assert read_shares(fixed_warned)[0] > 0.9
    assert read_shares(balanced_warned) == [0.0]


def test_equal_spreads_are_hardly_warned_of_and_unequal_ones_mostly():
    warned = {
        what: read_shares(next(x for x in count_errors(what, FOUR, 40) if x.group == UNEQUAL))[0]
        for what in ("normal", "baseline 5 × as wide, normal")
    }
    assert warned["normal"] <= 0.2
    assert warned["baseline 5 × as wide, normal"] >= 0.7


def test_a_true_difference_is_found_about_as_often_as_a_plan_promises():
    (found,) = find_power("the least detectable one", None, PAIR, 60)
    share, promise = read_shares(found)
    assert promise == pytest.approx(0.8, abs=0.01)
    assert share == pytest.approx(promise, abs=0.15)


def test_equal_joules_are_shown_to_be_equivalent_about_as_often_as_a_plan_promises():
    (found,) = find_equal("0.6 ×", 0.6, FACTORS, 40)
    share, promise = read_shares(found)
    assert promise > 0.8
    assert share == pytest.approx(promise, abs=0.15)


@pytest.mark.parametrize("is_single", [True, False])
def test_on_the_border_hardly_a_study_is_called_equivalent(is_single):
    shares = [read_shares(found)[0] for found in stand_on_border("it", is_single, FACTORS, 40)]
    assert len(shares) == (3 if is_single else 1)
    assert max(shares) <= 0.15


def test_two_stages_hold_the_truth_and_carry_out_the_blocks_that_the_spread_asks_for():
    (found,) = count_stopping("two stages, normal", 20, 300)
    coverage, blocks = read_shares(found)
    assert coverage == pytest.approx(0.95, abs=0.04)
    assert blocks == pytest.approx(0.2, abs=0.03)


def test_the_command_says_of_records_on_disk_what_was_said_of_them_in_memory():
    assert compare_on_disk(PAIR, 1) <= 1e-9


def test_compare_gives_the_interval_of_two_stages():
    assert compare_in_two_stages(20, 1) <= 1e-9


def test_a_cell_that_does_not_hold_is_bold_and_its_row_says_so_unless_it_is_a_known_limit():
    cells = [
        Found(STOPPING, "two stages", "8", "95.0 (8)", True),
        Found(STOPPING, "two stages", "11", "80.0 (11)", False),
        Found(STOPPING, "at sight", "8", "90.0 (8)", False, True),
        Found(UNEQUAL, "normal", "8", "3.0", True),
    ]
    lines = make_tables(cells).splitlines()
    assert "| two stages | 95.0 (8) | **80.0 (11)** | | NO |" in lines
    assert "| at sight | **90.0 (8)** |  | | limit |" in lines
    assert "| normal | 3.0 | |  |" in lines
    assert lines.index("| normal | 3.0 | |  |") < lines.index("")


def test_the_page_holds_every_row_that_the_benchmark_counts():
    page = PAGE.read_text(encoding="utf-8")
    rows = page.split(BEGIN)[1].split(END)[0]
    named = {task.args[0] for task in list_tasks(1) if isinstance(task.args[0], str)}
    assert named >= set(WITHOUT_DIFFERENCE) | set(bench_stats.STOPPING_RULES)
    assert [name for name in named if f"| {name} |" not in rows] == []
