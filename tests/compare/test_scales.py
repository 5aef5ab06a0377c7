"""Which scale each column has, and that no interval of joules, seconds or watts reaches zero."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from builders.study import runs_with
from wbcbench.compare.analysis import compare
from wbcbench.compare.metric import Settings, find_metric, parse_threshold
from wbcbench.compare.render import as_text
from wbcbench.compare.result import build_comparison_document
from wbcbench.core.errors import UsageError
from wbcbench.core.text import format_with_errors, human_energy
from wbcbench.report.summaries import compute_mean, format_mean
from wbcbench.table.columns import load_columns

ENERGY, TIME = "energy_gpu_train_j", "time_train_s"
VARIANTS = ("relu-dropout", "relu-batchnorm", "leaky-dropout")


def names(text):
    return text.split()


RATIO = names("""
    primary_energy_run_j primary_energy_overhead_j time_overhead_s time_prepared_s
    time_total_s time_train_s time_validation_s time_setup_s time_warmup_s recorder_cpu_s
    infer_window_s gpu_throttle_s sample_period_ms sample_gap_max_ms primary_energy_train_j
    primary_energy_train_above_idle_j primary_uncertainty_train_j
    primary_board_uncertainty_train_j energy_gpu_train_j energy_gpu_train_above_idle_j
    energy_gpu_validation_j energy_gpu_setup_j energy_gpu_run_j energy_gpu_train_integral_j
    energy_cpu_train_j energy_dram_train_j energy_wall_train_j energy_per_train_image_j
    energy_per_infer_image_j energy_per_infer_image_b1_j edp_js gpu_idle_before_w
    gpu_idle_after_w gpu_power_mean_w gpu_power_limit_w co2e_g carbon_g_per_kwh
    gpu_mem_peak_bytes rss_peak_bytes ram_bytes
""")
RATIO_MORE_IS_BETTER = names("""
    infer_images_per_s infer_images_per_s_b1 gpu_clock_mean_mhz gpu_mem_clock_mhz
""")
SHARE_MORE_IS_BETTER = names("""
    balanced_accuracy accuracy macro_f1 val_balanced_accuracy recall_eosinophil
    recall_lymphocyte recall_monocyte recall_neutrophil accuracy_ci_low accuracy_ci_high
    accuracy_leakage_free balanced_accuracy_leakage_free
""")
SHARE = names("""
    ece
""")
PLAIN_MORE_IS_BETTER = names("""
    test_correct
""")
PLAIN = names("""
    n_train n_val n_test n_classes params_total flops_per_image batch_size epochs_planned
    epochs_run steps_train images_seen_train learning_rate steps_per_execution
    loops batchnorm_momentum best_epoch val_loss n_test_photographs n_test_leakage_free
    infer_batch_size infer_images target_value pue samples_train counter_vs_integral_pct
    gpu_count gpu_temp_start_c gpu_temp_mean_c gpu_temp_max_c gpu_util_mean_pct
    gpu_foreign_processes cpu_count cpu_others_pct loadavg_start cpu_share
""")


def test_the_scale_and_the_better_side_of_every_numeric_column_are_decided():
    """A new column is to be entered here, on the scale on which it is compared."""
    groups = (
        ("ratio", True, RATIO),
        ("ratio", False, RATIO_MORE_IS_BETTER),
        ("share", True, SHARE),
        ("share", False, SHARE_MORE_IS_BETTER),
        ("plain", True, PLAIN),
        ("plain", False, PLAIN_MORE_IS_BETTER),
    )
    decided = {name: (scale, lower) for scale, lower, names in groups for name in names}
    found = {}
    for column in load_columns().values():
        if column.type in {"int", "float"}:
            try:
                metric = find_metric(column.name)
            except UsageError:
                continue
            found[column.name] = (metric.scale, metric.lower_is_better)
    assert found == decided


positive = st.floats(1e-3, 1e9)
samples = st.lists(positive, min_size=3, max_size=12)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(3, 8).flatmap(
        lambda n: st.tuples(*[arrays(np.float64, (n, 3), elements=st.floats(1, 1e3))] * 2)
    )
)
def test_no_interval_of_a_comparison_reaches_zero_or_minus_100_per_cent(drawn):
    joules, seconds = drawn
    runs = runs_with(VARIANTS, **{ENERGY: joules, "primary_energy_train_j": joules, TIME: seconds})
    limits = (parse_threshold(f"{ENERGY} > +5%"),)
    comparison = compare(runs, Settings(metrics=(ENERGY, TIME), thresholds=limits), ["study"])
    found = json.loads(json.dumps(build_comparison_document(comparison)))
    for row in (*found["contrasts"], *found["thresholds"]):
        assert row["ci_low"] is None or -100 < row["ci_low"] <= row["ci_high"]
    for split in found["splits"]:
        assert split["time_interval"]["low"] > -100 and split["power_interval"]["low"] > -100
    for configuration in found["configurations"]:
        for level in configuration["levels"].values():
            ends = level["runs"]["low"], level["runs"]["high"]
            assert 0 < ends[0] <= level["mean"] * (1 + 1e-9)
            assert level["mean"] * (1 - 1e-9) <= ends[1]
    assert "(runs)" in as_text(comparison) or np.ptp(joules, axis=0).max() == 0


@given(samples)
def test_no_mean_of_a_report_is_printed_with_an_interval_that_reaches_zero(values):
    mean = compute_mean(values, "ratio")
    assert 0 < mean.low <= mean.mean * (1 + 1e-9)
    printed = re.search(r"\[(.+), (.+)\]", format_mean(mean))
    assert printed and 0 < float(printed[1]) <= float(printed[2])


@given(st.lists(st.floats(0, 1), min_size=3, max_size=12))
def test_no_mean_accuracy_is_printed_with_an_interval_beyond_0_or_1(values):
    mean = compute_mean(values, "share")
    assert 0 <= mean.low <= mean.high <= 1


@given(samples)
def test_errors_of_a_mean_are_printed_with_two_sides_where_they_differ(values):
    mean = compute_mean(values, "ratio")
    sides = (mean.mean - mean.low, mean.high - mean.mean)
    text = format_with_errors(mean.mean, human_energy, {"runs": sides})
    is_lopsided = abs(sides[1] - sides[0]) > 0.01 * mean.mean
    assert ("−" in text) is is_lopsided
    assert ("±" in text) is (not is_lopsided and min(sides) > 0)


@pytest.mark.parametrize(
    ("sides", "text"),
    [
        ((600.0, 620.0), "41.2 kJ ± 610 J (runs) ± 9.00 J (reading)"),
        ((2_100.0, 3_600.0), "41.2 kJ −2.10/+3.60 kJ (runs) ± 9.00 J (reading)"),
        ((900.0, 3_600.0), "41.2 kJ −900 J/+3.60 kJ (runs) ± 9.00 J (reading)"),
        (None, "41.2 kJ ± 9.00 J (reading)"),
    ],
)
def test_an_error_is_one_number_or_two(sides, text):
    errors = {"runs": sides, "reading": 9.0, "board": None}
    assert format_with_errors(41_200.0, human_energy, errors) == text
