"""The results table: its columns, its cells, its bytes, and what it refuses."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from builders.machine import GPU, GPU_MACHINE, LAPTOP, LOAD_W, SYNTHETIC_CHANNELS
from builders.run import failed_record, make_record, make_scores, make_spec, save
from builders.timeline import make_epochs
from wbcbench import table
from wbcbench.core.cpu_load import CpuLoad
from wbcbench.core.quality import Quality, QualityWarning, Severity
from wbcbench.core.window import TRAIN, epoch
from wbcbench.table.columns import load_columns
from wbcbench.table.export import SCALE, describe_table
from wbcbench.table.rows import Cells, compile_expression, parse_expression
from wbcbench.table.view import Run

COLUMNS = tuple(load_columns().values())

TRAIN_S = 40.0  # four epochs of ten seconds; the validation passes between them are counted apart
DESCRIPTION = Path(__file__).parents[2] / "harness" / "RESULTS_TABLE.md"

# The format as it was agreed, by group, in order; additions stand at the end of their group.
AGREED = """
schema_version run_id study_id plan_sha256 variant activation regulariser block order_in_block
order_global seed split_seed status invalid_reason synthetic started_utc ended_utc
| dataset_id dataset_sha256 n_train n_val n_test n_classes params_total flops_per_image batch_size
epochs_planned epochs_run steps_train images_seen_train precision xla deterministic_ops optimizer
learning_rate config_sha256 + steps_per_execution path loops batchnorm_momentum schedule
| best_epoch val_balanced_accuracy val_loss balanced_accuracy accuracy macro_f1 recall_eosinophil
recall_lymphocyte recall_monocyte recall_neutrophil test_correct ece + n_test_photographs
accuracy_ci_low accuracy_ci_high n_test_leakage_free accuracy_leakage_free
balanced_accuracy_leakage_free
| time_total_s time_train_s time_validation_s time_setup_s time_warmup_s
time_overhead_s time_prepared_s
| primary_domain primary_method primary_status primary_energy_train_j
primary_energy_train_above_idle_j primary_uncertainty_train_j primary_board_uncertainty_train_j
primary_energy_run_j primary_energy_overhead_j
| gpu_energy_method gpu_energy_status energy_gpu_train_j energy_gpu_train_above_idle_j
energy_gpu_validation_j
energy_gpu_setup_j energy_gpu_run_j energy_gpu_train_integral_j gpu_idle_before_w
gpu_idle_after_w gpu_power_mean_w
| cpu_energy_method cpu_energy_status energy_cpu_train_j dram_energy_method dram_energy_status
energy_dram_train_j wall_energy_method energy_wall_train_j codecarbon_version codecarbon_cpu_mode
codecarbon_energy_gpu_j codecarbon_energy_cpu_j codecarbon_energy_ram_j
| energy_per_train_image_j infer_batch_size infer_images infer_window_s energy_per_infer_image_j
infer_images_per_s target_metric target_value target_reached energy_to_target_j time_to_target_s
epochs_to_target edp_js co2e_g carbon_zone carbon_g_per_kwh carbon_source pue
+ energy_per_infer_image_b1_j infer_images_per_s_b1
| samples_train sample_period_ms sample_gap_max_ms counter_vs_integral_pct quality warnings
+ recorder_cpu_s
| host_id gpu_name gpu_count gpu_uuid_hash mig gpu_power_limit_w gpu_clock_mean_mhz
gpu_mem_clock_mhz gpu_temp_start_c gpu_temp_mean_c gpu_temp_max_c gpu_throttle_s
gpu_throttle_reasons gpu_util_mean_pct gpu_mem_peak_bytes gpu_foreign_processes cpu_model cpu_count
cpu_others_pct
cpu_governor ram_bytes rss_peak_bytes loadavg_start in_container virtualised
+ node job_id cpu_share
| wbcbench_version git_commit git_dirty python_version tensorflow_version cuda_version
cudnn_version driver_version os lock_sha256
"""


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_columns_are_the_agreed_ones_in_the_agreed_order():
    assert list(load_columns()) == [word for word in AGREED.split() if word not in "|+"]


def test_the_page_for_readers_is_what_the_columns_say():
    assert DESCRIPTION.read_text(encoding="utf-8").partition(SCALE)[0] == describe_table()


def test_energy_columns_of_a_gpu_run_hold_power_times_duration():
    cells = table.row(make_record(channels=GPU_MACHINE))
    assert cells["gpu_energy_method"] == "counter"
    assert cells["gpu_energy_status"] == "measured"
    assert cells["energy_gpu_train_j"] == LOAD_W * TRAIN_S
    assert cells["energy_gpu_train_above_idle_j"] == pytest.approx((LOAD_W - 60.0) * TRAIN_S)
    assert cells["energy_gpu_train_integral_j"] == LOAD_W * TRAIN_S
    assert cells["counter_vs_integral_pct"] == 0.0
    assert (cells["gpu_idle_before_w"], cells["gpu_idle_after_w"]) == (60.0, 60.0)
    assert cells["cpu_energy_method"] == "rapl_package"
    assert cells["energy_cpu_train_j"] == 80.0 * TRAIN_S
    assert cells["codecarbon_energy_cpu_j"] == 40.0 * TRAIN_S
    assert cells["primary_energy_train_j"] == cells["energy_gpu_train_j"]
    assert cells["energy_wall_train_j"] is None
    assert cells["wall_energy_method"] == "none"


def test_the_total_is_every_phase_once_and_no_phase_twice():
    validation_s = 4.0
    idle_s, load_s = 3 + 3 + 3, 12 + 2 + TRAIN_S + validation_s + 2 + 3 + 3
    total_j = table.row(make_record())["energy_gpu_run_j"]
    assert total_j == pytest.approx(60.0 * idle_s + LOAD_W * load_s)


def test_without_a_gpu_no_gpu_column_is_filled_and_the_primary_status_is_estimated():
    cells = table.row(make_record(channels=LAPTOP))
    gpu = {name: cells[name] for name in load_columns() if name.startswith("energy_gpu_")}
    assert set(gpu.values()) == {None}
    assert cells["gpu_energy_method"] == "none"
    assert cells["gpu_energy_status"] == "absent"
    assert cells["cpu_energy_method"] == "codecarbon_tdp_load"
    assert cells["cpu_energy_status"] == "estimated"
    assert cells["primary_domain"] == "cpu"
    assert cells["primary_status"] == "estimated"
    assert cells["primary_energy_train_j"] == 40.0 * TRAIN_S


def test_without_any_meter_joules_are_unknown_and_nothing_is_zero():
    cells = table.row(make_record(channels=()))
    energies = [name for name in load_columns() if name.endswith(("_j", "_js")) or name == "co2e_g"]
    assert {name: cells[name] for name in energies} == dict.fromkeys(energies)
    assert cells["primary_status"] == "absent"
    assert cells["primary_domain"] is None


def test_a_demonstration_says_simulated_in_every_status_it_fills():
    cells = table.row(make_record(channels=SYNTHETIC_CHANNELS))
    assert cells["synthetic"] is True
    assert cells["gpu_energy_status"] == cells["primary_status"] == "simulated"


def test_accuracy_stands_beside_its_leakage_free_self_and_its_interval_over_photographs():
    cells = table.row(make_record(accuracy=0.8))
    assert cells["accuracy"] == 0.8
    assert cells["accuracy_leakage_free"] == pytest.approx(0.785)
    assert cells["accuracy_ci_low"] == pytest.approx(0.7)
    assert cells["accuracy_ci_high"] == pytest.approx(0.9)
    assert (cells["n_test"], cells["n_test_leakage_free"]) == (2487, 2285)
    assert cells["n_test_photographs"] == 71
    assert cells["recall_monocyte"] == 0.8


def test_without_photographs_the_interval_is_unknown():
    scores = replace(make_scores(), interval=None, photographs=None)
    cells = table.row(make_record(test=scores, test_leakage_free=None))
    assert cells["accuracy"] is not None
    assert cells["accuracy_ci_low"] is cells["accuracy_leakage_free"] is None
    assert cells["n_test_photographs"] is None


def test_the_best_epoch_is_the_first_with_the_highest_validation_accuracy():
    cells = table.row(make_record(epochs=make_epochs([0.5, 0.8, None, 0.8])))
    assert cells["best_epoch"] == 2
    assert cells["val_balanced_accuracy"] == 0.8


def test_images_seen_and_not_images_in_the_set_share_the_joules():
    cells = table.row(make_record())
    assert cells["images_seen_train"] == 4 * 8400
    assert cells["steps_train"] == 4 * 132
    assert cells["energy_per_train_image_j"] == LOAD_W * TRAIN_S / (4 * 8400)


def test_inference_is_stated_for_both_batch_sizes():
    cells = table.row(make_record())
    assert cells["infer_batch_size"] == 64
    assert cells["energy_per_infer_image_j"] == pytest.approx(LOAD_W * 3.0 / 6400)
    assert cells["infer_images_per_s"] == pytest.approx(6400 / 3.0)
    assert cells["energy_per_infer_image_b1_j"] == pytest.approx(LOAD_W * 3.0 / 300)
    assert cells["infer_images_per_s_b1"] == pytest.approx(100.0)


def test_the_target_is_reached_or_its_cost_is_unknown():
    reached = table.row(make_record())
    assert reached["target_reached"] is True
    assert (reached["epochs_to_target"], reached["energy_to_target_j"]) == (3, LOAD_W * 30.0)
    missed = table.row(make_record(spec=make_spec(target_value=0.99)))
    assert missed["target_reached"] is False
    assert missed["epochs_to_target"] is missed["energy_to_target_j"] is None


def test_carbon_is_kilowatt_hours_times_the_grid():
    cells = table.row(make_record())
    grams = cells["energy_gpu_train_j"] / 3.6e6 * cells["pue"] * cells["carbon_g_per_kwh"]
    assert cells["co2e_g"] == pytest.approx(grams)
    assert "CodeCarbon" in cells["carbon_source"]
    assert table.row(make_record(spec=make_spec(country="XXX")))["co2e_g"] is None


def test_a_finished_run_of_invalid_quality_is_invalid_in_the_table():
    warnings = (
        QualityWarning("no-energy", Severity.INVALID, "", ""),
        QualityWarning("short-window", Severity.SUSPECT, "", ""),
        QualityWarning("absent-meter", Severity.INFO, "", ""),
    )
    cells = table.row(make_record(warnings=warnings, quality=Quality.INVALID))
    assert (cells["status"], cells["invalid_reason"]) == ("invalid", "no-energy")
    assert (cells["quality"], cells["warnings"]) == ("invalid", "no-energy;short-window")


def test_the_gpu_is_described_by_name_and_by_its_state_in_training():
    cells = table.row(make_record(channels=GPU_MACHINE))
    assert (cells["gpu_name"], cells["gpu_count"], cells["mig"]) == ("Example GPU", 1, False)
    assert cells["driver_version"] == "555.1"
    assert (cells["gpu_temp_start_c"], cells["gpu_temp_max_c"]) == (45.0, 66.0)
    assert cells["gpu_clock_mean_mhz"] == pytest.approx(1400.0)
    assert cells["gpu_util_mean_pct"] == pytest.approx(90.0)
    assert cells["gpu_throttle_s"] == 0.5
    assert cells["gpu_throttle_reasons"] == "hw_thermal_slowdown;sw_power_cap"
    assert cells["gpu_foreign_processes"] == 0
    assert cells["cpu_others_pct"] is None
    busy = make_record(cpu_loads=(CpuLoad("train", 8, 0.25), CpuLoad("evaluate", 8, 0.9)))
    assert table.row(busy)["cpu_others_pct"] == 25.0
    assert GPU not in cells.values()
    assert len(cells["gpu_uuid_hash"]) == 12


def test_without_a_gpu_its_columns_are_empty():
    cells = table.row(make_record(channels=LAPTOP))
    names = [name for name in load_columns() if name.startswith("gpu_") and "energy" not in name]
    assert {cells[name] for name in names} == {None}


def test_codecarbon_columns_hold_its_version_and_its_cpu_mode():
    cells = table.row(make_record(channels=LAPTOP))
    assert (cells["codecarbon_version"], cells["codecarbon_cpu_mode"]) == ("3.3.2", "cpu_load")


def test_a_variant_this_version_does_not_know_keeps_its_row():
    cells = table.row(make_record("gelu-dropout"))
    assert cells["variant"] == "gelu-dropout"
    assert cells["activation"] is None


def test_a_killed_run_keeps_its_row_with_the_joules_it_used(tmp_path):
    study = save(tmp_path, make_record(channels=LAPTOP), failed_record(seed=2))
    done, failed = sorted(read_csv(table.write_table(study)), key=lambda cells: cells["status"])
    assert (done["status"], failed["status"]) == ("done", "failed")
    assert float(failed["primary_energy_train_j"]) == 40.0 * 5.0
    assert failed["accuracy"] == failed["params_total"] == ""


def test_every_cell_that_is_never_empty_is_filled_in_a_finished_run():
    cells = table.row(make_record())
    empty = [c.name for c in COLUMNS if not c.empty_when and cells[c.name] is None]
    assert empty == []


@pytest.mark.parametrize("record", [make_record(), failed_record()], ids=["done", "failed"])
def test_a_cell_is_empty_only_where_the_page_says_so_and_of_its_type_otherwise(record):
    kinds = {"str": str, "enum": str, "datetime": str, "int": int, "float": (int, float)}
    for column in COLUMNS:
        value = table.row(record)[column.name]
        if value is None:
            assert column.empty_when, column.name
        else:
            assert isinstance(value, kinds.get(column.type, bool)), column.name


def test_a_row_needs_no_heavy_library():
    code = (
        "import sys, wbcbench.table; "
        "print(sorted({'pandas', 'tensorflow', 'keras', 'cv2', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_the_unit_of_a_column_is_what_its_name_ends_with(column):
    endings = {
        "J": "_j", "W": "_w", "s": "_s", "ms": "_ms", "J s": "_js", "g": "_g", "°C": "_c",
        "MHz": "_mhz", "B": "_bytes", "%": "_pct",
    }  # fmt: skip
    if column.unit in endings:
        assert column.name.endswith(endings[column.unit])
    else:
        assert "per_" in column.name if column.unit else not column.name.endswith(("_j", "_w"))


@pytest.mark.parametrize(
    "text",
    ["__import__('os').system('x')", "record.run_id.upper()", "record.__class__", "2 ** 9", "[1]"],
)
def test_an_expression_holds_paths_calls_and_arithmetic_and_nothing_else(text):
    with pytest.raises(ValueError, match="not allowed"):
        compile_expression(parse_expression(text))


def test_what_follows_from_an_unknown_value_is_unknown():
    cells = Cells(Run(failed_record()))
    for text in (
        "record.test.accuracy * 2",
        "2 / (record.spec.block * 0)",
        "record.test.interval[0]",
    ):
        assert compile_expression(parse_expression(text))(cells) is None


def test_the_description_of_the_columns_is_part_of_the_package():
    assert resources.files("wbcbench.table").joinpath("columns.toml").is_file()


def test_training_that_stopped_in_its_first_epoch_is_counted_once():
    record = make_record()
    (whole,) = (w for w in record.windows if w.name == TRAIN)
    first = replace(whole, name=epoch(1))
    others = tuple(w for w in record.windows if w.end_s <= whole.start_s)
    for windows in ((*others, whole, first), (*others, first, whole)):
        names = Run(replace(record, windows=windows)).phase_names
        assert names.count(TRAIN) == 1
        assert epoch(1) not in names
