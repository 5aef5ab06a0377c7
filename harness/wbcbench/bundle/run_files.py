"""Two files of a run for other readers: its phases as CSV, and a BoAmps report.

Both follow from the record, so a verifier makes them again.
"""

from __future__ import annotations

import csv
import io
from typing import Any

from wbcbench.bundle import layout
from wbcbench.bundle.document import to_json
from wbcbench.core.record import RunRecord
from wbcbench.core.trace import Domain
from wbcbench.core.units import billions, kwh_from_j, share_from_pct
from wbcbench.table.view import Run

_BOAMPS = "https://github.com/Boavizta/BoAmps/tree/main/model"
_BITS = {"float32": "fp32", "mixed_float16": "fp16", "mixed_bfloat16": "b16"}
_UNTRACKED = "not counted"


def format_phases(record: RunRecord) -> bytes:
    """``phases.csv``: the record's windows, in the order of their start."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(layout.PHASE_COLUMNS)
    for w in sorted(record.windows, key=lambda w: (w.start_s, w.end_s, w.name)):
        writer.writerow((w.name, repr(w.start_s), repr(w.end_s), repr(w.duration_s)))
    return out.getvalue().encode()


def format_boamps(run: Run, licence: str) -> bytes | None:
    """The training of a run in the schema of BoAmps (Boavizta); ``None`` without its energy.

    That schema uses kilowatt-hours and dates without time zone; whether energy is measured or
    estimated can only be stated in its tracking modes.
    """
    record, row = run.record, run.row
    if run.train_energy_j is None or record.model is None or record.dataset is None:
        return None
    tracking_modes = {
        domain: f"{row['primary_method']} ({row['primary_status']})"
        if row["primary_domain"] == domain.value
        else _UNTRACKED
        for domain in (Domain.GPU, Domain.CPU)
    }
    gpu_util_pct, ram_bytes = row["gpu_util_mean_pct"], row["ram_bytes"]
    components = [
        _drop_unknown(componentType="cpu", nbComponent=1, componentName=row["cpu_model"]),
        _drop_unknown(
            componentType="ram",
            nbComponent=1,
            memorySize=round(ram_bytes / 2**30) if ram_bytes else None,
        ),
    ]
    if row["gpu_name"]:
        components.append(
            {
                "componentType": "gpu",
                "nbComponent": row["gpu_count"] or 1,
                "componentName": row["gpu_name"],
            }
        )
    measure = _drop_unknown(
        measurementMethod="wbcbench",
        manufacturer="wbcbench",
        version=row["wbcbench_version"],
        gpuTrackingMode=tracking_modes[Domain.GPU],
        cpuTrackingMode=tracking_modes[Domain.CPU],
        averageUtilizationGpu=None if gpu_util_pct is None else share_from_pct(gpu_util_pct),
        powerConsumption=kwh_from_j(run.train_energy_j),
        measurementDuration=row["time_train_s"],
        measurementDateTime=_format_date(record.started_utc),
    )
    return to_json(
        {
            "header": {
                "licensing": licence,
                "formatVersionSpecificationUri": _BOAMPS,
                "reportId": run.run_id,
                "reportDatetime": _format_date(record.ended_utc),
                "reportStatus": "final",
                "publisher": {"projectName": run.spec.study, "confidentialityLevel": "public"},
            },
            "task": _describe_task(run),
            "measures": [measure],
            "system": {"os": str(row["os"])},
            "software": {"language": "python", "version": str(row["python_version"])},
            "infrastructure": {"infraType": "other", "components": components},
            "environment": _drop_unknown(
                country=row["carbon_zone"] or run.spec.country,
                powerSourceCarbonIntensity=row["carbon_g_per_kwh"],
            ),
        }
    )


def _describe_task(run: Run) -> dict[str, Any]:
    row = run.row
    algorithm = _drop_unknown(
        trainingType="supervisedLearning",
        algorithmType="neural network",
        algorithmName="cnn",
        framework="tensorflow",
        frameworkVersion=row["tensorflow_version"],
        parametersNumber=billions(row["params_total"]) if row["params_total"] else None,
        epochsNumber=row["epochs_run"],
        optimizer=row["optimizer"],
        quantization=_BITS.get(run.spec.precision),
    )
    images = {
        "dataUsage": "input",
        "dataType": "image",
        "dataFormat": "jpeg",
        "dataQuantity": row["n_train"],
    }
    return _drop_unknown(
        taskStage="training",
        taskFamily="image classification",
        algorithms=[algorithm],
        dataset=[images],
        measuredAccuracy=row["accuracy"],
        taskDescription=f"variant {run.spec.variant}, seed {run.spec.seed}",
    )


def _format_date(utc: str) -> str:
    return utc.replace("T", " ").removesuffix("Z")


def _drop_unknown(**fields: Any) -> dict[str, Any]:
    """The known fields; that schema has no null."""
    return {name: value for name, value in fields.items() if value is not None}
