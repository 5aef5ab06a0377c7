"""A run's files in a bundle: what is copied, and two more for other readers.

The two other files, phases and a BoAmps report, say what the record says in other words; a verifier
makes them again.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from wbcbench.bundle import layout, redact
from wbcbench.bundle.redact import Redactor
from wbcbench.core import run_folder, study_folder
from wbcbench.core.errors import UsageError
from wbcbench.core.record import RunRecord
from wbcbench.core.run_condition import RunStage, condition
from wbcbench.core.run_folder import study_runs
from wbcbench.core.trace import Domain
from wbcbench.core.units import billions, kwh_from_j, share_from_pct
from wbcbench.table.view import Run

_BOAMPS = "https://github.com/Boavizta/BoAmps/tree/main/model"
_BITS = {"float32": "fp32", "mixed_float16": "fp16", "mixed_bfloat16": "b16"}
_UNTRACKED = "not counted"

_OF_RUN = (
    run_folder.SPEC, run_folder.BEGAN, run_folder.CHANNELS, run_folder.RECORD, run_folder.MARKS,
    run_folder.EPOCHS, run_folder.PREDICTIONS, run_folder.ATTACHMENT, run_folder.LOG,
    run_folder.TRACES, run_folder.ATTACHED_TRACE, f"{run_folder.TELEMETRY}/*.csv",
)  # fmt: skip
_OF_STUDY = (study_folder.PLAN, study_folder.EARLIER_PLANS)


def phases_csv(record: RunRecord) -> bytes:
    """The record's windows, in the order of their start."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(layout.PHASE_COLUMNS)
    for each in sorted(record.windows, key=lambda w: (w.start_s, w.end_s, w.name)):
        writer.writerow((each.name, repr(each.start_s), repr(each.end_s), repr(each.duration_s)))
    return out.getvalue().encode()


def boamps_json(run: Run, licence: str) -> bytes | None:
    """The run in the schema of BoAmps (Boavizta), training alone; ``None`` without joules.

    That schema wants kilowatt-hours and a date without time zone; it has no word for "estimated"
    but its tracking modes.
    """
    if run.train_energy_j is None or run.record.model is None or run.record.dataset is None:
        return None
    document = {
        "header": _header(run, licence),
        "task": _task(run),
        "measures": [_measure(run, run.train_energy_j)],
        "system": {"os": str(run.row["os"])},
        "software": {"language": "python", "version": str(run.row["python_version"])},
        "infrastructure": {"infraType": "other", "components": _components(run)},
        "environment": _known(
            country=run.row["carbon_zone"] or run.spec.country,
            powerSourceCarbonIntensity=run.row["carbon_g_per_kwh"],
        ),
    }
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def _header(run: Run, licence: str) -> dict[str, Any]:
    return {
        "licensing": licence,
        "formatVersionSpecificationUri": _BOAMPS,
        "reportId": run.run_id,
        "reportDatetime": run.record.ended_utc.replace("T", " ").removesuffix("Z"),
        "reportStatus": "final",
        "publisher": {"projectName": run.spec.study, "confidentialityLevel": "public"},
    }


def _task(run: Run) -> dict[str, Any]:
    record, row = run.record, run.row
    algorithm = _known(
        trainingType="supervisedLearning",
        algorithmType="neural network",
        algorithmName="cnn",
        framework="tensorflow",
        frameworkVersion=row["tensorflow_version"],
        parametersNumber=billions(row["params_total"]) if row["params_total"] else None,
        epochsNumber=row["epochs_run"],
        optimizer=row["optimizer"],
        quantization=_BITS.get(record.spec.precision),
    )
    images = {
        "dataUsage": "input",
        "dataType": "image",
        "dataFormat": "jpeg",
        "dataQuantity": row["n_train"],
    }
    return _known(
        taskStage="training",
        taskFamily="image classification",
        algorithms=[algorithm],
        dataset=[images],
        measuredAccuracy=row["accuracy"],
        taskDescription=f"variant {record.spec.variant}, seed {record.spec.seed}",
    )


def _measure(run: Run, energy_j: float) -> dict[str, Any]:
    """The headline's joules of ``train``, and how each part was tracked."""
    row = run.row
    return _known(
        measurementMethod="wbcbench",
        manufacturer="wbcbench",
        version=row["wbcbench_version"],
        gpuTrackingMode=_mode(run, Domain.GPU),
        cpuTrackingMode=_mode(run, Domain.CPU),
        averageUtilizationGpu=_share(row["gpu_util_mean_pct"]),
        powerCalibrationMeasurement=None,
        powerConsumption=kwh_from_j(energy_j),
        measurementDuration=row["time_train_s"],
        measurementDateTime=run.record.started_utc.replace("T", " ").removesuffix("Z"),
    )


def _mode(run: Run, domain: Domain) -> str:
    """The word of the headline's part says where the joules are from; others are not in them."""
    if run.row["primary_domain"] != domain.value:
        return _UNTRACKED
    return f"{run.row['primary_method']} ({run.row['primary_status']})"


def _components(run: Run) -> list[dict[str, Any]]:
    row = run.row
    parts = [
        _known(componentType="cpu", nbComponent=1, componentName=row["cpu_model"]),
        _known(
            componentType="ram",
            nbComponent=1,
            memorySize=round(row["ram_bytes"] / 2**30) if row["ram_bytes"] else None,
        ),
    ]
    if row["gpu_name"]:
        count = row["gpu_count"] or 1
        parts.append(
            {"componentType": "gpu", "nbComponent": count, "componentName": row["gpu_name"]}
        )
    return parts


def _share(percent: float | None) -> float | None:
    return None if percent is None else share_from_pct(percent)


def _known(**fields: Any) -> dict[str, Any]:
    """The fields that are known; that schema has no null."""
    kept: Mapping[str, Any] = {name: value for name, value in fields.items() if value is not None}
    return dict(kept)


def copy_study(source: Path, payload: Path, by: Redactor | None) -> None:
    """Copy plans and runs of one study folder to ``results/<its name>`` of the bundle.

    Raises:
        UsageError: A file of it is a link, which may lead anywhere.
        OSError: It cannot be read, or the bundle cannot be written.
    """
    target = payload / layout.study_dir(source.name)
    for run in study_runs(source.parent, source.name):
        run.pack_traces()
        _copy(run.path, target / run.run_id, _OF_RUN, by)
    _copy(source, target, _OF_STUDY, by)


def refuse_running(source: Path) -> None:
    """See that nobody is at work in the study.

    Raises:
        UsageError: A run of it is going on.
    """
    for run in study_runs(source.parent, source.name):
        if run.is_finished:
            continue
        found = condition(run)
        if found.stage is RunStage.UNKNOWN:
            raise UsageError(f"The run {run.path} has no record. {found.text}")
        if not found.may_be_finalised:
            raise UsageError(
                f"The run {run.path} is going on. A bundle is of a study at rest: wait for the "
                f"run, or stop it with Ctrl-C where it was started. {found.text}"
            )


def remove(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path, patterns: tuple[str, ...], by: Redactor | None) -> None:
    for path in _files(source, patterns):
        if path.is_symlink() or path.parent.is_symlink():
            raise UsageError(
                f"{path} is a link. What it leads to is no part of the study, so it is not "
                "copied into a bundle. Put the file itself there, or remove the link."
            )
        name = redact.name_of(PurePosixPath(path.relative_to(source).as_posix()), by)
        redact.copy(path, target / name, by)


def _files(source: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(path for path in source.glob(pattern) if not path.is_dir())
