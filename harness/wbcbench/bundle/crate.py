"""A bundle as a BagIt bag and as a Process Run Crate.

https://w3id.org/ro/wfrun/process/0.5 on RO-Crate 1.1, each run one ``CreateAction``; dates are the
results' own.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbcbench.bundle import layout
from wbcbench.bundle.describe import SubmittedStudy
from wbcbench.bundle.document import Submission, write_json
from wbcbench.core.files import sha256_of, write_atomically
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

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_ZIP_MODE = 0o100644 << 16
_ZIP_UNIX = 3


def write_crate(study: SubmittedStudy, submission: Submission) -> None:
    """Write ``ro-crate-metadata.json`` over everything that is in the bundle so far."""
    crate = _create_crate(submission)
    files = _add_files(crate, study)
    people = _add_people(crate, submission)
    crate.root_dataset["author"] = people
    crate.root_dataset["mentions"] = [
        _add_action(crate, study, run, files, people) for run in study.runs
    ]
    document = crate.metadata.generate()
    document["@graph"] = sorted(document["@graph"], key=lambda entity: entity["@id"])
    write_json(study.payload / layout.CRATE, document)


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
    for path in layout.list_payload(study.payload.parent):
        name = path.relative_to(study.payload).as_posix()
        if name != layout.CRATE:
            kind = _TYPES.get(path.suffix, "application/octet-stream")
            properties = {"encodingFormat": kind, "contentSize": str(path.stat().st_size)}
            entities[name] = crate.add_file(path, name, properties=properties)
    return entities


def _add_people(crate: ROCrate, submission: Submission) -> list[Any]:
    from rocrate.model.person import Person

    people = []
    for number, author in enumerate(submission.authors, start=1):
        url = f"https://orcid.org/{author.orcid}" if author.orcid else f"#author-{number}"
        people.append(crate.add(Person(crate, url, properties={"name": author.name})))
    return people


def _add_action(
    crate: ROCrate, study: SubmittedStudy, run: Run, files: Mapping[str, Any], people: list[Any]
) -> Any:
    record, spec = run.record, run.spec
    command = record.provenance.get("command")
    words = " ".join(map(str, command)) if isinstance(command, list) else ""
    properties = {
        "name": f"Train {spec.variant}, seed {spec.seed}",
        "description": f"Block {spec.block}, run {spec.order_in_block} of it. {words}".strip(),
        "startTime": record.started_utc,
        "endTime": record.ended_utc,
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
            entity
            for path, entity in files.items()
            if path.startswith(f"{folder}/{record.run_id}/") and path != spec_path
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


# BagIt 1.0: four small text files, written here because the usual package writes version 0.97.
def write_bag(bag: Path, info: Mapping[str, str]) -> None:
    """Write the bag's own files around ``data/``.

    Args:
        bag: The folder that holds ``data/``.
        info: Label → value for ``bag-info.txt``; the octets and the count of files are added.
    """
    files = layout.list_payload(bag)
    digests = [(path.relative_to(bag).as_posix(), sha256_of(path)) for path in files]
    octets = sum(path.stat().st_size for path in files)
    # A value has no line breaks, which would begin another label.
    lines = {label: " ".join(value.split()) for label, value in info.items()}
    lines["Payload-Oxum"] = f"{octets}.{len(files)}"
    texts = {
        layout.BAGIT: layout.BAGIT_TEXT,
        layout.BAG_INFO: "".join(f"{label}: {value}\n" for label, value in sorted(lines.items())),
        layout.MANIFEST: layout.format_manifest(digests),
    }
    for name, text in texts.items():
        write_atomically(bag / name, text.encode())
    tags = [(name, sha256_of(bag / name)) for name in layout.TAG_FILES]
    write_atomically(bag / layout.TAG_MANIFEST, layout.format_manifest(tags).encode())


def write_zip(bag: Path, target: Path, top: str) -> None:
    """Write the bag as a zip with one folder ``top`` in it; equal bags give equal bytes."""
    files = sorted(path for path in bag.rglob("*") if path.is_file())
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in files:
            entry = zipfile.ZipInfo(f"{top}/{path.relative_to(bag).as_posix()}", _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = _ZIP_UNIX
            entry.external_attr = _ZIP_MODE
            entry.file_size = path.stat().st_size
            with path.open("rb") as source, archive.open(entry, "w") as sink:
                shutil.copyfileobj(source, sink)
