"""A bundle as a BagIt bag and as a Process Run Crate.

https://w3id.org/ro/wfrun/process/0.5 on RO-Crate 1.1, each run one ``CreateAction``; dates are the
results' own.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from wbcbench.bundle import layout
from wbcbench.bundle.describe import SubmittedStudy
from wbcbench.bundle.document import Submission
from wbcbench.core.files import sha256_of, write_atomically
from wbcbench.core.run_folder import RunDir
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
_STATUS = {
    "done": "http://schema.org/CompletedActionStatus",
    "failed": "http://schema.org/FailedActionStatus",
    "interrupted": "http://schema.org/FailedActionStatus",
}

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_ZIP_MODE = 0o100644 << 16
_ZIP_UNIX = 3
_CHUNK_BYTES = 1 << 20


def write_crate(study: SubmittedStudy, made: Submission) -> None:
    """Write ``ro-crate-metadata.json`` over everything that is in the bundle by now."""
    crate = _crate(made)
    files = _files(crate, study)
    people = _people(crate, made)
    crate.root_dataset["author"] = people
    actions = [_action(crate, study, run, files, people) for run in study.runs]
    crate.root_dataset["mentions"] = actions
    document = crate.metadata.generate()
    document["@graph"] = sorted(document["@graph"], key=lambda entity: entity["@id"])
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
    write_atomically(study.payload / layout.CRATE, (text + "\n").encode())


def _crate(made: Submission) -> ROCrate:
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    crate.name = made.title
    crate.description = f"wbcbench study {made.study}: runs, joules, comparison and report."
    crate.datePublished = made.created_utc
    licence = {"@type": "CreativeWork", "name": made.licence, "description": "See LICENSE."}
    crate.root_dataset["license"] = crate.add(
        ContextEntity(crate, _licence_id(made.licence), properties=licence)
    )
    profile = {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    crate.root_dataset["conformsTo"] = crate.add(ContextEntity(crate, PROFILE, properties=profile))
    return crate


def _files(crate: ROCrate, study: SubmittedStudy) -> Mapping[str, Any]:
    """Every file of the payload as a part of the crate, by its path."""
    found = {}
    for path in layout.payload_files(study.payload.parent):
        name = path.relative_to(study.payload).as_posix()
        if name != layout.CRATE:
            kind = _TYPES.get(path.suffix, "application/octet-stream")
            properties = {"encodingFormat": kind, "contentSize": str(path.stat().st_size)}
            found[name] = crate.add_file(path, name, properties=properties)
    return found


def _people(crate: ROCrate, made: Submission) -> list[Any]:
    from rocrate.model.person import Person

    return [
        crate.add(
            Person(
                crate,
                f"https://orcid.org/{author.orcid}" if author.orcid else f"#author-{number}",
                properties={"name": author.name},
            )
        )
        for number, author in enumerate(made.authors, start=1)
    ]


def _action(
    crate: ROCrate, study: SubmittedStudy, run: Run, files: Mapping[str, Any], people: Sequence[Any]
) -> Any:
    record = run.record
    folder = layout.study_dir(study.name) / record.run_id
    properties = {
        "name": f"Train {record.spec.variant}, seed {record.spec.seed}",
        "description": _description(run),
        "startTime": record.started_utc,
        "endTime": record.ended_utc,
        "actionStatus": _STATUS.get(record.status, _STATUS["failed"]),
    }
    if record.error is not None and record.status != "done":
        properties["error"] = record.error.message
    action = crate.add_action(
        _instrument(crate, str(run.row["wbcbench_version"] or "unknown")),
        identifier=f"#{record.run_id}",
        object=_present(files, folder, _asked(study)),
        result=_present(files, folder, _left(study, record.run_id)),
        properties=properties,
    )
    action["agent"] = list(people)
    return action


def _instrument(crate: ROCrate, version: str) -> Any:
    from rocrate.model.softwareapplication import SoftwareApplication

    identifier = f"#wbcbench-{version}"
    known = crate.dereference(identifier)
    if known is not None:
        return known
    properties = {"name": "wbcbench", "softwareVersion": version}
    return crate.add(SoftwareApplication(crate, identifier, properties=properties))


def _asked(study: SubmittedStudy) -> list[str]:
    """What a run is given: its spec, the plan, the images."""
    plan = f"../{layout.PLAN}" if study.plan else ""
    return [layout.SPEC, plan, f"/{layout.DATASET}", f"/{layout.IMAGES}"]


def _left(study: SubmittedStudy, run_id: str) -> list[str]:
    """What a run leaves behind: everything in its folder but what it was given."""
    run = RunDir(study.folder / run_id).path
    inside = (path.relative_to(run).as_posix() for path in sorted(run.rglob("*")) if path.is_file())
    return [name for name in inside if name != layout.SPEC]


def _present(files: Mapping[str, Any], folder: PurePosixPath, names: Sequence[str]) -> list[Any]:
    """Entities of these names: in the run's folder, beside it (``../``), or in the root (``/``)."""
    paths = (
        name[1:]
        if name.startswith("/")
        else (folder.parent / name[3:] if name.startswith("../") else folder / name).as_posix()
        for name in names
        if name
    )
    return [files[path] for path in paths if path in files]


def _description(run: Run) -> str:
    command = run.record.provenance.get("command")
    words = " ".join(map(str, command)) if isinstance(command, list) else ""
    spec = run.spec
    return f"Block {spec.block}, run {spec.order_in_block} of it. {words}".strip()


def _licence_id(licence: str) -> str:
    return f"https://spdx.org/licenses/{licence}" if " " not in licence else "LICENSE#licence"


# BagIt 1.0: four small text files, written here because the usual package writes version 0.97.
def write_bag(bag: Path, info: Mapping[str, str]) -> None:
    """Write the bag's own files around ``data/``.

    Args:
        bag: The folder that holds ``data/``.
        info: Label → value for ``bag-info.txt``; the octets and the count of files are added.
    """
    files = layout.payload_files(bag)
    digests = [(path.relative_to(bag).as_posix(), sha256_of(path)) for path in files]
    octets = sum(path.stat().st_size for path in files)
    full = {**info, "Payload-Oxum": f"{octets}.{len(files)}"}
    texts = {
        layout.BAGIT: layout.BAGIT_TEXT,
        layout.BAG_INFO: "".join(f"{label}: {_one_line(full[label])}\n" for label in sorted(full)),
        layout.MANIFEST: layout.manifest_text(digests),
    }
    for name, text in texts.items():
        write_atomically(bag / name, text.encode())
    tags = [(name, sha256_of(bag / name)) for name in layout.TAG_FILES]
    write_atomically(bag / layout.TAG_MANIFEST, layout.manifest_text(tags).encode())


def write_zip(bag: Path, target: Path, top: str) -> None:
    """Write the bag as a zip with one folder ``top`` in it; equal bags give equal bytes."""
    files = sorted(path for path in bag.rglob("*") if path.is_file())
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in files:
            _add(archive, path, f"{top}/{path.relative_to(bag).as_posix()}")


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    entry = zipfile.ZipInfo(name, _ZIP_DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = _ZIP_UNIX
    entry.external_attr = _ZIP_MODE
    entry.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(entry, "w") as sink:
        while chunk := source.read(_CHUNK_BYTES):
            sink.write(chunk)


def _one_line(value: str) -> str:
    """A value without the line breaks that would begin another label."""
    return " ".join(value.split())
