"""What the runs were made from: every image by digest, and the code of each commit.

The data manifest names every image by digest, label, split and photograph, and holds no pixels. Of
three sources the first that fits: the data folder, when its digest is that of the runs; the table
of the published set that comes with this package, when the runs were made on that set; else the
predictions, which know the tested images alone and say so.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from wbcbench.bundle import layout
from wbcbench.bundle.describe import SubmittedStudy, git_state
from wbcbench.bundle.document import DatasetState, GitState
from wbcbench.bundle.redact import Redactor, write_text
from wbcbench.core.errors import UsageError
from wbcbench.core.files import sha256_of, write_atomically
from wbcbench.core.provenance import LOCK_FILE, source_root
from wbcbench.core.record import DatasetFacts
from wbcbench.data.dataset import UNKNOWN_PHOTOGRAPH
from wbcbench.data.read import PUBLISHED_ID, PUBLISHED_SHA256, dataset_sha256, find_root, list_files
from wbcbench.data.splits import UNKNOWN, Provenance, known_images, published_images

FOLDER = "folder"
PUBLISHED = "published table"
PREDICTIONS = "predictions"
_LICENCES = {
    PUBLISHED_ID: "Kaggle, paultimothymooney/blood-cells; derived from BCCD (MIT). The images are "
    "not part of this bundle.",
}
_UNKNOWN_LICENCE = "unknown; the images are not part of this bundle"

# Runs and reports are what the code made, not the code.
_NOT_CODE = (":(exclude)results", ":(exclude)reports")
_ARCHIVE_S = 120.0


@dataclass(frozen=True, slots=True)
class Image:
    """One row of ``files.csv``; ``None`` is unknown."""

    path: str
    sha256: str
    bytes: int | None
    original_id: int | None
    group_id: int | None

    @property
    def split(self) -> str:
        """``TRAIN`` or ``TEST``."""
        return self.path.split("/", maxsplit=1)[0]

    @property
    def label(self) -> str:
        """The name of its class."""
        return self.path.split("/")[1]


@dataclass(frozen=True, slots=True)
class Listed:
    """Images of a data set, sorted by path, and where they were listed from."""

    images: tuple[Image, ...]
    source: str

    @property
    def sha256(self) -> str:
        """Digest of the data set that these images make."""
        return dataset_sha256((image.path, image.sha256) for image in self.images)


def write_images(study: SubmittedStudy, data: Path | None) -> DatasetState | None:
    """Write ``data-manifest/``; ``None`` where no run came as far as reading images.

    Args:
        study: In the bundle.
        data: The data folder, if it is at hand.
    """
    facts = next((run.record.dataset for run in study.done if run.record.dataset), None)
    if facts is None:
        facts = next((r.dataset for r in study.records if r.dataset), None)
    found = Listed((), PREDICTIONS) if facts is None else _list_images(study, facts, data)
    state = None if facts is None else _state(study, facts, found)
    folder = (study.payload / layout.IMAGES).parent
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(study.payload / layout.IMAGES, to_csv(found.images))
    document = {} if state is None else asdict(state) | {"facts": asdict(facts)}  # type: ignore[arg-type]
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
    write_atomically(study.payload / layout.DATASET, (text + "\n").encode())
    return state


def _list_images(study: SubmittedStudy, facts: DatasetFacts, data: Path | None) -> Listed:
    """Every image of the data set that is known of."""
    from_folder = _of_folder(data, facts) if data else None
    if from_folder is not None:
        return from_folder
    if facts.sha256 == PUBLISHED_SHA256:
        known = published_images().items()
        wanted = (_image(p, sha, None) for sha, p in known if _is_loaded(p.name))
        return Listed(_sorted(wanted), PUBLISHED)
    return Listed(_sorted(_of_predictions(study)), PREDICTIONS)


def to_csv(images: Sequence[Image]) -> bytes:
    """``files.csv``: UTF-8, LF, unknown cells empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(layout.IMAGE_COLUMNS)
    for image in images:
        cells = [getattr(image, name) for name in layout.IMAGE_COLUMNS]
        writer.writerow(["" if cell is None else cell for cell in cells])
    return out.getvalue().encode(errors="surrogateescape")


def _state(study: SubmittedStudy, facts: DatasetFacts, found: Listed) -> DatasetState:
    spec = study.spec
    return DatasetState(
        dataset_id=facts.dataset_id,
        sha256=facts.sha256,
        licence=_LICENCES.get(facts.dataset_id, _UNKNOWN_LICENCE),
        n_images=len(found.images),
        n_classes=len({image.label for image in found.images}),
        validation=spec.validation,
        validation_fraction=spec.validation_fraction,
        split_seed=spec.split_seed,
        listed_from=found.source,
        complete=bool(found.images) and found.sha256 == facts.sha256,
    )


