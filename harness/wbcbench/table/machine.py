"""Columns: the machine, its state during the run, and the software.

The provenance of a record holds most of them under the column's own name.
"""

from __future__ import annotations

from wbcbench.table.columns import Cell, Column, Group, from_provenance
from wbcbench.table.view import RunView

NO_GPU = "no GPU, or the driver does not say"
NOT_SAID = "the system does not say"
NO_TENSORFLOW = "ended before TensorFlow was up, or does not apply"


def _version(column: str, package: str, meaning: str) -> Column:
    def value(run: RunView) -> Cell:
        model = run.record.model
        own = model.versions.get(package) if model else None
        return own or run.fact(column)

    return Column(column, "str", NO_TENSORFLOW, meaning, value)


STATE = Group(
    "Machine state",
    (
        from_provenance("host_id", "str", NOT_SAID, "salted hash; tells hosts apart, names none"),
        from_provenance("gpu_name", "str", NO_GPU, "model of the GPU"),
        from_provenance("gpu_count", "int", NO_GPU, "GPUs used and measured"),
        from_provenance("gpu_uuid_hash", "str", NO_GPU, "salted hash; tells boards apart"),
        from_provenance("mig", "bool", NO_GPU, "multi-instance mode"),
        from_provenance("gpu_power_limit_w", "float", NO_GPU, "power limit in force"),
        from_provenance("gpu_clock_mean_mhz", "float", NO_GPU, "mean in `train`"),
        from_provenance("gpu_mem_clock_mhz", "float", NO_GPU, "memory clock"),
        from_provenance("gpu_temp_start_c", "float", NO_GPU, "at the start of `train`"),
        from_provenance("gpu_temp_mean_c", "float", NO_GPU, "mean in `train`"),
        from_provenance("gpu_temp_max_c", "float", NO_GPU, "highest in `train`"),
        from_provenance("gpu_throttle_s", "float", NO_GPU, "time slowed down in `train`"),
        from_provenance("gpu_throttle_reasons", "str", NO_GPU, "why, by `;`"),
        from_provenance("gpu_util_mean_pct", "float", NO_GPU, "mean in `train`"),
        from_provenance("gpu_mem_peak_bytes", "int", NO_GPU, "highest in `train`"),
        from_provenance("gpu_other_processes", "int", NO_GPU, "processes that are not ours"),
        from_provenance("cpu_model", "str", NOT_SAID, "model of the processor"),
        from_provenance("cpu_count", "int", NOT_SAID, "logical processors"),
        from_provenance("cpu_governor", "str", NOT_SAID, "frequency governor"),
        from_provenance("ram_bytes", "int", NOT_SAID, "memory of the machine"),
        from_provenance("cpu_util_mean_pct", "float", NOT_SAID, "mean in `train`"),
        Column(
            "rss_peak_bytes",
            "int",
            "the watcher died",
            "largest memory of the training process",
            lambda r: r.record.trainer_rss_peak_bytes,
        ),
        from_provenance("loadavg_start", "float", NOT_SAID, "one-minute load before the run"),
        from_provenance("in_container", "bool", NOT_SAID, "inside a container"),
        from_provenance("virtualised", "bool", NOT_SAID, "inside a virtual machine"),
    ),
)

SOFTWARE = Group(
    "Software",
    (
        from_provenance("wbcbench_version", "str", NOT_SAID, "of this program"),
        from_provenance("git_commit", "str", "not run from a checkout", "commit of this program"),
        from_provenance("git_dirty", "bool", "not run from a checkout", "uncommitted changes"),
        _version("python_version", "python", "of the interpreter"),
        _version("tensorflow_version", "tensorflow", "of TensorFlow"),
        _version("cuda_version", "cuda", "that TensorFlow was built with"),
        _version("cudnn_version", "cudnn", "that TensorFlow was built with"),
        from_provenance("driver_version", "str", NO_GPU, "of the GPU driver"),
        from_provenance("os", "str", NOT_SAID, "operating system"),
        from_provenance("lock_sha256", "str", "not run from a checkout", "digest of the lock file"),
    ),
)
