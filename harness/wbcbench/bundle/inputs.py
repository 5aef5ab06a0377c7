"""What the runs were made from: every image by digest, and the code of each commit.

The data manifest names every image by digest, label, split and photograph, and holds no pixels. Of
three sources the first that fits: the data folder, when its digest is that of the runs; the table
of the published set that comes with this package, when the runs were made on that set; else the
predictions, which hold the tested images only.
"""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from wbcbench.bundle import layout
from wbcbench.bundle.describe import SubmittedStudy
from wbcbench.bundle.document import DatasetState, to_json
from wbcbench.bundle.open import read_predictions
from wbcbench.bundle.redact import Redactor, write_text
from wbcbench.core import run_folder
from wbcbench.core.errors import UsageError
from wbcbench.core.files import sha256_of, write_atomically
from wbcbench.core.provenance import LOCK_FILE, run_git, source_root
from wbcbench.core.record import DatasetFacts
from wbcbench.data.dataset import UNKNOWN_PHOTOGRAPH
from wbcbench.data.read import PUBLISHED_ID, PUBLISHED_SHA256, dataset_sha256, find_root, list_files
from wbcbench.data.splits import UNKNOWN, known_images, published_images

FOLDER = "folder"
PUBLISHED = "published table"
PREDICTIONS = "predictions"
_LICENCES = {
    PUBLISHED_ID: "Kaggle, paultimothymooney/blood-cells; derived from BCCD (MIT). The images are "
    "not part of this bundle.",
}
_UNKNOWN_LICENCE = "unknown; the images are not part of this bundle"

# Runs and reports are what the code made, not the code; tests and pages stay with its history, and
# the lock of the runs is beside it.
_NOT_CODE = (":(exclude)results", ":(exclude)reports")
_NOT_RUN = tuple(
    f":(exclude,glob){name}"
    for name in (
        *("tests/**", ".ci/**", "requirements*.lock"),
        *("C*.md", "harness/*.md", "harness/decisions/**"),
    )
)


@dataclass(frozen=True, slots=True)
class Image:
    """One row of ``files.csv``; ``None`` bytes and ``UNKNOWN_PHOTOGRAPH`` are unknown."""

    path: str
    sha256: str
    bytes: int | None
    original_id: int
    group_id: int

    @property
    def label(self) -> str:
        """The name of its class."""
        return self.path.split("/")[1]

    @property
    def cells(self) -> tuple[object, ...]:
        """Its cells in the order of ``layout.IMAGE_COLUMNS``."""
        photograph = [
            "" if number == UNKNOWN_PHOTOGRAPH else number
            for number in (self.original_id, self.group_id)
        ]
        split = self.path.split("/", maxsplit=1)[0]
        return self.path, self.sha256, self.bytes, self.label, split, *photograph


def make_images(
    study: SubmittedStudy, data: Path | None = None, listed: bytes = b""
) -> tuple[DatasetState | None, dict[str, bytes]]:
    """The state of the data set and ``data-manifest/``; ``None`` where no run read its images.

    Args:
        study: In the bundle.
        data: The data folder, if it is available.
        listed: ``files.csv`` as it was made from a folder that is not here. It counts if it gives
            the digest that the runs have.
    """
    records = chain((run.record for run in study.done), study.records)
    facts = next((record.dataset for record in records if record.dataset), None)
    images, source = _list_images(study, facts, data, listed) if facts else ([], PREDICTIONS)
    images = sorted(images, key=lambda image: image.path)
    out = io.StringIO()
    rows = (layout.IMAGE_COLUMNS, *(image.cells for image in images))
    csv.writer(out, lineterminator="\n").writerows(rows)
    state = _describe_dataset(study, facts, images, source) if facts else None
    document = asdict(state) | {"facts": asdict(facts)} if state and facts else {}
    return state, {
        layout.IMAGES: out.getvalue().encode(errors="surrogateescape"),
        layout.DATASET: to_json(document),
    }


def _parse_images(listed: bytes) -> list[Image]:
    """The images of a ``files.csv`` that was made from a folder; none of any other."""
    rows = csv.DictReader(io.StringIO(listed.decode("utf-8"), newline=""))
    if tuple(rows.fieldnames or ()) != layout.IMAGE_COLUMNS:
        return []
    lines = list(rows)
    if not all((line["bytes"] or "").isdecimal() for line in lines):
        return []
    return [
        Image(
            line["path"],
            line["sha256"],
            int(line["bytes"]),
            int(line["original_id"] or UNKNOWN_PHOTOGRAPH),
            int(line["group_id"] or UNKNOWN_PHOTOGRAPH),
        )
        for line in lines
    ]


