"""What made the numbers: data, settings, machine, software; and what they cannot show."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.report import Block, DataTable
from wbcbench.report.page.evidence import Evidence
from wbcbench.writing.show_units import count_of

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
    "precision",
    "xla",
    "deterministic_ops",
    "steps_per_execution",
    "target_metric",
    "target_value",
    "host_id",
    "gpu_name",
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
    "codecarbon_version",
    "codecarbon_cpu_mode",
    "wbcbench_version",
    "git_commit",
    "git_dirty",
    "lock_sha256",
    "carbon_zone",
    "carbon_g_per_kwh",
    "carbon_source",
)


def section(study: Evidence) -> Block:
    """Every setting and fact with the values it had, and the limits in plain words."""
    rows = tuple((name, values) for name in COLUMNS if (values := _values(study, name)))
    caption = "Settings and circumstances; several values where runs differ."
    facts = DataTable(caption, ("column of runs.csv", "value"), rows, frozenset({0, 1}))
    return Block(
        "provenance", "What made the numbers", tuple(_limits(study)), (facts,), folded=True
    )


def _values(study: Evidence, name: str) -> str:
    found = {str(run.row[name]) for run in study.runs if run.row[name] is not None}
    return ", ".join(sorted(found))


def _limits(study: Evidence) -> Iterator[str]:
    hosts = {run.row["host_id"] for run in study.runs}
    images = {run.row["dataset_id"] for run in study.runs if run.row["dataset_id"]}
    yield (
        f"Limits: {count_of(len(hosts), 'machine')}, {count_of(len(images), 'data set')}, "
        f"{count_of(len(study.done), 'finished run')}. The headline "
        "energy is of one part of the machine, not of the building or of making the hardware."
    )
    grams = [run.row["co2e_g"] for run in study.comparable if run.row["co2e_g"] is not None]
    if grams:
        row = study.comparable[0].row
        yield (
            f"Carbon, derived and not measured: {sum(grams) / len(grams):.3g} g CO2e a training on "
            f"average, from the headline energy at {row['carbon_g_per_kwh']:g} g/kWh "
            f"({row['carbon_zone']}; {row['carbon_source']}) and a PUE of {row['pue']:g}."
        )
