"""Columns: the machine, its software, and what its GPU did in training.

Identity of the GPU comes from what the meter said of each board, state from the telemetry in
``train``. Several boards: names and reasons are listed, temperatures and limits are the worst,
shares and clocks the mean. The provenance of a record holds most facts of the machine under the
column's own name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from wbcbench.core.board_state import Telemetry
from wbcbench.core.units import mhz_from_hz, pct_from_share
from wbcbench.core.window import TRAIN
from wbcbench.energy.checks.machine import slowed_s
from wbcbench.energy.metrics import mean_known
from wbcbench.table.column import Cell, Column, ColumnGroup, from_provenance
from wbcbench.table.view import Run

NO_GPU = "no GPU, or the driver does not say"
_SALT = "wbcbench-gpu-1"

NOT_SAID = "the system does not say"
NO_TENSORFLOW = "ended before TensorFlow was up, or does not apply"


def _boards(run: Run) -> list[Mapping[str, Any]]:
    meters = sorted(run.record.meters.items())
    return [facts for _, facts in meters if isinstance(facts, Mapping) and "uuid" in facts]


def _listed(name: str) -> Callable[[Run], Cell]:
    """A word that every board says, each once, by ``;``."""

    def value(run: Run) -> Cell:
        found = {str(board[name]) for board in _boards(run) if board.get(name) is not None}
        return ";".join(sorted(found)) or None

    return value


def _uuid_hash(run: Run) -> str | None:
    found = [str(board["uuid"]) for board in _boards(run) if board.get("uuid")]
    hashes = (hashlib.sha256(f"{_SALT}:{uuid}".encode()).hexdigest()[:12] for uuid in found)
    return ";".join(sorted(hashes)) or None


def _mig(run: Run) -> bool | None:
    modes = [board["mig_mode"] for board in _boards(run) if board.get("mig_mode") is not None]
    return any(modes) if modes else None


def _states(run: Run) -> list[Telemetry]:
    return [state for state in run.record.telemetry if state.window == TRAIN]


def _limit_w(run: Run) -> float | None:
    seen = [state.power_limit_w for state in _states(run)]
    said = [board.get("power_limit_enforced_w") for board in _boards(run)]
    return min((w for w in seen or said if w is not None), default=None)


def _mean(read: Callable[[Telemetry], float | None]) -> Callable[[Run], Cell]:
    return lambda run: mean_known([read(state) for state in _states(run)])


def _most(read: Callable[[Telemetry], float | None]) -> Callable[[Run], Cell]:
    def value(run: Run) -> Cell:
        found = (read(state) for state in _states(run))
        return max((each for each in found if each is not None), default=None)

    return value


def _mhz(frequency_hz: float | None) -> float | None:
    return None if frequency_hz is None else mhz_from_hz(frequency_hz)


def _reasons(run: Run) -> str | None:
    states = _states(run)
    found = {reason for s in states for reason, time_s in s.throttled_s.items() if time_s > 0}
    return ";".join(sorted(found)) if states else None


def _strangers(run: Run) -> int | None:
    told = [state for state in _states(run) if state.processes_most is not None]
    return len({pid for state in told for pid in state.foreign_pids}) if told else None


def _float(name: str, meaning: str, value: Callable[[Run], Cell], formula: str) -> Column:
    return Column(name, "float", NO_GPU, meaning, value, formula)


COLUMNS = (
    Column("gpu_name", "str", NO_GPU, "model of the GPU", _listed("name")),
    Column(
        "gpu_count",
        "int",
        NO_GPU,
        "GPUs measured",
        lambda r: len(_boards(r)) or None,
        formula="boards that the meter described",
    ),
    Column(
        "gpu_uuid_hash",
        "str",
        NO_GPU,
        "salted hash; tells boards apart",
        _uuid_hash,
        formula="first 12 digits of SHA-256 over a salt and the UUID, by board",
    ),
    Column(
        "mig",
        "bool",
        NO_GPU,
        "cut into several instances",
        _mig,
        formula="whether any board is cut into instances",
    ),
    _float(
        "gpu_power_limit_w",
        "power limit in force; the lowest in `train`",
        _limit_w,
        formula="lowest limit seen in train, else as the meter said at the start",
    ),
    _float(
        "gpu_clock_mean_mhz",
        "mean in `train`",
        _mean(lambda s: _mhz(s.clock_sm_hz)),
        formula="mean over the looks in train, then over boards",
    ),
    _float(
        "gpu_mem_clock_mhz",
        "mean in `train`",
        _mean(lambda s: _mhz(s.clock_memory_hz)),
        formula="mean over the looks in train, then over boards",
    ),
    _float(
        "gpu_temp_start_c",
        "at the start of `train`",
        _most(lambda s: s.temperature_start_c),
        formula="first look in train; of several boards the hottest",
    ),
    _float(
        "gpu_temp_mean_c",
        "mean in `train`",
        _mean(lambda s: s.temperature_mean_c),
        formula="mean over the looks in train; of several boards the hottest",
    ),
    _float(
        "gpu_temp_max_c",
        "highest in `train`",
        _most(lambda s: s.temperature_max_c),
        formula="highest look in train, of any board",
    ),
    _float(
        "gpu_throttle_s",
        "time slowed by heat or power in `train`",
        _most(slowed_s),
        formula="longest of the times that one reason slowed a board in train",
    ),
    Column(
        "gpu_throttle_reasons",
        "str",
        NO_GPU,
        "all reasons the driver gave, by `;`",
        _reasons,
        formula="reasons with any time in train",
    ),
    _float(
        "gpu_util_mean_pct",
        "mean share of time with a kernel running in `train`",
        _mean(lambda s: None if s.utilization is None else pct_from_share(s.utilization)),
        formula="mean over the looks in train, then over boards",
    ),
    Column(
        "gpu_mem_peak_bytes",
        "int",
        NO_GPU,
        "highest in `train`",
        _most(lambda s: s.memory_peak_bytes),
        formula="highest look in train, of any board",
    ),
    Column(
        "gpu_foreign_processes",
        "int",
        NO_GPU,
        "processes in `train` not ours",
        _strangers,
        formula="different process ids on the boards in train that are not the run's",
    ),
)

DRIVER = Column("driver_version", "str", NO_GPU, "of the GPU driver", _listed("driver"))


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
        *COLUMNS,
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
        DRIVER,
        from_provenance("os", "str", NOT_SAID, "operating system"),
        from_provenance("lock_sha256", "str", "not run from a checkout", "digest of the lock file"),
    ),
)