def _list_images(
    study: SubmittedStudy, facts: DatasetFacts, data: Path | None, listed: bytes
) -> tuple[list[Image], str]:
    """Every known image of the data set, and where it was listed from."""
    images = _parse_images(listed) if data is None else _list_folder(data, facts)
    if images and _compute_sha256(images) == facts.sha256:
        return images, FOLDER
    if facts.sha256 == PUBLISHED_SHA256:
        known = published_images().items()
        return [
            Image(origin.name, sha256, None, origin.original_id, origin.group_id)
            for sha256, origin in known
            if origin.name.split("/", maxsplit=1)[0] in {"TRAIN", "TEST"}
        ], PUBLISHED
    runs = chain(study.done, study.runs)  # none may be done well
    path = next((run.predictions_path for run in runs if run.predictions_path), None)
    if path is None:
        return [], PREDICTIONS
    table = read_predictions(path)
    columns = (table.file, table.image_sha256, table.original_id, table.group_id)
    return [
        Image(name, sha256, None, int(original_id), int(group_id))
        for name, sha256, original_id, group_id in zip(*columns, strict=True)
    ], PREDICTIONS


def leave_digests_to_list(payload: Path, listed: bytes) -> None:
    """Write predictions again without the digests of their images, which the list has once.

    They are most of a table, and a zip packs each table for itself. No other value changes;
    columns are stored as they pack best. A table with other images stays as it is.

    Args:
        payload: Of the bundle.
        listed: ``data-manifest/files.csv``.
    """
    rows = csv.DictReader(io.StringIO(listed.decode(errors="surrogateescape"), newline=""))
    images = {row["path"]: row["sha256"] for row in rows}
    for path in sorted(payload.glob(f"{layout.RESULTS}/*/*/{run_folder.PREDICTIONS}")):
        _shorten(path, images)


def _shorten(path: Path, images: Mapping[str, str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as stream:
            table = pq.ParquetFile(stream).read(use_threads=False)
        named = zip(*(table[name].to_pylist() for name in ("file", "image_sha256")), strict=True)
    except (KeyError, pa.ArrowException):
        return  # without digests already, or damaged: whoever reads it says so
    if any(images.get(file) != sha256 for file, sha256 in named):
        return
    short = table.drop_columns(["image_sha256"])
    encodings = {n: "BYTE_STREAM_SPLIT" for n in short.column_names if n.startswith("p_")}
    encodings["file"] = "PLAIN"  # names are as good as all different
    buffer = io.BytesIO()
    pq.write_table(
        short,
        buffer,
        compression="zstd",
        compression_level=19,
        version="2.6",
        use_dictionary=[name for name in short.column_names if name not in encodings],
        column_encoding=encodings,
    )
    write_atomically(path, buffer.getvalue())


def _list_folder(data: Path, facts: DatasetFacts) -> list[Image]:
    """The images in the folder that can be read; none without a data set there."""
    try:
        root = find_root(data)
        files = list_files(root)
        known = known_images(root)
    except UsageError:
        return []
    images = []
    for file in files:
        if not any(line.startswith(f"{file.name}: ") for line in facts.skipped):
            sha256 = sha256_of(Path(file.path))
            origin = known.get(sha256, UNKNOWN)
            images.append(Image(file.name, sha256, file.size, origin.original_id, origin.group_id))
    return images


def _compute_sha256(images: Sequence[Image]) -> str:
    return dataset_sha256((image.path, image.sha256) for image in images)


def _describe_dataset(
    study: SubmittedStudy, facts: DatasetFacts, images: Sequence[Image], source: str
) -> DatasetState:
    return DatasetState(
        dataset_id=facts.dataset_id,
        sha256=facts.sha256,
        licence=_LICENCES.get(facts.dataset_id, _UNKNOWN_LICENCE),
        n_images=len(images),
        n_classes=len({image.label for image in images}),
        validation=study.spec.validation,
        validation_fraction=study.spec.validation_fraction,
        split_seed=study.spec.split_seed,
        listed_from=source,
        complete=bool(images) and _compute_sha256(images) == facts.sha256,
    )


def write_code(study: SubmittedStudy, redactor: Redactor | None) -> None:
    """Write source, changes and the lock of the runs, as far as this checkout has them."""
    root = source_root()
    (study.payload / layout.SOURCE).parent.mkdir(parents=True, exist_ok=True)
    if root is not None and (root / ".git").exists() and shutil.which("git"):
        for commit in study.commits:
            archive = run_git(
                root, "archive", "--format=tar", commit, "--", ".", *_NOT_CODE, *_NOT_RUN
            )
            if archive is not None:
                name = layout.source_archive(commit, study.commits)
                write_atomically(study.payload / name, archive)
        if study.commits and any(r.provenance.get("git_dirty") for r in study.records):
            words = ("diff", "--no-color", "--no-ext-diff", study.commits[-1], "--", ".")
            if diff := run_git(root, *words, *_NOT_CODE):
                write_text(study.payload / layout.DIFF, diff.decode(errors="replace"), redactor)
        for lock in _find_locks(root, study.commits):
            if hashlib.sha256(lock).hexdigest() == study.fact("lock_sha256"):
                (study.payload / layout.LOCK).parent.mkdir(parents=True, exist_ok=True)
                write_atomically(study.payload / layout.LOCK, lock)
                break


def _find_locks(root: Path, commits: Sequence[str]) -> Iterator[bytes]:
    """The lock of each commit, then the one in the checkout."""
    for commit in commits:
        if (lock := run_git(root, "show", f"{commit}:{LOCK_FILE}")) is not None:
            yield lock
    if (root / LOCK_FILE).exists():
        yield (root / LOCK_FILE).read_bytes()
