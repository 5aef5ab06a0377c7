"""A bundle for other programs: a BagIt bag, a Process Run Crate, and two files of each run.

The crate is https://w3id.org/ro/wfrun/process/0.5 on RO-Crate 1.1, each run one ``CreateAction``;
dates are the results' own. A run's phases as CSV and its BoAmps report follow from its record.
"""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbcbench.bundle import layout
from wbcbench.bundle.describe import SubmittedStudy
from wbcbench.bundle.document import Submission, to_json
from wbcbench.core.files import sha256_of, write_atomically
from wbcbench.core.record import RunRecord
from wbcbench.core.text import safe_text
from wbcbench.core.units import billions, kwh_from_j, share_from_pct
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_TYPES = {
    ".json": "application/json", ".csv": "text/csv", ".md": "text/markdown", ".html": "text/html",
    ".svg": "image/svg+xml", ".pdf": "application/pdf", ".txt": "text/plain",
    ".jsonl": "application/jsonl", ".parquet": "application/vnd.apache.parquet",
    ".tex": "application/x-tex", ".cff": "application/yaml", ".tar": "application/x-tar",
}  # fmt: skip
_COMPLETED = "http://schema.org/CompletedActionStatus"
_FAILED = "http://schema.org/FailedActionStatus"

_BOAMPS = "https://github.com/Boavizta/BoAmps/tree/main/model"
_BITS = {"float32": "fp32", "mixed_float16": "fp16", "mixed_bfloat16": "b16"}
_UNTRACKED = "not counted"

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_ZIP_MODE = 0o100644 << 16
_ZIP_UNIX = 3


def make_crate(study: SubmittedStudy, submission: Submission) -> bytes:
    """``ro-crate-metadata.json`` of everything else that lies in the bundle."""
    from rocrate.model.contextentity import ContextEntity

    crate = _create_crate(submission)
    files = _add_files(crate, study)
    people = _add_people(crate, submission)
    files_by_folder = defaultdict[str, list[str]](list)
    for name in files:
        files_by_folder["/".join(name.split("/")[:3])].append(name)
    crate.root_dataset["author"] = people
    if submission.course:
        course = {"@type": "Course", "name": submission.course}
        crate.root_dataset["isPartOf"] = crate.add(ContextEntity(crate, "#course", course))
    crate.root_dataset["mentions"] = [
        _add_action(crate, study, run, files, files_by_folder, people) for run in study.runs
    ]
    document = crate.metadata.generate()
    document["@graph"] = sorted(document["@graph"], key=lambda entity: entity["@id"])
    return to_json(document)


def _create_crate(submission: Submission) -> ROCrate:
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    crate.name = submission.title
    crate.description = f"wbcbench study {submission.study}: runs, energy, comparison and report."
    crate.datePublished = submission.created_utc
    licence = submission.licence
    url = f"https://spdx.org/licenses/{licence}" if " " not in licence else "LICENSE#licence"
    for name, identifier, properties in (
        ("license", url, {"name": licence, "description": "See LICENSE."}),
        ("conformsTo", PROFILE, {"name": "Process Run Crate", "version": "0.5"}),
    ):
        entity = ContextEntity(crate, identifier, properties={"@type": "CreativeWork"} | properties)
        crate.root_dataset[name] = crate.add(entity)
    return crate


def _add_files(crate: ROCrate, study: SubmittedStudy) -> Mapping[str, Any]:
    """Every file of the payload as a part of the crate, by its path."""
    entities = {}
    for name, path in layout.list_files(study.payload).items():
        if name != layout.CRATE:
            kind = _TYPES.get(path.suffix, "application/octet-stream")
            properties = {"encodingFormat": kind, "contentSize": str(path.stat().st_size)}
            entities[name] = crate.add_file(None, name, properties=properties)
    return entities


def _add_people(crate: ROCrate, submission: Submission) -> list[Any]:
    from rocrate.model.person import Person

    people = []
    for number, author in enumerate(submission.authors, start=1):
        url = f"https://orcid.org/{author.orcid}" if author.orcid else f"#author-{number}"
        people.append(crate.add(Person(crate, url, properties={"name": author.name})))
    return people


def _add_action(
    crate: ROCrate,
    study: SubmittedStudy,
    run: Run,
    files: Mapping[str, Any],
    files_by_folder: Mapping[str, list[str]],
    people: list[Any],
) -> Any:
    record, spec = run.record, run.spec
    command = record.provenance.get("command")
    words = " ".join(map(str, command)) if isinstance(command, list) else ""
    properties = {
        "name": f"Train {spec.variant}, seed {spec.seed}",
        "description": f"Block {spec.block}, run {spec.order_in_block} of it. {words}".strip(),
        # With an offset, as the profile's own validator asks for.
        "startTime": record.started_utc.replace("Z", "+00:00"),
        "endTime": record.ended_utc.replace("Z", "+00:00"),
        "actionStatus": _COMPLETED if record.status == "done" else _FAILED,
    }
    if record.error is not None and record.status != "done":
        properties["error"] = record.error.message
    folder = layout.study_dir(study.name)
    spec_path = f"{folder}/{record.run_id}/{layout.SPEC}"
    inputs = (spec_path, f"{folder}/{layout.PLAN}", layout.DATASET, layout.IMAGES)
    action = crate.add_action(
        _add_instrument(crate, str(run.row["wbcbench_version"] or "unknown")),
        identifier=f"#{record.run_id}",
        object=[files[path] for path in inputs if path in files],
        result=[
            files[path]
            for path in files_by_folder[f"{folder}/{record.run_id}"]
            if path != spec_path
        ],
        properties=properties,
    )
    action["agent"] = list(people)
    return action


