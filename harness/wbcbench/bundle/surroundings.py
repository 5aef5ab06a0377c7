"""Settings, environment and machine of the runs, each with every value it had."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wbcbench.bundle import layout
from wbcbench.bundle.study import SubmittedStudy
from wbcbench.core.files import write_whole

ENVIRONMENT = (
    "python_version", "tensorflow_version", "cuda_version", "cudnn_version", "driver_version", "os",
    "wbcbench_version", "git_commit", "git_dirty", "lock_sha256",
)  # fmt: skip
HOST = (
    "host_id", "gpu_name", "gpu_count", "gpu_uuid_hash", "gpu_power_limit_w", "mig", "cpu_model",
    "cpu_count", "cpu_governor", "ram_bytes", "in_container", "virtualised",
)  # fmt: skip
_OF_ONE_RUN = ("variant", "seed", "block", "block_attempt", "order_in_block", "order_global")


def write_surroundings(study: SubmittedStudy) -> None:
    """Write ``config/resolved.json``, ``env/environment.json`` and ``env/host.json``."""
    _write(study.payload / layout.RESOLVED, _settings(study))
    packages = study.first.record.provenance.get("packages")
    environment = _values(study, ENVIRONMENT) | {"packages": packages}
    _write(study.payload / layout.ENVIRONMENT, environment)
    _write(study.payload / layout.HOST, _values(study, HOST) | {"meters": _meters(study)})


def _settings(study: SubmittedStudy) -> dict[str, Any]:
    """Every setting of the runs, those that differ as a list, and the plan's own."""
    specs = [asdict(record.spec) for record in study.records]
    shared = {name: _one_or_all([spec[name] for spec in specs]) for name in specs[0]}
    shared = {name: value for name, value in shared.items() if name not in _OF_ONE_RUN}
    plan = asdict(study.plan) if study.plan else {}
    planned = {name: value for name, value in plan.items() if name not in {"runs", "submission"}}
    return {"run": shared, "plan": planned or None}


def _values(study: SubmittedStudy, columns: Sequence[str]) -> dict[str, Any]:
    return {name: _one_or_all([run.row[name] for run in study.runs]) for name in columns}


def _one_or_all(values: Sequence[Any]) -> Any:
    """The value that all share, or all of them, each once, in their order."""
    different = list({json.dumps(value, sort_keys=True): value for value in values}.values())
    return different[0] if len(different) == 1 else different


def _meters(study: SubmittedStudy) -> dict[str, Any]:
    """What the first run's meters said of themselves, and which did not work."""
    record = study.first.record
    absent = {each.meter: f"absent: {each.reason}" for each in record.absent}
    return dict(record.meters) | absent


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_whole(path, (text + "\n").encode())