def _of_folder(data: Path, facts: DatasetFacts) -> Listed | None:
    """What lies in the folder; ``None`` unless that is what the runs were made on."""
    try:
        root = find_root(data)
        files = list_files(root)
        known = known_images(root)
    except UsageError:
        return None
    skipped = {each.split(": ", maxsplit=1)[0] for each in facts.skipped}
    images = []
    for file in files:
        if file.name not in skipped:
            sha256 = sha256_of(Path(file.path))
            images.append(_image(known.get(sha256, UNKNOWN), sha256, file.size, file.name))
    found = Listed(_sorted(images), FOLDER)
    return found if found.sha256 == facts.sha256 else None


def _of_predictions(study: SubmittedStudy) -> Iterator[Image]:
    """The tested images, as the first run that predicted them lists them."""
    import pyarrow.parquet as pq

    columns = ["file", "image_sha256", "original_id", "group_id"]
    for run in study.done:
        path = run.predictions_path
        if path:
            table = pq.read_table(path, columns=columns).to_pydict()
            for name, sha256, original, group in zip(*table.values(), strict=True):
                yield Image(name, sha256, None, original, group)
            return


def _image(origin: Provenance, sha256: str, size: int | None, name: str = "") -> Image:
    return Image(
        path=name or origin.name,
        sha256=sha256,
        bytes=size,
        original_id=_known(origin.original_id),
        group_id=_known(origin.group_id),
    )


def _known(number: int) -> int | None:
    return None if number == UNKNOWN_PHOTOGRAPH else number


def _is_loaded(name: str) -> bool:
    return name.split("/", maxsplit=1)[0] in {"TRAIN", "TEST"}


def _sorted(images: Iterable[Image]) -> tuple[Image, ...]:
    return tuple(sorted(images, key=lambda image: image.path))


def write_code(study: SubmittedStudy, by: Redactor | None) -> GitState:
    """Write ``code/`` and the lock of the last commit; returns what is there of the code."""
    commits = _commits(study)
    root = source_root()
    (study.payload / layout.GIT).parent.mkdir(parents=True, exist_ok=True)
    if root is not None and (root / ".git").exists() and shutil.which("git"):
        for commit in commits:
            _archive(root, commit, study.payload / layout.source_of(commit, commits))
        if commits and any(r.provenance.get("git_dirty") for r in study.records):
            _write_diff(root, commits[-1], study.payload / layout.DIFF, by)
        _write_lock(root, study)
    state = git_state(study, study.payload)
    text = json.dumps(asdict(state), indent=1, sort_keys=True)
    write_atomically(study.payload / layout.GIT, (text + "\n").encode())
    return state


def _commits(study: SubmittedStudy) -> tuple[str, ...]:
    found = (record.provenance.get("git_commit") for record in study.records)
    return tuple(dict.fromkeys(str(commit) for commit in found if commit))


def _archive(root: Path, commit: str, target: Path) -> None:
    """A tar of the commit, the same each time; nothing where the commit is not at hand."""
    data = _git(root, "archive", "--format=tar", commit, "--", ".", *_NOT_CODE)
    if data is not None:
        write_atomically(target, data)


def _write_diff(root: Path, commit: str, target: Path, by: Redactor | None) -> None:
    data = _git(root, "diff", "--no-color", "--no-ext-diff", commit, "--", ".", *_NOT_CODE)
    if data:
        write_text(target, data.decode(errors="replace"), by)


def _write_lock(root: Path, study: SubmittedStudy) -> None:
    """The lock that the runs were made with, known by its digest; else none."""
    wanted = study.fact("lock_sha256")
    candidates: Sequence[bytes | None] = (
        *(_git(root, "show", f"{commit}:{LOCK_FILE}") for commit in _commits(study)),
        (root / LOCK_FILE).read_bytes() if (root / LOCK_FILE).exists() else None,
    )
    for data in candidates:
        if data is not None and hashlib.sha256(data).hexdigest() == wanted:
            (study.payload / layout.LOCK).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(study.payload / layout.LOCK, data)
            return


def _git(root: Path, *words: str) -> bytes | None:
    """What git says; ``None`` where it does not know the commit."""
    done = subprocess.run(
        ["git", "-C", str(root), *words], check=False, capture_output=True, timeout=_ARCHIVE_S
    )
    return done.stdout if done.returncode == 0 else None