def _add_instrument(crate: ROCrate, version: str) -> Any:
    from rocrate.model.softwareapplication import SoftwareApplication

    identifier = f"#wbcbench-{version}"
    properties = {"name": "wbcbench", "softwareVersion": version}
    return crate.dereference(identifier) or crate.add(
        SoftwareApplication(crate, identifier, properties=properties)
    )


def list_bag_info(submission: Submission) -> dict[str, str]:
    """What ``bag-info.txt`` says of a bundle, by label."""
    course = submission.course
    return {
        **({"Internal-Sender-Description": f"Submitted to {course}"} if course else {}),
        "Bagging-Date": submission.created_utc[:10],
        "Bag-Software-Agent": f"wbcbench {submission.renderer['wbcbench']}",
        "Contact-Name": ", ".join(author.name for author in submission.authors),
        "External-Description": submission.title,
        "External-Identifier": layout.bag_name(submission.study, submission.created_utc),
        "Bag-Group-Identifier": layout.SCHEMA,
    }


# BagIt 1.0: four small text files, written here because the usual package writes version 0.97.
def write_bag(bag: Path, info: Mapping[str, str]) -> None:
    """Write the bag's own files around ``data/``.

    Args:
        bag: The folder that holds ``data/``.
        info: Label → value for ``bag-info.txt``; the octets and the count of files are added.
    """
    files = layout.list_files(bag / layout.PAYLOAD)
    digests = [(f"{layout.PAYLOAD}/{name}", sha256_of(path)) for name, path in files.items()]
    octets = sum(path.stat().st_size for path in files.values())
    texts = {
        layout.BAGIT: layout.BAGIT_TEXT,
        layout.BAG_INFO: format_bag_info(info, octets, len(files)),
        layout.MANIFEST: layout.format_manifest(digests),
    }
    for name, text in texts.items():
        write_atomically(bag / name, text.encode())
    tags = [(name, sha256_of(bag / name)) for name in layout.TAG_FILES]
    write_atomically(bag / layout.TAG_MANIFEST, layout.format_manifest(tags).encode())


def format_bag_info(info: Mapping[str, str], octets: int, files: int) -> str:
    """``bag-info.txt``; a value has no line breaks, which would begin another label."""
    lines = {**info, "Payload-Oxum": f"{octets}.{files}"}
    return "".join(f"{label}: {' '.join(text.split())}\n" for label, text in sorted(lines.items()))


def write_zip(bag: Path, target: Path, top: str) -> None:
    """Write the bag as a zip with one folder ``top`` in it; equal bags give equal bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in layout.list_files(bag).items():
            entry = zipfile.ZipInfo(f"{top}/{name}", _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = _ZIP_UNIX
            entry.external_attr = _ZIP_MODE
            entry.file_size = path.stat().st_size
            with path.open("rb") as source, archive.open(entry, "w") as sink:
                shutil.copyfileobj(source, sink)


def format_phases(record: RunRecord) -> bytes:
    """``phases.csv``: the record's windows, in the order of their start."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(layout.PHASE_COLUMNS)
    for w in sorted(record.windows, key=lambda w: (w.start_s, w.end_s, w.name)):
        writer.writerow((safe_text(w.name), repr(w.start_s), repr(w.end_s), repr(w.duration_s)))
    return out.getvalue().encode()


def format_boamps(run: Run, licence: str) -> bytes | None:
    """The training of a run in the schema of BoAmps (Boavizta); ``None`` without its energy.

    That schema uses kilowatt-hours and dates without time zone; whether energy is measured or
    estimated can only be stated in its tracking modes.
    """
    record, row = run.record, run.row
    if run.train_energy_j is None or record.model is None or record.dataset is None:
        return None
    domain, mode = row["primary_domain"], f"{row['primary_method']} ({row['primary_status']})"
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
        gpu = {"componentType": "gpu", "nbComponent": row["gpu_count"] or 1}
        components.append(gpu | {"componentName": row["gpu_name"]})
    measure = _drop_unknown(
        measurementMethod="wbcbench",
        manufacturer="wbcbench",
        version=row["wbcbench_version"],
        gpuTrackingMode=mode if domain == "gpu" else _UNTRACKED,
        cpuTrackingMode=mode if domain == "cpu" else _UNTRACKED,
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
            "software": _drop_unknown(language="python", version=row["python_version"]),
            "infrastructure": {"infraType": "other", "components": components},
            **({"system": {"os": row["os"]}} if row["os"] else {}),
            **_describe_place(row),
        }
    )


def _describe_place(row: Mapping[str, Any]) -> dict[str, Any]:
    """The grid, where a country was set: the format wants one or no place at all."""
    intensity = _drop_unknown(powerSourceCarbonIntensity=row["carbon_g_per_kwh"])
    country = row["carbon_zone"]
    return {"environment": {"country": country, **intensity}} if country else {}


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
    images = {"dataUsage": "input", "dataType": "image", "dataFormat": "jpeg"}
    return _drop_unknown(
        taskStage="training",
        taskFamily="image classification",
        algorithms=[algorithm],
        dataset=[images | {"dataQuantity": row["n_train"]}],
        measuredAccuracy=row["accuracy"],
        taskDescription=f"variant {run.spec.variant}, seed {run.spec.seed}",
    )


def _format_date(utc: str) -> str:
    return utc.replace("T", " ").removesuffix("Z")


def _drop_unknown(**fields: Any) -> dict[str, Any]:
    """The known fields; that schema has no null."""
    return {name: value for name, value in fields.items() if value is not None}
