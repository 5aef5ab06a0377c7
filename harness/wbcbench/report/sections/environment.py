"""What made the numbers: data, settings, machine, software, as the results table has them."""

from __future__ import annotations

from wbcbench.report import Block, DataTable
from wbcbench.report.evidence import ReportStudy

COLUMNS = (
    "dataset_id",
    "dataset_sha256",
    "n_train",
    "n_val",
    "n_test",
    "n_test_photographs",
    "epochs_planned",
    "batch_size",
    "learning_rate",
    "optimizer",
    "params_total",
    "flops_per_image",
    "precision",
    "xla",
    "deterministic_ops",
    "steps_per_execution",
    "target_metric",
    "target_value",
    "host_id",
    "gpu_name",
    "gpu_count",
    "gpu_power_limit_w",
    "driver_version",
    "cpu_model",
    "cpu_count",
    "ram_bytes",
    "in_container",
    "virtualised",
    "os",
    "python_version",
    "tensorflow_version",
    "cuda_version",
    "cudnn_version",
    "codecarbon_version",
    "codecarbon_cpu_mode",
    "wbcbench_version",
    "git_commit",
    "git_dirty",
    "lock_sha256",
)


def section(study: ReportStudy) -> Block:
    """Every setting and fact with the values it had."""
    rows = tuple((name, values) for name in COLUMNS if (values := _values(study, name)))
    caption = f"Settings and circumstances; several values where runs differ.{study.stamp}"
    facts = DataTable(caption, ("column of runs.csv", "value"), rows, frozenset({0, 1}))
    return Block("environment", "Environment", tables=(facts,), folded=True)


def _values(study: ReportStudy, name: str) -> str:
    found = {str(run.row[name]) for run in study.runs if run.row[name] is not None}
    return ", ".join(sorted(found))
