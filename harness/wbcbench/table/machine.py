"""Columns: the machine, its state during the run, and the software.

The provenance of a record holds most of them under the column's own name.
"""

from __future__ import annotations

from wbcbench.table import gpu_state
from wbcbench.table.column import Cell, Column, ColumnGroup, from_provenance
from wbcbench.table.view import Run

NOT_SAID = "the system does not say"
NO_TENSORFLOW = "ended before TensorFlow was up, or does not apply"


def _version(column: str, package: str, meaning: str) -> Column:
    def value(run: Run) -> Cell:
        model = run.record.model
        own = model.versions.get(package) if model else None
        return own or run.fact(column)

    return Column(column, "str", NO_TENSORFLOW, meaning, value)


STATE = ColumnGroup(
    "Machine state",
    (
        from_provenance("host_id", "str", NOT_SAID, "salted hash; tells hosts apart, names none"),
        *gpu_state.COLUMNS,
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

SOFTWARE = ColumnGroup(
    "Software",
    (
        from_provenance("wbcbench_version", "str", NOT_SAID, "of this program"),
        from_provenance("git_commit", "str", "not run from a checkout", "commit of this program"),
        from_provenance("git_dirty", "bool", "not run from a checkout", "uncommitted changes"),
        _version("python_version", "python", "of the interpreter"),
        _version("tensorflow_version", "tensorflow", "of TensorFlow"),
        _version("cuda_version", "cuda", "that TensorFlow was built with"),
        _version("cudnn_version", "cudnn", "that TensorFlow was built with"),
        gpu_state.DRIVER,
        from_provenance("os", "str", NOT_SAID, "operating system"),
        from_provenance("lock_sha256", "str", "not run from a checkout", "digest of the lock file"),
    ),
)
